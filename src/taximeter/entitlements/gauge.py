"""
A gauge: how much of one limit one customer, user or key has used.

For the billing period there are live counters; a gauge keeps what those do not: usage by calendar
window, over the last hours, or since the first use. It is fed with every usage event that counts
against the limit, in the order of the log.
"""

from __future__ import annotations

from typing import Any, Protocol

from taximeter.catalog.features import Limit, Reset
from taximeter.entitlements.calendar_usage import CalendarUsage
from taximeter.entitlements.first_use_usage import FirstUseUsage
from taximeter.entitlements.local_windows import LocalWindows, local_windows
from taximeter.entitlements.readings import Reading
from taximeter.entitlements.rolling_usage import RollingUsage
from taximeter.entitlements.rollover import MAX_HISTORY, carried_pico
from taximeter.quantities import E12


class Usage(Protocol):
    """Usage of one window, however the window is drawn."""

    def add(self, at: int, pico: int) -> None: ...
    def used_pico(self, now: int) -> int: ...
    def resets_at(self, now: int, need_pico: int) -> int | None: ...
    def prune(self, now: int) -> bool: ...
    def dump(self) -> Any: ...


class Gauge:
    """
    Args:
        limit: Of any reset but `period`.
        timezone: IANA name; calendar windows are those of the customer's zone.
        dumped: What `dump` gave, to go on from there.
    """

    __slots__ = ("_usage", "_windows", "limit")

    def __init__(self, limit: Limit, timezone: str, dumped: Any = None) -> None:
        assert limit.reset is not Reset.PERIOD, limit
        self.limit = limit
        self._windows: LocalWindows | None = None
        self._usage: Usage
        if limit.window_us is None:
            self._windows = local_windows(limit.reset, timezone)
            history = 0 if limit.rollover is None else MAX_HISTORY
            self._usage = CalendarUsage(self._windows, history, dumped or ())
        elif limit.reset is Reset.ROLLING:
            self._usage = RollingUsage(limit.window_us, dumped or ())
        else:
            self._usage = FirstUseUsage(limit.window_us, dumped)

    @classmethod
    def load(cls, limit: Limit, timezone: str, dumped: Any) -> Gauge:
        """Inverse of `dump`."""
        return cls(limit, timezone, dumped)

    def add(self, at: int, pico: int) -> None:
        """Count usage at its own time; a negative amount corrects. See the kinds of usage."""
        self._usage.add(at, pico)

    def used_pico(self, now: int) -> int:
        """Usage of the window that holds an instant; never below zero (K12)."""
        used_pico = self._usage.used_pico(now)
        return used_pico if used_pico > 0 else 0

    def resets_at(self, now: int, need_pico: int = 1) -> int | None:
        """
        When room comes back: the end of the window, which is outside of it. For a rolling window
        the first instant at which at least `need_pico` has left it.

        Returns:
            None if it never does, or if nothing was used in a window that opens with a use.
        """
        return self._usage.resets_at(now, need_pico)

    def carried_pico(self, now: int, since: int) -> int:
        """
        What rolled over into the running calendar window from earlier ones.

        Args:
            since: When the customer got the limit: windows that ended by then left nothing.
        """
        if self.limit.rollover is None or self._windows is None:
            return 0
        assert isinstance(self._usage, CalendarUsage), self.limit
        used: list[int] = []
        window = self._windows.before(self._windows.containing(now))
        while window is not None and window.end > since and len(used) < MAX_HISTORY:
            used.append(self._usage.used_from(window.start))
            window = self._windows.before(window)
        return carried_pico(self.limit, used[::-1])

    def reading(
        self,
        now: int,
        amount_pico: int = 0,
        *,
        reserved_pico: int = 0,
        scope: str | None = None,
        since: int | None = None,
    ) -> Reading:
        """
        Where the limit stands.

        Args:
            amount_pico: What is asked for: a rolling window then says when that much fits.
            scope: The value of the limit's level.
            since: As of `carried_pico`, for a limit with rollover.
        """
        limit, used_pico = self.limit, self.used_pico(now)
        limit_pico = limit.limit_pico
        if limit.rollover is not None and since is not None:
            limit_pico += self.carried_pico(now, since)
        most_pico = limit_pico + limit_pico * (limit.grace_pico or 0) // E12
        need_pico = max(1, used_pico + reserved_pico + amount_pico - most_pico)
        return Reading(
            limit_pico,
            used_pico,
            reserved_pico,
            self._usage.resets_at(now, need_pico),
            limit.enforcement,
            limit.grace_pico,
            limit.level,
            scope,
            key=limit.key,
        )

    def merge(self, other: Gauge) -> None:
        """Add what another gauge of the same limit counted. Not for `first_use`, whose windows
        depend on the order."""
        match self._usage, other._usage:
            case (CalendarUsage() as usage, CalendarUsage() as more):
                usage.merge(more)
            case (RollingUsage() as usage, RollingUsage() as more):
                usage.merge(more)
            case _:
                raise AssertionError(f"{self.limit.key} cannot be merged with {other.limit.key}")

    def prune(self, now: int) -> bool:
        """
        Forget what no later instant can ask for, rollover apart.

        Returns:
            Whether anything is left; if not, the gauge itself can be forgotten.
        """
        return self._usage.prune(now)

    def dump(self) -> Any:
        """Plain JSON-able values; equal usage gives an equal dump."""
        return self._usage.dump()
