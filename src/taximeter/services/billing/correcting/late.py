"""
Late usage: what arrived, or was taken back, after its period was billed; and what becomes of it.

Each close looks at what is new in the log since the last one, so that finding out costs one
question to the store, however many customers there are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from taximeter.customers import Subscription
from taximeter.errors import NotFound, Refused
from taximeter.instants import format_instant
from taximeter.invoices.adjustments import billed_lines
from taximeter.invoices.document import parse_invoice
from taximeter.invoices.invoice import Invoice, Status
from taximeter.invoices.settings import LateUsage as Policy
from taximeter.invoices.states import UNISSUED
from taximeter.meters.definition import Meter, weighs_time
from taximeter.money import format_minor
from taximeter.notices.notice import LATE_USAGE_HELD
from taximeter.ports import LateQuery, LateRow, LateUsage
from taximeter.quantities import format_quantity
from taximeter.services.billing.correcting.adjustments import (
    adjusted,
    corrected_periods,
    never_billed,
    outcomes,
)
from taximeter.services.billing.due.dues import counter_of, due_of
from taximeter.services.core import Core, audit
from taximeter.services.ids import new_id
from taximeter.services.notices.service import publish
from taximeter.services.tenant import Tenant

BilledParts = Mapping[tuple[str, int, str], str]
"""(subscription, start of period, part) -> the invoice it is on."""

WHOLE: Final = "period"
RECKONED_AT_ONCE: Final = 500
OPEN: Final = ("pending", "held")
STATUSES: Final = (
    *OPEN, "adjusted", "repriced", "written_off", "no_effect", "credited",
)  # fmt: skip


class _Found(msgspec.Struct):
    """News of one meter in one billed period."""

    subscription: Subscription
    index: int
    meter: str
    events: int = 0
    retractions: int = 0
    position: int = 0


# --- found ------------------------------------------------------------------------------------


async def sweep(core: Core, tenant: Tenant, billed: BilledParts, upto: int) -> None:
    """
    Note what is late of everything up to a position. Called under the lock of the namespace, with
    what is billed by then: drafts made afterwards reflect at least this position.
    """
    books = core.books.books
    after = await core.books.run(books.late_position, tenant.name)
    if not tenant.subscriptions or after == upto:
        return
    until = await core.books.run(books.billed_until, tenant.name)
    entries: list[LateUsage] = []
    if until is not None:
        query = LateQuery(tenant.name, after or 0, upto, until)
        for one in await _by_meter(core, tenant, billed, await core.store.late(query)):
            if await _is_behind(core, tenant, one):
                entries.append(_entry(core, tenant, billed, one))
    await _note(core, tenant, entries, upto)


async def look(core: Core, tenant: Tenant) -> None:
    """Note what is late by now, and reckon what that changes."""
    async with core.lock(tenant):
        billed = await core.books.run(core.books.books.billed_periods, tenant.name)
        upto = await core.upto()
        await sweep(core, tenant, billed, upto)
        entries = await core.books.run(core.books.books.open_late, tenant.name)
        new = [one for one in entries if one.status in OPEN and one.amount_minor is None]
        now = core.clock.now()
        for period in await corrected_periods(core, tenant, new[:RECKONED_AT_ONCE], upto):
            found = outcomes(await adjusted(core, tenant, period, None, upto), None, now)
            await core.books.run(core.books.books.settle_late, found, OPEN)


async def claimed(core: Core, tenant: Tenant, customer: str, subjects: Collection[str]) -> None:
    """
    Usage of subjects that a customer newly claims, in periods it was billed for, is late, unless
    somebody else was billed for it. Called under the lock of the namespace, when the customer has
    them.
    """
    books = core.books.books
    until = await core.books.run(books.billed_until, tenant.name)
    if until is None or not subjects:
        return
    upto = await core.upto()
    billed = await core.books.run(books.billed_periods, tenant.name)
    new = await never_billed(core, tenant, customer, sorted(subjects))
    query = LateQuery(tenant.name, 0, upto, until, tuple(new))
    found = await _by_meter(core, tenant, billed, await core.store.late(query))
    if found:
        position = await core.books.run(books.late_position, tenant.name)
        entries = [_entry(core, tenant, billed, one) for one in found]
        await _note(core, tenant, entries, position or 0)


async def _by_meter(
    core: Core, tenant: Tenant, billed: BilledParts, rows: Iterable[LateRow]
) -> list[_Found]:
    found: dict[tuple[str, int, str], _Found] = {}
    meters = _Meters(tenant)
    now = core.clock.now()
    for row in rows:
        await asyncio.sleep(0)  # there may be thousands, and checks do not wait
        for subscription, index, meter, is_own in _touched(tenant, billed, row, now, meters):
            key = (subscription.id, index, meter)
            one = found.setdefault(key, _Found(subscription, index, meter))
            one.events += row.events if is_own else 0
            one.retractions += row.retractions if is_own else 0
            one.position = max(one.position, row.position)
    return list(found.values())


def _touched(
    tenant: Tenant, billed: BilledParts, row: LateRow, now: int, meters: _Meters
) -> Iterator[tuple[Subscription, int, str, bool]]:
    """
    Billed periods that a row may be about, with the meters of their prices that count it. What
    weighs time is about all periods from then on; `is_own` is false of those after its own.
    """
    account = tenant.live.by_subject.get(row.subject)
    if account is None:
        return
    for subscription in tenant.of_customer(account.customer):
        timeline = tenant.timeline(subscription)
        for index in range(max(0, timeline.ended_by(row.first)), timeline.ended_by(now)):
            period = timeline.nth(index)
            if (subscription.id, period.start, WHOLE) not in billed:
                continue
            is_own = period.start <= row.last
            counting = meters.of(subscription, index, row.type, only_levels=not is_own)
            for meter in counting:
                yield subscription, index, meter, is_own
            if not (is_own or counting):
                break


class _Meters:
    """Of the prices of periods: those that count events of a type."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self._known: dict[tuple[str, int], dict[str, Meter]] = {}

    def of(
        self, subscription: Subscription, index: int, type: str, *, only_levels: bool
    ) -> list[str]:
        """By key; `only_levels`: only those that weigh time."""
        known = self._known.get((subscription.id, index))
        if known is None:
            due = due_of(self._tenant, subscription, index)
            known = self._known[subscription.id, index] = {
                price.meter: counter_of(self._tenant, charge, price).meter
                for _, charge, price in due.usage_charges()
            }
        return sorted(
            key
            for key, meter in known.items()
            if meter.event_type == type and (weighs_time(meter) or not only_levels)
        )


