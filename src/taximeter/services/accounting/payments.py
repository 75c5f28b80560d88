"""
Payments: recorded, matched to invoices, paid back, taken back.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Final

import msgspec

from taximeter.accounting.matching import Named
from taximeter.accounting.payment import Payment, PaymentState, exact_minor
from taximeter.errors import NotFound, Rejected
from taximeter.instants import MINUTE, format_instant
from taximeter.notices.notice import INVOICE_PAID, PAYMENT_RECEIVED, PAYMENT_REVERSED
from taximeter.ports import Settlement
from taximeter.services.core import Core, audit, require_customer
from taximeter.services.notices.service import publish
from taximeter.services.tenant import Tenant

MAX_INVOICES: Final = 1000
CLOCKS_DIFFER: Final = 5 * MINUTE
_PRINTABLE: Final = re.compile(r"[^\x00-\x1f\x7f]{1,256}")


class ToldInvoice(msgspec.Struct, frozen=True):
    """An invoice by id or number; without an amount, as much of it as the payment has."""

    invoice: str
    amount: Any = None


class ToldPayment(msgspec.Struct, frozen=True):
    """
    A payment as somebody tells of it.

    Attributes:
        at: When the money came, microseconds; None for now.
        invoices: What it pays; None for the oldest due first.
    """

    id: str
    customer: str
    amount: int | Decimal | str
    currency: str
    at: int | None = None
    reference: str = ""
    invoices: tuple[ToldInvoice, ...] | None = None


async def record(
    core: Core, tenant: Tenant, told: ToldPayment, actor: str, origin: str = "api"
) -> Settlement:
    """
    Raises:
        NotFound: No such customer.
        Rejected: `invalid_amount`, `unknown_currency`, `currency_mismatch`, `exceeds_invoice`,
            `exceeds_payment`, `invalid_request`.
        Refused: `payment_conflict`, `invoice_not_issued`.
    """
    require_customer(tenant, told.customer)
    now = core.clock.now()
    if told.at is not None and told.at > now + CLOCKS_DIFFER:
        raise Rejected("invalid_request", "at: the payment lies in the future.")
    for name, text in (("id", told.id), ("reference", told.reference or "-")):
        if not _PRINTABLE.fullmatch(text):
            raise Rejected("invalid_request", f"{name}: 1 to 256 characters without controls.")
    payment = Payment(
        id=told.id,
        customer=told.customer,
        currency=told.currency,
        amount_minor=exact_minor(told.amount, told.currency),
        at=now if told.at is None else min(told.at, now),
        reference=told.reference,
        origin=origin,
        recorded_at=now,
    )
    done: Settlement = await core.books.run(
        core.books.books.record_payment,
        tenant.name,
        payment,
        named_of(told.invoices, told.currency),
        audit(tenant, now, actor, "payment.record", payment.id, customer=payment.customer),
        tolerance(tenant, told.currency),
    )
    if done.is_new:
        key = f"{PAYMENT_RECEIVED}:{payment.id}"
        publish(core, tenant, PAYMENT_RECEIVED, payment.customer, _data(done.state), key)
        await _tell_paid(core, tenant, done)
    return done


async def allocate(
    core: Core,
    tenant: Tenant,
    payment_id: str,
    invoices: tuple[ToldInvoice, ...] | None,
    actor: str,
) -> Settlement:
    """
    Pay invoices with what is left of a payment.

    Raises:
        NotFound: No such payment.
        Rejected, Refused: As for a payment that names them; `payment_reversed`.
    """
    state = await find(core, tenant, payment_id)
    now, currency = core.clock.now(), state.payment.currency
    done: Settlement = await core.books.run(
        core.books.books.allocate_payment,
        tenant.name,
        payment_id,
        named_of(invoices, currency),
        now,
        audit(tenant, now, actor, "payment.allocate", payment_id),
        tolerance(tenant, currency),
    )
    await _tell_paid(core, tenant, done)
    return done


async def refund(
    core: Core,
    tenant: Tenant,
    payment_id: str,
    amount: int | Decimal | str | None,
    actor: str,
    *,
    refund_id: str | None = None,
    reason: str = "",
) -> Settlement:
    """
    Note that money of a payment that pays nothing went back to the customer.

    Args:
        amount: None for all that is left.
        refund_id: The same one again changes nothing.

    Raises:
        NotFound: No such payment.
        Rejected: `exceeds_payment`, `invalid_amount`.
        Refused: `payment_reversed`.
    """
    state = await find(core, tenant, payment_id)
    now = core.clock.now()
    amount_minor = None if amount is None else exact_minor(amount, state.payment.currency)
    done: Settlement = await core.books.run(
        core.books.books.refund_payment,
        tenant.name,
        payment_id,
        refund_id,
        amount_minor,
        now,
        audit(tenant, now, actor, "payment.refund", payment_id, reason=reason),
    )
    return done


async def reverse(
    core: Core, tenant: Tenant, payment_id: str, reason: str, actor: str
) -> Settlement:
    """
    Undo a payment that bounced or never was; what it paid is open again.

    Raises:
        NotFound: No such payment.
        Refused: `payment_refunded`.
    """
    now = core.clock.now()
    done: Settlement = await core.books.run(
        core.books.books.reverse_payment,
        tenant.name,
        payment_id,
        reason,
        now,
        audit(tenant, now, actor, "payment.reverse", payment_id, reason=reason),
    )
    if done.is_new:
        payment, key = done.state.payment, f"{PAYMENT_REVERSED}:{payment_id}"
        publish(core, tenant, PAYMENT_REVERSED, payment.customer, _data(done.state), key)
    return done


async def find(core: Core, tenant: Tenant, payment_id: str) -> PaymentState:
    found = await core.books.run(core.books.books.payment, tenant.name, payment_id)
    if found is None:
        raise NotFound("not_found", f"There is no payment {payment_id!r}.")
    return found


def named_of(invoices: tuple[ToldInvoice, ...] | None, currency: str) -> list[Named] | None:
    if invoices is None:
        return None
    if len(invoices) > MAX_INVOICES:
        raise Rejected("invalid_request", f"invoices: a payment names at most {MAX_INVOICES}.")
    return [
        Named(one.invoice, None if one.amount is None else exact_minor(one.amount, currency))
        for one in invoices
    ]


def tolerance(tenant: Tenant, currency: str) -> int:
    """What may be missing of an invoice that counts as paid, minor units."""
    return tenant.billing.write_off_minor.get(currency, 0)


async def _tell_paid(core: Core, tenant: Tenant, done: Settlement) -> None:
    payment = done.state.payment
    for invoice_id in done.paid:
        stored = await core.books.run(core.books.books.invoice, tenant.name, invoice_id)
        assert stored is not None
        document = msgspec.json.decode(stored.document)
        data = {
            "invoice": stored.id,
            "number": stored.number,
            "customer": stored.customer,
            "status": stored.status,
            "currency": document["currency"],
            "total": document["total"],
            "amount_due": document["amount_due"],
            "payment": payment.id,
        }
        key = f"{INVOICE_PAID}:{stored.id}:{payment.id}"
        publish(core, tenant, INVOICE_PAID, stored.customer, data, key)


def _data(state: PaymentState) -> dict[str, Any]:
    told = state.to_json()
    names = ("customer", "status", "amount", "currency", "reference", "invoices", "unallocated")
    at = format_instant(state.payment.at)
    return {"payment": told["id"], **{name: told[name] for name in names}, "at": at}
