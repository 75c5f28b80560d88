"""
Forecast: when a limit will be reached if usage goes on as it has since its window began.

A straight line through the window's start and now, in exact integers. It needs some time to mean
anything: a twentieth of the window, or, if that never ends, as long as one looks ahead.
"""

from __future__ import annotations

from typing import Final

from taximeter.notices.readings import FeatureReading

SETTLED_AFTER: Final = 20
"""A forecast is made once a window is older than its length divided by this."""


def expected_at(reading: FeatureReading, now: int, within: int) -> int | None:
    """
    When the limit will be reached, rounded up to a microsecond.

    Args:
        within: How far to look ahead, microseconds.

    Returns:
        None if not before the window ends, not within `within` from now, if the limit is reached
        already or there is none, if nothing was used, or if it is too early to tell.
    """
    elapsed = now - reading.window_start
    if reading.limit_pico is None or reading.used_pico <= 0 or reading.rolling or elapsed <= 0:
        return None
    left_pico = reading.limit_pico - reading.used_pico
    if left_pico <= 0 or not _is_settled(reading, elapsed, within):
        return None
    ahead = -(-left_pico * elapsed // reading.used_pico)
    is_in_time = reading.resets_at is None or now + ahead < reading.resets_at
    return now + ahead if ahead <= within and is_in_time else None


def _is_settled(reading: FeatureReading, elapsed: int, within: int) -> bool:
    if reading.resets_at is None:
        return elapsed >= within
    return elapsed * SETTLED_AFTER >= reading.resets_at - reading.window_start
