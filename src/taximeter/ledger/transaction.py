"""
Transactions: balanced sets of postings, each with its cause (K19).

A transaction belongs to one wallet, that is to one credit type of one customer. Its postings sum to
zero. None is ever edited: what was wrong is reversed by one more.

    account         what it holds                                            sign
    wallet/{lot}    what the customer has left of one lot of credit          never below 0
    overdraft       what was settled beyond all credit, owed by later grants 0 or below
    issued/paid, issued/promotional   where granted credit comes from        0 or below
    spent           usage, at its cost in credit                             0 or above
    overage         usage that no credit paid for                            0 or below
    breakage        credit that ended unused                                 0 or above
    refunded        paid credit given back as money                          0 or above
    transferred     credit moved to (above 0) or from (below 0) another wallet

The balance of a wallet is the sum of its `wallet/...` accounts and `overdraft`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, TypeAlias

import msgspec

from taximeter.instants import format_instant
from taximeter.quantities import format_quantity

WALLET: Final = "wallet/"
OVERDRAFT: Final = "overdraft"
ISSUED: Final = "issued/"
SPENT: Final = "spent"
OVERAGE: Final = "overage"
BREAKAGE: Final = "breakage"
REFUNDED: Final = "refunded"
TRANSFERRED: Final = "transferred"

Cause: TypeAlias = Mapping[str, Any]
"""Who or what made a transaction happen; values that JSON can hold. Never changed afterwards."""


class Kind(StrEnum):
    """What a transaction does."""

    GRANT = "grant"  # a lot of credit begins
    SPEND = "spend"  # usage is paid from credit
    SETTLE = "settle"  # a hold resolves into what was really used
    OVERAGE = "overage"  # usage beyond all credit is noted
    EXPIRE = "expire"  # unused credit ends
    ROLLOVER = "rollover"  # unused credit moves into the next occurrence of its grant
    REPAY = "repay"  # credit pays an overdraft
    VOID = "void"  # issued credit is taken back
    REFUND = "refund"  # paid credit is given back as money
    TRANSFER = "transfer"  # credit moves between wallets
    REVERSE = "reverse"  # usage was taken back, and what it cost is given back


class Posting(msgspec.Struct, frozen=True, gc=False):
    """
    One amount on one account.

    Attributes:
        amount_pico: 10^-12 of the credit; adds to the account, or takes from it if negative.
    """

    account: str
    amount_pico: int


class Transaction(msgspec.Struct, frozen=True):
    """
    One entry of a wallet's ledger. Its postings sum to zero.

    Attributes:
        ordinal: 1, 2, 3, ... within the wallet, without a gap.
        at: When it was booked, microseconds; never earlier than the one before.
        balance_after_pico: The wallet's balance with this transaction in it.
    """

    ordinal: int
    at: int
    kind: Kind
    cause: Cause
    postings: tuple[Posting, ...]
    balance_after_pico: int

    def to_json(self) -> dict[str, Any]:
        """The documented form: amounts as text, instants RFC 3339."""
        return {
            "ordinal": self.ordinal,
            "at": format_instant(self.at),
            "kind": self.kind.value,
            "cause": dict(self.cause),
            "postings": [
                {"account": p.account, "amount": format_quantity(p.amount_pico)}
                for p in self.postings
            ],
            "balance_after": format_quantity(self.balance_after_pico),
        }


def is_balance_account(account: str) -> bool:
    """Whether the account is part of the wallet's balance."""
    return account.startswith(WALLET) or account == OVERDRAFT
