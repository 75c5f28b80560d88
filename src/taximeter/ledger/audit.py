"""
The audit: proof, from the transactions alone, that nothing was created, lost or skipped.

It shares no arithmetic with the wallet that wrote them, so that a defect there shows here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from taximeter.ledger.statement import statement
from taximeter.ledger.transaction import OVERDRAFT, WALLET, Transaction, is_balance_account
from taximeter.quantities import format_quantity


def audit(transactions: Iterable[Transaction], opening_pico: int = 0) -> list[str]:
    """
    Check a wallet's ledger from its first transaction on.

    Args:
        transactions: In order, all of them.
        opening_pico: The balance before the first.

    Returns:
        A sentence for each finding; nothing means proven: every transaction sums to zero, none is
        missing or out of order, each balance follows from the one before, no lot is below zero,
        the overdraft is not above it, and opening + grants - spends - expiries - voids - refunds -
        transfers is the closing balance.
    """
    ledger = list(transactions)
    return [*_step_by_step(ledger, opening_pico), *_as_a_whole(ledger, opening_pico)]


def _step_by_step(ledger: list[Transaction], opening_pico: int) -> Iterator[str]:
    accounts: dict[str, int] = {}
    balance_pico = opening_pico
    ordinal, at = 0, 0
    for transaction in ledger:
        name = f"transaction {transaction.ordinal}"
        if transaction.ordinal != ordinal + 1:
            yield f"{name} follows transaction {ordinal}"
        if transaction.at < at:
            yield f"{name} is booked earlier than the one before"
        if not transaction.postings:
            yield f"{name} has no postings"
        total_pico = sum(posting.amount_pico for posting in transaction.postings)
        if total_pico:
            yield f"{name} sums to {format_quantity(total_pico)}, not to 0"
        for posting in transaction.postings:
            if not posting.amount_pico:
                yield f"{name} posts nothing to {posting.account}"
            if is_balance_account(posting.account):
                balance_pico += posting.amount_pico
            accounts[posting.account] = accounts.get(posting.account, 0) + posting.amount_pico
            yield from _bounds(name, posting.account, accounts[posting.account])
        if transaction.balance_after_pico != balance_pico:
            yield (
                f"{name} says the balance is {format_quantity(transaction.balance_after_pico)}, "
                f"its postings make it {format_quantity(balance_pico)}"
            )
        ordinal, at = transaction.ordinal, transaction.at


def _bounds(name: str, account: str, pico: int) -> Iterator[str]:
    if account.startswith(WALLET) and pico < 0:
        yield f"{name} takes {account} below zero, to {format_quantity(pico)}"
    if account == OVERDRAFT and pico > 0:
        yield f"{name} repays {format_quantity(pico)} more overdraft than there was"


def _as_a_whole(ledger: list[Transaction], opening_pico: int) -> Iterator[str]:
    if not ledger:
        return
    closing_pico = statement(ledger, opening_pico).closing_pico
    if closing_pico != ledger[-1].balance_after_pico:
        yield (
            f"opening, grants, spends, expiries and the like come to "
            f"{format_quantity(closing_pico)}, the last balance is "
            f"{format_quantity(ledger[-1].balance_after_pico)}"
        )