async def _is_behind(core: Core, tenant: Tenant, found: _Found) -> bool:
    """Whether its period was billed as of a position before it."""
    subscription = found.subscription
    start = tenant.timeline(subscription).nth(found.index).start
    stored = await core.books.run(
        core.books.books.invoices_of_period, tenant.name, subscription.id, start
    )
    positions = [
        int(line.lineage.position.partition(":")[2])
        for one in stored
        for line in billed_lines(parse_invoice(one.document), subscription.id, start)
        if line.lineage is not None and line.meter == found.meter
    ]
    return not positions or max(positions) < found.position


def _entry(core: Core, tenant: Tenant, billed: BilledParts, found: _Found) -> LateUsage:
    period = tenant.timeline(found.subscription).nth(found.index)
    policy = tenant.billing.late_usage_of(found.meter)
    return LateUsage(
        namespace=tenant.name,
        id=new_id("late"),
        customer=found.subscription.customer,
        subscription=found.subscription.id,
        meter=found.meter,
        period_start=period.start,
        period_end=period.end,
        status="held" if policy is Policy.HOLD else "pending",
        policy=policy.value,
        invoice=billed[found.subscription.id, period.start, WHOLE],
        position=found.position,
        noticed_at=core.clock.now(),
        events=found.events,
        retractions=found.retractions,
    )


async def _note(core: Core, tenant: Tenant, entries: Sequence[LateUsage], position: int) -> None:
    new = await core.books.run(core.books.books.note_late, tenant.name, entries, position)
    for one in new:
        if one.status == "held":
            key = f"{LATE_USAGE_HELD}:{one.id}"
            publish(core, tenant, LATE_USAGE_HELD, one.customer, late_json(one), key)


# --- what becomes of it -----------------------------------------------------------------------


