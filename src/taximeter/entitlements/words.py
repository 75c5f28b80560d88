"""
Refusals in words: which limit, at which level, how much is left, when it resets, what would help.
"""

from __future__ import annotations

from typing import Final

from taximeter.catalog.features import CUSTOMER, PARENT, Enforcement
from taximeter.entitlements.readings import Funds, Kind, Reading
from taximeter.instants import format_instant
from taximeter.quantities import format_quantity

_WINDOWS: Final = {
    "period": "in this period",
    "hour": "in this hour",
    "day": "in this day",
    "week": "in this week",
    "month": "in this month",
    "year": "in this year",
    "never": "in all",
    "rolling": "in any",
    "first_use": "from the first use in",
    "rate": "in",
}


def refusal_detail(feature: str, reading: Reading, amount_pico: int) -> str:
    """One sentence about the limit that refuses."""
    left_pico = reading.remaining_pico or 0
    ceiling_pico = reading.ceiling_pico
    if reading.enforcement is Enforcement.SOFT and ceiling_pico is not None:
        left_pico = max(0, ceiling_pico - max(0, reading.used_pico) - reading.reserved_pico)
    left = f"{_amount(reading, left_pico)} left" if left_pico else "nothing left"
    sentence = f"{feature} has {_limit(reading)} and {left}, {_asked(reading, amount_pico)}"
    if reading.resets_at is not None:
        again = "it has room again" if reading.kind is Kind.RATE else "it resets"
        sentence += f"; {again} at {format_instant(reading.resets_at)}"
    return f"{sentence}."


def refusal_help(reading: Reading, amount_pico: int) -> str:
    """What the caller, or the one who pays, could do about it."""
    options = []
    largest_pico = reading.largest_pico()
    if largest_pico is not None and largest_pico > 0:
        options.append(f"ask for at most {format_quantity(largest_pico)}")
    if reading.resets_at is not None and _would_fit(reading, amount_pico):
        options.append(f"wait until {format_instant(reading.resets_at)}")
    options.append(_raise(reading))
    return _sentence(options)


def credit_detail(feature: str, funds: Funds, units_pico: int) -> str:
    """One sentence about credit that does not suffice for some units beyond what is included."""
    if not funds.is_sold():
        case = "" if funds.cost_case is None else f" {funds.cost_case!r}"
        by = "" if funds.cost.by is None else f" for {funds.cost.by}{case}"
        return f"{feature} has no price in {funds.credit} credit{by}, and nothing else includes it."
    return (
        f"{format_quantity(units_pico)} of {feature} cost "
        f"{format_quantity(funds.cost_pico(units_pico))} {funds.credit} credit, "
        f"{format_quantity(max(0, funds.available_pico))} is available."
    )


def credit_help(
    main: Reading, funds: Funds, amount_pico: int, units_pico: int, most_pico: int
) -> str:
    """
    What would help where credit does not suffice.

    Args:
        main: The limit that includes the rest of the amount.
        units_pico: The part of the amount that is beyond it.
        most_pico: The largest amount that is allowed.
    """
    options = []
    if most_pico > 0:
        options.append(f"ask for at most {format_quantity(most_pico)}")
    if main.limit_pico and main.resets_at is not None and _would_fit(main, amount_pico):
        options.append(f"wait until {format_instant(main.resets_at)}")
    if funds.is_sold():
        missing_pico = funds.cost_pico(units_pico) - funds.available_pico
        options.append(f"add at least {format_quantity(missing_pico)} {funds.credit} credit")
    else:
        options.append("price it in the plan, or ask for something the plan sells")
    return _sentence(options)


# --- parts of sentences -----------------------------------------------------------------------


def _limit(reading: Reading) -> str:
    limit = _amount(reading, reading.limit_pico or 0)
    if reading.kind is Kind.RATE:
        rule = _imposed_by(reading)
        by = f", imposed by rule {rule!r}," if rule else ""
        return f"a rate limit of {_pace(reading)}{_whose(reading)}{by}"
    if reading.kind is Kind.BUDGET:
        return f"a budget {reading.key!r} of {limit}{_whose(reading)}"
    if reading.grace_pico:
        limit += f" ({_amount(reading, reading.ceiling_pico or 0)} with grace)"
    return f"a {reading.enforcement.value} limit of {limit}{_whose(reading)} {_window(reading)}"


def _pace(reading: Reading) -> str:
    burst = _amount(reading, reading.limit_pico or 0)
    if reading.pace_pico in (None, reading.limit_pico):
        return f"{burst} {_window(reading)}"
    return f"{_amount(reading, reading.pace_pico or 0)} {_window(reading)}, {burst} at once,"


def _whose(reading: Reading) -> str:
    if reading.level == CUSTOMER:
        return ""
    return f" for {reading.level}" + ("" if reading.scope is None else f" {reading.scope!r}")


def _window(reading: Reading) -> str:
    """From the key of the limit: "user:first_use:5h" is "from the first use in 5h"."""
    key = reading.key.removeprefix(f"throttle:{_imposed_by(reading)}:")
    name, _, length = key.removeprefix(f"{reading.level}:").partition(":")
    words = _WINDOWS.get(name, "in this window")
    return f"{words} {length}" if length else words


def _imposed_by(reading: Reading) -> str:
    """The rule that throttles: "throttle:runaway:rate:1m" is of rule runaway; else ""."""
    first, _, rest = reading.key.partition(":")
    return rest.partition(":")[0] if first == "throttle" else ""


def _amount(reading: Reading, pico: int) -> str:
    text = format_quantity(pico)
    return text if reading.credit is None else f"{text} {reading.credit}"


def _asked(reading: Reading, amount_pico: int) -> str:
    asked = f"{format_quantity(amount_pico)} asked for"
    if reading.credit is None or reading.cost is None:
        return asked
    funds = Funds(reading.credit, reading.cost, 0, reading.cost_case)
    if not funds.is_sold():
        return asked
    return f"{asked} at {_amount(reading, funds.cost_pico(amount_pico))}"


def _would_fit(reading: Reading, amount_pico: int) -> bool:
    """Whether the amount would fit an empty window; waiting helps only then."""
    empty = Reading(
        reading.limit_pico,
        reserved_pico=reading.reserved_pico,
        enforcement=reading.enforcement,
        grace_pico=reading.grace_pico,
        credit=reading.credit,
        cost=reading.cost,
        cost_case=reading.cost_case,
    )
    room_pico = empty.room_pico()
    return room_pico is None or room_pico >= amount_pico


def _raise(reading: Reading) -> str:
    if reading.kind is Kind.BUDGET:
        return f"raise the budget {reading.key!r}"
    if rule := _imposed_by(reading):
        return f"have the throttle of rule {rule!r} lifted"
    if reading.kind is Kind.RATE:
        return "raise the plan's rate limit"
    if reading.level == CUSTOMER:
        return "raise the plan's limit"
    if reading.level == PARENT:
        return f"raise the limit of {reading.scope!r}"
    return f"raise the plan's limit for each {reading.level}"


def _sentence(options: list[str]) -> str:
    *first, last = options
    text = f"{', '.join(first)}{',' if len(first) > 1 else ''} or {last}" if first else last
    return f"{text[0].upper()}{text[1:]}."
