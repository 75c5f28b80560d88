"""
Features and entitlements: what a product can be asked for, and what a plan grants of it.

A feature is declared once; each plan entitles to it in its own measure. A boolean feature is there
or not, a static one has a value (seats, a region), a metered one has usage: with limits that must
all hold, rates, and credits that pay for what the limits do not include.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, TypeAlias

import msgspec

from taximeter.catalog.durations import format_duration
from taximeter.meters.reading import Fields
from taximeter.quantities import E12

CUSTOMER: Final = "customer"
"""The level of a limit that all usage of a customer counts against."""
PARENT: Final = "parent"
"""The level of a limit that a parent customer shares."""


class FeatureType(StrEnum):
    BOOLEAN = "boolean"
    METERED = "metered"
    STATIC = "static"


class ValueType(StrEnum):
    """What values a static feature takes."""

    STRING = "string"
    INTEGER = "integer"
    DECIMAL = "decimal"
    BOOLEAN = "boolean"
    JSON = "json"


class FailPolicy(StrEnum):
    """
    What an edge does that cannot ask: refuse, allow and count afterwards, or decide by a lease.
    """

    CLOSED = "closed"
    OPEN = "open"
    LEASE = "lease"


class Feature(msgspec.Struct, frozen=True):
    """
    Attributes:
        meter: Key of the meter that counts its usage; only and always for a metered feature.
        value_type: Only and always for a static feature.
    """

    key: str
    type: FeatureType
    meter: str | None = None
    value_type: ValueType | None = None
    fail: FailPolicy = FailPolicy.CLOSED


# --- what a plan grants of a metered feature --------------------------------------------------


class Enforcement(StrEnum):
    """What happens at the limit: hard refuses, soft allows and reports the overage."""

    HARD = "hard"
    SOFT = "soft"


class Reset(StrEnum):
    """
    When usage starts at zero again: with the billing period, with the local calendar, never;
    `rolling` looks back from each instant, `first_use` opens with the first use after the last
    window ended.
    """

    PERIOD = "period"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"
    NEVER = "never"
    ROLLING = "rolling"
    FIRST_USE = "first_use"


class Rollover(msgspec.Struct, frozen=True):
    """
    Unused allowance that lives on in later windows.

    Attributes:
        max_pico: What is carried into a window at most, from all earlier ones together; None for
            no bound.
        expires: For how many windows the unused part of one lives on; at least 1.
    """

    max_pico: int | None = None
    expires: int = 1


class Limit(msgspec.Struct, frozen=True):
    """
    One allowance of usage in each window.

    Attributes:
        limit_pico: Usage included in a window, without what rolled over.
        window_us: Length of a `rolling` or `first_use` window, only and always there.
        grace_pico: Of a soft limit: the share of it, in pico, that is allowed beyond it (0.1 is
            10^11); None for endless overage.
        level: `customer`, or the scope level each value of which has this allowance for itself.
        key: Short stable name inside the entitlement: `period`, `first_use:5h`, `user:day`.
            Derived; what is passed for it is ignored.
    """

    limit_pico: int
    reset: Reset = Reset.PERIOD
    window_us: int | None = None
    enforcement: Enforcement = Enforcement.HARD
    grace_pico: int | None = None
    rollover: Rollover | None = None
    level: str = CUSTOMER
    key: str = ""

    def __post_init__(self) -> None:
        window = self.reset.value
        if self.window_us is not None:
            window = f"{window}:{format_duration(self.window_us)}"
        key = window if self.level == CUSTOMER else f"{self.level}:{window}"
        msgspec.structs.force_setattr(self, "key", key)


class RateKind(StrEnum):
    """How a rate is kept: a bucket that refills steadily, or the usage of the last stretch."""

    TOKEN_BUCKET = "token_bucket"
    SLIDING_WINDOW = "sliding_window"


class Rate(msgspec.Struct, frozen=True):
    """
    How fast a feature may be used.

    Attributes:
        limit_pico: Amount for each `per_us` microseconds.
        burst_pico: What a token bucket holds when full; the limit for a sliding window.
        level: As of a `Limit`.
        imposed_by: The rule that imposes it on one customer; "" for a rate of a plan.
        key: As of a `Limit`: `rate:1m`, `user:rate:1m`. Derived.
    """

    limit_pico: int
    per_us: int
    burst_pico: int
    kind: RateKind = RateKind.TOKEN_BUCKET
    level: str = CUSTOMER
    imposed_by: str = ""
    key: str = ""

    def __post_init__(self) -> None:
        key = f"rate:{format_duration(self.per_us)}"
        key = f"throttle:{self.imposed_by}:{key}" if self.imposed_by else key
        key = key if self.level == CUSTOMER else f"{self.level}:{key}"
        msgspec.structs.force_setattr(self, "key", key)


class Cost(msgspec.Struct, frozen=True):
    """
    Credits for one unit of a feature's meter, in pico.

    Attributes:
        default_pico: Where no case fits; None: what fits no case is not sold for credits.
        by: The dimension of the meter that chooses the case, or None.
        cases: Text of the dimension -> cost.
    """

    default_pico: int | None = E12
    by: str | None = None
    cases: dict[str, int] = {}

    def per_unit_pico(self, value: str | None) -> int | None:
        """The cost of a unit for one value of the dimension; None if it is not sold."""
        if value is None:
            return self.default_pico
        return self.cases.get(value, self.default_pico)


class MeteredEntitlement(msgspec.Struct, frozen=True, tag="metered"):
    """
    Usage of a metered feature: every limit and every rate must hold.

    Attributes:
        limits: Those of level `customer` first; with neither a limit nor a credit it is unlimited.
        credit: Credit type that pays for what the customer's limits do not include.
        cost: Credits for each unit; only and always with `credit`.
    """

    feature: str
    limits: tuple[Limit, ...] = ()
    rates: tuple[Rate, ...] = ()
    credit: str | None = None
    cost: Cost | None = None

    @property
    def main(self) -> Limit | None:
        """The customer's own first limit: the one an answer shows; None if there is none."""
        if self.limits and self.limits[0].level == CUSTOMER:
            return self.limits[0]
        return None

    @property
    def is_unlimited(self) -> bool:
        """Nothing bounds how much the customer as a whole may use, at whatever pace."""
        return self.main is None and self.credit is None


