"""
Plans and add-ons: what a customer subscribes to.

An add-on is a plan without periods of its own: it is added, in some quantity, to a subscription and
follows that.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from fractions import Fraction
from typing import Any, Final

import msgspec

from taximeter.catalog.features import Entitlement
from taximeter.catalog.plan_terms import Commitment, PlanAmounts, PlanDiscount
from taximeter.catalog.prices import Price
from taximeter.instants import DAY, HOUR
from taximeter.meters.reading import KEY_RULE, Fields, is_key, kind_of, suggestion
from taximeter.periods import Cadence
from taximeter.quantities import exact_pico, format_quantity

MAX_TRIAL_DAYS: Final = 3660


class CreditType(msgspec.Struct, frozen=True):
    """
    A kind of credit, like prepaid dollars or image tokens.

    Attributes:
        name: For people; None: its key.
        unit: What one of it is called; a currency code for money.
    """

    key: str
    name: str | None = None
    unit: str | None = None


class GrantRecurrence(StrEnum):
    """With each billing period, or once with the subscription."""

    PERIOD = "period"
    ONCE = "once"


class GrantRollover(msgspec.Struct, frozen=True):
    """What is left at the end of a period stays, up to `max_pico` (None: all of it)."""

    max_pico: int | None = None


class PlanGrant(msgspec.Struct, frozen=True):
    """
    Credits that come with a plan.

    Attributes:
        amount_pico: Above 0; for each period or once.
        priority: Burn order (K13), lowest first.
        features: What it may pay for, ascending; () for all.
        rollover: None: what is left at the end of a period is gone. Only for `period`.
    """

    key: str
    credit: str
    amount_pico: int
    priority: int = 0
    recurrence: GrantRecurrence = GrantRecurrence.PERIOD
    rollover: GrantRollover | None = None
    features: tuple[str, ...] = ()


class Plan(msgspec.Struct, frozen=True):
    """
    What a customer subscribes to, or (`is_addon`) adds to a subscription.

    Attributes:
        currency: ISO 4217; every amount of its prices. "" for an add-on without prices.
        cadence: Length of its billing periods. Without meaning for an add-on.
        entitlements: By feature; a feature that is absent is not granted.
        prices: By price key, ascending; may be empty.
        trial_us: Length of the trial a new subscription begins with; None for none.
        grants: By grant key, ascending; may be empty.
        minimum, maximum: What a period's lines come to at least and at most; None for no bound.
        commitment: None for none.
        discounts: In the order they are given.
        currencies: Amounts in other currencies, by code, ascending.
    """

    key: str
    currency: str
    cadence: Cadence
    entitlements: dict[str, Entitlement]
    prices: dict[str, Price]
    trial_us: int | None = None
    grants: dict[str, PlanGrant] = {}
    is_addon: bool = False
    minimum: Fraction | None = None
    maximum: Fraction | None = None
    commitment: Commitment | None = None
    discounts: tuple[PlanDiscount, ...] = ()
    currencies: dict[str, PlanAmounts] = {}

    def all_prices(self) -> Iterator[Price]:
        """Its prices in every currency."""
        yield from self.prices.values()
        for amounts in self.currencies.values():
            yield from amounts.prices.values()


# --- credit types -----------------------------------------------------------------------------


def read_credit_type(key: str, fields: Fields) -> CreditType:
    """Read one member of `credits`."""
    fields.only(("name", "unit"))
    return CreditType(key, fields.text("name"), fields.text("unit"))


def dump_credit_type(credit: CreditType) -> dict[str, Any]:
    """The document `read_credit_type` reads."""
    document: dict[str, Any] = {}
    if credit.name is not None:
        document["name"] = credit.name
    if credit.unit is not None:
        document["unit"] = credit.unit
    return document


# --- trial ------------------------------------------------------------------------------------


def read_trial(fields: Fields) -> int | None:
    """Read `trial`, like {days: 14}; days are of 24 hours."""
    value = fields.members.get("trial")
    if value is None:
        return None
    inner = fields.inside("trial", value)
    units = {"days": DAY, "hours": HOUR}
    inner.only(units)
    given = [name for name in units if inner.members.get(name) is not None]
    if len(given) != 1:
        inner.problem("", "expected {days: 14} or {hours: 36}")
        return None
    (unit,) = given
    number = inner.members[unit]
    if type(number) is not int or not 1 <= number <= MAX_TRIAL_DAYS * DAY // units[unit]:
        inner.problem(
            unit,
            f"expected a whole number from 1 to {MAX_TRIAL_DAYS * DAY // units[unit]}, "
            f"found {kind_of(number)}",
        )
        return None
    return int(number) * units[unit]


def dump_trial(trial_us: int) -> dict[str, int]:
    """The document `read_trial` reads."""
    if trial_us % DAY == 0:
        return {"days": trial_us // DAY}
    return {"hours": trial_us // HOUR}


# --- grants -----------------------------------------------------------------------------------


def read_grant(key: str, fields: Fields, features: frozenset[str]) -> PlanGrant | None:
    """
    Read one member of `grants`.

    Args:
        features: Keys of the declared features, which `features` may name.
    """
    before = len(fields.problems)
    fields.only(("credit", "amount", "priority", "recurrence", "rollover", "features"))
    credit = fields.text("credit", required=True)
    if credit is not None and not is_key(credit):
        fields.problem("credit", f"{credit[:40]!r} is not a key: {KEY_RULE}")
    amount = fields.members.get("amount")
    amount_pico = exact_pico(amount)
    if amount_pico is None or amount_pico <= 0:
        fields.problem("amount", f"expected a quantity above 0, found {kind_of(amount)}")
    priority = fields.members.get("priority", 0)
    if type(priority) is not int or abs(priority) > 10**6:
        fields.problem("priority", f"expected a whole number, found {kind_of(priority)}")
    recurrence = fields.choice("recurrence", GrantRecurrence, default=GrantRecurrence.PERIOD)
    rollover = _grant_rollover(fields, recurrence)
    payable = _payable_features(fields, features)
    if len(fields.problems) > before:
        return None
    assert credit is not None
    assert amount_pico is not None
    assert recurrence is not None
    return PlanGrant(
        key, credit, amount_pico, priority, GrantRecurrence(recurrence), rollover, payable
    )


def dump_grant(grant: PlanGrant) -> dict[str, Any]:
    """The document `read_grant` reads."""
    document: dict[str, Any] = {
        "credit": grant.credit,
        "amount": format_quantity(grant.amount_pico),
        "recurrence": grant.recurrence.value,
    }
    if grant.priority:
        document["priority"] = grant.priority
    if grant.rollover is not None:
        max_pico = grant.rollover.max_pico
        document["rollover"] = {} if max_pico is None else {"max": format_quantity(max_pico)}
    if grant.features:
        document["features"] = list(grant.features)
    return document


def _grant_rollover(fields: Fields, recurrence: str | None) -> GrantRollover | None:
    value = fields.members.get("rollover")
    if value is None:
        return None
    inner = fields.inside("rollover", value)
    inner.only(("max",))
    if recurrence == GrantRecurrence.ONCE:
        fields.problem("rollover", "credits granted once have no next period to roll over to")
    maximum = inner.members.get("max")
    if maximum is None:
        return GrantRollover()
    max_pico = exact_pico(maximum)
    if max_pico is None or max_pico < 0:
        inner.problem("max", f"expected a quantity from 0, found {kind_of(maximum)}")
    return GrantRollover(max_pico)


def _payable_features(fields: Fields, known: frozenset[str]) -> tuple[str, ...]:
    value = fields.members.get("features")
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        fields.problem("features", f"expected a list of features, found {kind_of(value)}")
        return ()
    for name in value:
        if name not in known:
            fields.problem(
                "features", f"there is no feature {name[:40]!r}{suggestion(name, known)}"
            )
    return tuple(sorted(set(value)))
