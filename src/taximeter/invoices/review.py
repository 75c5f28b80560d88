"""
What is unusual about a draft, so that a person looks at it before a customer does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from taximeter.invoices.invoice import Invoice
from taximeter.money import exponent, format_minor

COMPARED: Final = 6
"""Earlier invoices that a draft is compared with."""

FACTOR: Final = 3
NOTABLE: Final = 10
"""Differences of less than so many units of the currency are nobody's concern."""


def unusual(draft: Invoice, earlier_minor: Sequence[int]) -> tuple[str, ...]:
    """
    Why a draft should be looked at; () for no reason.

    Args:
        earlier_minor: Totals of earlier invoices of the same subscription and currency, the last
            `COMPARED` of them in any order; none for a first invoice, which is compared with
            nothing.
    """
    total = draft.total_minor
    if total < 0:
        return (f"The total is below zero: {format_minor(total, draft.currency)}.",)
    if not earlier_minor:
        return ()
    usual = _median(earlier_minor)
    if abs(total - usual) < NOTABLE * 10 ** exponent(draft.currency):
        return ()
    if total > FACTOR * usual:
        return (_compared("more than three times", draft, usual),)
    if total * FACTOR < usual:
        return (_compared("less than a third of", draft, usual),)
    return ()


def _median(totals: Sequence[int]) -> int:
    """The lower of the two in the middle, where there are two."""
    return sorted(totals)[(len(totals) - 1) // 2]


def _compared(how: str, draft: Invoice, usual_minor: int) -> str:
    total, usual = (format_minor(one, draft.currency) for one in (draft.total_minor, usual_minor))
    return f"The total {total} {draft.currency} is {how} the usual {usual}."
