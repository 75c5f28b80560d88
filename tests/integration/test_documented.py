"""
What exists is documented: every endpoint, error code, setting, metric and command.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from taximeter.adapters.http.auth import Authenticator
from taximeter.adapters.http.metrics import exposition
from taximeter.adapters.http.problems import status_of_code
from taximeter.adapters.http.routes import Surroundings, all_routes
from taximeter.adapters.http.routing import Route
from taximeter.adapters.node import Node
from taximeter.errors import CODES
from taximeter.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Surroundings:
    node = Node(Settings(data=tmp_path_factory.mktemp("documented")))
    return Surroundings(
        node.core,
        Authenticator([], node.clock.now),
        node.log,
        node.keeper,
        node.settings,
        node.commands,
        node.ledger,
    )


def public(routes: list[Route]) -> list[Route]:
    return [route for route in routes if route.tags and route.tags != ("pages",)]


def test_every_endpoint_is_in_the_reference_with_its_scope(surroundings: Surroundings) -> None:
    listed = set(
        re.findall(r"^\| `(\w+ \S+)` \| (\S+) \|", (DOCS / "reference/api.md").read_text(), re.M)
    )
    real = {
        (f"{route.method} {route.path}", route.scope or "-")
        for route in public(all_routes(surroundings))
    }
    assert listed == real


def test_every_error_code_is_in_the_reference_with_its_status_and_meaning() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (\d+) \| (.+) \|$", (DOCS / "reference/errors.md").read_text(), re.M
    )
    assert {(code, int(status), text) for code, status, text in rows} == {
        (code, status_of_code(code), text) for code, text in CODES.items()
    }


def test_every_metric_is_in_the_reference(surroundings: Surroundings) -> None:
    scraped = exposition(surroundings).decode()
    real = set(re.findall(r"^# TYPE (\w+)", scraped, re.M))
    listed = set(re.findall(r"^\| `(\w+)` \|", (DOCS / "operating/metrics.md").read_text(), re.M))
    assert listed == {name for name in real if not name.endswith("_created")}


def test_every_setting_is_in_the_reference() -> None:
    text = (DOCS / "operating/settings.md").read_text()
    missing = [name for name in Settings.__struct_fields__ if f"`{name}`" not in text]
    assert not missing


def test_every_link_between_the_pages_leads_somewhere() -> None:
    pages = [*DOCS.rglob("*.md"), *DOCS.parent.glob("*.md")]
    broken = []
    for page in pages:
        for target in re.findall(r"\]\((?!https?:|/|#|mailto:)([^)#\s]+)", page.read_text()):
            if not (page.parent / target).exists():
                broken.append(f"{page.relative_to(DOCS.parent)} -> {target}")
    assert not broken
