"""
Proof: which events are behind each line of an invoice, and that it says what they say.
"""

from __future__ import annotations

from typing import Any

import msgspec

from taximeter.catalog.prices import Flat, Price, UsagePrice
from taximeter.errors import NotFound
from taximeter.invoices.charges import Charge
from taximeter.invoices.document import canonical_bytes, parse_invoice
from taximeter.invoices.invoice import Invoice, Kind, Line, Status
from taximeter.meters.compile import compile_counters
from taximeter.meters.counter import Counter
from taximeter.money import format_minor, round_minor
from taximeter.ports import LineScope, Recount, StoredEvent
from taximeter.quantities import format_quantity
from taximeter.rating import RatedLine, rate_line
from taximeter.services.billing.dues import due_of
from taximeter.services.billing.service import find_invoice
from taximeter.services.core import Core
from taximeter.services.tenant import Tenant


def find_line(invoice: Invoice, line_id: str) -> Line:
    for line in invoice.lines:
        if line.id == line_id:
            return line
    raise NotFound("not_found", f"Invoice {invoice.id!r} has no line {line_id!r}.")


def _cited(tenant: Tenant, invoice: Invoice, line: Line) -> tuple[int, Price]:
    """
    The price a line cites, such as "pro/tokens@3", as this customer had it, and the catalogue
    version it is of. It follows from the subscription: what has been of that never changes.
    """
    reference, _, version = line.price.rpartition("@")
    name, _, price = reference.partition("/")
    subscription = tenant.subscriptions[invoice.subscription]
    terms = tenant.plans.billed(subscription, line.period.start, invoice.period.start)
    (part,) = (part for part in terms.parts if part.name == name)
    return int(version), part.prices[price]


def line_scope(
    tenant: Tenant, invoice: Invoice, line: Line
) -> tuple[LineScope, tuple[str | None, ...]]:
    """The events behind a usage line, as they were defined when it was made."""
    assert line.lineage is not None, "only usage lines have events"
    version, price = _cited(tenant, invoice, line)
    assert not isinstance(price, Flat), "a usage line has a usage price"
    metering = line.metering_version or invoice.metering_version
    scope = LineScope(
        namespace=tenant.name,
        meter=tenant.billed_counter(version, price, metering).meter,
        subjects=invoice.subjects,
        period=line.period,
        upto=int(line.lineage.position.partition(":")[2]),
        filter=price.filter,
        group_by=price.group_by,
    )
    return scope, tuple(line.group[name] for name in price.group_by)


async def line_events(
    core: Core, tenant: Tenant, invoice_id: str, line_id: str, after: int, limit: int
) -> list[StoredEvent]:
    """The exact events of a line with seq > after, ascending; none for a flat fee."""
    invoice = parse_invoice((await find_invoice(core, tenant, invoice_id)).document)
    line = find_line(invoice, line_id)
    if line.kind is not Kind.USAGE:
        return []
    scope, group = line_scope(tenant, invoice, line)
    return await core.store.line_events(scope, group, after, limit)


async def lines_that_billed(
    core: Core, tenant: Tenant, stored: StoredEvent
) -> list[dict[str, str]]:
    """Lines of invoices that are not void whose events include this one."""
    account = tenant.live.by_subject.get(stored.event.subject)
    if account is None:
        return []
    invoices = await core.books.run(
        core.books.books.invoices,
        tenant.name,
        customer=account.customer,
        status=None,
        after=None,
        limit=1000,
    )
    found = []
    for one in invoices:
        if one.status != Status.VOID.value and one.period_start <= stored.time < one.period_end:
            invoice = parse_invoice(one.document)
            found += [
                {"invoice": invoice.id, "line": line.id}
                for line in invoice.lines
                if line.kind is Kind.USAGE and _billed(tenant, invoice, line, stored)
            ]
    return found


def _billed(tenant: Tenant, invoice: Invoice, line: Line, stored: StoredEvent) -> bool:
    scope, group = line_scope(tenant, invoice, line)
    if stored.event.type != scope.meter.event_type or stored.seq > scope.upto:
        return False
    if stored.event.subject not in scope.subjects or not line.period.contains(stored.time):
        return False
    counter = Counter(scope.meter, scope.filter, scope.group_by)
    values = compile_counters([(0, counter)]).measure_stored(stored.event)
    if values is None or values[0] is None:
        return False
    return not scope.group_by or values[0][0] == group


