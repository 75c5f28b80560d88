"""
Assembly: from what is due and what was counted to a draft, in the order of K10.

    statements -> minimum and cap -> less what was billed before -> discounts -> tax

Prepaid credits come at the end, when the draft is issued: until then they can still be spent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec
from msgspec.structs import replace

from taximeter.invoices.adjustments import adjusting
from taximeter.invoices.applied import AppliedDiscount
from taximeter.invoices.assemble import Billed, less_billed, merged
from taximeter.invoices.build import Usage
from taximeter.invoices.discounts import apply_discounts, total_of
from taximeter.invoices.document import parse_invoice
from taximeter.invoices.invoice import Invoice, Line
from taximeter.ports import LateUsage
from taximeter.services.billing.correcting.adjustments import (
    Adjusted,
    Corrected,
    adjusted,
    outcomes,
)
from taximeter.services.billing.drafting.ahead import ADVANCE
from taximeter.services.billing.drafting.bills import Bill, payer_of, statement
from taximeter.services.billing.drafting.looks import reasons_to_look
from taximeter.services.billing.drafting.thresholds import is_on_account
from taximeter.services.billing.due.commitments import with_drawn
from taximeter.services.billing.due.counted import recounted
from taximeter.services.billing.due.dues import Due
from taximeter.services.billing.terms.coupons import discounts_for
from taximeter.services.billing.terms.tax import built_in_taxes, parties_of, situation_of, taxes_for
from taximeter.services.core import Core
from taximeter.services.ids import new_id
from taximeter.services.tenant import Tenant
from taximeter.taxes.decide import Unknown

BilledParts = Mapping[tuple[str, int, str], str]
"""(subscription, start of period, part) -> the invoice it is on."""


class Draft(msgspec.Struct, frozen=True):
    """
    Attributes:
        reasons: Why a person has to look at it before it is issued; () for nothing.
        settled: What became of late usage by it.
    """

    invoice: Invoice
    reasons: tuple[str, ...] = ()
    settled: tuple[LateUsage, ...] = ()


class _Part(msgspec.Struct, frozen=True):
    """One due period as it goes on the invoice."""

    statement: Invoice
    discounts: tuple[AppliedDiscount, ...]


async def usages_of(
    core: Core, tenant: Tenant, bills: Sequence[Bill], upto: int
) -> dict[int, list[Usage]]:
    """What every charge of many bills counted, by the identity of its due period."""
    dues = [due for bill in bills for due in bill.dues]
    counted = await recounted(core, tenant, dues, upto)
    return {id(due): usage for due, usage in zip(dues, counted, strict=True)}


async def assembled(
    core: Core,
    tenant: Tenant,
    bill: Bill,
    usages: Mapping[int, list[Usage]],
    billed: BilledParts,
    upto: int,
    invoice_id: str | None = None,
    corrected: Sequence[Corrected] = (),
) -> Draft:
    """
    The draft of one bill.

    Args:
        corrected: Old periods of its subscriptions that something came late for.
        usages: See `usages_of`.
        billed: What is on invoices that are not void.
        upto: Position of the log that the usage reflects.
        invoice_id: Of a draft that is made again.
    """
    invoice_id = invoice_id or new_id("inv")
    parts: list[_Part] = []
    for due in bill.dues:
        found = statement(await with_drawn(core, tenant, due), invoice_id, usages[id(due)], upto)
        before = await _billed_before(core, tenant, due, billed, invoice_id)
        lines = less_billed(found.lines, before) if before else found.lines
        parts.append(_discounted(tenant, due, replace(found, lines=lines), before))
    changed = [await adjusted(core, tenant, one, invoice_id, upto) for one in corrected]
    late = [one.statement for one in changed if one.statement.lines]
    parts += [_Part(replace(one, id=invoice_id), ()) for one in late]
    names = [due.part for due in bill.dues] + [adjusting(upto)] * len(late)
    return await _drafted(core, tenant, _joined(tenant, bill.payer, parts, names), changed)


async def corrections_alone(
    core: Core,
    tenant: Tenant,
    corrected: Sequence[Corrected],
    upto: int,
    invoice_id: str | None = None,
) -> Draft | tuple[LateUsage, ...]:
    """
    The draft of old periods of one payer, in one currency, that no other bill takes along; if they
    come to what was billed, only what became of the late usage.
    """
    invoice_id = invoice_id or new_id("inv")
    found = [await adjusted(core, tenant, one, invoice_id, upto) for one in corrected]
    late = [replace(one.statement, id=invoice_id) for one in found if one.statement.lines]
    if not late:
        now = core.clock.now()
        return tuple(entry for one in found for entry in outcomes(one, None, now))
    payer = payer_of(tenant, corrected[0].due)
    names = [adjusting(upto)] * len(late)
    invoice = _joined(tenant, payer, [_Part(one, ()) for one in late], names)
    return await _drafted(core, tenant, invoice, found)


async def _drafted(
    core: Core, tenant: Tenant, invoice: Invoice, found: Sequence[Adjusted]
) -> Draft:
    now = core.clock.now()
    settled = tuple(entry for one in found for entry in outcomes(one, invoice, now))
    taxes = await taxes_for(core, tenant, invoice)
    if isinstance(taxes, Unknown):
        return Draft(invoice, (taxes.reason,), settled)
    invoice = replace(invoice, taxes=taxes)
    return Draft(invoice, await reasons_to_look(core, tenant, invoice), settled)


def fare_of(tenant: Tenant, due: Due, payer: str, usage: list[Usage], position: int) -> Invoice:
    """What a period would come to if it were billed now. A tax engine outside is not asked."""
    found = statement(due, "preview", usage, position)
    invoice = _joined(tenant, payer, [_discounted(tenant, due, found)], [due.part])
    taxes = built_in_taxes(invoice, situation_of(tenant, tenant.customers[payer]))
    return invoice if isinstance(taxes, Unknown) else replace(invoice, taxes=taxes)


def _discounted(tenant: Tenant, due: Due, found: Invoice, before: Sequence[Billed] = ()) -> _Part:
    index = tenant.timeline(due.subscription).index(due.period.start)
    discounts = (*due.discounts, *discounts_for(tenant, due.subscription, index))
    given = Counter[str]()
    for part in (part for one in before for part in one.line.discounts):
        given[part.id] += part.amount_minor
    lines, applied = apply_discounts(found.lines, discounts, found.currency, given)
    return _Part(replace(found, lines=lines), applied)


def _joined(tenant: Tenant, payer: str, parts: Sequence[_Part], names: Sequence[str]) -> Invoice:
    """Everything but the taxes. `names` say which part of its period each is."""
    invoice = merged([part.statement for part in parts], payer, names)
    issuer, billed_to = parties_of(tenant, tenant.customers[payer])
    return replace(
        invoice,
        discounts=total_of(applied for part in parts for applied in part.discounts),
        issuer=issuer,
        billed_to=billed_to,
    )


async def _billed_before(
    core: Core, tenant: Tenant, due: Due, billed: BilledParts, own: str
) -> list[Billed]:
    """Lines that other invoices have for parts of the same period, which nearly no period has."""
    key = (due.subscription.id, due.period.start)
    others = {invoice for part, invoice in billed.items() if part[:2] == key} - {own}
    if due.part == ADVANCE or not others:
        return []
    stored = await core.books.run(core.books.books.invoices_of_period, tenant.name, *key)
    return [
        Billed(one.number or one.id, line)
        for one in stored
        if one.id in others
        for line in _lines_of(parse_invoice(one.document), due)
    ]


def _lines_of(invoice: Invoice, due: Due) -> list[Line]:
    """Those for the period of what is due, as they would stand on an invoice of its own."""
    subscription = due.subscription.id
    covers = [
        cover
        for cover in invoice.covered
        if (cover.subscription, cover.period.start) == (subscription, due.period.start)
        and (is_on_account(cover.part) or not is_on_account(due.part))
    ]
    return [
        replace(line, subscription=None, customer=None)
        for line in invoice.lines
        if (line.subscription or invoice.subscription) == subscription
        and any(cover.period.contains(line.period.start) for cover in covers)
    ]
