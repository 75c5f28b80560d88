"""Reading filters: what the words mean, and what somebody is told who slipped."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from taximeter.errors import Rejected
from taximeter.events.envelope import Event
from taximeter.meters.filters import (
    MAX_FILTER_DEPTH,
    MAX_FILTER_LENGTH,
    And,
    Compare,
    Exists,
    In,
    Not,
    Or,
    evaluate,
    parse_filter,
)


def holds(text: str, **data: Any) -> bool:
    return evaluate(parse_filter(text), Event("e1", "llm.request", "acme", data=data))


def test_and_binds_tighter_than_or() -> None:
    assert parse_filter("data.a == 1 or data.b == 2 and data.c == 3") == Or(
        (
            Compare("data.a", "==", 1),
            And((Compare("data.b", "==", 2), Compare("data.c", "==", 3))),
        )
    )


def test_not_binds_tighter_than_and() -> None:
    assert parse_filter("not data.a == 1 and exists(data.b)") == And(
        (Not(Compare("data.a", "==", 1)), Exists("data.b"))
    )


def test_signs_are_synonyms_of_words() -> None:
    words = "not (data.a == 1) and data.b == 2 or data.c == 3"
    signs = "!(data.a==1)&&data.b==2||data.c==3"
    assert parse_filter(words) == parse_filter(signs)


def test_literals_may_be_quoted_either_way() -> None:
    assert parse_filter("""data.a in ['x', "x", 'it\\'s', "\\u00e9\\ud83d\\ude00"]""") == In(
        "data.a", ("x", "x", "it's", "é😀")
    )


def test_numbers_are_read_exactly_and_in_one_form() -> None:
    assert parse_filter("data.a in [1, 1.0, -2.50, 0.1, -0]") == In(
        "data.a", (1, 1, Decimal("-2.5"), Decimal("0.1"), 0)
    )


def test_a_path_may_contain_hyphens_and_begin_like_a_keyword() -> None:
    assert parse_filter("data.in-put.not == null") == Compare("data.in-put.not", "==", None)


@pytest.mark.parametrize(
    ("text", "data", "expected"),
    [
        ("data.a == 1", {"a": Decimal("1.000")}, True),
        ("data.a == 1", {"a": True}, False),
        ("data.a == 1", {"a": "1"}, False),
        ("data.a in [1]", {"a": True}, False),
        ("data.a == true", {"a": 1}, False),
        ("data.a == null", {}, True),
        ("data.a == null", {"a": None}, True),
        ("data.a != 'x'", {}, True),
        ("data.a < 5", {"a": 5}, False),
        ("data.a <= 5", {"a": Decimal("5.0")}, True),
        ("data.a > 5", {"a": 5}, False),
        ("data.a >= 5", {"a": 5}, True),
        ("data.a < 5", {}, False),
        ("not data.a < 5", {}, True),
        ("data.a < 5", {"a": "4"}, False),
        ("data.a > true", {"a": True}, False),
        ("data.a >= null", {"a": None}, False),
        ("data.a < 'b'", {"a": "a"}, True),
        ("data.a < '\uffff'", {"a": "😀"}, False),  # by code point, not by UTF-16 unit
        ("data.a == 0.1", {"a": Decimal("0.1")}, True),
        ("data.a < 100000000000000000001", {"a": 100000000000000000000}, True),
        ("exists(data.a)", {"a": None}, False),
        ("exists(data.a)", {"a": []}, True),
        ("exists(data.a.b)", {"a": {"b": 0}}, True),
        ("exists(data.a.b)", {"a": "b"}, False),
        ("data.a == 'x'", {"a": ["x"]}, False),
        ("subject == 'acme' and type == 'llm.request' and source == ''", {}, True),
    ],
)
def test_a_comparison_is_two_valued_and_typed(
    text: str, data: dict[str, Any], expected: bool
) -> None:
    assert holds(text, **data) is expected


def test_an_event_without_data_reads_as_null_everywhere() -> None:
    event = Event("e1", "t", "s")
    assert evaluate(parse_filter("data.a.b == null and not exists(data.a)"), event)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data.a = 1", "column 8: '=' is not an operator; write '=='"),
        ("data.a == 1 & data.b == 2", "column 13: '&' is not an operator; write '&&'"),
        (
            "data.model == opus",
            (
                'column 15: expected a literal: "text", 12.5, true, false or null; '
                'text is quoted, like "opus"'
            ),
        ),
        (
            "model == 'opus'",
            (
                "column 1: a path begins with 'data.' or is one of subject, source, type, "
                "did you mean 'data.model'?"
            ),
        ),
        (
            "data.a == 1 AND data.b == 2",
            (
                "column 13: expected 'and', 'or' or the end, found 'AND'; "
                "keywords are lower case: 'and'"
            ),
        ),
        ("data.a", "column 7: expected ==, !=, <, <=, >, >= or 'in' after data.a, found the end"),
        ("not data.cached", "column 16: expected ==, !=, <, <=, >, >= or 'in' after data.cached"),
        ("data.a == 'x", "column 11: the string that begins here has no closing '"),
        ("data.a == 1e5", "column 11: '1e5' is not a decimal number like -12.5"),
        ("data.a == 007", "column 11: '007' is not a decimal number like -12.5"),
        ("(data.a == 1", "column 13: expected ')', found the end"),
        ("data.a == 1)", "column 12: expected 'and', 'or' or the end, found ')'"),
        ("data.a in []", 'column 12: expected a literal: "text", 12.5'),
        ("data.a in ['x' 'y']", "column 16: expected ',' or ']', found ''y''"),
        ("data.a in 'x'", "column 11: expected '[', found ''x''"),
        ("5 < data.a", "column 1: expected a path like data.model, found '5'"),
        ("", "column 1: expected a path like data.model, found the end"),
        ("data == 1", "column 1: 'data' alone is the whole object"),
        ("data..a == 1", "column 1: segment '' is not made of letters"),
        ("data.a == '\\ud83d'", "column 11: the string has half of a surrogate pair"),
        ('data.a == "\\q"', "column 12: unknown escape '\\q'"),
        ("exists data.a", "column 8: expected '(', found 'data.a'"),
        ("data.a == 1 # note", "column 13: unexpected character '#'"),
    ],
)
def test_a_slip_is_told_by_column_and_what_was_expected(text: str, message: str) -> None:
    with pytest.raises(Rejected) as refused:
        parse_filter(text)
    assert refused.value.code == "invalid_filter"
    assert refused.value.message.startswith(message)


def test_length_is_bounded() -> None:
    text = "data.a == '" + "x" * (MAX_FILTER_LENGTH - 12) + "'"
    assert isinstance(parse_filter(text), Compare)
    with pytest.raises(Rejected, match="at most 2000 characters, this one has 2001"):
        parse_filter(text + " ")


@pytest.mark.parametrize("opening", ["(", "not ", "!"])
def test_depth_is_bounded(opening: str) -> None:
    def nested(depth: int) -> str:
        closing = ")" * depth if opening == "(" else ""
        return f"{opening * depth}data.a == 1{closing}"

    parse_filter(nested(MAX_FILTER_DEPTH))
    with pytest.raises(Rejected, match="nested more than 20 deep"):
        parse_filter(nested(MAX_FILTER_DEPTH + 1))


def test_depth_counts_nesting_and_not_length() -> None:
    text = " or ".join(["(data.a == 1)"] * 50)
    assert isinstance(parse_filter(text), Or)
