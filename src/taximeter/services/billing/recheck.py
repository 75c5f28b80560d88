"""
An invoice rated again: its lines as the events, the cited prices and the subscription's course give
them once more.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from taximeter.catalog.prices import Flat, UsagePrice
from taximeter.invoices.document import canonical_bytes, parse_invoice
from taximeter.invoices.invoice import Invoice, Kind, Line
from taximeter.money import round_minor
from taximeter.ports import LineScope, Recount, StoredInvoice
from taximeter.quantities import E12
from taximeter.rating import rate_line
from taximeter.services.billing.cited import Group, cover_of, has_events, line_scope, usage_price
from taximeter.services.billing.dues import due_of
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


async def recheck(
    core: Core, tenant: Tenant, stored: StoredInvoice, *, now_too: int | None = None
) -> Rechecked:
    """
    Args:
        now_too: Also look for what came late, up to this position of the log.
    """
    invoice = parse_invoice(stored.document)
    scoped = {one.id: line_scope(tenant, invoice, one) for one in invoice.lines if has_events(one)}
    found = await _recount(core, [scope for scope, _ in scoped.values()])
    counted = {
        line: _of_group(groups, group)
        for (line, (_, group)), groups in zip(scoped.items(), found, strict=True)
    }
    late: dict[str, int] = {}
    if now_too is not None:
        by_now = await _recount(core, [replace(s, upto=now_too) for s, _ in scoped.values()])
        for (line, (_, group)), groups in zip(scoped.items(), by_now, strict=True):
            late[line] = _of_group(groups, group).events - counted[line].events
    lines = tuple(_again(tenant, invoice, line, counted.get(line.id)) for line in invoice.lines)
    return Rechecked(stored, invoice, lines, late)


async def _recount(core: Core, scopes: Sequence[LineScope]) -> list[list[Recount]]:
    return await core.store.recount(scopes) if scopes else []


def _of_group(groups: Sequence[Recount], group: Group) -> Recount:
    nothing = Recount(group, 0, 0, "")
    return next((one for one in groups if one.group == group), nothing)


def _again(tenant: Tenant, invoice: Invoice, line: Line, counted: Recount | None) -> Line:
    if counted is not None:
        _, price = usage_price(tenant, invoice, line)
        return rated_again(line, price, counted, invoice.currency)
    return _fee_again(tenant, invoice, line) if line.kind is Kind.FLAT else line


def rated_again(line: Line, price: UsagePrice, counted: Recount, currency: str) -> Line:
    """A line with what its price makes of other numbers."""
    assert line.lineage is not None, "only lines with events are counted"
    rated = rate_line(price, counted.value_pico, counted.events, counted.group)
    return replace(
        line,
        quantity_pico=rated.quantity_pico,
        amount_minor=round_minor(rated.amount, currency),
        metered_pico=None if price.transform is None else rated.metered_pico,
        free_pico=rated.free_pico,
        tiers=rated.tiers,
        multiplier=rated.multiplier,
        adjustment=rated.adjustment,
        lineage=replace(line.lineage, events=counted.events, digest=counted.digest or None),
    )


def _fee_again(tenant: Tenant, invoice: Invoice, line: Line) -> Line:
    """The fee for the days that the subscription's course leaves for it; 0 if there is none."""
    cover = cover_of(invoice, line)
    subscription = tenant.subscriptions[cover.subscription]
    index = tenant.timeline(subscription).index(cover.period.start)
    for charge in due_of(tenant, subscription, index).charges:
        if (charge.reference, charge.period) == (line.price, line.period) and charge.days:
            assert isinstance(charge.price, Flat), "days are charged for by flat fees"
            amount = charge.price.amount * charge.quantity * charge.days.share
            return replace(
                line,
                quantity_pico=charge.quantity * E12,
                amount_minor=round_minor(amount, invoice.currency),
                proration=charge.days if charge.days.partial else None,
            )
    return replace(line, quantity_pico=0, amount_minor=0, proration=None)
