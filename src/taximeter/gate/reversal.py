"""
What usage has cost, read back from the ledger: to be given back when the usage is taken back.
"""

from __future__ import annotations

from collections.abc import Iterable

from taximeter.gate.effects import Reverse
from taximeter.ledger.transaction import OVERAGE, OVERDRAFT, WALLET, Kind, Transaction

_COSTS = (Kind.SPEND, Kind.OVERAGE, Kind.SETTLE)


def reversals(
    booked: Iterable[tuple[str, str, Transaction]], events: Iterable[int]
) -> dict[int, list[Reverse]]:
    """
    Args:
        booked: (customer, credit, transaction) of what was booked at the seqs of these events:
            their cost, and what time did at the same moment.
        events: Seqs of usage events.

    Returns:
        By event what it gives back; those that cost nothing are absent. `Reverse.seq` is still to
        be set.
    """
    wanted = set(events)
    found: dict[int, list[Reverse]] = {}
    for customer, credit, transaction in booked:
        cause = transaction.cause
        event = cause.get("seq")
        if (
            event in wanted
            and transaction.kind in _COSTS
            and cause.get("do") in ("usage", "settle")
        ):
            reverse = _reverse(customer, credit, cause["feature"], event, transaction)
            found.setdefault(event, []).append(reverse)
    return found


def _reverse(
    customer: str, credit: str, feature: str, event: int, transaction: Transaction
) -> Reverse:
    given = {p.account: -p.amount_pico for p in transaction.postings if p.amount_pico < 0}
    parts = [(a.removeprefix(WALLET), p) for a, p in given.items() if a.startswith(WALLET)]
    return Reverse(
        customer,
        feature=feature,
        seq=0,
        event=event,
        credit=credit,
        parts=tuple(parts),
        overage_pico=given.get(OVERAGE, 0),
        overdraft_pico=given.get(OVERDRAFT, 0),
    )
