"""
The terms of a discount as a JSON document, in coupons, of customers, and in plans.

    {"percent": 20}                               {"percent": 20, "prices": ["tokens"]}
    {"amount": "10.00", "currency": "EUR"}        {"free_units": 1000, "prices": ["tokens"]}

Each with `name`, and `duration`: "once", {"periods": 3} or "forever".
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any, Final, Literal, TypeAlias

import msgspec

from taximeter.errors import Rejected
from taximeter.invoices.discounts import Discount
from taximeter.money import exponent, format_exact, format_minor, parse_amount
from taximeter.quantities import exact_pico, format_quantity
from taximeter.taxes.documents import Exact

MAX_NAME: Final = 200
MAX_PRICES: Final = 100
MAX_PERIODS: Final = 1200
_PRICE: Final = re.compile(r"[^\s@]{1,200}")


class Periods(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """In the first so many billing periods."""

    periods: int


Duration: TypeAlias = Literal["once", "forever"] | Periods


class TermsDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is taken off: exactly one of `percent`, `amount` and `free_units`."""

    name: str = ""
    percent: Exact = None
    amount: Exact = None
    currency: str = ""
    free_units: Exact = None
    prices: tuple[str, ...] = ()
    duration: Duration | None = None


def read_terms(
    document: TermsDocument, discount_id: str, *, periods: int | None, where: str = ""
) -> Discount:
    """
    Args:
        periods: For a document without `duration`; None: for ever.
        where: Put before the name of a member in an error, such as "discounts[0].".

    Raises:
        Rejected: `invalid_request`, naming the member; `unknown_currency`.
    """
    _check(document, where)
    return Discount(
        id=discount_id,
        name=document.name,
        percent=_read_percent(document, where),
        amount_minor=_read_amount(document, where),
        currency=document.currency,
        free_pico=_read_free_units(document, where),
        prices=document.prices,
        periods=_read_duration(document.duration, periods, where),
    )


def dump_terms(discount: Discount) -> dict[str, Any]:
    """Inverse of `read_terms`, as plain JSON values."""
    duration: Duration = "forever"
    if discount.periods is not None:
        duration = "once" if discount.periods == 1 else Periods(discount.periods)
    dumped: dict[str, Any] = msgspec.to_builtins(
        TermsDocument(
            name=discount.name,
            percent=None if discount.percent is None else format_exact(discount.percent * 100),
            amount=None
            if discount.amount_minor is None
            else format_minor(discount.amount_minor, discount.currency),
            currency=discount.currency,
            free_units=None if discount.free_pico is None else format_quantity(discount.free_pico),
            prices=discount.prices,
            duration=duration,
        )
    )
    return dumped


def _check(document: TermsDocument, where: str) -> None:
    given = [
        name for name in ("percent", "amount", "free_units") if getattr(document, name) is not None
    ]
    if len(given) != 1:
        found = " and ".join(given) or "none of them"
        raise _wrong(where, "percent", f"give exactly one of percent, amount, free_units; {found}")
    if len(document.name) > MAX_NAME or not document.name.isprintable():
        raise _wrong(where, "name", f"a printable text of at most {MAX_NAME} characters")
    if len(document.prices) > MAX_PRICES or not all(map(_PRICE.fullmatch, document.prices)):
        rule = f'at most {MAX_PRICES} keys of prices such as "tokens" or "pro/tokens"'
        raise _wrong(where, "prices", rule)
    if document.free_units is not None and len(document.prices) != 1:
        raise _wrong(where, "prices", "free_units are of exactly one price")
    if document.currency and document.amount is None:
        raise _wrong(where, "currency", "only an amount has one")


def _read_percent(document: TermsDocument, where: str) -> Fraction | None:
    if document.percent is None:
        return None
    pico = exact_pico(document.percent)
    if pico is None or not 0 < pico <= 100 * 10**12:
        raise _wrong(where, "percent", "above 0, at most 100")
    return Fraction(pico, 100 * 10**12)


def _read_amount(document: TermsDocument, where: str) -> int | None:
    if document.amount is None:
        return None
    if not document.currency:
        raise _wrong(where, "currency", "say of which currency the amount is")
    digits = exponent(document.currency)
    try:
        minor: Fraction = parse_amount(document.amount) * 10**digits
    except Rejected:
        minor = Fraction(0)
    if minor <= 0 or minor.denominator != 1:
        rule = f"above 0, with at most {digits} fractional digits in {document.currency}"
        raise _wrong(where, "amount", rule)
    return int(minor)


def _read_free_units(document: TermsDocument, where: str) -> int | None:
    if document.free_units is None:
        return None
    pico = exact_pico(document.free_units)
    if pico is None or pico <= 0:
        raise _wrong(where, "free_units", "a quantity above 0")
    return pico


def _read_duration(duration: Duration | None, default: int | None, where: str) -> int | None:
    if duration is None:
        return default
    if isinstance(duration, Periods):
        if not 1 <= duration.periods <= MAX_PERIODS:
            raise _wrong(where, "duration.periods", f"1 to {MAX_PERIODS}")
        return duration.periods
    return 1 if duration == "once" else None


def _wrong(where: str, member: str, rule: str) -> Rejected:
    return Rejected("invalid_request", f"{where}{member}: {rule}.")
