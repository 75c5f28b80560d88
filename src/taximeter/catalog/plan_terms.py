"""
What a plan says of an invoice as a whole: a minimum, a maximum, a commitment, discounts; and its
amounts in other currencies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from fractions import Fraction
from typing import Any, Final

import msgspec

from taximeter.catalog.price_fields import read_optional_amount
from taximeter.catalog.prices import Price, dump_variant, parse_variant
from taximeter.catalog.rates import Rates
from taximeter.errors import Rejected
from taximeter.meters.reading import Fields, Problem, kind_of, suggestion
from taximeter.money import EXPONENTS, format_exact
from taximeter.quantities import exact_pico, format_quantity

MAX_DISCOUNTS: Final = 100
MAX_PERIODS: Final = 1200


class Per(StrEnum):
    """For each billing period, or for each term of the contract (its whole life without terms)."""

    PERIOD = "period"
    TERM = "term"


class CommitmentMode(StrEnum):
    """Missing usage is charged at the end, or the commitment is paid first and usage draws it."""

    TRUE_UP = "true_up"
    PREPAID = "prepaid"


class Commitment(msgspec.Struct, frozen=True):
    """
    What a customer has agreed to use at least, in money.

    Attributes:
        amount: Above 0; in the plan's currency.
        prices: Keys of the prices whose lines count; () for all that bill usage or seats.
    """

    amount: Fraction
    per: Per = Per.PERIOD
    mode: CommitmentMode = CommitmentMode.TRUE_UP
    prices: tuple[str, ...] = ()


class PlanDiscount(msgspec.Struct, frozen=True, kw_only=True):
    """
    One of `percent`, `amount` and `free_pico` is what is taken off, each period anew.

    Attributes:
        id: Distinct in its plan.
        percent: 1/5 for 20 percent; above 0, at most 1.
        amount: Above 0; in the plan's currency.
        free_pico: Units of one price; above 0.
        prices: Keys of prices; () for all.
        periods: In how many billing periods, the first charged one being the first; None: forever.
    """

    id: str
    name: str = ""
    percent: Fraction | None = None
    amount: Fraction | None = None
    free_pico: int | None = None
    prices: tuple[str, ...] = ()
    periods: int | None = None


class PlanAmounts(msgspec.Struct, frozen=True):
    """
    A plan's amounts in another currency. What is absent is converted by the rates.

    Attributes:
        prices: By price key.
        commitment: Its amount.
    """

    prices: dict[str, Price] = {}
    minimum: Fraction | None = None
    maximum: Fraction | None = None
    commitment: Fraction | None = None


# --- reading ----------------------------------------------------------------------------------


def read_bounds(plan: Fields) -> tuple[Fraction | None, Fraction | None]:
    """Read `minimum` and `maximum`."""
    minimum, maximum = (_amount(plan, name) for name in ("minimum", "maximum"))
    if minimum is not None and maximum is not None and minimum > maximum:
        plan.problem("minimum", "is above the maximum")
    return minimum, maximum


def read_commitment(plan: Fields, prices: Mapping[str, Price]) -> Commitment | None:
    """Read `commitment`, such as {amount: 1000, per: term, mode: prepaid}, or just an amount."""
    value = plan.members.get("commitment")
    if value is None:
        return None
    fields = plan.inside("commitment", value if isinstance(value, dict) else {"amount": value})
    fields.only(("amount", "per", "mode", "prices"))
    before = len(fields.problems)
    amount = _amount(fields, "amount")
    if not amount and len(fields.problems) == before:
        fields.problem("amount", "is required, and above 0")
    per = fields.choice("per", Per, default=Per.PERIOD)
    mode = fields.choice("mode", CommitmentMode, default=CommitmentMode.TRUE_UP)
    named = _read_prices(fields, prices)
    if not amount or per is None or mode is None:
        return None
    return Commitment(amount, Per(per), CommitmentMode(mode), named)


def read_discounts(plan: Fields, prices: Mapping[str, Price]) -> tuple[PlanDiscount, ...]:
    """Read `discounts`."""
    value = plan.members.get("discounts")
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or not len(value) <= MAX_DISCOUNTS:
        plan.problem("discounts", f"expected a list of at most {MAX_DISCOUNTS}, found "
                     f"{kind_of(value)}")  # fmt: skip
        return ()
    found: list[PlanDiscount] = []
    for n, one in enumerate(value):
        fields = plan.inside(f"discounts[{n}]", one)
        discount = _read_discount(fields, f"discount-{n + 1}", prices)
        if discount is None:
            continue
        if discount.id in [other.id for other in found]:
            fields.problem("id", f"another discount is {discount.id!r} already")
        found.append(discount)
    return tuple(found)


def _read_discount(
    fields: Fields, default_id: str, prices: Mapping[str, Price]
) -> PlanDiscount | None:
    before = len(fields.problems)
    fields.only(("id", "name", "percent", "amount", "free_units", "prices", "duration"))
    kinds = ("percent", "amount", "free_units")
    given = [name for name in kinds if fields.members.get(name) is not None]
    if len(given) != 1:
        fields.problem("", f"give exactly one of {', '.join(kinds)}")
        return None
    named = _read_prices(fields, prices)
    if given == ["free_units"] and len(named) != 1:
        fields.problem("prices", "free_units are of exactly one price")
    percent = _amount(fields, "percent")
    if percent is not None and not 0 < percent <= 100:
        fields.problem("percent", "expected a number above 0 and at most 100")
    amount = _amount(fields, "amount")
    if amount == 0:
        fields.problem("amount", "expected an amount above 0")
    discount_id, name = fields.text("id") or default_id, fields.text("name") or ""
    free_pico, periods = _read_free_units(fields), _read_duration(fields)
    if len(fields.problems) > before:
        return None
    return PlanDiscount(
        id=discount_id,
        name=name,
        percent=None if percent is None else Fraction(percent, 100),
        amount=amount,
        free_pico=free_pico,
        prices=named,
        periods=periods,
    )


def _read_free_units(fields: Fields) -> int | None:
    value = fields.members.get("free_units")
    if value is None:
        return None
    pico = exact_pico(value)
    if pico is None or pico <= 0:
        fields.problem("free_units", f"expected a quantity above 0, found {kind_of(value)}")
    return pico


def _read_duration(fields: Fields) -> int | None:
    value = fields.members.get("duration")
    if value is None or value == "forever":
        return None
    if value == "once":
        return 1
    periods = value.get("periods") if isinstance(value, dict) and len(value) == 1 else None
    if type(periods) is not int or not 1 <= periods <= MAX_PERIODS:
        fields.problem("duration", "expected once, forever or {periods: 3}")
        return None
    return int(periods)


def _read_prices(fields: Fields, known: Mapping[str, Price]) -> tuple[str, ...]:
    value = fields.members.get("prices")
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        fields.problem("prices", f"expected a list of keys of prices, found {kind_of(value)}")
        return ()
    for name in value:
        if name not in known:
            hint = suggestion(name, known)
            fields.problem("prices", f"the plan has no price {name[:40]!r}{hint}")
    return tuple(sorted(set(value)))


def read_currencies(
    plan: Fields,
    currency: str,
    prices: Mapping[str, Price],
    rates: Rates,
    needed: Sequence[str],
) -> dict[str, PlanAmounts]:
    """
    Read `currencies`, such as {EUR: {prices: {base: {amount: 45}}, minimum: 90}}.

    Args:
        needed: Those of `minimum`, `maximum`, `commitment` and `discounts` that the plan has.
    """
    section = plan.inside("currencies", plan.members.get("currencies") or {})
    found: dict[str, PlanAmounts] = {}
    for code in sorted(section.members):
        fields = section.inside(code, section.members[code])
        if code not in EXPONENTS or code == currency:
            known = "is no ISO 4217 currency code" if code != currency else "is the plan's own"
            section.problem(code, known)
            continue
        fields.only(("prices", "minimum", "maximum", "commitment"))
        amounts = PlanAmounts(
            _read_variants(fields, prices),
            *(_amount(fields, name) for name in ("minimum", "maximum", "commitment")),
        )
        found[code] = amounts
        if rates.find(currency, code, 0) is None:
            _check_whole(fields, currency, code, prices, rates, amounts, needed)
    return found


def _check_whole(
    fields: Fields,
    currency: str,
    code: str,
    prices: Mapping[str, Price],
    rates: Rates,
    amounts: PlanAmounts,
    needed: Sequence[str],
) -> None:
    """Without a rate, every amount is given."""
    missing = [
        f"prices.{key}"
        for key, price in prices.items()
        if key not in amounts.prices and rates.find(price.priced_in or currency, code, 0) is None
    ]
    missing += [name for name in needed if getattr(amounts, name, None) is None]
    for name in missing:
        fields.problem(name, f"is missing: give it, or a rate from {currency} to {code} in rates")


def _read_variants(fields: Fields, prices: Mapping[str, Price]) -> dict[str, Price]:
    found: dict[str, Price] = {}
    inner = fields.inside("prices", fields.members.get("prices") or {})
    for key, members in sorted(inner.members.items()):
        if key not in prices:
            inner.problem(key, f"the plan has no price {key[:40]!r}{suggestion(key, prices)}")
        elif not isinstance(members, dict):
            inner.problem(key, f"expected an object like {{unit: 0.05}}, found {kind_of(members)}")
        elif prices[key].priced_in is not None:
            inner.problem(key, "is priced in a unit, which has a rate of its own")
        else:
            try:
                found[key] = parse_variant(prices[key], members, f"{inner.path}.{key}")
            except Rejected as error:
                where, _, text = error.message.partition(": ")
                inner.problems.append(Problem(where, text))
    return found


def _amount(fields: Fields, name: str) -> Fraction | None:
    try:
        return read_optional_amount(fields.members, name, fields.path)
    except Rejected as error:
        fields.problem(name, error.message.partition(": ")[2])
        return None


# --- dumping ----------------------------------------------------------------------------------


def dump_commitment(commitment: Commitment) -> dict[str, Any]:
    document: dict[str, Any] = {
        "amount": format_exact(commitment.amount),
        "per": commitment.per.value,
        "mode": commitment.mode.value,
    }
    return document | ({"prices": list(commitment.prices)} if commitment.prices else {})


def dump_discount(discount: PlanDiscount) -> dict[str, Any]:
    free, periods = discount.free_pico, discount.periods
    optional = {
        "name": discount.name or None,
        "percent": None if discount.percent is None else format_exact(discount.percent * 100),
        "amount": None if discount.amount is None else format_exact(discount.amount),
        "free_units": None if free is None else format_quantity(free),
        "prices": list(discount.prices) or None,
        "duration": None if periods is None else "once" if periods == 1 else {"periods": periods},
    }
    return {"id": discount.id} | {n: value for n, value in optional.items() if value is not None}


def dump_amounts(amounts: PlanAmounts, prices: Mapping[str, Price]) -> dict[str, Any]:
    bounds = {
        name: format_exact(amount)
        for name in ("minimum", "maximum", "commitment")
        if (amount := getattr(amounts, name)) is not None
    }
    variants = {key: dump_variant(prices[key], one) for key, one in amounts.prices.items()}
    return ({"prices": variants} if variants else {}) | bounds
