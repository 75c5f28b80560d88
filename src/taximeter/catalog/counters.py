"""
What live state has to count for a catalogue.
"""

from __future__ import annotations

from taximeter.catalog.document import Catalog
from taximeter.catalog.prices import UsagePrice
from taximeter.meters.counter import Counter


def price_counter(catalog: Catalog, price: UsagePrice) -> Counter:
    """The counter whose number a usage price bills."""
    return Counter(catalog.meters[price.meter], price.filter, price.group_by)


def counters_of(catalog: Catalog) -> list[Counter]:
    """
    Every counter live state needs: each meter plainly, and what prices count in their own way.

    In the order of the document, each once; prices that count the same share one.
    """
    counters = {Counter(meter): None for meter in catalog.meters.values()}
    for plan in (*catalog.plans.values(), *catalog.addons.values()):
        for price in plan.prices.values():
            if isinstance(price, UsagePrice):
                counters.setdefault(price_counter(catalog, price))
    return list(counters)
