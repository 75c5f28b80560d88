"""Each `*.scenario` beside this file, played on a real server, says what it says."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.scenarios.script import read
from tests.scenarios.stage import perform
from tests.serving import Served, serve

SCENARIOS = sorted(Path(__file__).parent.glob("*.scenario"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("scenarios"), "--sandbox") as running:
        yield running


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenario(path: Path, server: Served) -> None:
    text = path.read_text()
    script = read(text)
    played = script.with_answers(perform(script, server))
    difference = difflib.unified_diff(
        text.splitlines(), played.splitlines(), "written", "played", lineterm="", n=2
    )
    assert text == played, (
        f"{script.title}\n"
        + "\n".join(difference)
        + f"\nIf this is right: python -m tests.scenarios --update {path.stem}"
    )
