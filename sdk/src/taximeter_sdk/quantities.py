"""
Exact quantities inside the SDK: whole numbers of 10^-12 units ("pico"), as in the server.

What callers give may be int, Decimal, decimal text or float; a float is taken by its shortest
decimal form, exactly as JSON would carry it. What callers get is Decimal.
"""

from __future__ import annotations

from decimal import Context, Decimal, InvalidOperation
from typing import Final

E12: Final = 10**12
MAX_PICO: Final = 10**38 - 1

Amount = int | Decimal | str | float
"""What callers may give as an amount."""

# 26 integer and 12 fractional digits: the default context's 28 would round without a word.
_EXACT: Final = Context(prec=60)


def to_pico(amount: Amount) -> int:
    """
    An amount as pico; not negative.

    Raises:
        TypeError: It is no number.
        ValueError: It is negative, not finite, or not exact within 26 + 12 digits.
    """
    if type(amount) is int:
        pico = amount * E12
    else:
        pico = _decimal_pico(amount)
    if not 0 <= pico <= MAX_PICO:
        raise ValueError(f"an amount must be from 0 to less than 10^26, not {amount!r}")
    return pico


def _decimal_pico(amount: Amount) -> int:
    if isinstance(amount, bool) or not isinstance(amount, (int, Decimal, str, float)):
        raise TypeError(f"an amount must be a number, not {type(amount).__name__}")
    try:
        exact = Decimal(repr(amount)) if isinstance(amount, float) else Decimal(amount)
    except InvalidOperation:
        raise ValueError(f"not a decimal number: {amount!r}") from None
    if not exact.is_finite() or abs(exact.adjusted()) > 30:
        if exact.is_zero():
            return 0
        raise ValueError(f"an amount must be a number of at most 26 + 12 digits, not {amount!r}")
    scaled = exact.scaleb(12, _EXACT)
    if scaled != scaled.to_integral_value():
        raise ValueError(f"an amount has at most 12 fractional digits, not {amount!r}")
    return int(scaled)


def to_decimal(pico: int) -> Decimal:
    """The quantity without trailing zeros: `Decimal("12.5")`, `Decimal("1000")`."""
    if pico % E12 == 0:
        return Decimal(pico // E12)
    return Decimal(pico).scaleb(-12, _EXACT).normalize(_EXACT)


def to_text(pico: int) -> str:
    """Plain decimal digits, never an exponent: what goes over the wire."""
    return format(to_decimal(pico), "f")


def read_pico(value: object) -> int | None:
    """A quantity of an answer (a string, or null) as pico; below zero only for balances."""
    if value is None:
        return None
    return int(Decimal(str(value)).scaleb(12, _EXACT))
