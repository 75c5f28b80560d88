"""
What several plans grant together: a plan with its add-ons, or two subscriptions of one customer.

Adding never takes away. Limits of the same window and level add up; a window that what is there
does not limit stays without a limit; unlimited wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from taximeter.catalog.features import (
    CUSTOMER,
    BooleanEntitlement,
    Entitlement,
    Limit,
    MeteredEntitlement,
    Rate,
    StaticEntitlement,
)


def combined(
    base: Mapping[str, Entitlement], added: Mapping[str, Entitlement], quantity: int = 1
) -> dict[str, Entitlement]:
    """All features of both, by key, ascending; see `combine`."""
    features = sorted(base.keys() | added.keys())
    found = {key: combine(base.get(key), added.get(key), quantity) for key in features}
    return {key: one for key, one in found.items() if one is not None}


def combine(
    base: Entitlement | None, added: Entitlement | None, quantity: int = 1
) -> Entitlement | None:
    """
    What is there, and some times more of one feature.

    Metered: limits and rates of the same key add up, with enforcement, grace and rollover of
    `base`; a credit that `base` lacks comes along. Boolean: either. Static: whole numbers add up,
    otherwise the added value is the one that counts.

    Args:
        quantity: How many times `added`, at least 1.

    Returns:
        None if neither grants the feature.
    """
    assert quantity >= 1, quantity
    if added is None:
        return base
    match base, added:
        case None, MeteredEntitlement():
            return _times(added, quantity)
        case None, StaticEntitlement(feature, value) if type(value) is int:
            return StaticEntitlement(feature, value * quantity)
        case MeteredEntitlement(), MeteredEntitlement():
            return _metered(base, _times(added, quantity))
        case BooleanEntitlement(feature, enabled), BooleanEntitlement(_, other):
            return BooleanEntitlement(feature, enabled or other)
        case StaticEntitlement(feature, value), StaticEntitlement(_, other):
            return StaticEntitlement(feature, _sum(value, other, quantity))
        case _:
            return added


def _sum(value: Any, other: Any, quantity: int) -> Any:
    # By type and not by isinstance: true is no number of seats.
    return value + other * quantity if type(value) is type(other) is int else other


def _metered(base: MeteredEntitlement, added: MeteredEntitlement) -> MeteredEntitlement:
    own = tuple(one for one in base.limits if one.level == CUSTOMER)
    more = tuple(one for one in added.limits if one.level == CUSTOMER)
    others = tuple(one for one in base.limits if one.level != CUSTOMER)
    together = MeteredEntitlement(
        base.feature,
        _more(others, added.limits),
        tuple(_faster(rate, added.rates) for rate in base.rates),
    )
    if base.is_unlimited or added.is_unlimited:
        return together
    paying = base if base.credit is not None else added
    return msgspec.structs.replace(
        together,
        # Without a limit, `base` has all usage paid with credit: nothing is included so far.
        limits=(_more(own, more) if own else more) + together.limits,
        credit=paying.credit,
        cost=paying.cost,
    )


def _more(limits: tuple[Limit, ...], added: tuple[Limit, ...]) -> tuple[Limit, ...]:
    extra = {one.key: one.limit_pico for one in added}
    return tuple(
        msgspec.structs.replace(one, limit_pico=one.limit_pico + extra.get(one.key, 0))
        for one in limits
    )


def _faster(rate: Rate, added: tuple[Rate, ...]) -> Rate:
    same = [one for one in added if one.key == rate.key]
    return msgspec.structs.replace(
        rate,
        limit_pico=rate.limit_pico + sum(one.limit_pico for one in same),
        burst_pico=rate.burst_pico + sum(one.burst_pico for one in same),
    )


def _times(entitlement: MeteredEntitlement, quantity: int) -> MeteredEntitlement:
    if quantity == 1:
        return entitlement
    return msgspec.structs.replace(
        entitlement,
        limits=tuple(
            msgspec.structs.replace(one, limit_pico=one.limit_pico * quantity)
            for one in entitlement.limits
        ),
        rates=tuple(
            msgspec.structs.replace(
                one, limit_pico=one.limit_pico * quantity, burst_pico=one.burst_pico * quantity
            )
            for one in entitlement.rates
        ),
    )
