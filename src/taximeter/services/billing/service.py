"""
The fare and the bill: the running preview from live counters, and closing from a recount.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from taximeter.catalog.prices import UsagePrice
from taximeter.customers import Subscription
from taximeter.errors import NotFound, Refused, Rejected
from taximeter.instants import format_instant
from taximeter.invoices import states
from taximeter.invoices.build import Terms, Usage, build_invoice
from taximeter.invoices.charges import Charge
from taximeter.invoices.document import canonical_bytes, parse_invoice
from taximeter.invoices.invoice import Invoice, Status
from taximeter.live.account import Account
from taximeter.meters.definition import weighs_time
from taximeter.periods import Period
from taximeter.ports import BilledPeriod, LineScope, StoredInvoice
from taximeter.services.billing.dues import Due, counter_of, due_of
from taximeter.services.core import Core, audit, require_customer
from taximeter.services.customers import new_id
from taximeter.services.tenant import Tenant

SCOPES_PER_RECOUNT = 20_000


# --- the running fare -------------------------------------------------------------------------


async def preview(
    core: Core, tenant: Tenant, customer: str, at: int | None, subscription_id: str | None = None
) -> Invoice:
    """
    The invoice of the period that runs at an instant, as far as it is known.

    Args:
        subscription_id: None for the main one.
        at: None for now: then it comes from live counters and has no digests; else it is
            recounted from the events with a time before `at`.

    Raises:
        NotFound: No such customer, or no such subscription that was running then.
    """
    require_customer(tenant, customer)
    now = core.clock.now()
    instant = now if at is None else at
    subscription = _running(tenant, customer, subscription_id, instant)
    due = due_of(tenant, subscription, tenant.timeline(subscription).index(instant))
    account = tenant.live.accounts[customer]
    lane = next((one for one in account.lanes if one.subscription == subscription.id), None)
    if at is None and lane is not None and not (account.rebuilding or due.is_split):
        usage = list(_live_usage(tenant, lane, due, now))
        return _build(due, "preview", usage, core.sequencer.position)
    upto = await core.upto()
    # Events from the near future count live, so they do in what stands in for it.
    cut_at = due.period.end if at is None else min(due.period.end, instant)
    cut = Period(due.period.start, cut_at)
    (usage,) = await _recount(core, tenant, [due], upto, cut)
    return _build(due, "preview", usage, upto)


async def fares(core: Core, tenant: Tenant, dues: Sequence[Due]) -> list[Invoice]:
    """Periods that need not have ended, nor be of a subscription as it is, as of one position."""
    upto = await core.upto()
    usages = await _recount(core, tenant, dues, upto)
    return [_build(due, "preview", usage, upto) for due, usage in zip(dues, usages, strict=True)]


def _running(tenant: Tenant, customer: str, subscription_id: str | None, at: int) -> Subscription:
    if subscription_id is None:
        found = tenant.running(customer, at)
    else:
        found = tenant.subscriptions.get(subscription_id)
        if found is not None and (found.customer != customer or not found.runs_at(at)):
            found = None
    if found is None:
        raise NotFound("not_found", f"Customer {customer!r} has no subscription at that instant.")
    return found


def _live_usage(tenant: Tenant, lane: Account, due: Due, now: int) -> Iterable[Usage]:
    for place, charge, price in due.usage_charges():
        counter = counter_of(tenant, charge, price)
        if price.group_by:
            groups = tenant.live.usage_by_group(lane, counter, due.period, now)
            for group, (events, value_pico) in groups.items():
                yield Usage(place, group, value_pico, events, None)
        else:
            events, value_pico = tenant.live.usage(lane, counter, due.period, now)
            yield Usage(place, (), value_pico, events, None)


def _build(due: Due, invoice_id: str, usage: Iterable[Usage], position: int) -> Invoice:
    terms = Terms(
        customer=due.customer.key,
        subscription=due.subscription.id,
        currency=due.currency,
        subjects=due.customer.all_subjects,
        metering_version=due.metering,
    )
    return build_invoice(
        invoice_id, terms, due.charges, usage, period=due.period, position=position
    )


# --- closing ----------------------------------------------------------------------------------


class Closed(msgspec.Struct):
    """What a close did. `invoices` are the new drafts, oldest period first."""

    as_of: str
    invoices: list[str]


async def close(core: Core, tenant: Tenant, as_of: int, actor: str) -> Closed:
    """
    Make a draft invoice for every period that ended by `as_of` and has none yet.

    Idempotent: the books allow one live invoice for a subscription and period.

    Raises:
        Rejected: `invalid_parameter` for an instant in the future: that period may still change.
        Unavailable: `storage_full`, `storage_failed`: some of what was counted is not on disk.
    """
    core.committer.ready()
    now = core.clock.now()
    if as_of > now:
        raise Rejected("invalid_parameter", "as_of lies in the future; its periods are still open.")
    async with core.lock(tenant):
        dues = await _find_due(core, tenant, as_of)
        upto = await core.upto()
        created: list[str] = []
        for batch in _batches(dues):
            usages = await _recount(core, tenant, batch, upto)
            for due, usage in zip(batch, usages, strict=True):
                invoice = _build(due, new_id("inv"), usage, upto)
                if await _store_draft(core, tenant, invoice, now, actor):
                    created.append(invoice.id)
                await asyncio.sleep(0)
        return Closed(format_instant(as_of), created)


async def _find_due(core: Core, tenant: Tenant, as_of: int) -> list[Due]:
    billed = await core.books.run(core.books.books.billed_periods, tenant.name)
    dues: list[Due] = []
    for subscription in list(tenant.subscriptions.values()):
        timeline = tenant.timeline(subscription)
        for index in range(timeline.ended_by(as_of)):
            known = (subscription.id, timeline.nth(index).start, "period") in billed
            if not known and not timeline.in_trial(index):
                dues.append(due_of(tenant, subscription, index))
        await asyncio.sleep(0)  # thousands of schedules take a while, and checks do not wait
    return sorted(dues, key=lambda due: (due.period.end, due.customer.key, due.subscription.id))


def _batches(dues: list[Due]) -> Iterable[list[Due]]:
    batch: list[Due] = []
    scopes = 0
    for due in dues:
        batch.append(due)
        scopes += len(due.charges)
        if scopes >= SCOPES_PER_RECOUNT:
            yield batch
            batch, scopes = [], 0
    if batch:
        yield batch


async def _recount(
    core: Core, tenant: Tenant, dues: Sequence[Due], upto: int, cut: Period | None = None
) -> list[list[Usage]]:
    """What each charge of each due period counted, from the events themselves."""
    now = core.clock.now()
    scopes: list[LineScope] = []
    owners: list[tuple[int, int]] = []
    for due_place, due in enumerate(dues):
        for place, charge, price in due.usage_charges():
            part = charge.period if cut is None else charge.period.overlap(cut)
            if part is not None:
                owners.append((due_place, place))
                scopes.append(_scope(tenant, due, charge, price, part, upto, now))
    usages: list[list[Usage]] = [[] for _ in dues]
    if scopes:
        found = await core.store.recount(scopes)
        for (due_place, place), groups in zip(owners, found, strict=True):
            usages[due_place] += [
                Usage(place, one.group, one.value_pico, one.events, one.digest) for one in groups
            ]
    return usages


def _scope(
    tenant: Tenant,
    due: Due,
    charge: Charge,
    price: UsagePrice,
    period: Period,
    upto: int,
    now: int,
) -> LineScope:
    meter = counter_of(tenant, charge, price).meter
    if weighs_time(meter):  # what a level will come to by the end is not used yet
        period = Period(period.start, max(period.start, min(period.end, now)))
    return LineScope(
        namespace=tenant.name,
        meter=meter,
        subjects=due.customer.all_subjects,
        period=period,
        upto=upto,
        filter=price.filter,
        group_by=price.group_by,
    )


async def _store_draft(core: Core, tenant: Tenant, invoice: Invoice, now: int, actor: str) -> bool:
    return await core.books.run(
        core.books.books.add_invoice,
        _stored(tenant, invoice, now),
        [
            BilledPeriod(one.subscription, one.period.start, one.period.end)
            for one in invoice.covered
        ],
        audit(tenant, now, actor, "invoice.create", invoice.id, customer=invoice.customer),
    )


def _stored(tenant: Tenant, invoice: Invoice, created_at: int) -> StoredInvoice:
    return StoredInvoice(
        id=invoice.id,
        namespace=tenant.name,
        number=invoice.number,
        customer=invoice.customer,
        subscription=invoice.subscription,
        status=invoice.status.value,
        period_start=invoice.period.start,
        period_end=invoice.period.end,
        created_at=created_at,
        document=canonical_bytes(invoice),
    )


# --- an invoice's life ------------------------------------------------------------------------


async def find_invoice(core: Core, tenant: Tenant, invoice_id: str) -> StoredInvoice:
    found = await core.books.run(core.books.books.invoice, tenant.name, invoice_id)
    if found is None:
        raise NotFound("not_found", f"There is no invoice {invoice_id!r}.")
    return found


async def finalize(core: Core, tenant: Tenant, invoice_id: str, actor: str) -> StoredInvoice:
    """
    Issue a draft: it gets the next number and never changes again (K15).

    Raises:
        Refused: `invoice_not_draft`.
    """
    stored = await find_invoice(core, tenant, invoice_id)
    draft = parse_invoice(stored.document)
    now = core.clock.now()

    def issued(number: str) -> StoredInvoice:
        return _stored(tenant, states.issue(draft, number, now), stored.created_at)

    return await core.books.run(
        core.books.books.issue_invoice,
        tenant.name,
        invoice_id,
        "INV-",
        issued,
        audit(tenant, now, actor, "invoice.finalize", invoice_id),
    )


async def void(
    core: Core, tenant: Tenant, invoice_id: str, reason: str, actor: str
) -> StoredInvoice:
    """
    End an invoice without payment; its period can then be closed again.

    The document of an issued invoice stays as it was; only its status moves on beside it.
    """
    stored = await find_invoice(core, tenant, invoice_id)
    now = core.clock.now()
    invoice = msgspec.structs.replace(parse_invoice(stored.document), status=Status(stored.status))
    voided = states.void(invoice)
    replacement = msgspec.structs.replace(stored, status=voided.status.value)
    if stored.status == Status.DRAFT.value:
        replacement = msgspec.structs.replace(replacement, document=canonical_bytes(voided))
    done = await core.books.run(
        core.books.books.replace_invoice,
        replacement,
        stored.status,
        audit(tenant, now, actor, "invoice.void", invoice_id, reason=reason),
    )
    if not done:
        raise Refused("invoice_final", "The invoice changed meanwhile; read it again.")
    return replacement


def invoice_json(stored: StoredInvoice) -> dict[str, Any]:
    """The document as stored, with the status it has by now."""
    document: dict[str, Any] = msgspec.json.decode(stored.document)
    document["status"] = stored.status
    return document
