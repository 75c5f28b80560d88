"""Compiled programs by example: what is measured, what is left out, what is rejected."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from taximeter.errors import Rejected
from taximeter.events.envelope import Event
from taximeter.meters.compile import Program, compile_counters
from taximeter.meters.counter import Counter
from taximeter.meters.definition import parse_meter

E12 = 10**12


def counter(aggregation: str, group_by: tuple[str, ...] = (), **members: Any) -> Counter:
    document = {
        "event_type": "llm.request",
        "aggregation": aggregation,
        "value": "data.tokens",
        "dimensions": {"model": "data.model", "who": "subject"},
        **members,
    }
    return Counter(parse_meter("m", document), None, group_by)


def program(*counters: Counter) -> Program:
    return compile_counters(list(enumerate(counters)))


def event(**data: Any) -> Event:
    return Event("e1", "llm.request", "acme", data=data)


SUM = counter("sum")
COUNT = counter("count")


@pytest.mark.parametrize(
    ("value", "pico"),
    [
        (812, 812 * E12),
        (0, 0),
        (-3, -3 * E12),
        ("2.5", 25 * 10**11),
        (Decimal("1e-12"), 1),
        (10**26 - 1, (10**26 - 1) * E12),
    ],
)
def test_a_quantity_is_measured_exactly(value: Any, pico: int) -> None:
    assert program(SUM).measure(event(tokens=value)) == (pico,)


@pytest.mark.parametrize("value", [True, False, "many", "", [], {}, 10**26, Decimal("1e-13")])
def test_what_is_no_quantity_rejects_the_event_and_is_left_out_of_stored_ones(value: Any) -> None:
    compiled = program(SUM, COUNT)
    with pytest.raises(Rejected, match=r"^data\.tokens: expected a decimal number") as refused:
        compiled.measure(event(tokens=value))
    assert refused.value.code == "invalid_quantity"
    assert compiled.measure_stored(event(tokens=value)) == (None, 1)


@pytest.mark.parametrize("data", [None, {}, {"tokens": None}])
def test_a_missing_value_is_left_out_but_the_event_counts(data: Any) -> None:
    nothing = Event("e1", "llm.request", "acme", data=data)
    assert program(SUM).measure(nothing) is None
    assert program(SUM, COUNT).measure(nothing) == (None, 1)


def test_a_value_the_filter_leaves_out_is_not_looked_at() -> None:
    compiled = program(counter("sum", filter="data.cached != true"))
    assert compiled.measure(event(tokens="many", cached=True)) is None
    with pytest.raises(Rejected):
        compiled.measure(event(tokens="many", cached=False))


def test_true_is_not_one_in_a_compiled_filter() -> None:
    equal = program(counter("count", filter="data.a == 1"))
    among = program(counter("count", filter="data.a in [0, 1.5, 1]"))
    assert equal.measure(event(a=1)) == among.measure(event(a=Decimal("1.0"))) == (1,)
    assert equal.measure(event(a=True)) is among.measure(event(a=True)) is None


def test_both_filters_of_a_counter_apply() -> None:
    meter = parse_meter(
        "m", {"event_type": "llm.request", "aggregation": "count", "filter": "data.a == 1"}
    )
    compiled = program(Counter(meter, "data.b < 2.5"))
    assert compiled.measure(event(a=1, b=2)) == (1,)
    assert compiled.measure(event(a=1, b=3)) is None
    assert compiled.measure(event(a=2, b=2)) is None


def test_a_grouped_counter_measures_group_and_value() -> None:
    compiled = program(counter("sum", ("model", "who")), counter("count", ("model",)))
    assert compiled.measure(event(tokens=2, model=Decimal("4.50"))) == (
        (("4.5", "acme"), 2 * E12),
        (("4.5",), 1),
    )
    assert compiled.measure(event(model=True)) == (None, (("true",), 1))
    assert compiled.measure(event(tokens=0)) == (((None, "acme"), 0), ((None,), 1))


def test_a_path_through_something_that_is_no_object_finds_nothing() -> None:
    compiled = program(counter("sum", value="data.usage.tokens"))
    assert compiled.measure(event(usage={"tokens": 1})) == (E12,)
    assert compiled.measure(event(usage=["tokens"])) is None
    assert compiled.measure(event(usage="tokens")) is None


def test_unique_takes_any_value_by_its_canonical_text() -> None:
    compiled = program(counter("unique"))
    assert compiled.measure(event(tokens="1")) == ('"1"',)
    assert compiled.measure(event(tokens=Decimal("1.0"))) == ("1",)
    assert compiled.measure(event(tokens={"b": 1, "a": []})) == ('{"a":[],"b":1}',)
    assert compiled.measure(event(tokens=None)) is None


def test_a_paths_value_is_read_once_for_all_counters() -> None:
    compiled = program(SUM, counter("max"), counter("unique"), counter("sum", ("model",)))
    assert compiled.source.count(".get('tokens')") == 1


def test_text_of_a_definition_cannot_become_code() -> None:
    hostile = '\'; raise SystemExit #\\\n""" \x00 \u2028'
    compiled = compile_counters(
        [
            (
                0,
                Counter(
                    parse_meter(
                        "m",
                        {
                            "event_type": hostile,
                            "aggregation": "count",
                            "filter": "data.a == '\\'; raise SystemExit #\\\\\\n\\u0000\\u2028'",
                        },
                    )
                ),
            )
        ]
    )
    assert compiled.measure(Event("e", hostile, "s", data={"a": "x"})) is None
    text = "'; raise SystemExit #\\\n\x00\u2028"
    assert compiled.measure(Event("e", hostile, "s", data={"a": text})) == (1,)