async def drafts_to_reprice(core: Core, tenant: Tenant) -> list[str]:
    """Drafts with open late usage of meters that have them made again."""
    entries = await core.books.run(core.books.books.open_late, tenant.name)
    wanted = sorted({one.invoice for one in entries if one.policy == Policy.REPRICE.value})
    found = []
    for invoice_id in wanted:
        stored = await core.books.run(core.books.books.invoice, tenant.name, invoice_id)
        if stored is not None and Status(stored.status) in UNISSUED:
            found.append(invoice_id)
    return found


async def billed_anew(core: Core, draft: Invoice, upto: int, entries: Iterable[LateUsage]) -> None:
    """
    What is open for periods that a draft bills as a whole, as of a position, is on it.

    Args:
        entries: Of those periods.
    """
    now = core.clock.now()
    done = [
        replace(one, status="repriced", by_invoice=draft.id, settled_at=now)
        for one in entries
        if one.status in OPEN and one.position <= upto
    ]
    if done:
        await core.books.run(core.books.books.settle_late, done, OPEN)


async def release(core: Core, tenant: Tenant, late_id: str, actor: str, reason: str) -> LateUsage:
    """
    What was held goes on the next invoice.

    Raises:
        NotFound: No such entry.
        Refused: `late_usage_settled`.
    """
    async with core.lock(tenant):
        one = await _held(core, tenant, late_id)
        now = core.clock.now()
        released = replace(
            one,
            status="pending",
            policy=Policy.ADJUST.value,
            settled_by=actor,
            reason=reason,
        )
        entry = audit(tenant, now, actor, "late_usage.release", late_id, reason=reason)
        await _settle(core, released, ("held",), entry)
        return released


async def write_off(core: Core, tenant: Tenant, late_id: str, actor: str, reason: str) -> LateUsage:
    """
    What is open will never be billed. What it takes off the bill is given nevertheless, with the
    next invoice.

    Raises:
        NotFound: No such entry.
        Refused: `late_usage_settled`.
    """
    async with core.lock(tenant):
        one = await _held(core, tenant, late_id)
        now = core.clock.now()
        one = replace(one, policy=Policy.WRITE_OFF.value, settled_by=actor, reason=reason)
        upto = await core.upto()
        entry = audit(tenant, now, actor, "late_usage.write_off", late_id, reason=reason)
        for period in await corrected_periods(core, tenant, [one], upto):
            found = await adjusted(core, tenant, period, None, upto)
            (one,) = outcomes(found, None, now)
        await _settle(core, one, OPEN, entry)
        return one


async def _held(core: Core, tenant: Tenant, late_id: str) -> LateUsage:
    one = await find_late(core, tenant, late_id)
    if one.status not in OPEN:
        raise Refused(
            "late_usage_settled",
            f"Late usage {late_id!r} is {one.status} already; nothing is left to decide.",
            status=one.status,
        )
    return one


async def _settle(core: Core, one: LateUsage, expected: Sequence[str], entry: Any) -> None:
    if not await core.books.run(core.books.books.settle_late, [one], expected, entry):
        raise Refused("late_usage_settled", f"Late usage {one.id!r} was settled meanwhile.")


async def find_late(core: Core, tenant: Tenant, late_id: str) -> LateUsage:
    """
    Raises:
        NotFound: No such entry.
    """
    found = await core.books.run(core.books.books.late, tenant.name, late_id)
    if found is None:
        raise NotFound("not_found", f"There is no late usage {late_id!r}.")
    return found


def late_json(one: LateUsage) -> dict[str, Any]:
    amount = one.amount_minor
    return {
        "id": one.id,
        "customer": one.customer,
        "subscription": one.subscription,
        "meter": one.meter,
        "period": {
            "start": format_instant(one.period_start),
            "end": format_instant(one.period_end),
        },
        "status": one.status,
        "policy": one.policy,
        "events": one.events,
        "retractions": one.retractions,
        "position": f"0:{one.position}",
        "quantity": None if one.quantity_pico is None else format_quantity(one.quantity_pico),
        "amount": None
        if amount is None or one.currency is None
        else format_minor(amount, one.currency),
        "currency": one.currency,
        "invoice": one.invoice,
        "settled_on": None
        if one.by_invoice is None
        else {
            "invoice": one.by_invoice,
            "lines": list(one.by_lines),
            "credit_note": one.by_credit_note,
        },
        "noticed_at": format_instant(one.noticed_at),
        "settled_at": None if one.settled_at is None else format_instant(one.settled_at),
        "decided_by": one.settled_by,
        "reason": one.reason,
    }