async def verify(core: Core, tenant: Tenant, invoice_id: str) -> dict[str, Any]:
    """
    Count and rate every line again, from the events, by the price it cites, and compare; and the
    document as a whole with what its lines add up to and with its digest.
    """
    stored = await find_invoice(core, tenant, invoice_id)
    invoice = parse_invoice(stored.document)
    scoped = {
        line.id: line_scope(tenant, invoice, line)
        for line in invoice.lines
        if line.kind is Kind.USAGE
    }
    scopes = [scope for scope, _ in scoped.values()]
    found = dict(zip(scoped, await core.store.recount(scopes) if scopes else [], strict=True))
    lines = []
    for line in invoice.lines:
        if line.kind is Kind.USAGE:
            group = scoped[line.id][1]
            lines.append(_verify_usage(tenant, invoice, line, group, found[line.id]))
        else:
            lines.append(_verify_flat(tenant, invoice, line))
    document_ok = canonical_bytes(invoice) == stored.document
    return {
        "invoice": invoice.id,
        "ok": document_ok and all(line["ok"] for line in lines),
        "document_ok": document_ok,
        "lines": lines,
    }


def _verify_usage(
    tenant: Tenant,
    invoice: Invoice,
    line: Line,
    group: tuple[str | None, ...],
    groups: list[Recount],
) -> dict[str, Any]:
    assert line.lineage is not None
    _, price = _cited(tenant, invoice, line)
    assert not isinstance(price, Flat), "a usage line has a usage price"
    recounted = next((one for one in groups if one.group == group), None)
    value_pico, events = (recounted.value_pico, recounted.events) if recounted else (0, 0)
    rated = rate_line(price, value_pico, events, group)
    billed = _Facts(
        line.lineage.events,
        line.lineage.digest,
        format_quantity(line.quantity_pico),
        format_minor(line.amount_minor, invoice.currency),
    )
    again = _Facts(
        events,
        recounted.digest if recounted else None,
        format_quantity(rated.quantity_pico),
        format_minor(round_minor(rated.amount, invoice.currency), invoice.currency),
    )
    return _verdict(line, billed, again, explained_alike=_is_explained(line, price, rated))


def _is_explained(line: Line, price: UsagePrice, rated: RatedLine) -> bool:
    """Whether a line says how its amount comes about as rating it again does."""
    metered = None if price.transform is None else rated.metered_pico
    return (line.metered_pico, line.free_pico, line.tiers, line.multiplier, line.adjustment) == (
        metered, rated.free_pico, rated.tiers, rated.multiplier, rated.adjustment,
    )  # fmt: skip


def _verify_flat(tenant: Tenant, invoice: Invoice, line: Line) -> dict[str, Any]:
    """The fee for the days that the subscription's course leaves for it."""
    again = next(
        (
            _flat_facts(charge, invoice.currency)
            for charge in _flat_charges(tenant, invoice)
            if (charge.reference, charge.period) == (line.price, line.period)
        ),
        _Facts(0, None, "0", format_minor(0, invoice.currency)),
    )
    billed = _Facts(
        0,
        None,
        format_quantity(line.quantity_pico),
        format_minor(line.amount_minor, invoice.currency),
    )
    return _verdict(line, billed, again)


def _flat_charges(tenant: Tenant, invoice: Invoice) -> list[Charge]:
    subscription = tenant.subscriptions[invoice.subscription]
    index = tenant.timeline(subscription).index(invoice.period.start)
    return [charge for charge in due_of(tenant, subscription, index).charges if charge.days]


def _flat_facts(charge: Charge, currency: str) -> _Facts:
    assert isinstance(charge.price, Flat), "days are charged for by flat fees"
    assert charge.days is not None
    amount = charge.price.amount * charge.quantity * charge.days.share
    return _Facts(
        0, None, str(charge.quantity), format_minor(round_minor(amount, currency), currency)
    )


class _Facts(msgspec.Struct, frozen=True):
    """What a line says, and what it should say."""

    events: int
    digest: str | None
    quantity: str
    amount: str


def _verdict(
    line: Line, billed: _Facts, recounted: _Facts, *, explained_alike: bool = True
) -> dict[str, Any]:
    return {
        "line": line.id,
        "ok": billed == recounted and explained_alike,
        "billed": msgspec.to_builtins(billed),
        "recounted": msgspec.to_builtins(recounted),
    }
