"""
Assembly: from what is due and what was counted to a draft, in the order of K10.

    statements -> minimum and cap -> less what was billed before -> adjustments -> discounts -> tax

Prepaid credits come at the end, when the draft is issued: until then they can still be spent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from taximeter.invoices.assemble import Billed, less_billed, merged
from taximeter.invoices.build import Usage
from taximeter.invoices.document import parse_invoice
from taximeter.invoices.invoice import Invoice
from taximeter.services.billing.bills import Bill, statement
from taximeter.services.billing.counted import recounted
from taximeter.services.billing.dues import Due
from taximeter.services.core import Core
from taximeter.services.customers import new_id
from taximeter.services.tenant import Tenant

BilledParts = Mapping[tuple[str, int, str], str]
"""(subscription, start of period, part) -> the invoice it is on."""


class Draft(msgspec.Struct, frozen=True):
    """
    Attributes:
        reasons: Why a person has to look at it before it is issued; () for nothing.
    """

    invoice: Invoice
    reasons: tuple[str, ...] = ()


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
) -> Draft:
    """
    The draft of one bill.

    Args:
        usages: See `usages_of`.
        billed: What is on invoices that are not void.
        upto: Position of the log that the usage reflects.
    """
    invoice_id = new_id("inv")
    statements = [
        await _statement(core, tenant, due, invoice_id, usages[id(due)], billed, upto)
        for due in bill.dues
    ]
    invoice = merged(statements, bill.payer, [due.part for due in bill.dues])
    return Draft(invoice)


async def _statement(
    core: Core,
    tenant: Tenant,
    due: Due,
    invoice_id: str,
    usage: list[Usage],
    billed: BilledParts,
    upto: int,
) -> Invoice:
    """One due period, less what earlier invoices have of it."""
    found = statement(due, invoice_id, usage, upto)
    lines = found.lines
    before = await _billed_before(core, tenant, due, billed)
    if before:
        lines = less_billed(lines, before)
    return msgspec.structs.replace(found, lines=lines)


async def _billed_before(core: Core, tenant: Tenant, due: Due, billed: BilledParts) -> list[Billed]:
    """Lines for parts of the same period, which nearly no period has."""
    key = (due.subscription.id, due.period.start)
    if due.part == "advance" or not any(part[:2] == key for part in billed):
        return []
    stored = await core.books.run(core.books.books.invoices_of_period, tenant.name, *key)
    found: list[Billed] = []
    for one in stored:
        invoice = parse_invoice(one.document)
        covers = [c for c in invoice.covered if (c.subscription, c.period.start) == key]
        for line in invoice.lines:
            mine = (line.subscription or invoice.subscription) == due.subscription.id
            if mine and any(cover.period.contains(line.period.start) for cover in covers):
                own = msgspec.structs.replace(line, subscription=None, customer=None)
                found.append(Billed(one.number or one.id, own))
    return found
