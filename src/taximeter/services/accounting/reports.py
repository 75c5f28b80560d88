"""
What the journal adds up to: aging, statements, the trial balance, revenue by month.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

from taximeter.accounting.aging import aged, aged_totals
from taximeter.accounting.journal import Account, JournalEntry
from taximeter.accounting.recognition import (
    format_month,
    month_of,
    month_start,
    next_month,
)
from taximeter.accounting.statement import statements
from taximeter.accounting.unearned import revenue_ahead
from taximeter.errors import Refused, Rejected
from taximeter.instants import format_instant
from taximeter.money import format_minor
from taximeter.ports import AccountTotal, ClosedMonth
from taximeter.services.accounting.credits import worths
from taximeter.services.billing.drafting.drafts import find_invoice
from taximeter.services.core import Core, audit, require_customer
from taximeter.services.gate.ledger import Ledger
from taximeter.services.tenant import Tenant

MAX_MONTHS = 120


async def aging(core: Core, tenant: Tenant, customer: str | None, at: int | None) -> dict[str, Any]:
    """
    What is open, by how long it has been due; now, or as it stood at a past instant.

    Raises:
        NotFound: No such customer.
        Rejected: `invalid_parameter` for an instant in the future.
    """
    if customer is not None:
        require_customer(tenant, customer)
    now = core.clock.now()
    if at is not None and at > now:
        raise Rejected("invalid_parameter", "at lies in the future: nothing is known of it yet.")
    invoices = await core.books.run(
        core.books.books.open_invoices, tenant.name, customer=customer, at=at
    )
    instant = now if at is None else at
    return {
        "at": format_instant(instant),
        "items": aged(invoices, instant),
        "totals": aged_totals(invoices, instant),
    }


async def statement(
    core: Core, tenant: Tenant, customer: str, start: int | None, end: int | None
) -> dict[str, Any]:
    """
    Raises:
        NotFound: No such customer.
    """
    require_customer(tenant, customer)
    until = core.clock.now() + 1 if end is None else end
    found = await core.books.run(
        core.books.books.journal, tenant.name, customer=customer, end=until
    )
    return {
        "customer": customer,
        "from": None if start is None else format_instant(start),
        "to": format_instant(until if end is not None else until - 1),
        "accounts": statements([entry for _, entry in found], start),
    }


async def trial_balance(core: Core, tenant: Tenant, at: int | None) -> dict[str, Any]:
    """Every account at an instant; debits and credits are the same in each currency."""
    now = core.clock.now()
    sums = await core.books.run(core.books.books.trial_balance, tenant.name, upto=at)
    return {
        "at": format_instant(now if at is None else at),
        "items": [_account(one) for one in sums],
        "totals": [_totals(currency, sums) for currency in sorted({s.currency for s in sums})],
    }


def _account(one: AccountTotal) -> dict[str, str]:
    side = "debit" if one.amount_minor >= 0 else "credit"
    return {
        "account": one.account.value,
        "currency": one.currency,
        "debit": "",
        "credit": "",
        side: format_minor(abs(one.amount_minor), one.currency),
    }


def _totals(currency: str, sums: Iterable[AccountTotal]) -> dict[str, str]:
    minors = [one.amount_minor for one in sums if one.currency == currency]
    return {
        "currency": currency,
        "debit": format_minor(sum(minor for minor in minors if minor > 0), currency),
        "credit": format_minor(-sum(minor for minor in minors if minor < 0), currency),
    }


# --- revenue --------------------------------------------------------------------------------------


async def recognition(core: Core, tenant: Tenant, first: date, last: date) -> dict[str, Any]:
    """
    Revenue by month and currency: recognised, and of what is billed still to be recognised.

    Args:
        first, last: First days of months; both are in it.

    Raises:
        Rejected: `invalid_parameter`.
    """
    months = [first]
    while months[-1] < last and len(months) <= MAX_MONTHS:
        months.append(next_month(months[-1]))
    if first > last or len(months) > MAX_MONTHS:
        raise Rejected("invalid_parameter", f"from and to span 1 to {MAX_MONTHS} months.")
    books = core.books.books
    closed = {one.month for one in await core.books.run(books.closed_months, tenant.name)}
    unearned = await core.books.run(books.unearned, tenant.name)
    ahead = revenue_ahead(unearned, max(closed, default=None))
    items = []
    for month in months:
        sums = await core.books.run(
            books.trial_balance,
            tenant.name,
            start=month_start(month),
            upto=month_start(next_month(month)) - 1,
        )
        items += list(_revenue(month, month in closed, sums, ahead))
    deferred: dict[str, int] = {}
    for one in unearned:
        deferred[one.currency] = deferred.get(one.currency, 0) - one.deferred_minor
    return {
        "items": items,
        "deferred": [
            {"currency": currency, "amount": format_minor(minor, currency)}
            for currency, minor in sorted(deferred.items())
        ],
    }


def _revenue(
    month: date,
    is_closed: bool,
    sums: list[AccountTotal],
    ahead: dict[tuple[date, str], int],
) -> Iterable[dict[str, Any]]:
    found = {(one.account, one.currency): -one.amount_minor for one in sums}
    earning = (Account.REVENUE, Account.BREAKAGE)
    currencies = {currency for account, currency in found if account in earning}
    currencies |= {currency for (one, currency), minor in ahead.items() if one == month and minor}
    for currency in sorted(currencies):
        recognised, breakage = (found.get((account, currency), 0) for account in earning)
        scheduled = ahead.get((month, currency), 0)
        yield {
            "month": format_month(month),
            "currency": currency,
            "closed": is_closed,
            "recognised": format_minor(recognised, currency),
            "scheduled": format_minor(scheduled, currency),
            "breakage": format_minor(breakage, currency),
            "total": format_minor(recognised + scheduled + breakage, currency),
        }


async def close_month(
    core: Core, tenant: Tenant, ledger: Ledger, month: date, actor: str
) -> ClosedMonth:
    """
    Recognise what a month has earned, and what prepaid credit was sold, spent and expired in it.
    Nothing is dated in it afterwards.

    Raises:
        Refused: `period_open`.
    """
    now = core.clock.now()
    if now < month_start(next_month(month)):
        raise Refused(
            "period_open",
            f"{format_month(month)} has not ended; the last month that has is "
            f"{format_month(month_of(month_start(month_of(now)) - 1))}.",
        )
    worth = await worths(core, ledger, tenant, month_start(next_month(month)))
    closed: ClosedMonth = await core.books.run(
        core.books.books.close_month,
        tenant.name,
        month,
        now,
        audit(tenant, now, actor, "accounting.close", format_month(month)),
        worth,
    )
    return closed


async def write_off(core: Core, tenant: Tenant, invoice_id: str, reason: str, actor: str) -> None:
    """
    Give up what is open on an invoice.

    Raises:
        NotFound: No such invoice.
        Refused: `invoice_not_issued`.
    """
    await find_invoice(core, tenant, invoice_id)
    now = core.clock.now()
    await core.books.run(
        core.books.books.write_off,
        tenant.name,
        invoice_id,
        reason,
        now,
        audit(tenant, now, actor, "invoice.uncollectible", invoice_id, reason=reason),
    )


async def journal(
    core: Core, tenant: Tenant, start: int | None, end: int | None, **wanted: Any
) -> list[tuple[int, JournalEntry]]:
    found: list[tuple[int, JournalEntry]] = await core.books.run(
        core.books.books.journal, tenant.name, start=start, end=end, **wanted
    )
    return found
