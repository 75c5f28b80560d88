"""
Costs: what a unit of a meter costs the seller, from a dated list.

Of the rates of a meter that fit a group, the one that names most of its dimensions counts; of
those, the one that took effect last. Usage without a rate costs nothing, and is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Annotated, Any, Final

import msgspec

from taximeter.errors import Rejected
from taximeter.instants import format_instant, parse_instant
from taximeter.money import exponent, format_exact, parse_amount
from taximeter.periods import Period
from taximeter.quantities import E12

MAX_RATES: Final = 10_000

Exact = Annotated[Any, msgspec.Meta(extra_json_schema={"type": ["number", "string"]})]
"""A decimal, as a number or as text."""


class CostEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    A rate as it is written.

    Attributes:
        unit: What one unit of the meter costs.
        match: Dimension -> value; every group it fits has this rate.
        effective_at: Since when; None for always.
    """

    meter: str
    unit: Exact
    currency: str
    match: dict[str, str] = {}
    effective_at: str | None = None


class CostDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole list."""

    rates: list[CostEntry] = []


class CostRate(msgspec.Struct, frozen=True):
    """
    Attributes:
        unit: Exact, in units of the currency; not negative.
        effective_at: Microseconds since the epoch; 0 for always.
    """

    meter: str
    match: tuple[tuple[str, str], ...]
    unit: Fraction
    currency: str
    effective_at: int = 0

    def fits(self, group: Mapping[str, str | None]) -> bool:
        return all(group.get(name) == value for name, value in self.match)


class CostRates(msgspec.Struct, frozen=True):
    """All rates, ascending by meter and the instant they take effect."""

    table: tuple[CostRate, ...] = ()

    @property
    def meters(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(rate.meter for rate in self.table))

    def dimensions(self, meter: str) -> tuple[str, ...]:
        """What the rates of a meter tell apart, by name."""
        names = {name for rate in self._of(meter) for name, _ in rate.match}
        return tuple(sorted(names))

    def parts(self, meter: str, period: Period) -> list[Period]:
        """The period, cut wherever a rate of the meter takes effect inside it."""
        cuts = {rate.effective_at for rate in self._of(meter)}
        inside = sorted(at for at in cuts if period.start < at < period.end)
        ends = [*inside, period.end]
        return [Period(a, b) for a, b in zip([period.start, *inside], ends, strict=True)]

    def find(self, meter: str, group: Mapping[str, str | None], at: int) -> CostRate | None:
        """The rate in force at an instant for a group; None if there is none."""
        fitting = [r for r in self._of(meter) if r.effective_at <= at and r.fits(group)]
        return max(fitting, key=lambda rate: (len(rate.match), rate.effective_at), default=None)

    def _of(self, meter: str) -> Iterable[CostRate]:
        return (rate for rate in self.table if rate.meter == meter)


def cost_of(rate: CostRate, quantity_pico: int) -> Fraction:
    """Exact, in units of the rate's currency; nothing for a quantity below 0."""
    return Fraction(max(0, quantity_pico), E12) * rate.unit


def read_costs(document: CostDocument) -> CostRates:
    """
    Raises:
        Rejected: `invalid_request`, naming the entry; `unknown_currency`, `invalid_timestamp`.
    """
    if len(document.rates) > MAX_RATES:
        raise Rejected("invalid_request", f"rates: at most {MAX_RATES} of them.")
    rates = [_read(entry, f"rates[{n}]") for n, entry in enumerate(document.rates)]
    seen: set[tuple[object, ...]] = set()
    for n, rate in enumerate(rates):
        place = (rate.meter, rate.match, rate.effective_at)
        if place in seen:
            raise Rejected(
                "invalid_request", f"rates[{n}]: stands there twice from one instant on."
            )
        seen.add(place)
    return CostRates(tuple(sorted(rates, key=lambda r: (r.meter, r.effective_at, r.match))))


def _read(entry: CostEntry, path: str) -> CostRate:
    exponent(entry.currency)
    try:
        unit = parse_amount(entry.unit)
    except Rejected as error:
        raise Rejected("invalid_request", f"{path}.unit: {error.message}") from None
    if unit < 0:
        raise Rejected("invalid_request", f"{path}.unit: is not negative.")
    return CostRate(
        meter=entry.meter,
        match=tuple(sorted(entry.match.items())),
        unit=unit,
        currency=entry.currency,
        effective_at=0 if entry.effective_at is None else parse_instant(entry.effective_at),
    )


def dump_costs(costs: CostRates) -> CostDocument:
    """The document `read_costs` reads the same rates from."""
    return CostDocument(
        [
            CostEntry(
                meter=rate.meter,
                unit=format_exact(rate.unit),
                currency=rate.currency,
                match=dict(rate.match),
                effective_at=format_instant(rate.effective_at) if rate.effective_at else None,
            )
            for rate in costs.table
        ]
    )
