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
| unique | set of canonical JSON texts | 0 |

`last` is the value with the greatest (time, id bytes). Ids are kept as text: UTF-8 orders bytes as
code points order text. Two sources may use one id at one time; then the greater value wins, so that
arrival still does not matter.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from taximeter.meters.definition import Aggregation
from taximeter.quantities import E12

Last: TypeAlias = tuple[int, str, int]
State: TypeAlias = int | Last | set[str] | None


def empty(aggregation: Aggregation) -> State:
    """A new state that has seen nothing."""
    match aggregation:
        case Aggregation.COUNT | Aggregation.SUM | Aggregation.AVG:
            return 0
        case Aggregation.MIN | Aggregation.MAX | Aggregation.LAST:
            return None
        case Aggregation.UNIQUE:
            return set()


def single(aggregation: Aggregation, value: Any, time: int, event_id: str) -> State:
    """The state after exactly one event with a measured value (pico, or the text for unique)."""
    match aggregation:
        case Aggregation.COUNT:
            return 0
        case Aggregation.LAST:
            return (time, event_id, value)
        case Aggregation.UNIQUE:
            return {value}
        case _:
            pico: int = value
            return pico


def merge(aggregation: Aggregation, a: Any, b: Any) -> State:
    """The state of all events of both; neither argument is changed or shared."""
    match aggregation:
        case Aggregation.COUNT | Aggregation.SUM | Aggregation.AVG:
            total: int = a + b
            return total
        case Aggregation.UNIQUE:
            union: set[str] = a | b
            return union
        case Aggregation.MIN:
            return min((x for x in (a, b) if x is not None), default=None)
        case Aggregation.MAX | Aggregation.LAST:
            return max((x for x in (a, b) if x is not None), default=None)


def finish(aggregation: Aggregation, n: int, state: Any) -> int:
    """The quantity, in pico, of a state that counted n events."""
    if n == 0:
        return 0
    match aggregation:
        case Aggregation.COUNT:
            return n * E12
        case Aggregation.AVG:
            return mean_pico(state, n)
        case Aggregation.UNIQUE:
            return len(state) * E12
        case Aggregation.LAST:
            last: int = state[2]
            return last
        case _:
            pico: int = state
            return pico


def mean_pico(sum_pico: int, n: int) -> int:
    """
    sum / n, rounded half-up with ties away from zero to a whole pico (12 decimal places).

    The only rounding of a quantity there is. n > 0.
    """
    magnitude = (2 * abs(sum_pico) + n) // (2 * n)
    return magnitude if sum_pico >= 0 else -magnitude


def dump_state(aggregation: Aggregation, state: Any) -> Any:
    """
    As strings, lists and None; equal states give equal dumps.

    Integers become strings: they exceed the 64 bits that JSON readers agree on.
    """
    match aggregation:
        case Aggregation.UNIQUE:
            return sorted(state)
        case Aggregation.LAST:
            return None if state is None else [str(state[0]), state[1], str(state[2])]
        case _:
            return None if state is None else str(state)


def load_state(aggregation: Aggregation, dumped: Any) -> State:
    """Inverse of `dump_state`."""
    match aggregation:
        case Aggregation.UNIQUE:
            return set(dumped)
        case Aggregation.LAST:
            return None if dumped is None else (int(dumped[0]), dumped[1], int(dumped[2]))
        case _:
            return None if dumped is None else int(dumped)
