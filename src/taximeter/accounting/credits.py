"""
Prepaid credit in money: sold, spent, expired.

What a customer paid for credit is owed in credit, until it is spent (revenue) or expires
(breakage). By the month: at its end, `prepaid_credits` holds what the credit left is worth, so all
that invoices have not used and that did not expire was spent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from fractions import Fraction

import msgspec

from taximeter.accounting.journal import Account, EntryKind, JournalEntry, postings
from taximeter.accounting.recognition import format_month, month_start, next_month
from taximeter.instants import SECOND
from taximeter.ledger.transaction import WALLET, Kind, Transaction
from taximeter.money import round_minor
from taximeter.quantities import E12

_SOLD = (Kind.GRANT, Kind.VOID, Kind.REFUND, Kind.TRANSFER)


class Worth(msgspec.Struct, frozen=True):
    """
    All prepaid credit of a customer in one currency, as of an instant; minor units.

    Attributes:
        sold_minor: Paid for, ever, less what was taken or given back.
        expired_minor: Of that, what ended unused.
        left_minor: Of that, what can still be spent.
    """

    customer: str
    currency: str
    sold_minor: int = 0
    expired_minor: int = 0
    left_minor: int = 0

    def __add__(self, other: Worth) -> Worth:
        return Worth(
            self.customer,
            self.currency,
            self.sold_minor + other.sold_minor,
            self.expired_minor + other.expired_minor,
            self.left_minor + other.left_minor,
        )


class Booked(msgspec.Struct, frozen=True):
    """
    What the journal says of the same by the same instant, minor units.

    Attributes:
        sold_minor, expired_minor: Of earlier months.
        left_minor: What stands on `prepaid_credits`, as a credit: invoices have taken from it.
    """

    sold_minor: int = 0
    expired_minor: int = 0
    left_minor: int = 0


def worth_of(
    transactions: Iterable[Transaction],
    customer: str,
    currency: str,
    unit_cost: Callable[[str], Fraction],
) -> Worth:
    """
    What a wallet is worth.

    Args:
        transactions: All of it until the instant.
        unit_cost: Lot -> money paid for one unit; 0 for credit that was given away.
    """
    sold: dict[str, int] = {}
    expired: dict[str, int] = {}
    left: dict[str, int] = {}
    for transaction in transactions:
        for posting in transaction.postings:
            if not posting.account.startswith(WALLET):
                continue
            lot, pico = posting.account.removeprefix(WALLET), posting.amount_pico
            left[lot] = left.get(lot, 0) + pico
            if transaction.kind in _SOLD:
                sold[lot] = sold.get(lot, 0) + pico
            elif transaction.kind is Kind.EXPIRE:
                expired[lot] = expired.get(lot, 0) - pico
    worth = [
        sum(
            round_minor(unit_cost(lot) * Fraction(pico, E12), currency)
            for lot, pico in lots.items()
        )
        for lots in (sold, expired, left)
    ]
    return Worth(customer, currency, *worth)


def entry_of_credits(worth: Worth, booked: Booked, month: date, at: int) -> JournalEntry | None:
    """
    What a month has sold, spent and let expire; None for nothing.

    Args:
        worth: At the end of the month.
        booked: By then, without this entry.
        at: Now. It is booked with the last second of the month if that has passed.
    """
    sold_minor = worth.sold_minor - booked.sold_minor
    expired_minor = worth.expired_minor - booked.expired_minor
    spent_minor = booked.left_minor + sold_minor - expired_minor - worth.left_minor
    found = postings(
        {
            Account.CASH: sold_minor,
            Account.CREDITS: booked.left_minor - worth.left_minor,
            Account.REVENUE: -spent_minor,
            Account.BREAKAGE: -expired_minor,
        }
    )
    if not found:
        return None
    return JournalEntry(
        id=f"credits:{format_month(month)}:{worth.customer}:{worth.currency}",
        at=min(at, month_start(next_month(month)) - SECOND),
        kind=EntryKind.CREDITS,
        customer=worth.customer,
        currency=worth.currency,
        cause={"month": format_month(month)},
        postings=found,
    )
