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
    An invoice, what it is earned by, and what was recognised of it.

    Attributes:
        issued_on: Local day of the issue; all before it has been recognised.
        deferred_minor: What its entries have left on `deferred_revenue`: a credit, negative, for
            what is billed and not earned.
        recognised_minor: What its entries made revenue.
        services: Its lines, without what was credited.
    """

    id: str
    number: str
    customer: str
    currency: str
    issued_on: date
    deferred_minor: int
    recognised_minor: int
    services: tuple[Service, ...]

    def to_recognise(self, before: date) -> int:
        """
        Minor units earned before a day and not recognised; negative for too much.

        Args:
            before: The day of the issue, if that is later: it was looked at then.
        """
        day = max(before, self.issued_on)
        return earned_before(self.services, day) - self.recognised_minor


def revenue_ahead(invoices: Iterable[Unearned], closed: date | None) -> dict[tuple[date, str], int]:
    """
    (First day of a month, currency) -> minor units to be recognised in it.

    Args:
        closed: The last closed month; all before its end has been recognised.
    """
    ahead: dict[tuple[date, str], int] = {}
    for invoice in invoices:
        begin = invoice.issued_on
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
