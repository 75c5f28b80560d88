"""
Tariffs: the prices one customer has in one period, with the rates that takes.
"""

from __future__ import annotations

from collections.abc import Sequence

from taximeter.catalog.features import StaticEntitlement
from taximeter.catalog.prices import Seat
from taximeter.customers import Customer, Segment
from taximeter.invoices.charges import Priced
from taximeter.periods import Period
from taximeter.rating.tariff import RateBook, is_billable, tariff_of
from taximeter.services.tenant import Tenant, usage_prices
from taximeter.subscriptions.terms import Part, Terms


class Tariffs:
    """
    Args:
        number: Of the billing period, 1 for the first that is charged.
        rates_version: Of the catalogue whose rates are used; None for the newest.
    """

    def __init__(
        self, tenant: Tenant, period: Period, number: int, rates_version: int | None
    ) -> None:
        self._tenant = tenant
        self._at = period.end - 1
        self._number = number
        self._version = rates_version or tenant.version

    def rates_for(self, part: Part) -> RateBook:
        """In force at the last instant of the period."""
        versions = sorted({self._version, part.version}, reverse=True)
        editions = ((version, self._tenant.catalogs[version].rates) for version in versions)
        return RateBook(tuple(editions), self._at)

    def priced(
        self, segment: Segment, terms: Terms, currency: str, at: int, *, alone: bool = False
    ) -> tuple[Priced, ...]:
        """
        What a segment is billed by from an instant on.

        Args:
            alone: It holds all period long, so that nobody asks whether a counter goes on.
        """
        metering = self._tenant.metering_version(segment)
        return tuple(
            self._priced(part, terms, metering, currency, at, alone) for part in terms.parts
        )

    def _priced(
        self, part: Part, terms: Terms, metering: int, currency: str, at: int, alone: bool
    ) -> Priced:
        tariff = tariff_of(part.plan, currency, self._number, at, self.rates_for(part))
        prices = tariff.prices.values()
        return Priced(
            name=part.name,
            version=part.version,
            metering=metering,
            prices=tariff.prices,
            counters={
                price.key: self._tenant.billed_counter(part.version, price, metering).key
                for price in ([] if alone else usage_prices(prices))
            },
            quantity=part.quantity,
            seats={
                price.key: _contracted_seats(terms, part, price.feature)
                for price in prices
                if isinstance(price, Seat)
            },
            conversions=tariff.conversions,
        )


def currency_of(customer: Customer, held: Sequence[Terms], tariffs: Tariffs) -> str:
    """The customer's own, where all it is billed by can be said in that; else the plan's."""
    wanted, own = customer.currency, held[-1].plan.currency
    if wanted is None or wanted == own:
        return own
    parts = (part for terms in held for part in terms.parts)
    billable = all(is_billable(part.plan, wanted, tariffs.rates_for(part)) for part in parts)
    return wanted if billable else own


def _contracted_seats(terms: Terms, part: Part, feature: str) -> int:
    """
    How many seats the contract grants for a price: of an add-on its own, of a plan all together
    without those that add-ons have a price for themselves.
    """
    if part.plan.is_addon:
        return _granted(part.plan.entitlements.get(feature)) * part.quantity
    apart = sum(
        _granted(one.plan.entitlements.get(feature)) * one.quantity
        for one in terms.parts[1:]
        if any(isinstance(p, Seat) and p.feature == feature for p in one.prices.values())
    )
    return max(0, _granted(terms.entitlements.get(feature)) - apart)


def _granted(entitlement: object) -> int:
    value = entitlement.value if isinstance(entitlement, StaticEntitlement) else 0
    return max(0, value) if type(value) is int else 0
