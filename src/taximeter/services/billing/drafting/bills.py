"""
Bills: which due periods go on one invoice, and who pays it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from taximeter.invoices.build import Terms, Usage, build_invoice
from taximeter.invoices.invoice import Invoice, Line
from taximeter.invoices.plan_lines import plan_lines, prepaid_lines
from taximeter.invoices.settings import Consolidate
from taximeter.services.billing.drafting.ahead import ADVANCE
from taximeter.services.billing.due.dues import Due
from taximeter.services.tenant import Tenant


class Bill(msgspec.Struct, frozen=True):
    """
    Due periods that are billed on one invoice.

    Attributes:
        payer: Key of the customer who pays: a parent may pay for its children.
        dues: At least one, all in one currency; by end of period, customer, subscription.
    """

    payer: str
    dues: tuple[Due, ...]


def bills_of(tenant: Tenant, dues: Iterable[Due]) -> list[Bill]:
    """
    Every due period on exactly one bill, oldest first.

    What one subscription is billed for at one instant goes together: the period that ends, and
    the fees in advance of the one that begins. Where the namespace consolidates, that is so for
    all subscriptions of a payer, in each currency.
    """
    together: dict[tuple[Any, ...], list[Due]] = {}
    by_customer = tenant.billing.consolidate is Consolidate.CUSTOMER
    for due in sorted(dues, key=_order):
        own = "" if by_customer else due.subscription.id
        key = (_billed_at(due), payer_of(tenant, due), due.currency, own)
        together.setdefault(key, []).append(due)
    return [Bill(payer, tuple(found)) for (_, payer, _, _), found in together.items()]


def _order(due: Due) -> tuple[Any, ...]:
    return _billed_at(due), due.customer.key, due.subscription.id, due.part == ADVANCE


def _billed_at(due: Due) -> int:
    return due.period.start if due.part == ADVANCE else due.period.end


def payer_of(tenant: Tenant, due: Due) -> str:
    """The customer itself, or the nearest ancestor that does not leave its bills to its parent."""
    customer = due.customer
    while customer.parent is not None and customer.paid_by_parent:
        customer = tenant.customers[customer.parent]
    return customer.key


def statement(due: Due, invoice_id: str, usage: Iterable[Usage], position: int) -> Invoice:
    """The lines of one due period, as if it had an invoice of its own."""
    found = build_invoice(
        invoice_id, _terms(due), due.charges, usage, period=due.period, position=position
    )
    added = {ADVANCE: prepaid_lines, "period": plan_lines}.get(due.part)
    if added is None:
        return found
    return replace(found, lines=added(due.terms, found.lines, due.currency))


def priced_lines(due: Due, usage: Iterable[Usage]) -> tuple[Line, ...]:
    """The lines of its charges alone."""
    found = build_invoice("", _terms(due), due.charges, usage, period=due.period, position=0)
    return found.lines


def _terms(due: Due) -> Terms:
    return Terms(
        customer=due.customer.key,
        subscription=due.subscription.id,
        currency=due.currency,
        subjects=due.customer.all_subjects,
        metering_version=due.metering,
    )


def batches(bills: Sequence[Bill], charges: int) -> Iterable[list[Bill]]:
    """Bills in order, together with about so many charges."""
    batch: list[Bill] = []
    size = 0
    for bill in bills:
        batch.append(bill)
        size += sum(len(due.charges) for due in bill.dues)
        if size >= charges:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