class BooleanEntitlement(msgspec.Struct, frozen=True, tag="boolean"):
    feature: str
    enabled: bool


class StaticEntitlement(msgspec.Struct, frozen=True, tag="static"):
    """`value` has the type the feature declares; a decimal is kept as its canonical text."""

    feature: str
    value: Any


Entitlement: TypeAlias = MeteredEntitlement | BooleanEntitlement | StaticEntitlement


# --- reading features -------------------------------------------------------------------------


def parse_feature(key: str, fields: Fields) -> Feature | None:
    """Read one member of `features`; None, with the problems noted, if its type is unknown."""
    fields.only(("type", "meter", "value_type", "fail"))
    chosen = fields.choice("type", FeatureType)
    if chosen is None:
        return None
    kind = FeatureType(chosen)
    meter, value_type = None, None
    if kind is FeatureType.METERED:
        meter = fields.text("meter", required=True)
    elif "meter" in fields.members:
        fields.problem("meter", f"only a metered feature has a meter, this one is {kind}")
    if kind is FeatureType.STATIC:
        value_type = fields.choice("value_type", ValueType)
    elif "value_type" in fields.members:
        fields.problem("value_type", f"only a static feature has values, this one is {kind}")
    fail = fields.choice("fail", FailPolicy, default=FailPolicy.CLOSED)
    return Feature(
        key,
        kind,
        meter,
        ValueType(value_type) if value_type else None,
        FailPolicy(fail or FailPolicy.CLOSED),
    )


def dump_feature(feature: Feature) -> dict[str, Any]:
    """The document `parse_feature` reads."""
    document: dict[str, Any] = {"type": feature.type.value}
    if feature.meter is not None:
        document["meter"] = feature.meter
    if feature.value_type is not None:
        document["value_type"] = feature.value_type.value
    if feature.fail is not FailPolicy.CLOSED:
        document["fail"] = feature.fail.value
    return document
