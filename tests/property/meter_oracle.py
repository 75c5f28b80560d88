"""
What meters come to, read slowly from their definitions: every event at once, fractions, and for
what weighs time the level at every instant where anything can change.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

from taximeter.events.envelope import Event
from taximeter.meters.definition import Meter
from taximeter.meters.filters import evaluate, parse_filter
from taximeter.meters.kinds import Aggregation, Mode, Per, Precision
from taximeter.meters.paths import read
from taximeter.meters.sketch import estimate, new_sketch, see
from taximeter.meters.values import canonical_text, dimension_value
from taximeter.periods import Period

E12 = 10**12
SESSIONS = ("session", "concurrency")
OVER_TIME = ("weighted_sum", *SESSIONS)
LENGTHS = {
    Per.SECOND: 10**6,
    Per.MINUTE: 60 * 10**6,
    Per.HOUR: 3600 * 10**6,
    Per.DAY: 86400 * 10**6,
}


class Invalid(Exception):
    """Something is there and is no quantity."""


class Seen(NamedTuple):
    """A counted event: what it is worth, and for what weighs time whose level it sets."""

    time: int
    id: bytes
    value: Any
    series: Any = None


def number(value: Any) -> Fraction:
    """A number, or a text that JSON would read as one."""
    if isinstance(value, str):
        try:
            read_back = json.loads(value, parse_float=Decimal, parse_constant=str)
        except ValueError:
            raise Invalid from None
        value = None if value != value.strip() or isinstance(read_back, str) else read_back
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise Invalid
    exact = Fraction(value)
    if (exact * E12).denominator != 1 or abs(exact) >= 10**26:
        raise Invalid
    return exact


def half_up(exact: Fraction) -> int:
    whole, rest = divmod(abs(exact), 1)
    return int(whole + (rest >= Fraction(1, 2))) * (-1 if exact < 0 else 1)


def _plus(event: Event) -> Fraction | None:
    a, b = read(event, "data.tokens"), read(event, "data.a.tokens")
    return None if a is None or b is None else number(a) + 4 * number(b)


def _scaled(event: Event) -> Fraction | None:
    a = read(event, "data.tokens")
    return max(Fraction(0 if a is None else number(a)) * Fraction("0.0000005"), Fraction(-1))


def _listed(event: Event) -> Fraction | None:
    a = read(event, "data.a")
    if a is None:
        return None
    if not isinstance(a, list):
        raise Invalid
    return sum((number(x) for x in a if x is not None), Fraction(0))


EXPRESSIONS: dict[str, Callable[[Event], Fraction | None]] = {
    "data.tokens + 4 * data.a.tokens": _plus,
    "max(default(data.tokens, 0) * 0.0000005, -1)": _scaled,
    "data.a[]": _listed,
}


def value_of(meter: Meter, event: Event) -> Any:
    """
    Fraction, text, or 1 for count; None if the event has no value.

    Raises:
        Invalid: It has one that is no quantity.
    """
    if meter.aggregation is Aggregation.COUNT:
        return 1
    assert meter.value is not None
    if meter.value in EXPRESSIONS:
        exact = EXPRESSIONS[meter.value](event)
        if exact is None:
            return None
        rounded = Fraction(half_up(exact * E12), E12)
        if abs(rounded) >= 10**26:
            raise Invalid
        return rounded
    value = read(event, meter.value)
    if value is None:
        return None
    if meter.aggregation is Aggregation.UNIQUE or meter.aggregation in SESSIONS:
        return canonical_text(value)
    return number(value)


def selects(meter: Meter, further: str | None, event: Event) -> bool:
    texts = [text for text in (meter.filter, further) if text]
    return meter.event_type == event.type and all(
        evaluate(parse_filter(text), event) for text in texts
    )


def group_of(meter: Meter, group_by: Sequence[str], event: Event) -> tuple[str | None, ...]:
    return tuple(dimension_value(read(event, meter.dimensions[name])) for name in group_by)


def seen(meter: Meter, event: Event, time: int) -> Seen | None:
    """None if the event does not count, for whatever reason."""
    try:
        value = value_of(meter, event)
    except Invalid:
        return None
    if value is None:
        return None
    key, series = event.id.encode(), None
    if meter.aggregation in SESSIONS:
        ends = meter.stop is not None and evaluate(parse_filter(meter.stop), event)
        series, value, key = (event.subject, value), 0 if ends else 1, b"end" if ends else b""
    elif meter.aggregation is Aggregation.WEIGHTED_SUM:
        named = read(event, meter.series) if meter.series else None
        series = (event.subject, None if named is None else canonical_text(named))
    return Seen(time, key, value, series)


def counted(
    meter: Meter, further: str | None, group_by: Sequence[str], events: Iterable[tuple[Event, int]]
) -> dict[Any, list[Seen]]:
    """Group -> its counted events, of (event, instant)."""
    groups: dict[Any, list[Seen]] = {}
    for event, time in events:
        one = seen(meter, event, time) if selects(meter, further, event) else None
        if one is not None:
            groups.setdefault(group_of(meter, group_by, event), []).append(one)
    return groups


def totals(
    meter: Meter,
    further: str | None,
    group_by: Sequence[str],
    events: Iterable[tuple[Event, int]],
    span: Period,
) -> dict[Any, tuple[int, int]]:
    """Group -> (pico, events in the span); groups with neither are absent."""
    found = {
        group: (quantity(meter, some, span), sum(span.contains(one.time) for one in some))
        for group, some in counted(meter, further, group_by, events).items()
    }
    return {group: total for group, total in found.items() if any(total)}


def quantity(meter: Meter, events: list[Seen], span: Period) -> int:
    """In pico. Events outside of the span matter only to what weighs time."""
    if meter.aggregation in OVER_TIME:
        return _over_time(meter, [one for one in events if one.time < span.end], span)
    inside = [one for one in events if span.contains(one.time)]
    if not inside:
        return 0
    values = [one.value for one in inside]
    match meter.aggregation:
        case Aggregation.COUNT:
            return len(values) * E12
        case Aggregation.SUM:
            return int(sum(values, Fraction(0)) * E12)
        case Aggregation.MIN:
            return int(min(values) * E12)
        case Aggregation.MAX:
            return int(max(values) * E12)
        case Aggregation.AVG:
            return half_up(sum(values, Fraction(0)) / len(values) * E12)
        case Aggregation.UNIQUE:
            if meter.precision is Precision.SKETCH:  # whose error has tests of its own
                sketch = new_sketch()
                for text in set(values):
                    see(sketch, text)
                return estimate(sketch) * E12
            return len(set(values)) * E12
        case Aggregation.LAST:
            return int(max((one.time, one.id, one.value) for one in inside)[2] * E12)
        case Aggregation.PERCENTILE:
            assert meter.percentile_pico is not None
            exact_rank = Fraction(meter.percentile_pico, 100 * E12) * len(values)
            return int(sorted(values)[-(-exact_rank // 1) - 1] * E12)
    raise AssertionError(meter.aggregation)


def _over_time(meter: Meter, events: list[Seen], span: Period) -> int:
    timeout = meter.timeout_s * 10**6 if meter.timeout_s else None
    changes = {span.start, span.end}
    changes |= {one.time for one in events}
    if timeout:
        changes |= {one.time + timeout for one in events}
    instants = sorted(at for at in changes if span.start <= at <= span.end)
    integral, peak = Fraction(0), Fraction(0)
    for at, until in pairwise(instants):
        level = _level(meter, events, at, timeout)
        integral += level * (until - at)
        peak = max(peak, level)
    if meter.aggregation is Aggregation.CONCURRENCY:
        return int(peak * E12)
    assert meter.per is not None
    return half_up(integral * E12 / LENGTHS[meter.per])


def _level(meter: Meter, events: list[Seen], at: int, timeout: int | None) -> Fraction:
    """The sum of all levels at an instant."""
    before = [one for one in events if one.time <= at]
    if meter.mode is Mode.DELTA:
        return sum((one.value for one in before), Fraction(0))
    level = Fraction(0)
    for series in {one.series for one in before}:
        newest = max(
            (one for one in before if one.series == series),
            key=lambda one: (one.time, one.id, one.value),
        )
        if timeout is None or at < newest.time + timeout:
            level += newest.value
    return level
