"""
An invoice rated again: its lines as the events, the cited prices and the subscription's course give
them once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import msgspec
from msgspec.structs import replace

from taximeter.catalog.rates import converted
from taximeter.invoices.document import canonical_bytes, parse_invoice
from taximeter.invoices.invoice import Invoice, Line
from taximeter.money import round_minor
from taximeter.ports import Recount, StoredInvoice
from taximeter.rating import Band, rate_line
from taximeter.services.billing.due.bands import Banded, BandedScope, recount
from taximeter.services.billing.due.fees import fees_again
from taximeter.services.billing.evidence.cited import (
    Group,
    has_events,
    hours_of_line,
    line_scope,
    usage_price,
)
from taximeter.services.core import Core
from taximeter.services.tenant import Tenant


class Rechecked(msgspec.Struct, frozen=True):
    """
    Attributes:
        lines: As they should be, in the order of the invoice's own.
        late: For each line with events: how many more count by now, that came after it was made.
    """

    stored: StoredInvoice
    invoice: Invoice
    lines: tuple[Line, ...]
    late: dict[str, int]

    @property
    def document_ok(self) -> bool:
        """Whether the document is what its lines add up to, byte for byte, digest included."""
        return canonical_bytes(self.invoice) == self.stored.document

    @property
    def ok(self) -> bool:
        return self.document_ok and self.lines == self.invoice.lines

    @property
    def as_it_should_be(self) -> Invoice:
        return replace(self.invoice, lines=self.lines)


async def recheck(core: Core, tenant: Tenant, stored: StoredInvoice) -> Rechecked:
    """One invoice, as it should be."""
    (checked,) = await recheck_all(core, tenant, [stored])
    return checked


async def recheck_all(
    core: Core, tenant: Tenant, stored: Sequence[StoredInvoice], *, now_too: int | None = None
) -> list[Rechecked]:
    """
    Several at once: lines that are alike are counted in one pass.

    Args:
        now_too: Also look for what came late, up to this position of the log.
    """
    invoices = [parse_invoice(one.document) for one in stored]
    scoped = {
        (place, line.id): _events_of(tenant, invoice, line)
        for place, invoice in enumerate(invoices)
        for line in invoice.lines
        if has_events(line)
    }
    found = await recount(core, [one.scope for one in scoped.values()])
    counted = {
        key: _of_group(groups, one.group)
        for (key, one), groups in zip(scoped.items(), found, strict=True)
    }
    late: list[dict[str, int]] = [{} for _ in invoices]
    if now_too is not None:
        by_now = await recount(core, [one.up_to(now_too) for one in scoped.values()], proofs=False)
        for ((place, line_id), one), groups in zip(scoped.items(), by_now, strict=True):
            again, _ = _of_group(groups, one.group)
            late[place][line_id] = again.events - counted[place, line_id][0].events
    checked = []
    for place, (document, invoice) in enumerate(zip(stored, invoices, strict=True)):
        lines = [
            _adjusting(line, rated_again(line, scoped[key], *counted[key], invoice.currency))
            if (key := (place, line.id)) in scoped
            else line
            for line in invoice.lines
        ]
        whole = await fees_again(core, tenant, invoice, lines, document.created_at)
        checked.append(Rechecked(document, invoice, tuple(whole), late[place]))
    return checked


def _adjusting(line: Line, again: Line) -> Line:
    """
    An adjustment is what its period comes to, less what was billed. What it comes to can be less
    than its price makes of the events: by the discounts of its own period, and by what was held or
    written off.
    """
    if line.adjusts is None or line.lineage is None:
        return again
    if line.group and again.lineage is not None and again.lineage.events == 0:
        gone = replace(line, amount_minor=-line.adjusts.billed_minor)
        return gone if line.lineage.events == 0 else again
    whole, rerated = again.amount_minor, line.adjusts.rerated_minor
    comes_to = rerated if 0 <= rerated <= whole else whole
    return replace(again, amount_minor=comes_to - line.adjusts.billed_minor)


class LineEvents(msgspec.Struct, frozen=True):
    """
    What a line counts, and what is to be made of it.

    Attributes:
        factor: Of the hours of the day it is of.
    """

    scope: BandedScope
    group: Group
    factor: Fraction

    def up_to(self, position: int) -> BandedScope:
        return replace(self.scope, scope=replace(self.scope.scope, upto=position))


def _events_of(tenant: Tenant, invoice: Invoice, line: Line) -> LineEvents:
    _, price = usage_price(tenant, invoice, line)
    hours = hours_of_line(tenant, invoice, line, price)
    scope, group = line_scope(tenant, invoice, line)
    factor = Fraction(1) if hours is None else hours.factor
    return LineEvents(BandedScope(scope, price), group, factor)


def _of_group(groups: Sequence[Banded], group: Group) -> Banded:
    nothing = Recount(group, 0, 0, "")
    return next((found for found in groups if found[0].group == group), (nothing, ()))


def rated_again(
    line: Line, events: LineEvents, counted: Recount, bands: Sequence[Band], currency: str
) -> Line:
    """A line with what its price makes of other numbers."""
    assert line.lineage is not None, "only lines with events are counted"
    price = events.scope.price
    rated = rate_line(
        price,
        counted.value_pico,
        counted.events,
        counted.group,
        bands=bands,
        factor=events.factor,
    )
    return replace(
        line,
        quantity_pico=rated.quantity_pico,
        amount_minor=round_minor(converted(rated.amount, line.conversions), currency),
        metered_pico=None if price.transform is None else rated.metered_pico,
        free_pico=rated.free_pico,
        tiers=rated.tiers,
        multiplier=rated.multiplier,
        adjustment=rated.adjustment,
        lineage=replace(line.lineage, events=counted.events, digest=counted.digest or None),
    )
