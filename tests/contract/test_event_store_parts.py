"""The contract of `ports.EventStore` for lines of a part of a period, and of a band of amounts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.contract.event_store_world import InProcess, entry, leaf

from taximeter.instants import DAY, HOUR, format_instant, parse_instant
from taximeter.invoices.lineage import merkle_digest
from taximeter.meters.definition import Aggregation, Meter
from taximeter.periods import Period
from taximeter.ports import LineScope
from taximeter.quantities import E12, MAX_PICO

START = parse_instant("2026-11-20T00:00:00Z")
TODAY = Period(START, START + DAY)
MORNING, EVENING = Period(START, START + 6 * HOUR), Period(START + 18 * HOUR, START + DAY)
TOKENS = Meter("tokens", "llm", Aggregation.SUM, "data.tokens", {"model": "data.model"})
MANY = ("a", "b", "c", "d", "e")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Any]:
    opened = InProcess(tmp_path, seal_rows=2)
    yield opened
    opened.close()


def used(event_id: str, hours: int, tokens: Any, **data: Any) -> dict[str, Any]:
    return {
        "id": event_id,
        "type": "llm",
        "subject": "acme",
        "time": format_instant(START + hours * HOUR),
        "data": {"tokens": tokens, **data},
    }


def scope(upto: int, **members: Any) -> LineScope:
    return LineScope("default", TOKENS, ("acme",), TODAY, upto, **members)


def test_only_the_parts_of_a_period_count_and_each_edge_is_half_open(store: Any) -> None:
    hours = (0, 6, 12, 18, 23)
    upto = store.append(entry([used(name, at, 1) for name, at in zip(MANY, hours, strict=True)]))
    parts = scope(upto, parts=(MORNING, EVENING))
    rest = scope(upto, parts=(Period(MORNING.end, EVENING.start),))
    ((some,), (others,), (every,)) = store.recount([parts, rest, scope(upto)])
    assert [one.value_pico for one in (some, others, every)] == [3 * E12, 2 * E12, 5 * E12]
    found = store.line_events(parts, (), 0, 100)
    assert [stored.event.id for stored in found] == ["a", "d", "e"]
    assert some.digest == merkle_digest(map(leaf, found))


def test_bands_of_amounts_are_counted_in_each_group_and_are_half_open(store: Any) -> None:
    amounts = (-1, "0.999999999999", 1, "4.5", "5")
    events = [
        used(name, 1, amount, model="x" if number % 2 else "y")
        for number, (name, amount) in enumerate(zip(MANY, amounts, strict=True))
    ]
    upto = store.append(entry(events))
    bounds = ((None, E12), (E12, 5 * E12), (5 * E12, None))
    scopes = [scope(upto, group_by=("model",), within=within) for within in bounds]
    found = [
        {one.group[0]: (one.events, one.value_pico) for one in groups}
        for groups in store.recount(scopes)
    ]
    assert found == [
        {"y": (1, -E12), "x": (1, E12 - 1)},
        {"y": (1, E12), "x": (1, 9 * E12 // 2)},
        {"y": (1, 5 * E12)},
    ]


def test_a_bound_beyond_every_quantity_bounds_nothing(store: Any) -> None:
    upto = store.append(entry([used("a", 1, 7)]))
    within = (-(10**60), 10 * MAX_PICO)
    (((one),),) = store.recount([scope(upto, within=within)])
    assert one.value_pico == 7 * E12


def test_bands_of_an_expression_and_of_texts_are_told_by_their_value(store: Any) -> None:
    meter = Meter("cost", "llm", Aggregation.SUM, "data.tokens * data.price", {})
    upto = store.append(entry([used("a", 1, 2, price="3"), used("b", 1, 5, price=5)]))
    (((one),),) = store.recount(
        [LineScope("default", meter, ("acme",), TODAY, upto, within=(6 * E12, 7 * E12))]
    )
    assert (one.events, one.value_pico) == (1, 6 * E12)
