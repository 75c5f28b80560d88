"""
The arrows of the house point down (docs/internals/house.md): pure rooms know no I/O.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "taximeter"

# Room -> rooms it may import. A room may always import itself.
VALUES = {"errors", "instants", "periods", "quantities", "money", "parties"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "instants": {"errors"},
    "quantities": {"errors"},
    "periods": {"errors", "instants"},
    "money": {"errors", "quantities"},
    "parties": {"errors"},
    "taxes": VALUES,
    "events": VALUES,
    "corrections": VALUES | {"events"},
    "ledger": VALUES,
    "credits": VALUES | {"ledger"},
    "meters": VALUES | {"events"},
    "catalog": VALUES | {"meters"},
    "customers": VALUES | {"catalog", "taxes"},
    "entitlements": VALUES | {"ledger", "credits", "catalog"},
    "rating": VALUES | {"meters", "catalog"},
    "invoices": VALUES | {"catalog", "rating", "taxes"},
    "accounting": VALUES | {"ledger", "invoices"},
    "pricing": VALUES | {"meters"},
    "documents": VALUES | {"parties", "meters", "catalog", "rating", "invoices"},
    "reconciliation": VALUES,
    "notices": VALUES | {"catalog"},
    "gate": VALUES | {"ledger", "credits", "catalog"},
    "rules": VALUES | {"events", "meters", "catalog", "gate"},
    "subscriptions": VALUES | {"catalog", "customers"},
    "live": VALUES
    | {"events", "corrections", "meters", "credits", "entitlements", "catalog", "customers", "gate"}
    | {"rules", "subscriptions"},
    "settings": VALUES,
}
ALLOWED["ports"] = set(ALLOWED) | {"live"}
PURE = {*ALLOWED}
ALLOWED["services"] = set(ALLOWED)

# What waits, reads the clock, the environment or the disk.
IMPURE_MODULES = {
    "asyncio", "socket", "subprocess", "threading", "multiprocessing", "sqlite3", "duckdb",
    "httptools", "uvloop", "http", "urllib", "requests", "time", "random", "secrets", "os",
    "shutil", "tempfile", "logging",
}  # fmt: skip


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def room_of(path: Path) -> str:
    relative = path.relative_to(SOURCE)
    return relative.parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def named(path: Path) -> str:
    return str(path.relative_to(SOURCE))


@pytest.mark.parametrize("path", [p for p in modules() if room_of(p) in ALLOWED], ids=named)
def test_a_room_imports_only_the_rooms_below_it(path: Path) -> None:
    room = room_of(path)
    others = {name.split(".")[1] for name in imported(path) if name.startswith("taximeter.")} - {
        room
    }
    assert others <= ALLOWED[room], f"{room} may not know {others - ALLOWED[room]}"


@pytest.mark.parametrize("path", [p for p in modules() if room_of(p) in PURE], ids=named)
def test_a_pure_room_imports_nothing_that_waits(path: Path) -> None:
    names = set(imported(path)) - {"urllib.parse"}
    used = {name.split(".")[0] for name in names} & IMPURE_MODULES
    assert not used, f"{named(path)} is pure, and imports {used}"


def test_every_room_is_in_the_table() -> None:
    known = {*ALLOWED, "adapters", "demo", "__init__", "__main__"}
    assert {room_of(path) for path in modules()} <= known
