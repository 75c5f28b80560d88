"""
When a delivery is tried again: the schedule of Standard Webhooks, with jitter.

Ten attempts over three days. The jitter follows from the delivery's id, so a schedule can be told
in advance, and deliveries that failed together do not come back together.
"""

from __future__ import annotations

import hashlib
from typing import Final

from taximeter.instants import DAY, HOUR, MINUTE, SECOND

DELAYS: Final = (
    5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR,
    24 * HOUR,
)  # fmt: skip
"""From one failed attempt to the next."""

MAX_ATTEMPTS: Final = 1 + len(DELAYS)
JITTER_PART: Final = 10
"""A delay becomes longer by less than one in this many."""
MAX_RETRY_AFTER: Final = 24 * HOUR
GIVE_UP_ON_ENDPOINT_AFTER: Final = 5 * DAY
"""An endpoint that has failed for so long, without one success, is disabled."""


def next_attempt_at(
    delivery: str, attempts: int, failed_at: int, retry_after: int = 0
) -> int | None:
    """
    Args:
        attempts: How many have failed, at least 1.
        retry_after: What the receiver asked for, microseconds; heeded up to a day.

    Returns:
        None if there is none: this was the last.
    """
    assert attempts >= 1
    if attempts >= MAX_ATTEMPTS:
        return None
    delay = DELAYS[attempts - 1]
    draw = int.from_bytes(hashlib.sha256(f"{delivery}/{attempts}".encode()).digest()[:4])
    jitter = delay * draw // (JITTER_PART << 32)
    return failed_at + max(delay + jitter, min(retry_after, MAX_RETRY_AFTER))
