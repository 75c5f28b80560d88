"""
What is billed and not earned yet, and when it will be.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import msgspec

from taximeter.accounting.recognition import Service, earned_before, earned_by_month, next_month


class Unearned(msgspec.Struct, frozen=True):
    """
    An invoice of which something is still to be recognised.

    Attributes:
        deferred_minor: What its entries have left on `deferred_revenue`: a credit, negative, for
            what is billed and not earned.
        issued_day: Local day of the issue; all before it has been recognised.
        services: Its lines, without what was credited.
    """

    invoice: str
    currency: str
    deferred_minor: int
    issued_day: date
    services: tuple[Service, ...]


def revenue_ahead(invoices: Iterable[Unearned], closed: date | None) -> dict[tuple[date, str], int]:
    """
    (First day of a month, currency) -> minor units to be recognised in it.

    Args:
        closed: The last closed month; all before its end has been recognised.
    """
    ahead: dict[tuple[date, str], int] = {}
    for invoice in invoices:
        begin = invoice.issued_day
        if closed is not None:
            begin = max(begin, next_month(closed))
        months = earned_by_month(invoice.services, date.max)
        for month, minor in months.items():
            if month < begin.replace(day=1):
                continue
            if month == begin.replace(day=1):
                minor -= earned_before(invoice.services, begin) - earned_before(
                    invoice.services, month
                )
            key = (month, invoice.currency)
            ahead[key] = ahead.get(key, 0) + minor
    return ahead
