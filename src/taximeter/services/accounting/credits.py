"""
What the wallets of prepaid credit are worth in money.
"""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from typing import Final

from taximeter.accounting.credits import Worth, worth_of
from taximeter.credits.grant import OCCURRENCE_MARK
from taximeter.ledger.transaction import Transaction
from taximeter.services.core import Core
from taximeter.services.gate.ledger import Ledger
from taximeter.services.tenant import Tenant

PAGE: Final = 1000


async def worths(core: Core, ledger: Ledger, tenant: Tenant, upto: int) -> list[Worth]:
    """
    Of every customer and currency, with all that was booked before an instant.

    Credit of which it is not known in which money it was paid is left out: a credit is in the
    currency whose invoices it pays, else in the customer's.
    """
    found: dict[tuple[str, str], Worth] = {}
    customers = sorted(tenant.live.gate.purses)
    if core.commands is not None:  # what has expired by now is written down first
        core.commands.let_time_pass(tenant, customers, core.clock.now())
        await core.committer.flushed()
    for customer in customers:
        by_credit: dict[str, list[Transaction]] = {}
        after = 0
        while True:
            page = await ledger.transactions(
                tenant.name, customer, end=upto, after=after, limit=PAGE
            )
            for _, row in page:
                by_credit.setdefault(row.credit, []).append(row.transaction)
            if len(page) < PAGE:
                break
            after = page[-1][0]
        for credit, transactions in by_credit.items():
            currency = currency_of(tenant, customer, credit)
            if currency is None:
                continue
            cost = partial(unit_cost, tenant, credit=credit)
            worth = worth_of(transactions, customer, currency, cost)
            key = (customer, currency)
            found[key] = found[key] + worth if key in found else worth
    return list(found.values())


def currency_of(tenant: Tenant, customer: str, credit: str) -> str | None:
    known = tenant.customers.get(customer)
    pays = tenant.billing.apply_credits.get(credit)
    return pays or (None if known is None else known.currency)


def unit_cost(tenant: Tenant, lot: str, credit: str) -> Fraction:
    """
    Money paid for a unit of a lot: its cost basis; without one, a credit that pays invoices cost
    what it pays.
    """
    given = tenant.live.gate.grants.get(lot.partition(OCCURRENCE_MARK)[0])
    if given is None or given.grant.kind != "paid":
        return Fraction(0)
    if given.grant.cost_basis is not None:
        return Fraction(given.grant.cost_basis)
    return Fraction(1 if credit in tenant.billing.apply_credits else 0)
