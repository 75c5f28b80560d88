"""
Which rates apply: a function of the rules, the customer, the category and the instant.

    business in another EU country      -> reverse charge: the customer owes the tax there
    place where nothing is collected    -> no tax
    exempt customer                     -> nothing is due, and the invoice says so
    else                                -> of each tax, by its name, the rate that fits best:
                                           of the category before the standard one, then of
                                           the region before the country

The place is the customer's. Of a consumer in an EU country where nothing is collected it is the
issuer's own, if that is in the EU: so sells who stays below the threshold of distance sales.

What the rules do not say is never guessed: it is an `Unknown`, and a person looks at the invoice.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import msgspec

from taximeter.parties import Party
from taximeter.taxes.applied import EXEMPT, REVERSE_CHARGE
from taximeter.taxes.rules import Exemption, Registration, TaxRate, TaxRules
from taximeter.taxes.tax_ids import EU, is_vat_id

VAT = "VAT"


class Applying(msgspec.Struct, frozen=True):
    """
    A rate on the lines of a category, or the reason why it is 0.

    Attributes:
        inclusive: The lines have it in them.
        note: "exempt" or "reverse_charge"; then the rate is 0.
    """

    name: str
    jurisdiction: str
    category: str
    rate: Fraction
    inclusive: bool = False
    note: str | None = None


class Unknown(msgspec.Struct, frozen=True):
    """Which rates apply cannot be said; `reason` tells a person what is missing."""

    reason: str


class Situation(msgspec.Struct, frozen=True):
    """
    Who sells to whom under which rules.

    Attributes:
        issuer: None if the namespace does not say who it is.
        customer: Who is billed, and so whose place decides; None if nothing is known.
    """

    rules: TaxRules
    issuer: Party | None = None
    customer: Party | None = None
    exemption: Exemption | None = None


def rates_for(situation: Situation, category: str, at: int) -> tuple[Applying, ...] | Unknown:
    """
    Args:
        category: Of the line; "" for the standard one.
        at: The last instant of what is billed, microseconds: the rate in force then applies.

    Returns:
        Each tax at most once, in the order of their names. None at all: nothing is collected.
    """
    registrations = [one for one in situation.rules.registrations if one.holds_at(at)]
    if not registrations:
        return ()
    customer = situation.customer
    if customer is None or not customer.country:
        return Unknown("The customer's country is not known, so neither is the tax.")
    if is_reverse_charge(situation):
        return (Applying(VAT, customer.country, "", Fraction(0), note=REVERSE_CHARGE),)
    country, region = _place_of_tax(situation.issuer, customer, registrations)
    here = [one for one in registrations if one.covers(country, region)]
    if not here:
        return _elsewhere(registrations, customer)
    rates = _fitting(situation.rules.rates, here, country, region, category, at)
    if not rates:
        what = f"category {category!r}" if category else "the standard category"
        place = f"{country}-{region}" if region else country
        return Unknown(f"No rate for {what} in {place} is in force.")
    if situation.exemption is not None and situation.exemption.holds_at(at):
        return tuple(
            Applying(one.name, one.jurisdiction, one.category, Fraction(0), note=EXEMPT)
            for one in rates
        )
    # Of two registrations the one for the region knows better how prices there are meant.
    inclusive = max(here, key=lambda one: one.region).inclusive
    return tuple(
        Applying(one.name, one.jurisdiction, one.category, one.rate, inclusive) for one in rates
    )


def is_reverse_charge(situation: Situation) -> bool:
    """Whether a business of one EU country sells to a business of another: both have a VAT id."""
    issuer, customer = situation.issuer, situation.customer
    return (
        issuer is not None
        and customer is not None
        and issuer.country in EU
        and issuer.country != customer.country
        and is_vat_id(issuer.country, issuer.tax_id)
        and is_vat_id(customer.country, customer.tax_id)
    )


def _place_of_tax(
    issuer: Party | None, customer: Party, registrations: Sequence[Registration]
) -> tuple[str, str]:
    is_registered = any(one.country == customer.country for one in registrations)
    if is_registered or issuer is None or not EU.issuperset((issuer.country, customer.country)):
        return customer.country, customer.region
    return issuer.country, issuer.region


def _elsewhere(
    registrations: Sequence[Registration], customer: Party
) -> tuple[Applying, ...] | Unknown:
    """Nothing is collected there, unless it depends on a region that nobody has told."""
    if not customer.region and any(one.country == customer.country for one in registrations):
        return Unknown(
            f"The customer's region in {customer.country} is not known, so neither is the tax."
        )
    return ()


def _fitting(
    rates: Sequence[TaxRate],
    registrations: Sequence[Registration],
    country: str,
    region: str,
    category: str,
    at: int,
) -> list[TaxRate]:
    best: dict[str, TaxRate] = {}
    for rate in rates:
        if (
            rate.country == country
            and rate.region in ("", region)
            and rate.category in ("", category)
            and rate.holds_at(at)
            and any(one.covers(rate.country, rate.region) for one in registrations)
        ):
            known = best.get(rate.name)
            if known is None or _fit(rate) > _fit(known):
                best[rate.name] = rate
    return [best[name] for name in sorted(best)]


def _fit(rate: TaxRate) -> tuple[bool, bool]:
    return (rate.category != "", rate.region != "")
