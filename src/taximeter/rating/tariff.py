"""
Tariff: the prices of a plan as one customer has them in one period: in one currency, with their
ramps where they have got to.

An amount that a plan gives in the currency is taken as it is; any other is converted by the rate in
force at the last instant of the period (K5: exact, and rounded with its line).
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import msgspec

from taximeter.catalog.plans import Plan
from taximeter.catalog.prices import Price
from taximeter.catalog.rates import Conversion, Rates, converted
from taximeter.rating.ramp import price_at


class RateBook(msgspec.Struct, frozen=True):
    """
    The rates that can be had, best first: those of the newest catalogue, then those of the plan's
    own, which has all the plan needs.

    Attributes:
        editions: (catalogue version, its rates).
        at: The instant they are to be in force at.
    """

    editions: tuple[tuple[int, Rates], ...]
    at: int

    def convert(self, source: str, currency: str, target: str) -> tuple[Conversion, ...] | None:
        """See `Rates.convert`."""
        for version, rates in self.editions:
            found = rates.convert(source, currency, target, self.at, version)
            if found is not None:
                return found
        return None


class Tariff(msgspec.Struct, frozen=True):
    """
    Attributes:
        prices: Without ramps, by key.
        conversions: Price key -> how its amounts become those of the currency; absent where they
            are.
    """

    currency: str
    prices: Mapping[str, Price]
    conversions: Mapping[str, tuple[Conversion, ...]]


def own_price(plan: Plan, key: str, currency: str) -> Price:
    """The price as the plan gives it for a currency, or else in its own."""
    amounts = plan.currencies.get(currency)
    return plan.prices[key] if amounts is None else amounts.prices.get(key, plan.prices[key])


def is_billable(plan: Plan, currency: str, rates: RateBook) -> bool:
    """Whether everything a plan charges can be said in a currency."""
    if currency == plan.currency or not plan.currency:
        return True
    if rates.convert(plan.currency, plan.currency, currency) is not None:
        return True
    # Its reader has made sure that the amounts are complete then.
    return currency in plan.currencies and all(
        price.priced_in is None or _way(plan, price, currency, rates) is not None
        for price in plan.prices.values()
    )


def tariff_of(plan: Plan, currency: str, number: int, at: int, rates: RateBook) -> Tariff:
    """
    The prices of a plan that is billable in the currency.

    Args:
        number: Of the billing period, 1 for the first that is charged.
        at: When the prices are looked up, for ramps by date.
    """
    prices: dict[str, Price] = {}
    conversions: dict[str, tuple[Conversion, ...]] = {}
    for key in plan.prices:
        price = own_price(plan, key, currency)
        prices[key] = price_at(price, number, at)
        found = _way(plan, price, currency, rates)
        if found:
            conversions[key] = found
    return Tariff(currency, prices, conversions)


def _way(plan: Plan, price: Price, currency: str, rates: RateBook) -> tuple[Conversion, ...] | None:
    amounts = plan.currencies.get(currency)
    source = plan.currency if amounts is None or price.key not in amounts.prices else currency
    return rates.convert(price.priced_in or source, plan.currency, currency)


def plan_amount(plan: Plan, member: str, currency: str, rates: RateBook) -> Fraction | None:
    """
    An amount of the plan as a whole, in the currency; exact.

    Args:
        member: "minimum", "maximum" or "commitment".
    """
    amounts = plan.currencies.get(currency)
    given: Fraction | None = None if amounts is None else getattr(amounts, member)
    own = getattr(plan, member)
    if own is None or given is not None:
        return given
    return in_currency(plan, own.amount if member == "commitment" else own, currency, rates)


def in_currency(plan: Plan, amount: Fraction, currency: str, rates: RateBook) -> Fraction:
    """An amount of the plan's own currency, by the rates."""
    return converted(amount, rates.convert(plan.currency, plan.currency, currency) or ())
