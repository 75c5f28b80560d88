"""
Prepaid credit that pays invoices (K10, K13): taken when one is issued, given back when it is void.

The credit moves by a command in the log, under the invoice's id, and the invoice names the grants
afterwards. A node that dies in between finds on the next try that this invoice's credit is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Final

import msgspec

from taximeter.gate.effects import Effect, PayInvoice, RepayInvoice
from taximeter.invoices.applied import AppliedCredit
from taximeter.invoices.document import parse_invoice
from taximeter.invoices.invoice import Invoice, Status
from taximeter.money import exponent, round_minor
from taximeter.ports import StoredInvoice
from taximeter.quantities import E12
from taximeter.services.accounting.credits import unit_cost
from taximeter.services.core import Core
from taximeter.services.gate.commands import Earlier, command_event
from taximeter.services.tenant import Tenant

VOIDS_AT_ONCE: Final = 500


async def pay_with_credits(core: Core, tenant: Tenant, invoice: Invoice) -> Invoice:
    """
    Take what the customer has of the credits that pay invoices, up to what is due, and name it on
    the invoice. Once for an invoice, however often it is asked for.
    """
    if not _payable(tenant, invoice) or core.commands is None:
        return invoice
    purse = tenant.live.gate.purse(invoice.customer)
    if invoice.id not in purse.invoices:
        now = core.clock.now()
        core.commands.let_time_pass(tenant, [invoice.customer], now)
        effects = list(_payments(tenant, invoice))
        if not effects:
            return invoice
        await _record(core, tenant, "invoice-credits", invoice, effects, now)
    return msgspec.structs.replace(invoice, credits=tuple(_applied(tenant, invoice)))


async def give_back(core: Core, tenant: Tenant, invoice: Invoice) -> None:
    """Return all that credit has paid of an invoice that ends without being due."""
    purse = tenant.live.gate.purses.get(invoice.customer)
    if core.commands is None or purse is None or invoice.id not in purse.invoices:
        return
    effect = RepayInvoice(invoice.customer, id=invoice.id)
    await _record(core, tenant, "invoice-void", invoice, [effect], core.clock.now())


async def finish_voids(core: Core, tenant: Tenant) -> None:
    """Return what a node did not live to return after it had voided an invoice."""
    after: str | None = None
    while any(purse.invoices for purse in tenant.live.gate.purses.values()):
        void: list[StoredInvoice] = await core.books.run(
            core.books.books.invoices,
            tenant.name,
            customer=None,
            status=Status.VOID.value,
            after=after,
            limit=VOIDS_AT_ONCE,
        )
        for one in void:
            purse = tenant.live.gate.purses.get(one.customer)
            if purse is not None and one.id in purse.invoices:
                await give_back(core, tenant, parse_invoice(one.document))
        if len(void) < VOIDS_AT_ONCE:
            return
        after = void[-1].id


async def give_back_part(
    core: Core,
    tenant: Tenant,
    customer: str,
    invoice: str,
    note: str,
    amount_minor: int,
    currency: str,
) -> None:
    """
    Return what a credit note takes back of what credit has paid of an invoice. Once for a credit
    note, however often it is asked for.
    """
    if core.commands is None:
        return
    amount_pico = _pico(amount_minor, currency)
    effect = RepayInvoice(customer, id=invoice, amount_pico=amount_pico, note=note)
    data = {"effects": msgspec.to_builtins([effect])}
    event = command_event("credit-note", note, customer, data)
    identity, earlier = core.commands.earlier(tenant, event)
    if isinstance(earlier, Earlier):
        return
    if earlier is None:
        now = core.clock.now()
        earlier = core.commands.record(
            tenant, event, identity, now, [effect], lambda seq: {"credit_note": note, "seq": seq}
        )
    if earlier.durable is not None:
        await earlier.durable


def funded(tenant: Tenant, invoice: Invoice) -> dict[str, int]:
    """Grant -> minor units somebody had paid for what it pays; nobody paid for a promotion."""
    unit = 10 ** exponent(invoice.currency)
    return {
        one.grant: round_minor(
            unit_cost(tenant, one.grant, one.credit) * one.amount_minor / unit, invoice.currency
        )
        for one in invoice.credits
    }


def _payable(tenant: Tenant, invoice: Invoice) -> list[str]:
    """The credits that pay it, by key."""
    pays = tenant.billing.apply_credits
    return sorted(credit for credit, currency in pays.items() if currency == invoice.currency)


def _payments(tenant: Tenant, invoice: Invoice) -> Iterator[Effect]:
    left_minor = invoice.amount_due_minor
    for credit in _payable(tenant, invoice):
        wallet = tenant.live.gate.purse(invoice.customer).wallet(credit)
        minor = min(left_minor, wallet.unbound_pico * 10 ** exponent(invoice.currency) // E12)
        if minor > 0:
            left_minor -= minor
            amount_pico = _pico(minor, invoice.currency)
            yield PayInvoice(
                invoice.customer, id=invoice.id, credit=credit, amount_pico=amount_pico
            )


def _applied(tenant: Tenant, invoice: Invoice) -> Iterator[AppliedCredit]:
    """In burn order. A grant pays whole minor units; what two share is told of the later one."""
    paid = tenant.live.gate.purse(invoice.customer).invoices.get(invoice.id, {})
    for credit, parts in paid.items():
        told_minor, total_pico = 0, 0
        for lot, pico in parts:
            total_pico += pico
            minor = total_pico * 10 ** exponent(invoice.currency) // E12
            if minor > told_minor:
                yield AppliedCredit(lot, credit, minor - told_minor)
            told_minor = minor


def _pico(minor: int, currency: str) -> int:
    return int(Fraction(minor * E12, 10 ** exponent(currency)))


async def _record(
    core: Core, tenant: Tenant, what: str, invoice: Invoice, effects: list[Effect], now: int
) -> None:
    """Durable on return."""
    assert core.commands is not None
    data = {"effects": msgspec.to_builtins(effects)}
    event = command_event(what, invoice.id, invoice.customer, data)
    identity, earlier = core.commands.earlier(tenant, event)
    assert not isinstance(earlier, Earlier), "the purse would know of it"
    if earlier is None:
        earlier = core.commands.record(
            tenant, event, identity, now, effects, lambda seq: {"invoice": invoice.id, "seq": seq}
        )
    if earlier.durable is not None:
        await earlier.durable
