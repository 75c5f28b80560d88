"""
Revenue recognition: what was billed is earned by the days of its service.

A line is earned evenly over the local days of its period (of a fee paid in advance as of usage),
each day a whole number of minor units that sum exactly to the line (K7). A day belongs to the month
of its local date. What has been recognised of an invoice is always what its lines had earned before
one day, so a later month, a credit note or a void only books the difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Final

import msgspec
from msgspec.structs import replace

from taximeter.accounting.nets import nets_of
from taximeter.errors import Rejected
from taximeter.instants import SECOND
from taximeter.invoices.invoice import Invoice
from taximeter.periods import local_day

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Service(msgspec.Struct, frozen=True):
    """
    What one line is earned by.

    Attributes:
        first: Its first local day.
        days: How many there are; at least 1.
        net_minor: All there is to earn; negative on a line that takes something back.
    """

    line: str
    first: date
    days: int
    net_minor: int

    def earned_before(self, day: date) -> int:
        """
        Minor units of the days before a day.

        With equal days, the largest remainders (K7) are those of the first days.
        """
        done = min(max(0, (day - self.first).days), self.days)
        each, left = divmod(abs(self.net_minor), self.days)
        earned = each * done + min(left, done)
        return -earned if self.net_minor < 0 else earned

    @property
    def end(self) -> date:
        """The day behind the last one."""
        return self.first + timedelta(days=self.days)


def services_of(invoice: Invoice, timezone: str) -> tuple[Service, ...]:
    """
    Args:
        timezone: The customer's, whose days they are.
    """
    nets = nets_of(invoice)
    services = []
    for line in invoice.lines:
        first = local_day(line.period.start, timezone)
        last = local_day(max(line.period.start, line.period.end - 1), timezone)
        services.append(Service(line.id, first, (last - first).days + 1, nets[line.id]))
    return tuple(services)


def credited(services: Iterable[Service], nets: Mapping[str, int]) -> tuple[Service, ...]:
    """The same behind a credit note. `nets`: line -> what it takes back of its net."""
    return tuple(
        replace(service, net_minor=service.net_minor - nets.get(service.line, 0))
        for service in services
    )


def earned_before(services: Iterable[Service], day: date) -> int:
    """Minor units that all of them have earned before a day."""
    return sum(service.earned_before(day) for service in services)


def earned_by_month(services: Iterable[Service], before: date) -> dict[date, int]:
    """First day of a month -> minor units earned in it, of the days before a day; ascending."""
    months: dict[date, int] = {}
    for service in services:
        start = service.first
        while start < min(service.end, before):
            end = min(next_month(start), before)
            month = start.replace(day=1)
            earned = service.earned_before(end) - service.earned_before(start)
            months[month] = months.get(month, 0) + earned
            start = end
    return {month: minor for month, minor in sorted(months.items()) if minor}


# --- months of the books --------------------------------------------------------------------------


def parse_month(text: str) -> date:
    """
    The first day of "2026-10".

    Raises:
        Rejected: `invalid_parameter`.
    """
    try:
        if len(text) != 7:
            raise ValueError(text)
        return date.fromisoformat(f"{text}-01")
    except ValueError:
        raise Rejected("invalid_parameter", 'A month looks like "2026-10".') from None


def format_month(month: date) -> str:
    return month.isoformat()[:7]


def next_month(day: date) -> date:
    """The first day of the month behind a day's."""
    if (day.year, day.month) == (date.max.year, 12):
        raise Rejected("invalid_parameter", "The calendar ends with the year 9999.")
    year, month = divmod(day.year * 12 + day.month, 12)
    return date(year, month + 1, 1)


def month_start(month: date) -> int:
    """When a month of the books begins, microseconds: with its first day, UTC."""
    begin = datetime(month.year, month.month, 1, tzinfo=UTC)
    return (begin - _EPOCH) // timedelta(microseconds=1)


def month_of(at: int) -> date:
    """The month of the books an instant belongs to, as its first day."""
    return (_EPOCH + timedelta(seconds=at // SECOND)).date().replace(day=1)
