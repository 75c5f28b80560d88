"""
Statements: what the transactions of a wallet add up to.

    opening + granted - spent + overage - expired - voided - refunded - transferred = closing

`spent` is all usage at its cost, and `overage` the part of it that no credit paid for.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from taximeter.ledger.transaction import (
    BREAKAGE,
    ISSUED,
    OVERAGE,
    REFUNDED,
    SPENT,
    TRANSFERRED,
    Kind,
    Transaction,
)
from taximeter.quantities import format_quantity


def trial_balance(transactions: Iterable[Transaction]) -> dict[str, int]:
    """
    Every account ever posted to, with the sum of its postings in pico, by name.

    All of them together are zero, for one wallet as for any number of wallets of one credit.
    """
    accounts: dict[str, int] = {}
    for transaction in transactions:
        for posting in transaction.postings:
            account = posting.account
            accounts[account] = accounts.get(account, 0) + posting.amount_pico
    return dict(sorted(accounts.items()))


class Statement(msgspec.Struct, frozen=True):
    """
    Where the credit of a stretch of transactions came from and where it went, in pico.

    Attributes:
        granted_pico: Issued, without what was voided.
        voided_pico: Issued and taken back.
        spent_pico: Usage at its cost, whether credit paid for it or not.
        overage_pico: The part of it that no credit paid for.
        expired_pico: Breakage.
        transferred_pico: To other wallets, less what came from them.
    """

    opening_pico: int
    granted_pico: int
    voided_pico: int
    spent_pico: int
    overage_pico: int
    expired_pico: int
    refunded_pico: int
    transferred_pico: int

    @property
    def closing_pico(self) -> int:
        """The balance the parts make."""
        return (
            self.opening_pico
            + self.granted_pico
            - self.voided_pico
            - self.spent_pico
            + self.overage_pico
            - self.expired_pico
            - self.refunded_pico
            - self.transferred_pico
        )

    def to_json(self) -> dict[str, Any]:
        """Each part as text: {"opening": "0", "granted": "100", ..., "closing": "70"}"""
        parts = {name.removesuffix("_pico"): getattr(self, name) for name in self.__struct_fields__}
        parts["closing"] = self.closing_pico
        return {name: format_quantity(pico) for name, pico in parts.items()}


def statement(transactions: Iterable[Transaction], opening_pico: int = 0) -> Statement:
    """Add up consecutive transactions of one wallet, or of several that began together."""
    granted = voided = 0
    others: dict[str, int] = {}
    for transaction in transactions:
        for posting in transaction.postings:
            account, pico = posting.account, posting.amount_pico
            if not account.startswith(ISSUED):
                others[account] = others.get(account, 0) + pico
            elif transaction.kind is Kind.VOID:
                voided += pico
            else:
                granted -= pico
    return Statement(
        opening_pico=opening_pico,
        granted_pico=granted,
        voided_pico=voided,
        spent_pico=others.get(SPENT, 0),
        overage_pico=-others.get(OVERAGE, 0),
        expired_pico=others.get(BREAKAGE, 0),
        refunded_pico=others.get(REFUNDED, 0),
        transferred_pico=others.get(TRANSFERRED, 0),
    )
