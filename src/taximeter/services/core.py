"""
What every use case is given: the tenants in memory and the ports behind them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from taximeter.errors import NotFound, Rejected, Unavailable
from taximeter.instants import format_instant
from taximeter.live.refold import Folded, FoldSpec
from taximeter.ports import (
    AuditEntry,
    Books,
    Clock,
    EventsQuery,
    LateQuery,
    LateRow,
    LineScope,
    Recount,
    Selection,
    StoredEvent,
    UsageQuery,
    UsageRow,
)
from taximeter.ports.press import Press
from taximeter.ports.tax import TaxEngine
from taximeter.rules.trial import Trial, TrialSpec
from taximeter.services.feed import Feed
from taximeter.services.intake.committer import Committer
from taximeter.services.intake.sequencer import Sequencer
from taximeter.services.telemetry import Telemetry
from taximeter.services.tenant import Tenant

if TYPE_CHECKING:
    from taximeter.services.canary import Canary
    from taximeter.services.gate.commands import Commands
    from taximeter.services.notices.service import NoticeService
    from taximeter.services.reconciliation.service import Reconciliation
    from taximeter.services.rules.service import RuleService

T = TypeVar("T")

POSITION_TIMEOUT_S = 5.0


class BooksThread:
    """
    The books, used from the event loop: one thread, so one transaction at a time and in order.
    """

    def __init__(self, books: Books) -> None:
        self.books = books
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="books")

    async def run(self, call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: call(*args, **kwargs))

    def close(self) -> None:
        self._executor.shutdown(wait=True)


class StoreProgress(Protocol):
    """Positions of the log that the store has taken in, and has in its files."""

    @property
    def position(self) -> int: ...
    @property
    def sealed_position(self) -> int: ...


class Store(Protocol):
    """`ports.EventStore`, answered by another process. `progress` is how far it has come."""

    @property
    def progress(self) -> StoreProgress: ...

    async def usage(self, query: UsageQuery) -> list[UsageRow]: ...
    async def recount(
        self, scopes: Sequence[LineScope], *, proofs: bool = True, anew: bool = False
    ) -> list[list[Recount]]: ...
    async def events(self, query: EventsQuery) -> list[StoredEvent]: ...
    async def line_events(
        self, scope: LineScope, group: tuple[str | None, ...], after: int, limit: int
    ) -> list[StoredEvent]: ...
    async def select(self, selection: Selection) -> list[StoredEvent]: ...
    async def late(self, query: LateQuery) -> list[LateRow]: ...
    async def find(self, namespace: str, seq: int) -> StoredEvent | None: ...
    async def count_by_subject(
        self, namespace: str, upto: int, subjects: Sequence[str]
    ) -> dict[str, int]: ...
    def scan(
        self,
        namespace: str,
        upto: int,
        types: Iterable[str],
        subjects: Iterable[str] | None = None,
    ) -> AsyncIterator[StoredEvent]: ...
    async def fold(self, spec: FoldSpec) -> Folded: ...
    async def trial(self, spec: TrialSpec) -> Trial: ...


class Core:
    """
    One node's state and ports.

    Attributes:
        rebuilds: Folds of history under way, for /v1/status.
        notices: Set by the node; without it, nobody is told anything.
        rules: Set by the node; without it, fires of rules are not followed up.
        press: Set by the node; without it, there are no documents.
        reconciliation: Set by the node; without it, nothing is compared.
        canary: Set by the node.
        commands: Set by the node; without it, no credit pays an invoice.
        tax_engine: Set by the node; without it, no engine outside is asked about taxes.
    """

    def __init__(
        self,
        clock: Clock,
        books: BooksThread,
        store: Store,
        committer: Committer,
        sequencer: Sequencer,
        feed: Feed,
        telemetry: Telemetry,
        tenants: dict[str, Tenant],
        new_tenant: Callable[[str], Tenant],
    ) -> None:
        self.clock = clock
        self.books = books
        self.store = store
        self.committer = committer
        self.sequencer = sequencer
        self.feed = feed
        self.telemetry = telemetry
        self.tenants = tenants
        self._new_tenant = new_tenant
        self._locks: dict[str, asyncio.Lock] = {}
        self.rebuilds: list[dict[str, Any]] = []
        self.changed = asyncio.Event()
        self.notices: NoticeService | None = None
        self.rules: RuleService | None = None
        self.press: Press | None = None
        self.reconciliation: Reconciliation | None = None
        self.canary: Canary | None = None
        self.commands: Commands | None = None
        self.tax_engine: TaxEngine | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    def tenant(self, namespace: str) -> Tenant:
        found = self.tenants.get(namespace)
        if found is None:
            found = self.tenants[namespace] = self._new_tenant(namespace)
        return found

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Hold on to a task that outlives its request."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def lock(self, tenant: Tenant) -> asyncio.Lock:
        """Held while a namespace's configuration changes: one change after the other."""
        return self._locks.setdefault(tenant.name, asyncio.Lock())

    def as_of(self) -> dict[str, str]:
        """What an answer from memory reflects."""
        return {
            "position": f"0:{self.sequencer.position}",
            "time": format_instant(self.clock.now()),
        }

    async def upto(self, at_least: str | None = None) -> int:
        """
        The position an answer from history is to reflect: everything sequenced until now, and at
        least what the client asks for.

        Raises:
            Rejected: `invalid_parameter` for what is no position.
            Unavailable: `position_not_reached` within five seconds.
        """
        wanted = parse_position(at_least) if at_least is not None else 0
        deadline = asyncio.get_running_loop().time() + POSITION_TIMEOUT_S
        while self.sequencer.position < wanted:
            if asyncio.get_running_loop().time() > deadline:
                raise Unavailable(
                    "position_not_reached",
                    f"The log is at 0:{self.sequencer.position}, not yet at 0:{wanted}.",
                )
            await asyncio.sleep(0.01)
        position = self.sequencer.position
        await self.committer.settled(position)
        # While the disk is full or has failed, what is not on it was acknowledged to nobody.
        return min(position, self.committer.position)


def parse_position(text: str) -> int:
    """The seq of a position "0:1482"."""
    partition, _, seq = text.partition(":")
    if partition != "0" or not seq.isascii() or not seq.isdigit() or len(seq) > 15:
        raise Rejected("invalid_parameter", 'A position looks like "0:1482".')
    return int(seq)


def require_customer(tenant: Tenant, key: str) -> None:
    if key not in tenant.customers:
        raise NotFound("not_found", f"There is no customer {key!r}.")


def audit(
    tenant: Tenant, at: int, actor: str, action: str, target: str, /, **detail: Any
) -> AuditEntry:
    return AuditEntry(0, tenant.name, at, actor, action, target, detail)
