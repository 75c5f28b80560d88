"""The ledger of credits: a projection of the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from taximeter.ledger.transaction import Transaction


class LedgerRow(msgspec.Struct, frozen=True):
    """A transaction of one wallet; `seq` is the log entry or event that caused it."""

    namespace: str
    customer: str
    credit: str
    seq: int
    transaction: Transaction


class AccountSum(msgspec.Struct, frozen=True):
    """All postings on one account: `wallet`, `overdraft`, `issued/paid`, `spent`, ..."""

    credit: str
    account: str
    amount_pico: int


class WalletRows(msgspec.Struct, frozen=True):
    """What is booked of one wallet. Ordinals count from 1 without a gap, so `count` is `last`."""

    count: int
    last: int
    balance_pico: int


class LedgerBook(Protocol):
    """
    Every transaction of every wallet, a projection of the log. Each call is one transaction,
    durable on return. Called by one thread at a time.
    """

    @property
    def position(self) -> int:
        """Everything the log did up to here is booked."""
        ...

    def append(self, rows: Sequence[LedgerRow], position: int) -> None:
        """Book in order; a row whose ordinal is booked already is passed over."""
        ...

    def transactions(
        self,
        namespace: str,
        customer: str,
        *,
        credit: str | None,
        start: int | None,
        end: int | None,
        after: int,
        limit: int,
    ) -> list[tuple[int, LedgerRow]]:
        """(rank, row) with rank > after and start <= at < end, in the order booked."""
        ...

    def caused_by(self, namespace: str, seqs: Sequence[int]) -> list[LedgerRow]:
        """What was booked at these seqs, in the order booked."""
        ...

    def balance_pico_at(self, namespace: str, customer: str, credit: str, at: int) -> int:
        """After everything booked at or before an instant; 0 before the first."""
        ...

    def sums(self, namespace: str) -> list[AccountSum]:
        """Over all customers, by credit and account; each credit sums to zero."""
        ...

    def wallets(self, namespace: str) -> dict[tuple[str, str], WalletRows]:
        """(customer, credit) -> how much of it is booked."""
        ...

    def restore(self, rows: Sequence[LedgerRow]) -> int:
        """Book those of these transactions that are not there; returns how many. `append` looks
        at the end of a wallet only."""
        ...
