"""Every rule of docs/reference/rules.md has a home in the code, and tests that cite it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RULES = [f"K{n}" for n in range(1, 21)]


def cited(folder: Path, *suffixes: str) -> set[str]:
    """The rules that some file below a folder names, this one aside."""
    files = (path for path in folder.rglob("*") if path.suffix in suffixes)
    texts = (path.read_text() for path in files if path != Path(__file__))
    return {rule for text in texts for rule in re.findall(r"\bK[0-9]+\b", text)}


def test_the_reference_states_each_rule_once() -> None:
    page = (ROOT / "docs/reference/rules.md").read_text()
    assert sorted(re.findall(r"^\| (K[0-9]+) \|", page, re.M)) == sorted(RULES)


@pytest.mark.parametrize("folder", ["src/taximeter", "tests"])
def test_each_rule_is_cited(folder: str) -> None:
    missing = set(RULES) - cited(ROOT / folder, ".py", ".scenario")
    assert not missing, f"{folder} never cites {missing}"
