"""
Rates: what one currency, or a unit of the seller's own, is worth in another currency, and since
when.

The rate in force at an instant is the newest one that is effective by then; before the first one,
the first. A rate says nothing about the way back.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final

import msgspec

from taximeter.catalog.price_fields import read_amount
from taximeter.errors import Rejected
from taximeter.instants import format_instant, parse_instant
from taximeter.meters.reading import Fields, kind_of
from taximeter.money import EXPONENTS, format_exact

MAX_RATES: Final = 10_000


class Rate(msgspec.Struct, frozen=True, order=True):
    """
    One `source` is `rate` of `target` from `effective_at` on.

    Attributes:
        source: A currency, or a custom unit.
        target: A currency.
        effective_at: Microseconds since the epoch; 0 for always.
        rate: Above 0.
    """

    source: str
    target: str
    effective_at: int
    rate: Fraction


def _order(rate: Rate) -> tuple[str, str, int]:
    return (rate.source, rate.target, rate.effective_at)


class Conversion(msgspec.Struct, frozen=True):
    """
    A rate as a line was converted by it.

    Attributes:
        version: The catalogue version the rate was taken from.
    """

    source: str
    target: str
    rate: Fraction
    effective_at: int
    version: int


class Rates(msgspec.Struct, frozen=True):
    """
    All rates of a catalogue.

    Attributes:
        table: Ascending.
        units: Custom units, ascending; each has a rate at least.
    """

    table: tuple[Rate, ...] = ()
    units: tuple[str, ...] = ()

    def find(self, source: str, target: str, at: int) -> Rate | None:
        """The newest rate that is effective by then, else the first; None if there is none."""
        place = bisect_right(self.table, (source, target, at), key=_order)
        for one in (*self.table[max(0, place - 1) : place], *self.table[place : place + 1]):
            if (one.source, one.target) == (source, target):
                return one
        return None

    def convert(
        self, source: str, currency: str, target: str, at: int, version: int
    ) -> tuple[Conversion, ...] | None:
        """
        The way from what a price is in to what an invoice is in.

        Args:
            source: The plan's currency, or a custom unit.
            currency: The plan's currency, which a unit may have to go through.
            version: Of the catalogue these rates are of.

        Returns:
            () where nothing is to be converted; None if there is no way.
        """
        if source == target:
            return ()
        direct = self.find(source, target, at)
        if direct is not None:
            return (_used(direct, version),)
        to_plan, onward = self.find(source, currency, at), self.find(currency, target, at)
        if to_plan is None or onward is None:
            return None
        return (_used(to_plan, version), _used(onward, version))


def _used(rate: Rate, version: int) -> Conversion:
    return Conversion(rate.source, rate.target, rate.rate, rate.effective_at, version)


def converted(amount: Fraction, conversions: Iterable[Conversion]) -> Fraction:
    """The amount in the last one's target; exact."""
    for one in conversions:
        amount *= one.rate
    return amount


# --- reading and dumping ----------------------------------------------------------------------


def read_rates(top: Fields) -> Rates:
    """Read the sections `rates` and `units`; problems are noted."""
    table = sorted([*_read_table(top), *_read_units(top)])
    for one, other in pairwise(table):
        if _order(one) == _order(other):
            top.problem("rates", f"{one.source} to {one.target} has two rates from one instant on")
    units = sorted({one.source for one in table if one.source not in EXPONENTS})
    return Rates(tuple(table), tuple(units))


def dump_rates(rates: Rates) -> dict[str, Any]:
    """The sections `read_rates` reads; none that is empty."""
    sections: dict[str, Any] = {}
    table = [
        {"from": one.source, "to": one.target} | _dump_rate(one)
        for one in rates.table
        if one.source not in rates.units
    ]
    if table:
        sections["rates"] = table
    for one in rates.table:
        if one.source in rates.units:
            unit = sections.setdefault("units", {}).setdefault(one.source, {})
            unit.setdefault(one.target, []).append(_dump_rate(one))
    return sections


def _dump_rate(rate: Rate) -> dict[str, str]:
    since = {"effective_at": format_instant(rate.effective_at)} if rate.effective_at else {}
    return {"rate": format_exact(rate.rate)} | since


def _read_table(top: Fields) -> list[Rate]:
    documents = top.members.get("rates")
    if documents is None:
        return []
    if not isinstance(documents, list | tuple) or len(documents) > MAX_RATES:
        top.problem("rates", f"expected a list of at most {MAX_RATES}, found {kind_of(documents)}")
        return []
    found = []
    for n, document in enumerate(documents):
        fields = top.inside(f"rates[{n}]", document)
        fields.only(("from", "to", "rate", "effective_at"))
        source, target = (_read_currency(fields, name) for name in ("from", "to"))
        if source == target and source:
            fields.problem("to", "is the currency it converts from")
        found.append(_read_rate(fields, source, target))
    return [rate for rate in found if rate is not None]


def _read_units(top: Fields) -> list[Rate]:
    found = []
    units = top.inside("units", top.keyed("units"))
    for unit, document in units.members.items():
        fields = units.inside(unit, document)
        if unit in EXPONENTS:
            units.problem(unit, "is a currency; a unit needs a name of its own")
        if not fields.members:
            units.problem(unit, "has no rate; give one like {USD: 0.01}")
        for currency, given in fields.members.items():
            if currency not in EXPONENTS:
                fields.problem(currency, "is no ISO 4217 currency code such as USD")
            dated = given if isinstance(given, list | tuple) else [{"rate": given}]
            for n, one in enumerate(dated):
                inner = fields.inside(f"{currency}[{n}]", one)
                inner.only(("rate", "effective_at"))
                found.append(_read_rate(inner, unit, currency))
    return [rate for rate in found if rate is not None]


def _read_currency(fields: Fields, name: str) -> str:
    code = fields.text(name, required=True) or ""
    if code and code not in EXPONENTS:
        fields.problem(name, f"{code[:16]!r} is no ISO 4217 currency code such as USD")
    return code


def _read_rate(fields: Fields, source: str, target: str) -> Rate | None:
    since = fields.text("effective_at")
    try:
        effective_at = 0 if since is None else parse_instant(since)
        rate = read_amount(fields.members, "rate", fields.path)
    except Rejected as error:
        name = "effective_at" if error.code == "invalid_timestamp" else "rate"
        fields.problem(name, error.message.rpartition(f"{fields.path}.rate: ")[2])
        return None
    if not rate:
        fields.problem("rate", "must be above 0")
        return None
    return Rate(source, target, effective_at, rate)
