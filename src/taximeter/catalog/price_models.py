"""
Prices as values: what each model is made of. `prices` reads and dumps them, `rating` applies them.

All amounts are exact and in the currency of the plan, or in the custom unit a price names. A usage
price bills one meter. Everything a price says in units (free units, tier bounds, package sizes) is
in units after its `transform`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from fractions import Fraction

import msgspec


class PriceType(StrEnum):
    """What `type` says."""

    FLAT = "flat"
    PER_UNIT = "per_unit"
    GRADUATED = "graduated"
    VOLUME = "volume"
    STAIRSTEP = "stairstep"
    PACKAGE = "package"
    PERCENTAGE = "percentage"
    MATRIX = "matrix"
    SEAT = "seat"
    DYNAMIC = "dynamic"
    COST_PLUS = "cost_plus"


class Timing(StrEnum):
    """When a flat fee is due: with the period it is for, or when that period has ended."""

    ADVANCE = "advance"
    ARREARS = "arrears"


class RampStep(msgspec.Struct, frozen=True):
    """
    What a price becomes later on; only its amounts differ.

    Attributes:
        from_period: From this billing period of the subscription on, the first charged one being
            1; or None, and
        from_at: from this instant on.
    """

    price: Price
    from_period: int | None = None
    from_at: int | None = None


class Flat(msgspec.Struct, frozen=True):
    """
    A fee for each period, whatever is used.

    Attributes:
        amount: For a whole period; not negative.
        name: What lines call it; "": its key.
        tax_category: "" for the standard one.
        priced_in: A custom unit of the catalogue; None for the plan's currency.
        ramp: Ascending; empty for a price that stays as it is.
    """

    key: str
    amount: Fraction
    timing: Timing = Timing.ADVANCE
    name: str = ""
    tax_category: str = ""
    priced_in: str | None = None
    ramp: tuple[RampStep, ...] = ()


class SeatMode(StrEnum):
    """What a number that goes up and down during a period comes to."""

    PEAK = "peak"
    PRORATED = "prorated"
    TIME_WEIGHTED = "time_weighted"


class SeatCount(StrEnum):
    """Whose number is billed: seats that somebody has, or those the contract grants."""

    ASSIGNED = "assigned"
    CONTRACTED = "contracted"


class Seat(msgspec.Struct, frozen=True, kw_only=True):
    """
    A fee for each seat of a feature.

    Attributes:
        unit: For a seat that is there for a whole period.
        count: None: those assigned, where anybody was ever given one; else those contracted.
        free: So many seats at a time cost nothing.
        minimum, maximum: As of a usage price; `name` and what follows as of `Flat`.
    """

    key: str
    feature: str
    unit: Fraction
    mode: SeatMode = SeatMode.PRORATED
    count: SeatCount | None = None
    free: int = 0
    minimum: Fraction | None = None
    maximum: Fraction | None = None
    name: str = ""
    tax_category: str = ""
    priced_in: str | None = None
    ramp: tuple[RampStep, ...] = ()


class Rounding(StrEnum):
    """To whole units; `none` keeps the twelve digits every quantity has (K18)."""

    UP = "up"
    HALF_UP = "half_up"
    NONE = "none"


class Transform(msgspec.Struct, frozen=True):
    """From the meter's unit to the unit that is priced: tokens to thousands of tokens."""

    divide_by_pico: int
    round: Rounding = Rounding.NONE


class Multiplier(msgspec.Struct, frozen=True):
    """
    What usage costs more or less by the value of one dimension.

    Attributes:
        factors: Value -> factor; not negative.
        default: Of any other value, and of usage without one.
    """

    dimension: str
    factors: Mapping[str, Fraction]
    default: Fraction = Fraction(1)

    def of(self, value: str | None) -> Fraction:
        return self.default if value is None else self.factors.get(value, self.default)


class DayWindow(msgspec.Struct, frozen=True):
    """
    Hours of the local day at which usage costs more or less.

    Attributes:
        start, end: Minutes of the local day, 0 to 1440; an end that is not behind the start is on
            the next day.
        days: ISO weekdays (1 is Monday) the window begins on; ascending, all seven for every day.
    """

    start: int
    end: int
    factor: Fraction
    days: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7)


