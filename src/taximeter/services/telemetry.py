"""
What the node counts about itself, cheap enough for the hot path: integers and bucket arrays,
turned into Prometheus text only when somebody scrapes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque

# Upper bounds in seconds; from a memory look-up to a very slow disk.
LATENCY_BOUNDS = (
    0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025,
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
)  # fmt: skip


class Histogram:
    """Counts of durations by upper bound; the last bucket is open."""

    __slots__ = ("counts", "total_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(LATENCY_BOUNDS) + 1)
        self.total_s = 0.0

    def observe(self, seconds: float, times: int = 1) -> None:
        self.counts[bisect_left(LATENCY_BOUNDS, seconds)] += times
        self.total_s += seconds * times

    def quantile(self, q: float) -> float | None:
        """The bound below which the share `q` lies; None before the first observation."""
        total = sum(self.counts)
        if not total:
            return None
        seen = 0
        for bound, count in zip(LATENCY_BOUNDS, self.counts, strict=False):
            seen += count
            if seen >= q * total:
                return bound
        return float("inf")


class VerdictCounts:
    """
    Items received and what was decided about them, since the data directory began.

    `received` is counted where requests come in and the verdicts where they are decided, so that
    `balanced` is a real check and not a definition.
    """

    __slots__ = ("accepted", "conflicts", "duplicates", "received", "rejected")

    def __init__(self) -> None:
        self.received = self.accepted = self.duplicates = self.conflicts = self.rejected = 0

    @property
    def balanced(self) -> bool:
        decided = self.accepted + self.duplicates + self.conflicts + self.rejected
        return self.received == decided

    def as_dict(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in sorted(self.__slots__)}

    def load(self, counts: dict[str, int]) -> None:
        for name in self.__slots__:
            setattr(self, name, counts.get(name, 0))


class RateMeter:
    """Events per second over the last seconds, for people who watch."""

    def __init__(self, seconds: int = 60) -> None:
        self._buckets: deque[tuple[int, int]] = deque(maxlen=seconds)

    def add(self, second: int, count: int) -> None:
        if self._buckets and self._buckets[-1][0] == second:
            self._buckets[-1] = (second, self._buckets[-1][1] + count)
        else:
            self._buckets.append((second, count))

    def series(self, now_s: int, seconds: int = 60) -> list[int]:
        """Counts of the last whole seconds, oldest first, the running one left out."""
        counts = dict(self._buckets)
        return [counts.get(second, 0) for second in range(now_s - seconds, now_s)]


class Telemetry:
    """One node's measurements."""

    def __init__(self) -> None:
        self.ingest = Histogram()
        self.commit = Histogram()
        self.check = Histogram()
        self.consume = Histogram()
        self.commit_entries = 0
        self.commits = 0
        self.checks_allowed = 0
        self.checks_refused = 0
        self.identity_breaches = 0

    def decided(self, allowed: bool) -> None:
        """One answer of the gate."""
        if allowed:
            self.checks_allowed += 1
        else:
            self.checks_refused += 1
