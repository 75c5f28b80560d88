"""
Parts of a line's document that explain its price: seats, hours of the day, conversions.

Each is there only if it says something. `document` has the line itself.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from taximeter.catalog.prices import SeatMode
from taximeter.catalog.rates import Conversion
from taximeter.instants import format_instant, parse_instant
from taximeter.invoices.invoice import Line
from taximeter.money import format_exact
from taximeter.quantities import E12, format_quantity
from taximeter.rating import RatedSeats

_SECOND_PICO = 10**6
"""A microsecond, in pico of a second."""


def dump_priced(line: Line, digits: int) -> dict[str, Any]:
    """
    Args:
        digits: Of the invoice's currency.
    """
    document: dict[str, Any] = {}
    if line.hours:
        document["hours"] = line.hours
    if line.seats is not None:
        document["seats"] = _dump_seats(line.seats, digits)
    if line.conversions:
        document["conversions"] = [_dump_conversion(one) for one in line.conversions]
    return document


def parse_priced(content: dict[str, Any]) -> dict[str, Any]:
    """The same members as arguments of `Line`; `dump_priced` wrote them."""
    seats = content.get("seats")
    return {
        "hours": content.get("hours", ""),
        "seats": None if seats is None else _parse_seats(seats, content),
        "conversions": tuple(_parse_conversion(one) for one in content.get("conversions", ())),
    }


def _dump_seats(seats: RatedSeats, digits: int) -> dict[str, str]:
    size = _size(seats.mode)
    return {
        "mode": seats.mode.value,
        "peak": str(seats.peak),
        "unit": format_exact(seats.unit, digits),
        "used": format_quantity(seats.used * size),
        "charged": format_quantity(seats.charged * size),
        "of": format_quantity(seats.of * size),
    }


def _parse_seats(seats: dict[str, str], line: dict[str, Any]) -> RatedSeats:
    mode, unit = SeatMode(seats["mode"]), Fraction(seats["unit"])
    used, charged, of = (
        int(Fraction(seats[name]) * E12) // _size(mode) for name in ("used", "charged", "of")
    )
    adjustment = Fraction(line.get("adjustment", 0))
    amount = unit * Fraction(charged, of) + adjustment
    return RatedSeats(mode, int(seats["peak"]), unit, used, charged, of, adjustment, amount)


def _size(mode: SeatMode) -> int:
    """Seats are shown in days, or in seconds with their decimals."""
    return _SECOND_PICO if mode is SeatMode.TIME_WEIGHTED else E12


def _dump_conversion(conversion: Conversion) -> dict[str, Any]:
    document: dict[str, Any] = {
        "from": conversion.source,
        "to": conversion.target,
        "rate": format_exact(conversion.rate),
        "catalog_version": conversion.version,
    }
    if conversion.effective_at:
        document["effective_at"] = format_instant(conversion.effective_at)
    return document


def _parse_conversion(content: dict[str, Any]) -> Conversion:
    since = content.get("effective_at")
    return Conversion(
        source=content["from"],
        target=content["to"],
        rate=Fraction(content["rate"]),
        effective_at=0 if since is None else parse_instant(since),
        version=content["catalog_version"],
    )
