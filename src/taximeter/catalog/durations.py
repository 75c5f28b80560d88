"""
Lengths of time as a catalogue writes them: `90s`, `5m`, `5h`, `1d`, `2w`.

They are exact stretches of time, not calendar units: `1d` is 24 hours, also when the clocks change.
"""

from __future__ import annotations

import re
from typing import Final

from taximeter.instants import DAY, HOUR, MINUTE, SECOND

MAX_DURATION: Final = 3660 * DAY
_UNITS: Final = {"w": 7 * DAY, "d": DAY, "h": HOUR, "m": MINUTE, "s": SECOND}
_TEXT: Final = re.compile(r"([1-9]\d{0,8})([smhdw])", re.ASCII)

DURATION_RULE: Final = "a whole number with s, m, h, d or w behind it, like 5h, up to 3660d"


def parse_duration(text: object) -> int | None:
    """Microseconds, from a second to `MAX_DURATION`; None if it is no duration."""
    match = _TEXT.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    length_us = int(match[1]) * _UNITS[match[2]]
    return length_us if length_us <= MAX_DURATION else None


def format_duration(length_us: int) -> str:
    """In the largest unit that divides it: 7 days are `1w`. Whole seconds only."""
    assert length_us > 0, length_us
    assert length_us % SECOND == 0, length_us
    name, unit = next((n, unit) for n, unit in _UNITS.items() if length_us % unit == 0)
    return f"{length_us // unit}{name}"
