"""
The words a meter's definition chooses from.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from taximeter.instants import DAY, HOUR, MINUTE, SECOND


class Aggregation(StrEnum):
    """How the values of many events become one quantity (K12)."""

    COUNT = "count"
    SUM = "sum"
    MAX = "max"
    MIN = "min"
    AVG = "avg"
    UNIQUE = "unique"
    LAST = "last"
    PERCENTILE = "percentile"
    WEIGHTED_SUM = "weighted_sum"
    SESSION = "session"
    CONCURRENCY = "concurrency"


SESSIONS: Final = (Aggregation.SESSION, Aggregation.CONCURRENCY)
"""Those whose value names a session."""

OVER_TIME: Final = (Aggregation.WEIGHTED_SUM, *SESSIONS)
"""Those that weigh time: what was before a period has a part in its quantity, and while it runs the
quantity grows without events."""


class Mode(StrEnum):
    """What an event says about a level."""

    SET = "set"
    DELTA = "delta"


class Precision(StrEnum):
    """Whether `unique` counts or estimates."""

    EXACT = "exact"
    SKETCH = "sketch"


class Per(StrEnum):
    """The unit of time of a quantity: a level of 2 for 3 hours is 6 per hour, 21600 per second."""

    SECOND = "second"
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"

    @property
    def microseconds(self) -> int:
        return _MICROSECONDS[self]


_MICROSECONDS: Final = {
    Per.SECOND: SECOND, Per.MINUTE: MINUTE, Per.HOUR: HOUR, Per.DAY: DAY,
}  # fmt: skip