class UsagePrice(msgspec.Struct, frozen=True, kw_only=True):
    """
    What all prices of a meter share.

    Attributes:
        transform: Of the quantity, before everything else; None for none.
        free_pico: Units of each line that cost nothing, before the model sees the rest.
        minimum: What a line comes to at least, even without usage; None for no bound.
        maximum: What a line comes to at most; None for no bound.
        group_by: Dimensions of the meter; one line for each combination of their values. Those
            that the price depends on are always among them.
        filter: Expression an event must satisfy to be billed here, or None.
        multipliers: At most one for a dimension; their factors are multiplied.
        time_of_day: The first window that holds an instant is the one that counts; each is a line
            of its own, as is the time outside of all.
        allow_estimate: Consent to bill a meter that estimates; refused without it.
        name: As of `Flat`, and what follows.
    """

    key: str
    meter: str
    transform: Transform | None = None
    free_pico: int = 0
    minimum: Fraction | None = None
    maximum: Fraction | None = None
    group_by: tuple[str, ...] = ()
    filter: str | None = None
    multipliers: tuple[Multiplier, ...] = ()
    time_of_day: tuple[DayWindow, ...] = ()
    allow_estimate: bool = False
    name: str = ""
    tax_category: str = ""
    priced_in: str | None = None
    ramp: tuple[RampStep, ...] = ()


class PerUnit(UsagePrice, frozen=True, kw_only=True):
    """The same price for every unit."""

    unit: Fraction


class Tier(msgspec.Struct, frozen=True):
    """
    One step of a tiered price.

    Attributes:
        up_to_pico: The last quantity inside the tier (K8); None for the open last one.
        unit: Price of each unit in the tier.
        flat: Charged once if any quantity falls into the tier.
    """

    up_to_pico: int | None
    unit: Fraction
    flat: Fraction = Fraction(0)


class Graduated(UsagePrice, frozen=True, kw_only=True):
    """Each unit at the price of the tier it falls in; the bounds ascend, the last tier is open."""

    tiers: tuple[Tier, ...]


class Volume(UsagePrice, frozen=True, kw_only=True):
    """All units at the price of the tier that holds the total; tiers as for `Graduated`."""

    tiers: tuple[Tier, ...]


class Stairstep(UsagePrice, frozen=True, kw_only=True):
    """One fee: that of the tier that holds the total. Its tiers have no unit price."""

    tiers: tuple[Tier, ...]


class Package(UsagePrice, frozen=True, kw_only=True):
    """
    Units come in packages, and one that is begun is paid (K9).

    Attributes:
        size_pico: Units in a package; above zero.
        amount: Price of a package.
    """

    size_pico: int
    amount: Fraction


class Percentage(UsagePrice, frozen=True, kw_only=True):
    """
    A share of an amount that the meter sums.

    Attributes:
        rate: 0.029 for 2.9 percent.
        fixed: Charged for each event.
        min_per_event, max_per_event: What rate and fixed come to for one event, at least and at
            most; None for no bound.
    """

    rate: Fraction
    fixed: Fraction = Fraction(0)
    min_per_event: Fraction | None = None
    max_per_event: Fraction | None = None

    @property
    def is_clamped(self) -> bool:
        """Whether it depends on the amount of each event, and not only on their sum."""
        return self.min_per_event is not None or self.max_per_event is not None


class Dynamic(UsagePrice, frozen=True, kw_only=True):
    """The amount stands on the event; the meter sums it."""


class Costs(msgspec.Struct, frozen=True):
    """What a unit costs whoever sells it, by the value of a dimension; "" for every unit alike."""

    dimension: str
    units: Mapping[str, Fraction]
    default: Fraction

    def of(self, value: str | None) -> Fraction:
        return self.default if value is None else self.units.get(value, self.default)


class CostPlus(UsagePrice, frozen=True, kw_only=True):
    """
    The cost and a markup.

    Attributes:
        markup: 0.20 for 20 percent on top.
        costs: Of a unit; None where the meter sums the cost itself.
    """

    markup: Fraction
    costs: Costs | None = None


class Cell(msgspec.Struct, frozen=True):
    """
    Price of a unit of the usage whose dimensions have these values.

    Attributes:
        match: Dimension -> value; at least one. Other dimensions may have any.
    """

    match: Mapping[str, str]
    unit: Fraction

    def fits(self, group: Mapping[str, str | None]) -> bool:
        return all(group[name] == value for name, value in self.match.items())


class Matrix(UsagePrice, frozen=True, kw_only=True):
    """
    A price of its own for each combination of dimensions.

    Attributes:
        cells: The first that fits is the price; none is hidden behind an earlier one.
        default: Price of a unit that no cell fits.
    """

    cells: tuple[Cell, ...]
    default: Fraction


Price = (
    Flat
    | Seat
    | PerUnit
    | Graduated
    | Volume
    | Stairstep
    | Package
    | Percentage
    | Matrix
    | Dynamic
    | CostPlus
)
