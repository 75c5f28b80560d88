"""
Aggregation (K12): many values, one quantity, whatever the order of arrival.

The state of a counter is what is needed to add, merge and finish, beside the number `n` of events
it counted. `merge` is associative and commutative with `empty` as its neutral element, so a history
may be cut anywhere and folded in any order.

| aggregation | state | of nothing |
|---|---|---|
| count | 0: `n` says it all | 0 |
| sum, avg | int pico | 0 |
| min, max | int pico, or None | 0 |
| last | (event time, event id, int pico), or None | 0 |
| unique | set of canonical JSON texts; for an estimate a `sketch` | 0 |
| percentile | how often each value was seen (`percentile`) | 0 |
| weighted_sum | levels over time (`levels`); for differences their sums (`running`) | 0 |
| session, concurrency | sessions over time (`levels`) | 0 |

`last` is the value with the greatest (time, id bytes). Ids are kept as text: UTF-8 orders bytes as
code points order text. Two sources may use one id at one time; then the greater value wins, so that
arrival still does not matter.

The last two rows *weigh time*: their quantity is that of a stretch of time and depends on what was
before it. Their states hold what a period opens with, which `carry` brings from earlier ones.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from taximeter.meters import percentile, sketch
from taximeter.meters.definition import Aggregation, Meter, is_estimate
from taximeter.meters.kinds import Mode
from taximeter.meters.levels import Levels, load_levels
from taximeter.meters.percentile import Histogram
from taximeter.meters.rounding import half_up
from taximeter.meters.running import Running, load_running
from taximeter.periods import Period
from taximeter.quantities import E12

Last: TypeAlias = tuple[int, str, int]
State: TypeAlias = int | Last | set[str] | bytearray | Histogram | Running | Levels | None


def empty(meter: Meter) -> State:
    """A new state that has seen nothing."""
    match meter.aggregation:
        case Aggregation.COUNT | Aggregation.SUM | Aggregation.AVG:
            return 0
        case Aggregation.MIN | Aggregation.MAX | Aggregation.LAST:
            return None
        case Aggregation.UNIQUE:
            return sketch.new_sketch() if is_estimate(meter) else set()
        case Aggregation.PERCENTILE:
            return {}
        case Aggregation.WEIGHTED_SUM | Aggregation.SESSION | Aggregation.CONCURRENCY:
            return Running() if meter.mode is Mode.DELTA else Levels()


def is_mutable(meter: Meter) -> bool:
    """Whether a state is changed in place, so that every cell needs one of its own."""
    return not isinstance(empty(meter), int | None)


def is_invertible(meter: Meter) -> bool:
    """Whether the state without an event follows from the state with it."""
    return meter.aggregation in (Aggregation.COUNT, Aggregation.SUM, Aggregation.AVG)


def single(meter: Meter, value: Any, time: int, event_id: str) -> State:
    """The state after exactly one event, with what `Program.measure` made of it."""
    match meter.aggregation:
        case Aggregation.COUNT:
            return 0
        case Aggregation.LAST:
            return (time, event_id, value)
        case Aggregation.UNIQUE if is_estimate(meter):
            seen = sketch.new_sketch()
            sketch.see(seen, value)
            return seen
        case Aggregation.UNIQUE:
            return {value}
        case Aggregation.PERCENTILE:
            return {value: 1}
        case Aggregation.WEIGHTED_SUM if meter.mode is Mode.DELTA:
            running = Running()
            running.change(value, time)
            return running
        case Aggregation.WEIGHTED_SUM | Aggregation.SESSION | Aggregation.CONCURRENCY:
            levels = Levels()
            series, tie, level = value
            levels.put(series, (time, tie, level))
            return levels
        case _:
            pico: int = value
            return pico


def merge(meter: Meter, a: Any, b: Any) -> State:
    """The state of all events of both; neither argument is changed or shared."""
    match meter.aggregation:
        case Aggregation.COUNT | Aggregation.SUM | Aggregation.AVG:
            total: int = a + b
            return total
        case Aggregation.UNIQUE if is_estimate(meter):
            return sketch.merged(a, b)
        case Aggregation.UNIQUE:
            union: set[str] = a | b
            return union
        case Aggregation.MIN:
            return min((x for x in (a, b) if x is not None), default=None)
        case Aggregation.MAX | Aggregation.LAST:
            return max((x for x in (a, b) if x is not None), default=None)
        case Aggregation.PERCENTILE:
            return percentile.merged(a, b)
        case Aggregation.WEIGHTED_SUM | Aggregation.SESSION | Aggregation.CONCURRENCY:
            state: Running | Levels = a.merged(b)
            return state


def carry(meter: Meter, state: Any, earlier: Any, start: int) -> None:
    """
    Open a period with what earlier ones leave; only for meters that weigh time.

    Args:
        state: Of the period; changed in place.
        earlier: A state of periods before it.
        start: Of the period.
    """
    if meter.mode is Mode.DELTA:
        state.carry_in(earlier)
    else:
        state.carry_in(earlier, start, meter.timeout)


def finish(meter: Meter, n: int, state: Any, span: Period | None = None) -> int:
    """
    The quantity, in pico, of a state that counted n events.

    Args:
        span: For meters that weigh time: the part of the state's period to weigh. None weighs from
            the first to the newest event known.
    """
    match meter.aggregation:
        case Aggregation.WEIGHTED_SUM | Aggregation.SESSION | Aggregation.CONCURRENCY:
            return _weighed(meter, state, span)
        case _ if n == 0:
            return 0
        case Aggregation.COUNT:
            return n * E12
        case Aggregation.AVG:
            return half_up(state, n)
        case Aggregation.UNIQUE if is_estimate(meter):
            return sketch.estimate(state) * E12
        case Aggregation.UNIQUE:
            return len(state) * E12
        case Aggregation.LAST:
            last: int = state[2]
            return last
        case Aggregation.PERCENTILE:
            assert meter.percentile_pico is not None, "parse_meter requires it"
            return percentile.nearest_rank(state, meter.percentile_pico)
        case _:
            pico: int = state
            return pico


def _weighed(meter: Meter, state: Running | Levels, span: Period | None) -> int:
    if isinstance(state, Running):
        end = state.newest if span is None else span.end
        return per_unit_of_time(meter, state.integral(0 if span is None else span.start, end))
    window = Period(0, state.last) if span is None else span
    if meter.aggregation is Aggregation.CONCURRENCY:
        return state.peak(window, meter.timeout) * E12
    return per_unit_of_time(meter, state.integral(window, meter.timeout))


def per_unit_of_time(meter: Meter, integral: int) -> int:
    """Level x microseconds as a quantity in pico, rounded once."""
    assert meter.per is not None, "parse_meter gives one"
    if meter.aggregation is Aggregation.SESSION:
        integral *= E12  # its levels are 0 and 1
    return half_up(integral, meter.per.microseconds)


def dump_state(state: Any) -> Any:
    """
    As strings, lists and None; equal states give equal dumps.

    Integers become strings: they exceed the 64 bits that JSON readers agree on.
    """
    match state:
        case set():
            return sorted(state)
        case bytearray():
            return sketch.dump_sketch(state)
        case dict():
            return [[str(value), state[value]] for value in sorted(state)]
        case tuple():
            return [str(state[0]), state[1], str(state[2])]
        case Running() | Levels():
            return state.dump()
        case _:
            return None if state is None else str(state)


def load_state(meter: Meter, dumped: Any) -> State:
    """Inverse of `dump_state`."""
    match meter.aggregation:
        case Aggregation.UNIQUE if is_estimate(meter):
            return sketch.load_sketch(dumped)
        case Aggregation.UNIQUE:
            return set(dumped)
        case Aggregation.LAST:
            return None if dumped is None else (int(dumped[0]), dumped[1], int(dumped[2]))
        case Aggregation.PERCENTILE:
            return {int(value): count for value, count in dumped}
        case Aggregation.WEIGHTED_SUM | Aggregation.SESSION | Aggregation.CONCURRENCY:
            return load_running(dumped) if meter.mode is Mode.DELTA else load_levels(dumped)
        case _:
            return None if dumped is None else int(dumped)
