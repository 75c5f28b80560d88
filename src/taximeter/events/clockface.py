"""
The instants of a whole batch at once, compiled.

Real traffic is one shape: "2026-11-20T10:00:00Z" with no, three or six digits of a second, alike
for all events of a sender. Such a batch is read in one compiled pass; anything else is left to
`instants.parse_instant`, which also says what is wrong. Both agree on every text that both read
(K1; a property test holds them against each other).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from taximeter.events.compiled import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

LENGTHS: Final = frozenset({20, 24, 27})
"""Of a text with 0, 3 or 6 digits of a second."""


def read_uniform(texts: list[str]) -> NDArray[np.int64] | None:
    """
    Microseconds since the epoch of texts of one shape.

    Returns:
        None if they are not all of one shape or one of them is not plainly an instant.
    """
    length = len(texts[0])
    if length not in LENGTHS:
        return None
    joined = "".join(texts)
    if len(joined) != length * len(texts) or not joined.isascii():
        return None
    instants = np.empty(len(texts), np.int64)
    return instants if _read(joined.encode(), length, instants) else None


@compiled
def _digits(text: bytes, start: int, stop: int) -> int:
    """The number written in decimal digits; -1 if there is anything else."""
    value = 0
    for i in range(start, stop):
        digit = int(text[i]) - 48
        if digit < 0 or digit > 9:
            return -1
        value = value * 10 + digit
    return value


@compiled
def _days(year: int, month: int, day: int) -> int:
    """
    Days since 1970-01-01 in the Gregorian calendar, -1 for a day that does not exist.

    Years are counted from March, so that the leap day comes last: then month lengths follow one
    formula.
    """
    if year < 1970 or month < 1 or month > 12 or day < 1:
        return -1
    leap = (year % 4 == 0 and year % 100 != 0) or year % 400 == 0
    long = month == 1 or month == 3 or month == 5 or month == 7 or month == 8 or month == 10
    length = 31 if long or month == 12 else 30
    if month == 2:
        length = 29 if leap else 28
    if day > length:
        return -1
    shifted_year = year - (month <= 2)
    shifted_month = (month + 9) % 12
    day_of_year = (153 * shifted_month + 2) // 5 + day - 1
    before = shifted_year * 365 + shifted_year // 4 - shifted_year // 100 + shifted_year // 400
    return before + day_of_year - 719468


@compiled
def _read(text: bytes, length: int, instants: NDArray[np.int64]) -> bool:
    for i in range(len(instants)):
        o = i * length
        if not (
            text[o + 4] == 45
            and text[o + 7] == 45
            and text[o + 10] == 84
            and text[o + 13] == 58
            and text[o + 16] == 58
            and text[o + length - 1] == 90
        ):
            return False
        days = _days(
            _digits(text, o, o + 4), _digits(text, o + 5, o + 7), _digits(text, o + 8, o + 10)
        )
        hour = _digits(text, o + 11, o + 13)
        minute = _digits(text, o + 14, o + 16)
        second = _digits(text, o + 17, o + 19)
        if days < 0 or hour < 0 or hour > 23 or minute < 0 or minute > 59:
            return False
        if second < 0 or second > 59:  # a leap second is left to the careful reader
            return False
        fraction = 0
        if length > 20:
            if text[o + 19] != 46:
                return False
            fraction = _digits(text, o + 20, o + length - 1)
            if fraction < 0:
                return False
            if length == 24:
                fraction *= 1000
        instants[i] = (
            ((days * 24 + hour) * 60 + minute) * 60_000_000 + second * 1_000_000 + fraction
        )
    return True
