"""Value expressions by example: what is meant, what is refused, what hostile data comes to."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from taximeter.errors import Rejected
from taximeter.events.envelope import Event
from taximeter.meters.compile import compile_counters
from taximeter.meters.counter import Counter
from taximeter.meters.definition import parse_meter
from taximeter.meters.expressions import parse_value

E12 = 10**12


def measured(value: str, stored: bool = False, **data: Any) -> Any:
    """What a sum meter with this value makes of an event; None if it does not count."""
    meter = parse_meter("m", {"event_type": "t", "aggregation": "sum", "value": value})
    program = compile_counters([(0, Counter(meter))])
    measure = program.measure_stored if stored else program.measure
    found = measure(Event("e", "t", "s", data=data))
    return None if found is None else found[0]


@pytest.mark.parametrize(
    ("value", "quantity"),
    [
        ("data.a + 4 * data.b", "13"),
        ("data.a - data.b - 1", "-3"),
        ("(data.a + data.b) * 2", "8"),
        ("-data.a * -data.b", "3"),
        ("max(data.a, data.b, 2)", "3"),
        ("min(data.a, data.b) + 0.5", "1.5"),
        ("ceil(data.b * 0.5)", "2"),
        ("floor(-data.b * 0.5)", "-2"),
        ("default(data.c, 7) + data.a", "8"),
        ("default(data.c, -0.5) * data.b", "-1.5"),
        ("data.list[]", "6.5"),
        ("data.items[].n", "12"),
        ("data.items[].deep.n + data.a", "3"),
        ("data.none[]", "0"),
    ],
)
def test_an_expression_gives(value: str, quantity: str) -> None:
    pico = measured(
        value,
        a=1,
        b="3",
        list=[1, "2.5", None, 3],
        items=[{"n": 5}, {"n": 7, "deep": {"n": 2}}, {}, "text", {"deep": []}],
        none=[],
    )
    assert Decimal(pico) / E12 == Decimal(quantity)


def test_digits_beyond_the_twelfth_place_are_rounded_once_at_the_end() -> None:
    tiny = "0.000000000001"
    assert measured(f"data.a * {tiny} + data.a * {tiny}", a="0.25") == 1
    assert measured(f"data.a * {tiny}", a="0.5") == 1
    assert measured(f"data.a * {tiny}", a="-0.5") == -1
    assert measured(f"data.a * {tiny}", a="0.49") == 0


@pytest.mark.parametrize("missing", [{}, {"a": None}, {"a": {}}])
def test_a_missing_path_makes_the_whole_value_missing(missing: dict[str, Any]) -> None:
    assert measured("data.a.x + data.b", b=1, **missing) is None
    assert measured("default(data.a.x, 2) + data.b", b=1, **missing) == 3 * E12


@pytest.mark.parametrize(
    ("value", "data", "message"),
    [
        ("data.a + 1", {"a": "many"}, "data.a: expected a decimal number with"),
        ("data.a + 1", {"a": True}, "data.a: expected a decimal number with"),
        ("data.a * data.a", {"a": 10**14}, "data.a * data.a: the result has more than 26 integer"),
        ("data.a[]", {"a": {}}, "data.a[]: expected a list, found an object"),
        ("data.a[]", {"a": 5}, "data.a[]: expected a list, found the number 5"),
        ("data.a[].n", {"a": [{"n": []}]}, "data.a[].n: expected a decimal number with"),
        ("data.a[]", {"a": [1] * 1001}, "data.a[]: a list has at most 1000 elements to count, thi"),
        ("default(data.a, 1)", {"a": "x"}, "data.a: expected a decimal number with"),
    ],
)
def test_what_is_there_and_is_no_quantity_rejects_the_event(
    value: str, data: dict[str, Any], message: str
) -> None:
    with pytest.raises(Rejected) as refused:
        measured(value, **data)
    assert refused.value.code == "invalid_quantity"
    assert refused.value.message.startswith(message)
    assert measured(value, stored=True, **data) is None


def test_sums_at_the_bounds_of_a_quantity_are_exact() -> None:
    largest = "9" * 26 + "." + "9" * 12
    assert measured("data.a + data.b", a=largest, b="-" + largest) == 0
    assert measured("data.a - 0.000000000001 + data.b", a=largest, b=0) == 10**38 - 2
    with pytest.raises(Rejected):
        measured("data.a + 0.000000000001", a=largest)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "column 1: expected a path like data.tokens, a number, a function or '(', found the"),
        ("1 + 2", "reads nothing of the event; name a path like data.tokens"),
        ("data.a / 2", "column 8: unexpected character '/'; there is no division, multiply by a"),
        ("data.a % 2", "column 8: unexpected character '%'"),
        ("data.a ** 2", "column 9: expected a path like data.tokens, a number, a function or '('"),
        ("data.a data.b", "column 8: expected '+', '-', '*' or the end, found 'data.b'"),
        ("tokens + 1", "column 1: a path begins with 'data.' or is one of subject, source, type, "),
        ("subject + 1", "column 1: 'subject' is no quantity"),
        ("data.a-data.b", "column 1: '-' belongs to the name before it; a minus needs a blank"),
        ("data.a[0]", "column 1: segment 'a[0]' is not made of letters, digits, '_' and '-'"),
        ("data.a[].b[].c", "column 1: behind '[]' stands nothing, or '.' and the names of members"),
        ("data.a[]b", "column 1: behind '[]' stands nothing, or '.' and the names of members"),
        ("round(data.a)", "column 1: there is no function 'round', only min, max, ceil, floor, de"),
        ("min(data.a)", "column 11: expected ',' and another term, found ')'"),
        ("default(data.a)", "column 15: expected ',', found ')'"),
        ("default(data.a, data.b)", "column 17: expected a number, found 'data.b'"),
        ("default(1, 2)", "column 9: expected a path like data.tokens, found '1'"),
        ("data.a * 1e3", "column 10: '1e3' is not a decimal number like 12.5"),
        ("data.a * 01", "column 10: '01' is not a decimal number like 12.5"),
        ("data.a * 0.0000000000001", "column 10: '0.0000000000001' is not a decimal number like"),
        ("(data.a", "column 8: expected ')', found the end"),
        ("-" * 21 + "data.a", "column 21: nested more than 20 deep"),
        ("(" * 30 + "data.a", "column 21: nested more than 20 deep"),
        ("data.a" + " + 1" * 200, "a value has at most 500 characters, this one has 806"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_column(text: str, message: str) -> None:
    with pytest.raises(Rejected) as refused:
        parse_value(text)
    assert refused.value.code == "catalog_invalid"
    assert refused.value.message.startswith(message)


def test_the_longest_sum_is_evaluated() -> None:
    text = "data.a" + "+1" * 247
    assert len(text) == 500
    assert measured(text, a=1) == 248 * E12


def test_a_member_named_with_a_minus_is_a_path_by_itself() -> None:
    assert measured("data.a-b", **{"a-b": 2}) == 2 * E12
    assert measured("data.a-b + 1", **{"a-b": 2}) == 3 * E12
