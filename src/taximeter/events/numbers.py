"""
Numbers inside an event's data: exact, bounded, and one value for one number.

JSON writes the same number in many ways (1, 1.0, 1e0, 10E-1). Here it has one form: an `int` if it
is whole, otherwise a `Decimal` without trailing zeros. So equal numbers are equal as content, as
dimension and as text.

The limits are checked before any arithmetic, because arithmetic on 1e999999999 costs as much as
its exponent says.
"""

from __future__ import annotations

from decimal import Context, Decimal
from typing import Final

MAX_NUMBER_LENGTH: Final = 100
MAX_MAGNITUDE: Final = 100

_EXACT: Final = Context(prec=3 * MAX_NUMBER_LENGTH)


def read_number(text: str) -> int | Decimal:
    """
    Read a JSON number that has a fraction or an exponent.

    Args:
        text: At most 100 characters; a magnitude from 1e-100 to below 1e101.

    Raises:
        ValueError: Longer, or outside that range.
    """
    short = len(text) <= MAX_NUMBER_LENGTH
    # Without exponent and final zero it is in range, not whole, and already in its one form.
    if short and text[-1] != "0" and "e" not in text and "E" not in text:
        return Decimal(text)
    if not short:
        raise ValueError(f"a number has more than {MAX_NUMBER_LENGTH} characters")
    return normal_number(Decimal(text))


def normal_number(value: Decimal) -> int | Decimal:
    """
    The one form of a number.

    Raises:
        ValueError: Not finite, or outside the range of `read_number`.
    """
    if not value.is_finite():
        raise ValueError("NaN and Infinity are not JSON numbers")
    if abs(value.adjusted()) > MAX_MAGNITUDE:
        raise ValueError(f"a number is beyond 1e{MAX_MAGNITUDE} or 1e-{MAX_MAGNITUDE}")
    if value == value.to_integral_value():
        return int(value)
    return value.normalize(_EXACT)
