"""
From a plan's prices and a period's usage to a draft invoice.

The same arguments give the same bytes: lines come in the order of the plan's prices, then of
their group values, whatever order the usage arrives in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from taximeter.catalog.prices import Flat, Price, UsagePrice
from taximeter.invoices.invoice import Invoice, Kind, Line, Lineage
from taximeter.invoices.lineage import merkle_digest
from taximeter.money import round_minor
from taximeter.periods import Period
from taximeter.quantities import E12
from taximeter.rating import prorate_days, rate_line

_NO_EVENTS = merkle_digest(())


class Terms(msgspec.Struct, frozen=True):
    """
    Who is billed, and by which plan.

    Attributes:
        catalog_version: Of the catalogue the plan is read from.
        subjects: Whose events are billed.
        metering_version: Of the catalogue whose meters counted.
        timezone: IANA name; flat fees are prorated by its calendar days.
    """

    customer: str
    subscription: str
    plan: str
    catalog_version: int
    currency: str
    timezone: str
    subjects: tuple[str, ...] = ()
    metering_version: int = 0


class Usage(msgspec.Struct, frozen=True):
    """
    What a price's meter counted in the period for one group.

    Attributes:
        price: Key of the price in the plan.
        group: Values of the price's `group_by`, in its order; () without.
        quantity_pico: The aggregate; may be negative, which bills as 0 (K12).
        events: How many events counted.
        digest: "sha256:" + hex of their Merkle root, or None for a running fare.
    """

    price: str
    group: tuple[str | None, ...]
    quantity_pico: int
    events: int
    digest: str | None


def build_invoice(
    invoice_id: str,
    terms: Terms,
    prices: Sequence[Price],
    usage: Iterable[Usage],
    *,
    period: Period,
    whole: Period,
    position: int,
) -> Invoice:
    """
    Rate a period.

    A usage price without `group_by` always gives one line, also for no usage; with it, one line
    for each group that was used. Flat fees are those of the period itself, prorated if it is only
    a part of `whole`.

    Args:
        prices: Of the plan, in its order.
        usage: At most one for each price and group, in any order.
        period: What is billed.
        whole: The full calendar period it is a part of (`Schedule.whole`).
        position: Log position up to which the usage was read.

    Raises:
        Rejected: `unknown_currency`.
    """
    by_price = _by_price(prices, usage)
    lines: list[Line] = []
    for price in prices:
        reference = f"{terms.plan}/{price.key}@{terms.catalog_version}"
        if isinstance(price, Flat):
            lines.append(
                _flat_line(f"line_{len(lines) + 1}", reference, price, terms, period, whole)
            )
            continue
        for used in _lines_of(price, by_price[price.key]):
            lines.append(
                _usage_line(
                    f"line_{len(lines) + 1}",
                    reference,
                    price,
                    used,
                    terms.currency,
                    period,
                    position,
                )
            )
    return Invoice(
        id=invoice_id,
        customer=terms.customer,
        subscription=terms.subscription,
        currency=terms.currency,
        period=period,
        lines=tuple(lines),
        subjects=terms.subjects,
        metering_version=terms.metering_version,
    )


def _by_price(prices: Sequence[Price], usage: Iterable[Usage]) -> defaultdict[str, list[Usage]]:
    arity = {p.key: len(p.group_by) for p in prices if isinstance(p, UsagePrice)}
    found: defaultdict[str, list[Usage]] = defaultdict(list)
    seen: set[tuple[str, tuple[str | None, ...]]] = set()
    for used in usage:
        assert len(used.group) == arity[used.price], used
        assert (used.price, used.group) not in seen, used
        seen.add((used.price, used.group))
        found[used.price].append(used)
    return found


def _lines_of(price: UsagePrice, usage: list[Usage]) -> Iterator[Usage]:
    """Usage in the order of its lines. Missing group values come first, then by code point."""
    if not usage and not price.group_by:
        yield Usage(price.key, (), 0, 0, _NO_EVENTS)
    yield from sorted(usage, key=lambda used: [(v is not None, v or "") for v in used.group])


def _usage_line(
    line_id: str,
    reference: str,
    price: UsagePrice,
    used: Usage,
    currency: str,
    period: Period,
    position: int,
) -> Line:
    rated = rate_line(price, used.quantity_pico)
    group = dict(zip(price.group_by, used.group, strict=True))
    return Line(
        id=line_id,
        kind=Kind.USAGE,
        description=_usage_description(price, group),
        price=reference,
        meter=price.meter,
        period=period,
        quantity_pico=rated.quantity_pico,
        amount_minor=round_minor(rated.amount, currency),
        group=group,
        free_pico=rated.free_pico,
        tiers=rated.tiers,
        adjustment=rated.adjustment,
        lineage=Lineage(used.events, f"0:{position}", used.digest),
    )


def _usage_description(price: UsagePrice, group: dict[str, str | None]) -> str:
    if not group:
        return price.key
    values = ", ".join(f"{name}: {'none' if v is None else v}" for name, v in group.items())
    return f"{price.key} ({values})"


def _flat_line(
    line_id: str, reference: str, price: Flat, terms: Terms, period: Period, whole: Period
) -> Line:
    proration = prorate_days(period, whole, terms.timezone)
    days = f" ({proration.days} of {proration.of} days)" if proration.partial else ""
    return Line(
        id=line_id,
        kind=Kind.FLAT,
        description=f"{price.key}{days}",
        price=reference,
        period=period,
        quantity_pico=E12,
        amount_minor=round_minor(price.amount * proration.share, terms.currency),
        proration=proration if proration.partial else None,
    )
