"""
One embedded node: everything put together, started, kept going and stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from functools import partial
from pathlib import Path

import uvloop

from taximeter.adapters.books.sqlite import SqliteBooks
from taximeter.adapters.canary import asking, canary_key
from taximeter.adapters.clock import SandboxClock, SystemClock
from taximeter.adapters.delivery import notice_senders
from taximeter.adapters.delivery.tax_engine import HttpTaxEngine
from taximeter.adapters.documents.press import ProcessPress
from taximeter.adapters.http.auth import Authenticator, new_key
from taximeter.adapters.http.idempotency import Idempotency
from taximeter.adapters.http.messages import Request
from taximeter.adapters.http.routes import Surroundings, all_routes
from taximeter.adapters.http.server import Server
from taximeter.adapters.identity.index import IdentityIndex, warm_up
from taximeter.adapters.identity.keeper import IdentityKeeper, segment_spans
from taximeter.adapters.ledger import SqliteLedger
from taximeter.adapters.log import LogReader, SegmentLog
from taximeter.adapters.logs import configure_logging
from taximeter.adapters.snapshots import SnapshotFiles
from taximeter.adapters.store.process import StoreProcess
from taximeter.adapters.store.witness import clear_witnesses, witness
from taximeter.errors import Damaged, TaximeterError
from taximeter.events import decode
from taximeter.events.acceptance import AcceptanceWindow
from taximeter.instants import DAY, SECOND
from taximeter.live.snapshot import Stale, encode
from taximeter.ports import ApiKey
from taximeter.services import recovery
from taximeter.services.accounting import dunning
from taximeter.services.billing.issuing import clockwork as billing_clockwork
from taximeter.services.billing.terms.tax import engine_secret
from taximeter.services.canary import Canary
from taximeter.services.core import BooksThread, Core
from taximeter.services.corrections.carrying_out import go_on
from taximeter.services.corrections.records import settle_unfinished
from taximeter.services.feed import Feed
from taximeter.services.gate import clockwork
from taximeter.services.gate.commands import Commands
from taximeter.services.gate.ledger import Ledger
from taximeter.services.intake.committer import Committer
from taximeter.services.intake.sequencer import Sequencer
from taximeter.services.notices.readings import readings
from taximeter.services.notices.service import NoticeService
from taximeter.services.rebuild import (
    begin_again,
    begin_rebuild,
    rebuild,
    recount_subjects,
)
from taximeter.services.reconciliation.service import Reconciliation
from taximeter.services.rules.service import RuleService
from taximeter.services.telemetry import Telemetry
from taximeter.services.tenant import Tenant
from taximeter.settings import Settings

logger = logging.getLogger("taximeter.node")

DEFAULT_NAMESPACE = "default"
SNAPSHOT_EVERY_EVENTS = 500_000
SNAPSHOT_EVERY_S = 60.0
STOP_GRACE_S = 10.0
REMEMBERED_AT_LEAST = 50_000_000
REPLIES_KEPT = 2 * DAY
REPLIES_EXPIRE_EVERY_S = 3600.0
FOLLOW_UP_S = 0.05
LOG_READER = "taximeter.adapters.log:LogReader"


class Node:
    """
    A node on one data directory.

    Construction recovers (and may take seconds); `start` listens; `stop` leaves everything ready
    for a quick start.

    Raises:
        Refused: `log_locked`.
        Damaged: A person must look before this directory is used again.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        data = settings.data
        data.mkdir(parents=True, exist_ok=True)
        self.clock = SandboxClock() if settings.sandbox else SystemClock()
        self.log = SegmentLog.open(
            data / "log", segment_bytes=settings.segment_bytes, now=self.clock.now
        )
        self._books = SqliteBooks(data / "books.db")
        self._ledger_book = SqliteLedger(data / "ledger.db")
        self.keeper = IdentityKeeper(data / "identity")
        self.snapshots = SnapshotFiles(data / "live")
        self.telemetry = Telemetry()
        self.feed = Feed()
        self._window = AcceptanceWindow(
            settings.accept_past_s * SECOND, settings.accept_future_s * SECOND
        )
        self.tenants = recovery.load_tenants(self._books, self._new_tenant)
        self.tenants.setdefault(DEFAULT_NAMESPACE, self._new_tenant(DEFAULT_NAMESPACE))
        self._corrected: dict[str, set[str]] = {}
        self._stale, idle_entries, self._snapshot_position = self._recover()
        self.committer = Committer(self.log, on_commit=self._on_commit)
        self.sequencer = Sequencer(self.keeper, self.committer, self.log.position, self.feed.batch)
        self.sequencer.idle_entries = idle_entries
        self.store = StoreProcess(data / "events", data / "log", LOG_READER)
        self.core = Core(
            self.clock,
            BooksThread(self._books),
            self.store,
            self.committer,
            self.sequencer,
            self.feed,
            self.telemetry,
            self.tenants,
            self._new_tenant,
        )
        self.commands = Commands(self.core)
        self.core.commands = self.commands
        self.ledger = Ledger(self._ledger_book, self.committer, self.tenants)
        self.notices = NoticeService(self.core, notice_senders(settings), readings)
        self.core.notices = self.notices
        self.notices.load()
        self.rules = RuleService(self.core)
        self.core.rules = self.rules
        self.tax_engine = HttpTaxEngine(
            partial(engine_secret, self.keeper.secret),
            allow_private=settings.webhook_allow_private,
        )
        self.core.tax_engine = self.tax_engine
        self.core.press = ProcessPress(data / "documents")
        clear_witnesses(data)
        self.reconciliation = Reconciliation(
            self.core,
            self.ledger,
            partial(witness, data, data / "log", LOG_READER),
            LogReader(data / "log").read,
            data / "events",
        )
        self.core.reconciliation = self.reconciliation
        self.core.canary = self.canary = Canary(self.core, settings.canary_every_s)
        self.owner_key = self._ensure_owner_key()
        self._canary_key = canary_key(data, self._books, self.clock.now())
        self._closed_segments = len(list(segment_spans(self.log.segments())))
        self._tasks: list[asyncio.Task[None]] = []
        self._follow_up: asyncio.TimerHandle | None = None
        self.server: Server | None = None
        self.port = 0

    def _new_tenant(self, name: str) -> Tenant:
        return Tenant(name, self.keeper.secret, self._window)

    # --- recovery -----------------------------------------------------------------------------

    def _recover(self) -> tuple[dict[str, Stale], int, int]:
        snapshot, stale = recovery.load_snapshot(
            self.snapshots.newest_first(),
            self.tenants,
            min(self.log.position, self._ledger_book.position),
        )
        spans = list(segment_spans(self.log.segments()))
        known = self.keeper.load_closed(spans, self._expired_before())
        read, idle_entries, self._corrected = recovery.replay(
            self.log, self.tenants, self._new_tenant, self.keeper, snapshot, known
        )
        logger.info(
            "recovered",
            extra={
                "position": self.log.position,
                "snapshot": snapshot.position,
                "replayed": read,
                "identities": len(self.keeper.index),
            },
        )
        return stale, idle_entries, snapshot.position

    def _expired_before(self) -> int:
        """
        The seq below which identities are forgotten: everything in segments last written longer
        ago than the acceptance window, with a day to spare, but never one of the newest 50
        million. A backfill may repeat events of any age, so what costs little is remembered.
        """
        window = self._window.past_us + self._window.future_us + DAY
        horizon_s = (self.clock.now() - window) // SECOND
        expired = 0
        for segment in self.log.segments():
            if not segment.closed or segment.path.stat().st_mtime > horizon_s:
                break
            expired = segment.last_seq
        return max(1, min(expired, self.log.position - REMEMBERED_AT_LEAST) + 1)

    async def _fold_stale(self) -> None:
        """Fold what the snapshot did not have, before anybody can ask."""
        upto = min(self.core.sequencer.position, self._snapshot_position)
        for name, customers in self._corrected.items():
            if customers:
                found = begin_again(self.core, self.tenants[name], customers)
                await rebuild(self.core, self.tenants[name], found, "correction")
        for name, stale in self._stale.items():
            tenant = self.tenants[name]
            stale.customers -= self._corrected.get(name, set())
            everyone = tenant.live.accounts.keys() - stale.customers
            everyone -= self._corrected.get(name, set())
            counters = tenant.live.layout.counters
            missing = [counter for counter in counters if counter.key in stale.counters]
            if upto and (stale.customers or stale.given_up):
                await recount_subjects(
                    self.core, tenant, sorted(stale.customers), sorted(stale.given_up), upto
                )
            for customers, wanted in ((stale.customers, counters), (everyone, missing)):
                if customers and wanted and upto:
                    found = begin_rebuild(self.core, tenant, sorted(customers), wanted, upto=upto)
                    await rebuild(self.core, tenant, found, "start")

    # --- keys ---------------------------------------------------------------------------------

    def _ensure_owner_key(self) -> str | None:
        """
        Returns:
            The secret if this is the first start, to be shown once.
        """
        path = self.settings.data / "owner.key"
        if self._books.keys():
            return None
        secret, digest = new_key()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secret + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._books.add_key(
            ApiKey(
                id="key_owner",
                namespace=DEFAULT_NAMESPACE,
                name="owner",
                prefix=secret[:8],
                digest=digest,
                scopes=("admin",),
                created_at=self.clock.now(),
            )
        )
        return secret

    # --- life ---------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen. Everything answered from here on is exact."""
        warm_up()
        decode.warm_up()
        self.store.start(self.log.position)
        await self._fold_stale()
        await settle_unfinished(self.core)
        await go_on(self.core, self.ledger)
        spans = list(segment_spans(self.log.segments()))
        self.core.keep(asyncio.create_task(self._segments_closed(spans)))
        settings = self.settings
        authenticator = Authenticator(
            self._books.keys(),
            self.clock.now,
            dev_namespace=DEFAULT_NAMESPACE if settings.dev else None,
        )
        surroundings = Surroundings(
            self.core,
            authenticator,
            self.log,
            self.keeper,
            settings,
            self.commands,
            self.ledger,
        )
        self.server = Server(
            all_routes(surroundings),
            authenticator,
            idempotency=Idempotency(self._books, self.clock.now, self.core.books.run),
            observe=self._observe,
        )
        self.port = await self.server.start(settings.host, settings.port)
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000, 50, 50)
        self._tasks = [
            asyncio.create_task(self._snapshot_now_and_then()),
            asyncio.create_task(self._check_identity()),
            asyncio.create_task(self._forget_replies()),
            asyncio.create_task(clockwork.run(self.core, self.commands)),
            asyncio.create_task(billing_clockwork.run(self.core)),
            asyncio.create_task(dunning.run(self.core)),
        ]
        await self.notices.start()
        await self.rules.start()
        await self.reconciliation.start()
        await self.canary.start(asking(settings.host, self.port, self._canary_key))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self.server is not None:
            await self.server.stop(STOP_GRACE_S)
        await self.canary.stop()
        await self.reconciliation.stop()
        await self.rules.stop()
        await self.notices.stop()
        await self.tax_engine.close()
        await self.committer.close()
        if self.committer.failure is None and self.committer.full is None:
            await self._snapshot()
        await self.store.close()
        self.core.books.close()
        self.ledger.close()
        self._books.close()
        self._ledger_book.close()
        self.log.close()

    def _observe(self, request: Request, status: int, seconds: float) -> None:
        route = request.route
        if status >= 500:
            path = route.path if route is not None else "?"
            logger.error(
                "request failed",
                extra={"request_id": request.request_id, "path": path, "status": status},
            )
        if route is not None and route.path == "/v1/events":
            self.telemetry.ingest.observe(seconds)

    def _on_commit(self, position: int, entries: int, seconds: float) -> None:
        self.telemetry.commit.observe(seconds)
        self.telemetry.commits += 1
        self.telemetry.commit_entries += entries
        if self._follow_up is None:
            loop = asyncio.get_running_loop()
            self._follow_up = loop.call_later(FOLLOW_UP_S, self._after_commits)

    def _after_commits(self) -> None:
        """What need not be done for each frame: thousands come in a second."""
        self._follow_up = None
        self.store.notify(self.committer.position)
        self.core.keep(asyncio.create_task(self.ledger.follow()))
        spans = list(segment_spans(self.log.segments()))
        if len(spans) > self._closed_segments:
            fresh, self._closed_segments = spans[self._closed_segments :], len(spans)
            self.core.keep(asyncio.create_task(self._segments_closed(fresh)))

    async def _segments_closed(self, spans: list[tuple[int, int]]) -> None:
        for closed in self.keeper.take_closed(spans):
            try:
                await asyncio.to_thread(closed.write)
            except OSError as error:
                logger.warning("identities of a segment were not written: %s", error)
        before = self._expired_before()
        for _ in range(IdentityIndex.SHARDS if before > 1 else 0):
            self.keeper.expire(before)  # a bounded part of the index a call
            await asyncio.sleep(0.01)

    async def _snapshot_now_and_then(self) -> None:
        """After many events, after a while, and soon after anything was configured."""
        waited = 0.0
        while True:
            await asyncio.sleep(1.0)
            waited += 1.0
            fresh = self.sequencer.position - self._snapshot_position
            due = fresh >= SNAPSHOT_EVERY_EVENTS or (fresh and waited >= SNAPSHOT_EVERY_S)
            if (due or self.core.changed.is_set()) and not self.core.rebuilds:
                self.core.changed.clear()
                waited = 0.0
                await self._snapshot()

    async def _snapshot(self) -> None:
        position = self.sequencer.position
        snapshot = recovery.take_snapshot(self.tenants, position, self.sequencer.idle_entries)
        try:
            await self.committer.flushed()
            await self.ledger.catch_up(note_position=True)
            await self.rules.catch_up()
            await asyncio.to_thread(lambda: self.snapshots.write(position, encode(snapshot)))
            self._snapshot_position = position
        except (OSError, TaximeterError) as error:
            logger.warning("no snapshot was written: %s", error)

    async def _check_identity(self) -> None:
        """received = accepted + duplicates + conflicts + rejected, for ever."""
        while True:
            await asyncio.sleep(1.0)
            for tenant in self.tenants.values():
                if not tenant.counts.balanced:
                    self.telemetry.identity_breaches += 1
                    logger.critical(
                        "events are unaccounted for", extra={"counts": tenant.counts.as_dict()}
                    )

    async def _forget_replies(self) -> None:
        """First answers to idempotency keys are kept for a while, not for ever (K17)."""
        while True:
            before = self.clock.now() - REPLIES_KEPT
            try:
                await self.core.books.run(self._books.expire_replies, before)
            except TaximeterError as error:
                logger.warning("old replies were not removed: %s", error)
            await asyncio.sleep(REPLIES_EXPIRE_EVERY_S)


def run(settings: Settings) -> int:
    """`taximeter serve`: run until a signal. Exit code 0, or 1 if the node could not start."""
    configure_logging(settings.log_level)
    try:
        return uvloop.run(_serve(settings))
    except TaximeterError as error:
        hint = _damage_hint(error, settings.data)
        print(f"taximeter: {error.message}{hint}", file=sys.stderr)
        return 1


def _damage_hint(error: TaximeterError, data: Path) -> str:
    if isinstance(error, Damaged):
        return f"\nNothing was changed. Look closer with: taximeter doctor --data {data}"
    if error.code == "log_locked":
        return "\nStop it first, or choose another directory with --data."
    return ""


async def _serve(settings: Settings) -> int:
    node = Node(settings)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    try:
        await node.start()
    except OSError as error:
        await node.stop()
        print(
            f"taximeter: cannot listen on {settings.host}:{settings.port}: {error.strerror}",
            file=sys.stderr,
        )
        return 1
    if node.owner_key is not None:
        print(f"owner key (shown once, kept in {settings.data / 'owner.key'}): {node.owner_key}")
    print(f"taximeter ready on http://{settings.host}:{node.port}", flush=True)
    await stopped.wait()
    logger.info("stopping")
    await node.stop()
    return 0
