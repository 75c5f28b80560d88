"""
A level that events change by a difference (`weighted_sum` with `mode: delta`), and what it comes to
over time.

Each change v at t adds v x (end - t) to the integral up to `end`, so two sums are the whole state,
whatever the number of changes. Levels are pico, times and durations microseconds; all of it exact.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Running(msgspec.Struct):
    """
    The changes of one period.

    Attributes:
        opening: Sum of all changes before the period.
        total: Sum of the changes in it.
        moment: Sum of each change x its time.
        newest: Time of the newest change in it, 0 for none.
    """

    opening: int = 0
    total: int = 0
    moment: int = 0
    newest: int = 0

    def change(self, level: int, at: int) -> None:
        self.total += level
        self.moment += level * at
        self.newest = max(self.newest, at)

    def carry_in(self, earlier: Running) -> None:
        """Count changes of periods before this one."""
        self.opening += earlier.opening + earlier.total

    def merged(self, other: Running) -> Running:
        """A new state with the changes of both, which are of the same period."""
        return Running(
            self.opening + other.opening,
            self.total + other.total,
            self.moment + other.moment,
            max(self.newest, other.newest),
        )

    def integral(self, start: int, end: int) -> int:
        """
        Level x time over [start, end), in pico x microseconds.

        Changes that lie ahead of `end`, by the clock of whoever sent them, are weighed as if it
        were the time of the newest.
        """
        end = max(end, self.newest)
        return self.opening * (end - start) + self.total * end - self.moment

    def __bool__(self) -> bool:
        return self != Running()

    def dump(self) -> list[str]:
        return [str(n) for n in (self.opening, self.total, self.moment, self.newest)]


def load_running(dumped: Any) -> Running:
    return Running(*map(int, dumped))
