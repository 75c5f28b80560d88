"""
Rating again: what billed periods would come to today, or by another catalogue; it changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

import msgspec
from msgspec.structs import replace

from taximeter.errors import NotFound, Rejected
from taximeter.instants import parse_instant
from taximeter.invoices.adjustments import Place, billed_lines, place_of
from taximeter.invoices.document import parse_invoice
from taximeter.invoices.invoice import Invoice, Line
from taximeter.money import format_minor
from taximeter.periods import Period, local_midnight
from taximeter.ports import StoredInvoice
from taximeter.quantities import format_quantity
from taximeter.services.billing.correcting.adjustments import due_again, restated
from taximeter.services.billing.drafting.drafts import find_invoice
from taximeter.services.billing.due.commitments import with_drawn
from taximeter.services.billing.due.counted import recounted
from taximeter.services.billing.due.dues import Due, due_of
from taximeter.services.core import Core, require_customer
from taximeter.services.pricing.supposed import held_at, supposing
from taximeter.services.tenant import Tenant

_MONTH = re.compile(r"(\d{4})-(\d{2})")


class Span(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    start: str
    end: str


class _Again(msgspec.Struct, frozen=True):
    """A billing period, as it is billed and as it is due now."""

    due: Due
    invoices: tuple[Invoice, ...]

    @property
    def billed(self) -> list[Line]:
        key = (self.due.subscription.id, self.due.period.start)
        return [line for one in self.invoices for line in billed_lines(one, *key)]


class _Side(msgspec.Struct):
    """Lines of one place, summed; the last one that has events tells them."""

    minor: int = 0
    quantity_pico: int = 0
    events: int | None = None
    digest: str | None = None
    line: Line | None = None

    def add(self, line: Line) -> None:
        self.minor += line.net_minor
        if line.lineage is not None or self.line is None:
            self.line = line
            self.quantity_pico = line.quantity_pico
        if line.lineage is not None:
            self.events, self.digest = line.lineage.events, line.lineage.digest


async def rerate(
    core: Core,
    tenant: Tenant,
    customer: str | None,
    period: Span | str | None,
    *,
    catalog_version: int | None = None,
    invoice_id: str | None = None,
) -> dict[str, Any]:
    """
    Args:
        period: Billing periods that overlap it: a month in the customer's time zone, such as
            "2026-10", or from an instant to another.
        catalog_version: By whose prices; None for those that the periods are pinned to.
        invoice_id: Only what this invoice bills.

    Raises:
        NotFound: No such customer, invoice, or catalogue version.
        Rejected: `invalid_request`, `invalid_timestamp`; `unknown_plan`: it is not in that version.
    """
    stored = None if invoice_id is None else await find_invoice(core, tenant, invoice_id)
    if stored is not None and customer not in (None, stored.customer):
        raise NotFound("not_found", f"Invoice {invoice_id!r} is not one of {customer!r}.")
    customer = stored.customer if stored is not None else customer
    if customer is None or (stored is None and period is None):
        raise Rejected("invalid_request", "Say a customer and a period, or an invoice.")
    require_customer(tenant, customer)
    upto = await core.upto()
    found = await _periods(core, tenant, customer, _span(tenant, customer, period), stored)
    if catalog_version is not None:
        found = _by_catalog(core, tenant, found, catalog_version)
    dues = [await with_drawn(core, tenant, one.due) for one in found]
    usages = await recounted(core, tenant, dues, upto) if dues else []
    lines: list[dict[str, Any]] = []
    totals: dict[str, list[int]] = {}
    for one, due, usage in zip(found, dues, usages, strict=True):
        rerated = restated(tenant, due, usage, upto)
        differences = _differences(one, rerated, catalog_version)
        lines += [told for told, _, _ in differences]
        total = totals.setdefault(due.currency, [0, 0])
        total[0] += sum(billed for _, billed, _ in differences)
        total[1] += sum(now for _, _, now in differences)
    return {
        "customer": customer,
        "catalog_version": catalog_version,
        "position": f"0:{upto}",
        "lines": lines,
        "totals": [
            {"currency": currency, **_amounts(billed, now, currency)}
            for currency, (billed, now) in sorted(totals.items())
        ],
    }


def _span(tenant: Tenant, customer: str, period: Span | str | None) -> Period | None:
    if period is None:
        return None
    if isinstance(period, str):
        month = _MONTH.fullmatch(period)
        if month is None or not 1 <= int(month[2]) <= 12 or not 1970 <= int(month[1]) <= 9000:
            raise Rejected(
                "invalid_request", 'period: a month such as "2026-10", or a start and end.'
            )
        first = date(int(month[1]), int(month[2]), 1)
        following = date(first.year + first.month // 12, first.month % 12 + 1, 1)
        timezone = tenant.customers[customer].timezone
        return Period(local_midnight(first, timezone), local_midnight(following, timezone))
    start, end = parse_instant(period.start), parse_instant(period.end)
    if end <= start:
        raise Rejected("invalid_request", "period: end is later than start.")
    return Period(start, end)


async def _periods(
    core: Core, tenant: Tenant, customer: str, span: Period | None, only: StoredInvoice | None
) -> list[_Again]:
    """Oldest first: those that overlap a span, or that one invoice bills."""
    now = core.clock.now()
    places: set[tuple[int, str]] = set()
    if only is not None:
        for cover in parse_invoice(only.document).covered:
            if span is None or cover.period.overlaps(span):
                places.add((cover.period.start, cover.subscription))
    else:
        assert span is not None, "a customer comes with a period"
        for subscription in tenant.of_customer(customer):
            timeline = tenant.timeline(subscription)
            for index in range(timeline.ended_by(now)):
                period = timeline.nth(index)
                if period.overlaps(span) and not timeline.in_trial(index):
                    places.add((period.start, subscription.id))
    return [await _again(core, tenant, key, start) for start, key in sorted(places)]


async def _again(core: Core, tenant: Tenant, subscription_id: str, start: int) -> _Again:
    books = core.books.books
    stored = await core.books.run(books.invoices_of_period, tenant.name, subscription_id, start)
    invoices = tuple(parse_invoice(one.document) for one in stored)
    for invoice in invoices:
        for cover in invoice.covered:
            key = (cover.subscription, cover.period.start, cover.part)
            if key == (subscription_id, start, "period"):
                return _Again(await due_again(core, tenant, invoice, cover), invoices)
    subscription = tenant.subscriptions[subscription_id]
    return _Again(
        due_of(tenant, subscription, tenant.timeline(subscription).index(start)), invoices
    )


def _by_catalog(core: Core, tenant: Tenant, found: Sequence[_Again], version: int) -> list[_Again]:
    supposed, version = supposing(tenant, version, core.clock.now())
    again: list[_Again] = []
    for one in found:
        held, lacking = held_at(supposed, one.due.subscription, version)
        if held is None:
            raise Rejected(
                "unknown_plan", f"Catalogue version {version} has no {', '.join(lacking)}."
            )
        index = supposed.timeline(held).index(one.due.period.start)
        due = due_of(supposed, held, index, currency=one.due.currency)
        again.append(_Again(replace(due, customer=one.due.customer), one.invoices))
    return again


# --- the difference ---------------------------------------------------------------------------


def _differences(
    one: _Again, rerated: Iterable[Line], version: int | None
) -> list[tuple[dict[str, Any], int, int]]:
    billed = _sides(one.billed, version)
    now = _sides(rerated, version)
    found = []
    for place in dict.fromkeys((*now, *billed)):
        before, after = billed.get(place, _Side()), now.get(place, _Side())
        told = _told(one, before, after, version)
        found.append((told, before.minor, after.minor))
    return found


def _sides(lines: Iterable[Line], version: int | None) -> dict[Place, _Side]:
    sides: dict[Place, _Side] = {}
    for line in lines:
        place = place_of(line)
        if version is not None:
            place = replace(place, price=place.price.rpartition("@")[0])
        sides.setdefault(place, _Side()).add(line)
    return sides


def _told(one: _Again, before: _Side, after: _Side, version: int | None) -> dict[str, Any]:
    line = after.line or before.line
    assert line is not None, "a place has a line"
    currency = one.due.currency
    return {
        "subscription": one.due.subscription.id,
        "invoice": one.invoices[0].id if one.invoices else None,
        "line": None if before.line is None else before.line.id,
        "period": line.period.to_json(),
        "price": line.price,
        "description": line.description.partition(", correction of ")[0],
        "meter": line.meter,
        "group": line.group,
        "currency": currency,
        **_amounts(before.minor, after.minor, currency),
        "quantity_billed": format_quantity(before.quantity_pico),
        "quantity_rerated": format_quantity(after.quantity_pico),
        "events_billed": before.events,
        "events_rerated": after.events,
        "cause": _cause(before, after, version),
    }


def _amounts(billed: int, rerated: int, currency: str) -> dict[str, str]:
    return {
        "billed": format_minor(billed, currency),
        "rerated": format_minor(rerated, currency),
        "delta": format_minor(rerated - billed, currency),
    }


def _cause(before: _Side, after: _Side, version: int | None) -> str | None:
    """Why there is a difference; None if there is none."""
    if before.minor == after.minor and before.digest == after.digest:
        return None
    if before.line is None:
        return "not_billed" if version is None else "catalog"
    causes = []
    if before.digest != after.digest:
        causes.append("events")
    if version is not None and before.minor != after.minor:
        causes.append("catalog")
    return "+".join(causes) or "terms"
