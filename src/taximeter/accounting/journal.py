"""
The journal: balanced entries, append-only (K19).

Debits are positive, credits negative, so the postings of an entry sum to zero. No entry is ever
changed: what was wrong is reversed by one more.

    account            what it holds                                               normally
    receivable         what customers owe on issued invoices                       debit
    cash               money received, less money paid back                        debit
    customer_balance   money of customers that no invoice has used yet             credit
    prepaid_credits    credit that was paid for and not spent                      credit
    tax_payable        tax billed, owed to the authorities                         credit
    deferred_revenue   billed and not earned yet; a debit: earned and not billed   credit
    revenue            earned                                                      credit
    breakage           credit that was paid for and expired                        credit
    promotions         what credit paid for that nobody had paid for               debit
    write_off          receivables given up, less what was recovered               debit
    differences        what is missing of invoices that count as paid              debit
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

import msgspec

from taximeter.instants import format_instant
from taximeter.money import format_minor


class Account(StrEnum):
    RECEIVABLE = "receivable"
    CASH = "cash"
    BALANCE = "customer_balance"
    CREDITS = "prepaid_credits"
    TAX = "tax_payable"
    DEFERRED = "deferred_revenue"
    REVENUE = "revenue"
    BREAKAGE = "breakage"
    PROMOTIONS = "promotions"
    WRITE_OFF = "write_off"
    DIFFERENCES = "differences"


class EntryKind(StrEnum):
    """What an entry books."""

    ISSUE = "issue"  # an invoice becomes due
    VOID = "void"  # an issued invoice is taken back
    CREDIT_NOTE = "credit_note"  # a part of an invoice is taken back
    PAYMENT = "payment"  # money comes in
    ALLOCATION = "allocation"  # money of a customer pays an invoice
    REVERSAL = "reversal"  # an earlier entry is undone
    REFUND = "refund"  # money goes back to the customer
    WRITE_OFF = "write_off"  # an invoice is given up
    DIFFERENCE = "difference"  # the little that is missing of a payment is let go
    RECOVERY = "recovery"  # an invoice given up is paid after all
    RECOGNITION = "recognition"  # what was billed is earned
    CREDITS = "credits"  # prepaid credit is sold, spent or expires in a month


class Posting(msgspec.Struct, frozen=True, gc=False):
    """One amount on one account; minor units, a debit positive, a credit negative."""

    account: Account
    amount_minor: int


class JournalEntry(msgspec.Struct, frozen=True, kw_only=True):
    """
    One balanced entry of one customer in one currency.

    Attributes:
        id: Unique in its namespace; booking it again changes nothing.
        at: The instant it belongs to, microseconds: of the issue, the payment, the service.
        postings: Sum to zero; at most one an account, none of 0.
        cause: Who or what made it happen; plain JSON values.
        invoice: What it is about, if that is one invoice.
        source: Where money on `customer_balance` came from: the payment, credit note or invoice.
    """

    id: str
    at: int
    kind: EntryKind
    customer: str
    currency: str
    postings: tuple[Posting, ...]
    cause: Mapping[str, Any]
    invoice: str | None = None
    source: str | None = None

    def on(self, account: Account) -> int:
        """What it posts to an account, minor units."""
        return sum(one.amount_minor for one in self.postings if one.account is account)

    @property
    def balanced(self) -> bool:
        accounts = {posting.account for posting in self.postings}
        return (
            sum(posting.amount_minor for posting in self.postings) == 0
            and len(accounts) == len(self.postings)
            and all(posting.amount_minor for posting in self.postings)
        )

    def to_json(self) -> dict[str, Any]:
        """The documented form: amounts as text, either as `debit` or as `credit`."""
        return {
            "id": self.id,
            "at": format_instant(self.at),
            "kind": self.kind.value,
            "customer": self.customer,
            "currency": self.currency,
            "invoice": self.invoice,
            "source": self.source,
            "cause": dict(self.cause),
            "postings": [
                {
                    "account": posting.account.value,
                    "debit" if posting.amount_minor > 0 else "credit": format_minor(
                        abs(posting.amount_minor), self.currency
                    ),
                }
                for posting in self.postings
            ],
        }


def postings(amounts: Mapping[Account, int]) -> tuple[Posting, ...]:
    """Amounts as postings, in the order of the accounts; accounts with 0 are left out."""
    return tuple(Posting(account, amounts[account]) for account in Account if amounts.get(account))


def totals(entries: Iterable[JournalEntry]) -> dict[Account, int]:
    """The sum of each account that was posted to."""
    sums: dict[Account, int] = {}
    for entry in entries:
        for posting in entry.postings:
            sums[posting.account] = sums.get(posting.account, 0) + posting.amount_minor
    return sums
