"""How values become leaves, and events columns."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from taximeter.adapters.store.leaves import Leaves, column_name, leaf, spelled
from taximeter.adapters.store.sql import NO_LEAVES, Statement
from taximeter.meters.filters import parse_filter


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", '"'),
        ("opus", '"opus'),
        ('"', '""'),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (-812, "-812"),
        (10**26 - 1, "9" * 26),
        (10**26, "#1" + "0" * 26),
        (Decimal("1.50"), "1.5"),
        (spelled("8E2"), "800"),
        (spelled("1e-12"), "0.000000000001"),
        (spelled("1e-13"), "#0.0000000000001"),
        (spelled("-1.25e60"), "#-1.25e60"),
        ({}, "{"),
        ({"a": 1}, "{"),
        ([], "["),
    ],
)
def test_a_leaf_tells_kind_and_value(value: Any, expected: str | None) -> None:
    assert leaf(value) == expected


def test_members_of_every_depth_get_a_path() -> None:
    leaves = Leaves([{"a": {"b": {"c": 1}, "d": "x"}}, None, {}, {"a": 2}, {"z": [1]}])
    assert leaves.columns == {
        "data.a": ([0, 3], ["{", "2"]),
        "data.a.b": ([0], ["{"]),
        "data.a.b.c": ([0], ["1"]),
        "data.a.d": ([0], ['"x']),
        "data.z": ([4], ["["]),
    }


def test_names_no_path_can_reach_get_no_column() -> None:
    assert Leaves([{"a.b": 1, "": 2, "a b": 3, "é": 4, "x" * 300: 5}]).columns == {}


def test_columns_differ_where_names_differ_only_by_case() -> None:
    names = {column_name(path) for path in ("data.ab", "data.aB", "data.Ab", "data.AB")}
    assert len({name.lower() for name in names}) == 4


def test_constants_of_a_filter_are_parameters_and_never_text() -> None:
    statement = Statement(NO_LEAVES._replace(columns={"data.model"}))
    text = statement.condition(parse_filter("""data.model == "x'; DROP" or data.other < 5"""))
    assert "DROP" not in text
    assert "\"x'; DROP" in statement.parameters.values()
