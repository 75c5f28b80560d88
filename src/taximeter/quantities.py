"""
Quantities: exact counts of 10^-12 units ("pico") in whole Python integers (K18).

At most 26 integer and 12 fractional digits. It is the value that counts, not its spelling: 1.50,
1.5 and "15E-1" are the same quantity.
"""

from __future__ import annotations

import re
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow
from typing import Final

from taximeter.errors import Rejected

FRACTION_DIGITS: Final = 12
E12: Final = 10**FRACTION_DIGITS
MAX_INTEGER_DIGITS: Final = 26
MAX_PICO: Final = 10 ** (MAX_INTEGER_DIGITS + FRACTION_DIGITS) - 1

_INTEGER_BOUND: Final = 10**MAX_INTEGER_DIGITS
_NUMBER: Final = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_MAX_TEXT: Final = 64  # room for 26 + 12 digits, sign, point, exponent and some trailing zeros

# Quantising in this context is the whole of K18: it fails, in constant time and before any digit
# is written out, on more than 38 digits above 10^-12 and on any non-zero digit below it.
_PICO: Final = Decimal(1).scaleb(-FRACTION_DIGITS)
_EXACT: Final = Context(
    prec=MAX_INTEGER_DIGITS + FRACTION_DIGITS,
    traps=[InvalidOperation, Inexact, Overflow],
)


def parse_quantity(value: int | Decimal | str) -> int:
    """
    Read a quantity exactly.

    Args:
        value: A number, or its text as JSON would write it. `bool` and `float` are refused.

    Returns:
        The quantity in pico, from -`MAX_PICO` to `MAX_PICO`.

    Raises:
        Rejected: `invalid_quantity`.
    """
    pico = exact_pico(value)
    if pico is None:
        raise Rejected(
            "invalid_quantity",
            f"a {type(value).__name__} that is not a decimal number with at most "
            f"{MAX_INTEGER_DIGITS} integer and {FRACTION_DIGITS} fractional digits",
        )
    return pico


def exact_pico(value: object) -> int | None:
    """Like `parse_quantity`, for any decoded value, answering None where that raises."""
    if type(value) is int:
        return value * E12 if -_INTEGER_BOUND < value < _INTEGER_BOUND else None
    if type(value) is str:
        if len(value) > _MAX_TEXT or not _NUMBER.fullmatch(value):
            return None
        return _scale(value)
    if type(value) is Decimal and value.is_finite():
        return _scale(value)
    return None


def _scale(value: Decimal | str) -> int | None:
    try:
        return int(_EXACT.quantize(Decimal(value), _PICO).scaleb(FRACTION_DIGITS, _EXACT))
    except (InvalidOperation, Inexact, Overflow):
        return None


def format_quantity(pico: int) -> str:
    """Plain decimal text without exponent or trailing zeros: "812", "0.5", "-3"."""
    whole, fraction = divmod(abs(pico), E12)
    sign = "-" if pico < 0 else ""
    if not fraction:
        return f"{sign}{whole}"
    return f"{sign}{whole}.{fraction:0{FRACTION_DIGITS}}".rstrip("0")
