"""
The audit: proof, from the transactions alone, that nothing was created, lost or skipped.

It shares no arithmetic with the wallet that wrote them, so that a defect there shows here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from taximeter.ledger.statement import statement
from taximeter.ledger.transaction import OVERDRAFT, WALLET, Transaction, is_balance_account
from taximeter.quantities import format_quantity


def audit(transactions: Iterable[Transaction]) -> list[str]:
    """
    Check a wallet's ledger.

    Args:
        transactions: All of them from the first on, in order.

    Returns:
        A sentence for each finding; nothing means proven: every transaction sums to zero, none is
        missing or out of order, each balance follows from the one before, no lot is below zero,
        the overdraft is not above it, and grants - spends - expiries - voids - refunds - transfers
        is the closing balance.
    """
    ledger = list(transactions)
    return [*_step_by_step(ledger), *_as_a_whole(ledger)]


def _step_by_step(ledger: list[Transaction]) -> Iterator[str]:
    accounts: dict[str, int] = {}
    balance_pico, ordinal, at = 0, 0, 0
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


def _as_a_whole(ledger: list[Transaction]) -> Iterator[str]:
    closing_pico = statement(ledger).closing_pico
    last_pico = ledger[-1].balance_after_pico if ledger else 0
    if closing_pico != last_pico:
        yield (
            f"grants, spends, expiries and the like come to {format_quantity(closing_pico)}, "
            f"the last balance is {format_quantity(last_pico)}"
        )
