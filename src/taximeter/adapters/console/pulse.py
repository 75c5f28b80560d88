"""
The numbers at the top of the console: what came in, what became of it, and how the node is.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

from taximeter.errors import TaximeterError
from taximeter.instants import SECOND
from taximeter.services.core import Core
from taximeter.services.telemetry import LATENCY_BOUNDS
from taximeter.services.tenant import Tenant

RATE_SECONDS = 60
COMMIT_WINDOW_TICKS = 150  # a minute of ticks


class Pulse(msgspec.Struct, frozen=True):
    """
    Attributes:
        failure: Code of what keeps events from being acknowledged, or None.
        position: Durable; the lags count events behind it or before it.
        commit_p99: Upper bound over the last minute: "≤ 2.5 ms", or "–" without commits.
        dead_letters: Not replayed yet.
        steps: What is set up already: events, catalogue, customers, subscriptions.
    """

    received: int
    accepted: int
    duplicates: int
    conflicts: int
    rejected: int
    balanced: bool
    failure: str | None
    position: int
    durable_lag: int
    store_lag: int
    commit_p99: str
    unmatched_subjects: int
    unmatched_events: int
    dead_letters: int
    customers: int
    checks_allowed: int
    checks_refused: int
    steps: tuple[bool, bool, bool, bool]


class PulseTaker:
    """Reads one namespace's pulse. Latencies and checks are the node's, all else its own."""

    def __init__(self, core: Core, tenant: Tenant) -> None:
        self._core = core
        self._tenant = tenant
        self._commits: deque[list[int]] = deque(maxlen=COMMIT_WINDOW_TICKS)
        self._dead_letters = 0

    def take(self) -> Pulse:
        core, tenant = self._core, self._tenant
        counts = tenant.counts
        durable = core.committer.position
        return Pulse(
            received=counts.received,
            accepted=counts.accepted,
            duplicates=counts.duplicates,
            conflicts=counts.conflicts,
            rejected=counts.rejected,
            balanced=counts.balanced,
            failure=self._failure(),
            position=durable,
            durable_lag=core.sequencer.position - durable,
            store_lag=max(0, durable - core.store.progress.position),
            commit_p99=self._commit_p99(),
            unmatched_subjects=len(tenant.live.unmatched),
            unmatched_events=sum(tenant.live.unmatched.values()),
            dead_letters=self._dead_letters,
            customers=len(tenant.customers),
            checks_allowed=core.telemetry.checks_allowed,
            checks_refused=core.telemetry.checks_refused,
            steps=(
                counts.accepted > 0,
                tenant.version > 0,
                bool(tenant.customers),
                bool(tenant.subscriptions),
            ),
        )

    def rate(self) -> dict[str, Any]:
        """Accepted events of each of the last seconds, oldest first, and which one is the last."""
        second = self._core.clock.now() // SECOND
        return {"at": second, "series": self._tenant.rate.series(second, RATE_SECONDS)}

    async def count_dead_letters(self) -> None:
        """Ask the books; for now and then."""
        books = self._core.books
        self._dead_letters = await books.run(books.books.pending_dead_letters, self._tenant.name)

    def _failure(self) -> str | None:
        try:
            self._core.committer.ready()
        except TaximeterError as error:
            return error.code
        return None

    def _commit_p99(self) -> str:
        counts = list(self._core.telemetry.commit.counts)
        before = self._commits[0] if self._commits else [0] * len(counts)
        self._commits.append(counts)
        return p99([now - then for now, then in zip(counts, before, strict=True)])


def p99(counts: list[int]) -> str:
    """The bound that 99 % of durations stay below, in words; `counts` as a `Histogram` has them."""
    total = sum(counts)
    if not total:
        return "–"
    seen = 0
    for bound_s, count in zip(LATENCY_BOUNDS, counts, strict=False):
        seen += count
        if 100 * seen >= 99 * total:
            return f"≤ {1000 * bound_s:g} ms" if bound_s < 1 else f"≤ {bound_s:g} s"
    return f"> {LATENCY_BOUNDS[-1]:g} s"
