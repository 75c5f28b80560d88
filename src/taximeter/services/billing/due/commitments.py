"""
What a commitment for a term has been drawn by before a period.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from taximeter.catalog.plan_terms import Commitment
from taximeter.invoices.document import parse_invoice
from taximeter.invoices.invoice import Invoice, Line
from taximeter.invoices.plan_lines import PlanTerms, drawn_minor
from taximeter.periods import Period
from taximeter.services.billing.due.dues import Due
from taximeter.services.billing.due.plan_dues import term_of
from taximeter.services.core import Core
from taximeter.services.tenant import Tenant

WHOLE = "period"


async def with_drawn(core: Core, tenant: Tenant, due: Due) -> Due:
    """The same, knowing what invoices for earlier periods of the term have drawn."""
    if due.part != WHOLE or not any(one.has_term for one in due.terms):
        return due
    start = min(term_of(due.subscription, one.period.start)[0] for one in due.terms)
    payers = list(_payers(tenant, due.customer.key))
    stored = await core.books.run(core.books.books.invoices_since, tenant.name, payers, start)
    invoices = [parse_invoice(one.document) for one in stored]
    return replace(due, terms=tuple(_drawn(due, one, invoices) for one in due.terms))


class Drawing:
    """
    The same for periods that are rated one after the other and go on no invoice: trials of a
    catalogue, looks into the future.
    """

    def __init__(self) -> None:
        self._lines: defaultdict[str, list[Line]] = defaultdict(list)

    def before(self, due: Due) -> Due:
        """The period, knowing what those added before have drawn in its term."""
        if not any(one.has_term for one in due.terms):
            return due
        return replace(due, terms=tuple(self._drawn(due, one) for one in due.terms))

    def _drawn(self, due: Due, terms: PlanTerms) -> PlanTerms:
        if terms.commitment is None or not terms.has_term:
            return terms
        start, _ = term_of(due.subscription, terms.period.start)
        lines = [line for line in self._lines[due.subscription.id] if line.period.start >= start]
        drawn = drawn_minor(terms.commitment, terms.name, lines)
        return replace(terms, drawn_before_minor=drawn)

    def add(self, due: Due, lines: Iterable[Line]) -> None:
        """What a period came to; periods of one subscription come in their order."""
        if any(one.has_term for one in due.terms):
            self._lines[due.subscription.id] += lines


def _drawn(due: Due, terms: PlanTerms, invoices: list[Invoice]) -> PlanTerms:
    if terms.commitment is None or not terms.has_term:
        return terms
    start, _ = term_of(due.subscription, terms.period.start)
    before = Period(start, max(start, due.period.start))
    drawn = sum(_drawn_on(invoice, due, before, terms.commitment, terms) for invoice in invoices)
    return replace(terms, drawn_before_minor=drawn)


def _drawn_on(
    invoice: Invoice, due: Due, before: Period, commitment: Commitment, terms: PlanTerms
) -> int:
    lines = list(_lines_of(invoice, due.subscription.id, before))
    return drawn_minor(commitment, terms.name, lines)


def _lines_of(invoice: Invoice, subscription: str, before: Period) -> Iterator[Line]:
    """Of whole periods: what was billed of one before its end is on its own invoice again."""
    covers = [c for c in invoice.covered if (c.subscription, c.part) == (subscription, WHOLE)]
    for line in invoice.lines:
        if (line.subscription or invoice.subscription) == subscription:
            start = line.period.start
            if before.contains(start) and any(c.period.contains(start) for c in covers):
                yield line


def _payers(tenant: Tenant, customer: str) -> Iterator[str]:
    """Who may have been sent the invoices: the customer, and those above it."""
    above: str | None = customer
    while above is not None:
        yield above
        above = tenant.customers[above].parent
