"""
Reconciliation, all the time: a few customers and a few invoices at a time, for ever.

One pass looks at everything once. It takes what it needs and then rests twenty times as long, so it
never costs more than a twentieth of a core. What was found stays known until the same place has
been looked at again; nothing is stored, because a gap that is there is found again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import msgspec

from taximeter.errors import NotFound, Refused, TaximeterError
from taximeter.instants import DAY, format_instant
from taximeter.money import format_exact
from taximeter.periods import Period
from taximeter.ports import SentCount, StoredInvoice
from taximeter.reconciliation.gap import Cause, Gap, dump_gap
from taximeter.services.billing.correcting import late
from taximeter.services.core import Core, audit
from taximeter.services.gate.ledger import Ledger
from taximeter.services.reconciliation.bills import gaps_of_invoices
from taximeter.services.reconciliation.counts import OpenWitness, Verdicts, gaps_of_counts
from taximeter.services.reconciliation.edges import (
    ClientStats,
    gaps_of_refused,
    gaps_of_sent,
    gaps_of_stats,
    gaps_of_unmatched,
)
from taximeter.services.reconciliation.money import gaps_of_money
from taximeter.services.reconciliation.repairs import Repairs
from taximeter.services.reconciliation.wallets import gaps_of_wallets
from taximeter.services.replay import ReadLog
from taximeter.services.tenant import Tenant

logger = logging.getLogger(__name__)

CUSTOMERS_A_SLICE: Final = 50
CUSTOMERS_BEFORE_CLOSE: Final = 500
INVOICES_A_SLICE: Final = 50
PERIODS: Final = 2
FIRST_AFTER_S: Final = 10.0
REST: Final = 20
MIN_REST_S: Final = 1.0
PASS_REST_S: Final = 30.0
SENT_KEPT: Final = 400 * DAY
SETTING: Final = "reconciliation"

EDGES, WALLETS = "edges", "wallets"


class Rules(msgspec.Struct, frozen=True):
    """`tolerance`: the share of what is expected that a gap may be without holding back a close."""

    tolerance: str = "0"


class Watermark(msgspec.Struct):
    """
    How far the sweep of a namespace has come.

    Attributes:
        position: Everything the last slice compared reflects the log up to here.
        finished_at: End of the last whole pass; None before the first.
        compared, invoices: Numbers and documents compared since the start.
    """

    position: int = 0
    checked_at: int | None = None
    finished_at: int | None = None
    passes: int = 0
    compared: int = 0
    invoices: int = 0


class Known(msgspec.Struct):
    """
    What is known of one namespace.

    Attributes:
        gaps: By the place they were found at: a customer, an invoice, an edge.
        looked_at: When the counters of each customer were compared last.
        told: Ids of the gaps somebody was told about.
    """

    watermark: Watermark
    tolerance: Fraction
    gaps: dict[tuple[str, str], list[Gap]]
    told: set[str]
    looked_at: dict[str, int] = {}


class Reconciliation:
    """
    Args:
        witness: A store made from the log alone.
        read_log: Reads the log from its directory, from any thread.
        events_directory: Of the event store's files.
    """

    def __init__(
        self,
        core: Core,
        ledger: Ledger,
        witness: OpenWitness,
        read_log: ReadLog,
        events_directory: Path,
    ) -> None:
        self._core = core
        self._ledger = ledger
        self._witness = witness
        self._repairs = Repairs(core, ledger, read_log, events_directory)
        self._known: dict[str, Known] = {}
        self._task: asyncio.Task[None] | None = None
        self._working = asyncio.Lock()
        self._verdicts: Verdicts = {}

    async def start(self) -> None:
        self._task = asyncio.create_task(self._sweep(), name="reconciliation")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    # --- what is known ------------------------------------------------------------------------

    def gaps(self, namespace: str) -> list[Gap]:
        """Those found when each place was looked at last."""
        known = self._known.get(namespace)
        return [] if known is None else [gap for found in known.gaps.values() for gap in found]

    def watermark(self, namespace: str) -> Watermark:
        known = self._known.get(namespace)
        return Watermark() if known is None else known.watermark

    def blocking_gaps(self, tenant: Tenant, customer: str, period: Period) -> list[Gap]:
        """What should be closed before a period of a customer is billed."""
        known = self._known.get(tenant.name)
        tolerance = Fraction(0) if known is None else known.tolerance
        return [g for g in self.gaps(tenant.name) if g.blocks(tolerance, customer, period)]

    async def report(self, tenant: Tenant, customer: str | None = None) -> dict[str, Any]:
        """The JSON of the HTTP interface."""
        known = await self._of(tenant)
        found = [
            gap
            for gap in sorted(self.gaps(tenant.name), key=lambda gap: gap.id)
            if customer is None or gap.customer == customer
        ]
        mark, counts = known.watermark, tenant.counts
        return {
            "ok": not found,
            "checked": {
                "position": f"0:{mark.position}",
                "at": _instant(mark.checked_at),
                "finished_at": _instant(mark.finished_at),
                "passes": mark.passes,
                "numbers": mark.compared,
                "invoices": mark.invoices,
            },
            "tolerance": format_exact(known.tolerance),
            "events": {**counts.as_dict(), "balanced": counts.balanced},
            "items": [dump_gap(gap, known.tolerance) for gap in found],
            "next": None,
        }

    async def _of(self, tenant: Tenant) -> Known:
        known = self._known.get(tenant.name)
        if known is None:
            books = self._core.books
            text = await books.run(books.books.setting, tenant.name, SETTING)
            rules = Rules() if text is None else msgspec.json.decode(text, type=Rules)
            found = Known(Watermark(), Fraction(rules.tolerance), {}, set())
            known = self._known.setdefault(tenant.name, found)
        return known

    async def set_tolerance(self, tenant: Tenant, tolerance: Fraction, actor: str) -> None:
        known, books = await self._of(tenant), self._core.books
        text = format_exact(tolerance)
        rules = msgspec.json.encode(Rules(text)).decode()
        await books.run(books.books.put_setting, tenant.name, SETTING, rules)
        entry = audit(
            tenant, self._core.clock.now(), actor, "reconciliation.set", "tolerance", value=text
        )
        await books.run(books.books.add_audit, entry)
        known.tolerance = tolerance

    # --- looking ------------------------------------------------------------------------------

    async def look(self, tenant: Tenant, customer: str | None = None) -> None:
        """At everything of a namespace, or of a customer, all periods, now."""
        await late.look(self._core, tenant)
        customers = sorted(tenant.customers) if customer is None else [customer]
        for start in range(0, len(customers), CUSTOMERS_A_SLICE):
            await self._customers(tenant, customers[start : start + CUSTOMERS_A_SLICE], None)
        after: str | None = None
        while True:
            after = await self._invoices(tenant, after, customer)
            if after is None:
                break
        await self._edges(tenant)
        if customer is None:
            self._finished(await self._of(tenant))

    async def look_before_close(self, tenant: Tenant, ends: Mapping[str, int]) -> None:
        """
        Compare the counters of customers about to be billed, where that was not done since their
        periods ended.

        Args:
            ends: Customer -> the end of its newest period that is due.
        """
        looked_at = (await self._of(tenant)).looked_at
        due = sorted(key for key, end in ends.items() if looked_at.get(key, -1) < end)
        for start in range(0, len(due), CUSTOMERS_BEFORE_CLOSE):
            part = due[start : start + CUSTOMERS_BEFORE_CLOSE]
            await self._customers(tenant, part, PERIODS)

    async def _sweep(self) -> None:
        await asyncio.sleep(FIRST_AFTER_S)
        while True:
            for tenant in list(self._core.tenants.values()):
                try:
                    await self._pass(tenant)
                except (TaximeterError, ValueError) as error:
                    logger.warning("reconciliation is put off: %s", error)
            await asyncio.sleep(PASS_REST_S)

    async def _pass(self, tenant: Tenant) -> None:
        await self._resting(late.look(self._core, tenant))
        customers = sorted(tenant.customers)
        for start in range(0, len(customers), CUSTOMERS_A_SLICE):
            part = customers[start : start + CUSTOMERS_A_SLICE]
            await self._resting(self._customers(tenant, part, PERIODS))
        after: str | None = None
        while True:
            after = await self._resting(self._invoices(tenant, after, None))
            if after is None:
                break
        await self._resting(self._edges(tenant))
        self._finished(await self._of(tenant))
        await self._core.books.run(
            self._core.books.books.forget_sent_counts, self._core.clock.now() - SENT_KEPT
        )

    async def _resting(self, work: Any) -> Any:
        """Do something, and then nothing for much longer."""
        began = time.perf_counter()
        result = await work
        await asyncio.sleep(max(MIN_REST_S, REST * (time.perf_counter() - began)))
        return result

    def _finished(self, known: Known) -> None:
        known.watermark.passes += 1
        known.watermark.finished_at = self._core.clock.now()

    async def _customers(
        self, tenant: Tenant, customers: Sequence[str], newest: int | None
    ) -> None:
        async with self._working:
            gaps, compared, position = await gaps_of_counts(
                self._core, tenant, customers, newest, self._witness, self._verdicts
            )
        known = await self._of(tenant)
        known.watermark.compared += compared
        self._checked(known, position)
        by_customer: dict[str, list[Gap]] = {customer: [] for customer in customers}
        for gap in gaps:
            assert gap.customer is not None, "counted for a customer"
            by_customer[gap.customer].append(gap)
        now = self._core.clock.now()
        for customer, found in by_customer.items():
            self._found(tenant, known, ("customer", customer), found)
            known.looked_at[customer] = now

    async def _invoices(
        self, tenant: Tenant, after: str | None, customer: str | None
    ) -> str | None:
        """Some invoices; returns where to go on."""
        books = self._core.books
        stored: list[StoredInvoice] = await books.run(
            books.books.invoices,
            tenant.name,
            customer=customer,
            status=None,
            after=after,
            limit=INVOICES_A_SLICE,
        )
        known = await self._of(tenant)
        of_invoices = await gaps_of_invoices(self._core, tenant, stored)
        for one in stored:
            gaps = of_invoices[one.id]
            if not any(gap.cause is Cause.ALTERED for gap in gaps):
                gaps += await gaps_of_money(self._core, tenant, one)
            known.watermark.invoices += 1
            self._found(tenant, known, ("invoice", one.id), gaps)
        self._checked(known, self._core.committer.position)
        return stored[-1].id if len(stored) == INVOICES_A_SLICE else None

    async def _edges(self, tenant: Tenant) -> None:
        known, books = await self._of(tenant), self._core.books
        sent = await books.run(books.books.sent_counts, tenant.name)
        gaps = [
            *await gaps_of_sent(self._core, tenant, sent),
            *await gaps_of_refused(self._core, tenant),
            *gaps_of_unmatched(tenant),
        ]
        self._found(tenant, known, (EDGES, ""), gaps)
        wallets = await gaps_of_wallets(self._core, tenant, self._ledger)
        self._found(tenant, known, (WALLETS, ""), wallets)

    def _checked(self, known: Known, position: int) -> None:
        known.watermark.position = max(known.watermark.position, position)
        known.watermark.checked_at = self._core.clock.now()

    def _found(self, tenant: Tenant, known: Known, place: tuple[str, str], gaps: list[Gap]) -> None:
        if gaps:
            known.gaps[place] = gaps
        else:
            known.gaps.pop(place, None)
        for gap in gaps:
            if gap.id not in known.told and gap.exceeds(known.tolerance):
                known.told.add(gap.id)
                self._tell(tenant, gap, known.tolerance)

    def _tell(self, tenant: Tenant, gap: Gap, tolerance: Fraction) -> None:
        logger.warning("%s: %s", gap.cause.value, gap.detail, extra={"gap": gap.id})
        if self._core.notices is not None:
            data = dump_gap(gap, tolerance)
            key = f"gap:{gap.id}"
            self._core.notices.publish(tenant.name, "reconciliation.gap", gap.customer, data, key)

    async def note_sent(
        self,
        tenant: Tenant,
        source: str,
        counts: Sequence[SentCount],
        stats: ClientStats | None = None,
    ) -> dict[str, Any]:
        """What a client says it has sent, and the report of how it compares."""
        core, books = self._core, self._core.books.books
        await core.books.run(books.put_sent_counts, tenant.name, counts, core.clock.now())
        gaps = await gaps_of_sent(core, tenant, counts)
        gaps += [] if stats is None else gaps_of_stats(source, stats)
        known = await self._of(tenant)
        return {**await self.report(tenant), "ok": not gaps, "items": [
            dump_gap(gap, known.tolerance) for gap in gaps
        ]}  # fmt: skip

    # --- repairing ----------------------------------------------------------------------------

    async def repair(self, tenant: Tenant, gap_id: str, actor: str) -> dict[str, Any]:
        """
        Make the repair of a gap, which is a replay, and look again.

        Raises:
            NotFound: No such gap is open.
            Refused: `not_repairable`: it takes a person.
        """
        gap = next((one for one in self.gaps(tenant.name) if one.id == gap_id), None)
        if gap is None:
            raise NotFound("not_found", f"There is no open gap {gap_id!r}.")
        if not gap.is_automatic:
            raise Refused(
                "not_repairable",
                f"{gap.detail} What closes it is {gap.repair}, which a person has to do.",
            )
        core = self._core
        entry = audit(
            tenant, core.clock.now(), actor, "reconciliation.repair", gap.id,
            repair=gap.repair.value, customer=gap.customer, detail=gap.detail,
        )  # fmt: skip
        await core.books.run(core.books.books.add_audit, entry)
        await self._repairs.make(tenant, gap, actor)
        await self.look(tenant, gap.customer)
        left = [one.id for one in self.gaps(tenant.name)]
        return {"gap": gap.id, "repair": gap.repair.value, "healed": gap.id not in left}


def _instant(at: int | None) -> str | None:
    return None if at is None else format_instant(at)
