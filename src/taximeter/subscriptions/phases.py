"""
Phases and terms: a course that is agreed on at the beginning, such as three months of one plan and
then another, or a year that is renewed.

A length like "P3M" ends at a local midnight (K2), counted from the start of the subscription and
not from phase to phase, so that a start on the 31st does not drift (K3).
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from taximeter.errors import Rejected
from taximeter.instants import format_instant
from taximeter.periods import Anchor, Cadence, Schedule

_TEXT: Final = re.compile(r"P([1-9][0-9]{0,3})([YMWD])", re.ASCII)
_MONTHS: Final = {"Y": 12, "M": 1}
_DAYS: Final = {"W": 7, "D": 1}


class Length(msgspec.Struct, frozen=True):
    """Calendar months, and then days."""

    months: int = 0
    days: int = 0

    def __add__(self, other: Length) -> Length:
        return Length(self.months + other.months, self.days + other.days)

    def after(self, start: int, timezone: str) -> int:
        """The local midnight at which it is over."""
        at = start
        for cadence, n in ((Cadence.MONTH, self.months), (Cadence.DAY, self.days)):
            if n:
                at = Schedule(at, cadence, Anchor.ANNIVERSARY, timezone).nth(n - 1).end
        return at


def term_end(length: Length, start: int, at: int, timezone: str) -> int:
    """
    The end of the term that an instant lies in, of terms that follow each other from a start.

    Args:
        length: Only months or only days.
        at: Not before `start`.
    """
    cadence, size = (Cadence.MONTH, length.months) if length.months else (Cadence.DAY, length.days)
    schedule = Schedule(start, cadence, Anchor.ANNIVERSARY, timezone)
    n = schedule.index(at) // size + 1
    return schedule.nth(n * size - 1).end


def parse_length(text: str) -> Length:
    """
    Read "P1Y", "P3M", "P2W" or "P10D".

    Raises:
        Rejected: `invalid_parameter`.
    """
    found = _TEXT.fullmatch(text)
    if found is None:
        raise Rejected(
            "invalid_parameter", f"{text[:40]!r} is no length such as P3M, P1Y, P2W or P10D."
        )
    number, unit = int(found[1]), found[2]
    if unit in _MONTHS:
        return Length(months=number * _MONTHS[unit])
    return Length(days=number * _DAYS[unit])


def phase_ends(
    start: int, timezone: str, phases: list[tuple[Length | None, int | None]]
) -> list[int | None]:
    """
    When each phase is over.

    Args:
        phases: Length or end of each; only the last may have neither.

    Raises:
        Rejected: `invalid_parameter` for a phase with both, without both, or without any time.
    """
    ends: list[int | None] = []
    total = Length()
    counted_from = began = start
    for place, (length, until) in enumerate(phases):
        is_last = place == len(phases) - 1
        if length is not None and until is not None:
            raise _unclear(place, "has `for` and `until`; one of them says when it is over")
        if length is None and until is None and not is_last:
            raise _unclear(place, "needs `for` or `until`; only the last may go on")
        if length is not None:
            total += length
            until = total.after(counted_from, timezone)
        elif until is not None:
            counted_from, total = until, Length()
        if until is not None and until <= began:
            raise _unclear(place, f"would be over when it begins, at {format_instant(began)}")
        ends.append(until)
        began = until if until is not None else began
    return ends


def _unclear(place: int, text: str) -> Rejected:
    return Rejected("invalid_parameter", f"phases[{place}]: {text}.")
