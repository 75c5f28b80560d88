"""
Repairs: each derives something again from what is upstream of it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from taximeter.errors import Refused
from taximeter.reconciliation.gap import Gap, Repair
from taximeter.services import recovery
from taximeter.services.billing.evidence.recheck import recheck
from taximeter.services.core import Core, audit
from taximeter.services.gate.ledger import Ledger
from taximeter.services.intake.ingest import replay_dead_letters
from taximeter.services.rebuild import mark, rebuild
from taximeter.services.reconciliation.bills import restored
from taximeter.services.reconciliation.money import entries_again
from taximeter.services.replay import ReadLog, replay_from_zero
from taximeter.services.tenant import Tenant


class Repairs:
    """
    Args:
        read_log: Reads the log from its directory, from any thread.
        events_directory: Of the event store's files.
    """

    def __init__(
        self, core: Core, ledger: Ledger, read_log: ReadLog, events_directory: Path
    ) -> None:
        self._core = core
        self._ledger = ledger
        self._read_log = read_log
        self._events_directory = events_directory

    async def make(self, tenant: Tenant, gap: Gap, actor: str) -> None:
        """
        The automatic repair of a gap.

        Raises:
            Refused: `not_repairable`: a replay does not give what it should.
        """
        match gap.repair:
            case Repair.REBUILD_ACCOUNT:
                await self._rebuild_account(tenant, _customer(gap))
            case Repair.REBUILD_STORE:
                await self._rebuild_store()
            case Repair.REBUILD_LEDGER:
                await self._rebuild_ledger(tenant)
            case Repair.REPLAY_DEAD_LETTERS:
                await replay_dead_letters(self._core, tenant, code=None, after=0, limit=1000)
            case Repair.RERATE:
                await self._restore_invoice(tenant, gap, actor)
            case Repair.REPOST:
                await self._repost(tenant, gap)

    async def _rebuild_account(self, tenant: Tenant, customer: str) -> None:
        """Its counters again, from history; what it holds beside them stays."""
        core = self._core
        async with core.lock(tenant):
            seen = tenant.live.accounts[customer].seen
            tenant.reset_account(customer)
            missing = mark(core, tenant, customer, seen)
        if missing is not None:
            await rebuild(core, tenant, missing, "reconciliation")

    async def _rebuild_store(self) -> None:
        """The store finds its files gone and writes them again from the log."""
        for file in self._events_directory.glob("*.parquet"):
            file.unlink(missing_ok=True)
        await self._core.store.find("", 1)

    async def _rebuild_ledger(self, tenant: Tenant) -> None:
        core = self._core
        upto = await core.upto()

        def make(name: str) -> Tenant:
            return Tenant(name, b"", tenant.window)

        configured = await core.books.run(recovery.load_tenants, core.books.books, make)
        again = await asyncio.to_thread(replay_from_zero, configured, make, self._read_log, upto)
        await self._ledger.restore(again.booked(tenant.name))

    async def _restore_invoice(self, tenant: Tenant, gap: Gap, actor: str) -> None:
        core, books = self._core, self._core.books.books
        invoice_id = gap.target.partition("/")[0]
        stored = await core.books.run(books.invoice, tenant.name, invoice_id)
        assert stored is not None, "invoices are kept"
        document = restored(await recheck(core, tenant, stored))
        if document is None:
            raise Refused("not_repairable", "Rating it again does not give what its digest says.")
        entry = audit(tenant, core.clock.now(), actor, "invoice.restore", invoice_id)
        await core.books.run(
            books.restore_invoice, msgspec.structs.replace(stored, document=document), entry
        )

    async def _repost(self, tenant: Tenant, gap: Gap) -> None:
        core, books = self._core, self._core.books.books
        stored = await core.books.run(books.invoice, tenant.name, gap.target.partition("/")[0])
        assert stored is not None, "invoices are kept"
        entries = entries_again(tenant, stored)
        await core.books.run(books.repost, tenant.name, entries, core.clock.now())


def _customer(gap: Gap) -> str:
    assert gap.customer is not None, "an account is a customer's"
    return gap.customer
