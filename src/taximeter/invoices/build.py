"""
From a period's charges and its usage to a draft invoice.

The same arguments give the same bytes: lines come in the order of the charges, then of their group
values, whatever order the usage arrives in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction

import msgspec

from taximeter.catalog.prices import Flat, Seat, UsagePrice
from taximeter.catalog.rates import converted
from taximeter.invoices.charges import Charge
from taximeter.invoices.invoice import Invoice, Kind, Line, Lineage
from taximeter.invoices.lineage import merkle_digest
from taximeter.money import round_minor
from taximeter.periods import Period
from taximeter.quantities import E12
from taximeter.rating import Band, SeatTime, rate_line, rate_seats

_NO_EVENTS = merkle_digest(())


class Terms(msgspec.Struct, frozen=True):
    """
    Who is billed.

    Attributes:
        subjects: Whose events are billed.
        metering_version: Of the catalogue whose meters counted; a line says so where it differs.
    """

    customer: str
    subscription: str
    currency: str
    subjects: tuple[str, ...] = ()
    metering_version: int = 0


class Usage(msgspec.Struct, frozen=True):
    """
    What a charge's meter counted in its part of the period, for one group.

    Attributes:
        charge: Its place among the charges.
        group: Values of the price's `group_by`, in its order; () without.
        quantity_pico: The aggregate; may be negative, which bills as 0 (K12).
        events: How many events counted.
        digest: "sha256:" + hex of their Merkle root, or None for a running fare.
        bands: Of a percentage with bounds for each event, see `rating.percentage`.
        seats: What seats came to, of a price for seats; the rest is then empty.
    """

    charge: int
    group: tuple[str | None, ...]
    quantity_pico: int
    events: int
    digest: str | None
    bands: tuple[Band, ...] = ()
    seats: SeatTime | None = None


def build_invoice(
    invoice_id: str,
    terms: Terms,
    charges: Sequence[Charge],
    usage: Iterable[Usage],
    *,
    period: Period,
    position: int,
) -> Invoice:
    """
    Rate a period.

    A usage price without `group_by` always gives one line, also for no usage; with it, one line
    for each group that was used. What was paused all through gives a line only for usage there was.

    Args:
        charges: Of the period, see `charges_of`.
        usage: At most one for each charge and group, in any order.
        period: What is billed.
        position: Log position up to which the usage was read.

    Raises:
        Rejected: `unknown_currency`.
    """
    by_charge = _by_charge(charges, usage)
    lines: list[Line] = []
    for place, charge in enumerate(charges):
        if isinstance(charge.price, Flat):
            lines.append(_flat_line(_line_id(lines), charge, charge.price, terms))
            continue
        if isinstance(charge.price, Seat):
            (used,) = by_charge[place]
            lines.append(_seat_line(_line_id(lines), charge, charge.price, used, terms))
            continue
        for used in _lines_of(charge, charge.price, by_charge[place], place):
            lines.append(_usage_line(_line_id(lines), charge, charge.price, used, terms, position))
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


def _line_id(lines: Sequence[Line]) -> str:
    return f"line_{len(lines) + 1}"


def _by_charge(charges: Sequence[Charge], usage: Iterable[Usage]) -> defaultdict[int, list[Usage]]:
    found: defaultdict[int, list[Usage]] = defaultdict(list)
    seen: set[tuple[int, tuple[str | None, ...]]] = set()
    for used in usage:
        price = charges[used.charge].price
        assert isinstance(price, UsagePrice | Seat), used
        assert isinstance(price, Seat) or len(used.group) == len(price.group_by), used
        assert (used.charge, used.group) not in seen, used
        seen.add((used.charge, used.group))
        found[used.charge].append(used)
    return found


def _lines_of(charge: Charge, price: UsagePrice, usage: list[Usage], place: int) -> Iterator[Usage]:
    """Usage in the order of its lines. Missing group values come first, then by code point."""
    if charge.idle:
        usage = [used for used in usage if used.events]
    elif not usage and not price.group_by:
        yield Usage(place, (), 0, 0, _NO_EVENTS)
    yield from sorted(usage, key=lambda used: [(v is not None, v or "") for v in used.group])


def _usage_line(
    line_id: str, charge: Charge, price: UsagePrice, used: Usage, terms: Terms, position: int
) -> Line:
    rated = rate_line(
        price, used.quantity_pico, used.events, used.group, bands=used.bands, factor=charge.factor
    )
    group = dict(zip(price.group_by, used.group, strict=True))
    return Line(
        id=line_id,
        kind=Kind.USAGE,
        description=_usage_description(price, group, charge.hours),
        price=charge.reference,
        meter=price.meter,
        period=charge.period,
        quantity_pico=rated.quantity_pico,
        amount_minor=_rounded(rated.amount, charge, terms),
        group=group,
        metered_pico=None if price.transform is None else rated.metered_pico,
        free_pico=rated.free_pico,
        tiers=rated.tiers,
        multiplier=rated.multiplier,
        adjustment=rated.adjustment,
        lineage=Lineage(used.events, f"0:{position}", used.digest),
        metering_version=None if charge.metering == terms.metering_version else charge.metering,
        tax_category=price.tax_category,
        hours=charge.hours,
        conversions=charge.conversions,
    )


def _rounded(amount: Fraction, charge: Charge, terms: Terms) -> int:
    """In the invoice's currency, rounded once (K5)."""
    return round_minor(converted(amount, charge.conversions), terms.currency)


def _usage_description(price: UsagePrice, group: dict[str, str | None], hours: str) -> str:
    values = [f"{name}: {'none' if v is None else v}" for name, v in group.items()]
    values += [hours] if hours else []
    name = price.name or price.key
    return f"{name} ({', '.join(values)})" if values else name


def _flat_line(line_id: str, charge: Charge, price: Flat, terms: Terms) -> Line:
    assert charge.days is not None, "a flat fee is charged for days"
    times = f"{charge.quantity} x " if charge.quantity > 1 else ""
    days = f" ({charge.days.days} of {charge.days.of} days)" if charge.days.partial else ""
    amount = price.amount * charge.quantity * charge.days.share
    return Line(
        id=line_id,
        kind=Kind.FLAT,
        description=f"{times}{price.name or price.key}{days}",
        price=charge.reference,
        period=charge.period,
        quantity_pico=charge.quantity * E12,
        amount_minor=_rounded(amount, charge, terms),
        proration=charge.days if charge.days.partial else None,
        tax_category=price.tax_category,
        conversions=charge.conversions,
    )


def _seat_line(line_id: str, charge: Charge, price: Seat, used: Usage, terms: Terms) -> Line:
    assert used.seats is not None, "what seats come to is known before there is a line"
    assert charge.days is not None, "seats are charged for days"
    rated = rate_seats(price, used.seats)
    days = f", {charge.days.days} of {charge.days.of} days" if charge.days.partial else ""
    return Line(
        id=line_id,
        kind=Kind.SEAT,
        description=f"{price.name or price.key} (at most {rated.peak} at once{days})",
        price=charge.reference,
        period=charge.period,
        quantity_pico=rated.quantity_pico,
        free_pico=rated.free_pico,
        adjustment=rated.adjustment,
        amount_minor=_rounded(rated.amount, charge, terms),
        proration=charge.days if charge.days.partial else None,
        tax_category=price.tax_category,
        seats=rated,
        conversions=charge.conversions,
    )
