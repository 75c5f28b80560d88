"""
Scopes: the levels below a customer that have allowances of their own.

`workspace`, `user`, `key`, `run`: an event names one value of each level it belongs to, at a path.
The order says which level is outermost, so it is written as a list, or as a mapping in its order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from taximeter.catalog.entitlements import RESERVED_LEVELS
from taximeter.meters.paths import path_problem
from taximeter.meters.reading import KEY_RULE, Fields, is_key, kind_of

MAX_SCOPES: Final = 16


def read_scopes(top: Fields) -> dict[str, str]:
    """Read `scopes`: {workspace: data.workspace, ...} or [{workspace: data.workspace}, ...]."""
    found: dict[str, str] = {}
    for fields in _levels(top):
        if len(fields.members) != 1:
            fields.problem("", "expected one level with its path, like {user: data.user}")
            continue
        ((level, path),) = fields.members.items()
        if not is_key(level):
            fields.problem("", f"{level[:40]!r} is not a key: {KEY_RULE}")
        elif level in RESERVED_LEVELS:
            fields.problem(level, "is no scope below the customer")
        elif level in found:
            fields.problem(level, "is named twice")
        elif not isinstance(path, str):
            fields.problem(level, f"expected a path, found {kind_of(path)}")
        elif (problem := path_problem(path)) is not None:
            fields.problem(level, problem)
        else:
            found[level] = path
    if len(found) > MAX_SCOPES:
        top.problem("scopes", f"has {len(found)} levels, at most {MAX_SCOPES} are allowed")
    return found


def dump_scopes(scopes: Mapping[str, str]) -> list[dict[str, str]]:
    """A list, because canonical JSON sorts the members of an object."""
    return [{level: path} for level, path in scopes.items()]


def scope_path(scopes: Mapping[str, str], level: str) -> str:
    """Where an event names its value of a level: as declared, else `data.LEVEL`."""
    return scopes.get(level) or f"data.{level}"


def _levels(top: Fields) -> Iterable[Fields]:
    value: Any = top.members.get("scopes")
    if value is None:
        return
    if isinstance(value, list | tuple):
        for index, one in enumerate(value[: MAX_SCOPES + 1]):
            yield top.inside(f"scopes[{index}]", one)
    else:
        inner = top.inside("scopes", value)
        for level, path in inner.members.items():
            yield top.inside("scopes", {level: path})
