"""
Tax rules: where tax is collected, at which rates, and who is exempt; all of it dated.

A *registration* says that the issuer collects tax somewhere. A *rate* is a tax by its name, in a
jurisdiction, for a category of what is sold. Both hold in `[start, end)`, so that a rate which
changes is two rates, and an old period keeps the one it had.
"""

from __future__ import annotations

from fractions import Fraction

import msgspec


class Valid(msgspec.Struct, frozen=True, kw_only=True):
    """What holds in `[start, end)`, microseconds; None: since ever, for ever."""

    start: int | None = None
    end: int | None = None

    def holds_at(self, at: int) -> bool:
        return (self.start is None or self.start <= at) and (self.end is None or at < self.end)

    def overlaps(self, other: Valid) -> bool:
        return _before(self.start, other.end) and _before(other.start, self.end)


def _before(start: int | None, end: int | None) -> bool:
    return start is None or end is None or start < end


class Registration(Valid, frozen=True, kw_only=True):
    """
    A place where tax is collected.

    Attributes:
        region: As in `Party.region`; "" for the whole country.
        tax_id: The issuer's there; "" if it is the one of the issuer itself.
        inclusive: Prices have the tax in them for customers there; else it is added.
    """

    country: str
    region: str = ""
    tax_id: str = ""
    inclusive: bool = False

    def covers(self, country: str, region: str) -> bool:
        """Whether tax of a place is collected under it."""
        return self.country == country and self.region in ("", region)


class TaxRate(Valid, frozen=True, kw_only=True):
    """
    Attributes:
        name: As the law calls it, such as "VAT". Taxes of different names add up; of one name
            only the rate that fits best applies.
        region: "" for the whole country.
        category: Of the lines it is for; "" for those that have no rate of their own.
        rate: 19/100 for 19 %; from 0 to 1.
    """

    name: str
    country: str
    region: str = ""
    category: str = ""
    rate: Fraction

    @property
    def jurisdiction(self) -> str:
        """Such as "DE" or "US-CA"."""
        return f"{self.country}-{self.region}" if self.region else self.country


class Exemption(Valid, frozen=True, kw_only=True):
    """A customer who owes no tax; `certificate` is what proves it, in words."""

    certificate: str = ""


class Engine(msgspec.Struct, frozen=True):
    """An engine outside that is asked what the taxes of an invoice are."""

    url: str
    timeout_s: int = 10


class TaxRules(msgspec.Struct, frozen=True):
    """All a namespace says about taxes. Without registrations none is collected."""

    registrations: tuple[Registration, ...] = ()
    rates: tuple[TaxRate, ...] = ()
    engine: Engine | None = None
