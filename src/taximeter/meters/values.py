"""
What a value in an event's data means to a meter: a quantity, something distinct, or a dimension.

Two texts are made here and nowhere else, because live counters, recounts and invoices must agree on
them for ever:

- the *canonical JSON text*: no blanks, members sorted by code point, numbers in one spelling
  (`1.0`, `1.00` and `1` are `1`);
- the *dimension text*: strings as they are, everything else by its canonical JSON text.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Final

from taximeter.errors import Rejected
from taximeter.meters.reading import kind_of
from taximeter.quantities import FRACTION_DIGITS, MAX_INTEGER_DIGITS, exact_pico

PLAIN_PLACES: Final = 38
"""Numbers whose digits lie within so many places of the point are written without exponent.
Beyond, writing all zeros would let six bytes of input (`1e9999`) become kilobytes of state."""

_quoted = json.JSONEncoder(ensure_ascii=False).encode


def number_text(number: int | Decimal) -> str:
    """
    The one spelling of a finite number: `0`, `-12.5`, and `1.25e60` beyond 38 places.

    Equal numbers have equal texts, different ones different texts.
    """
    if isinstance(number, int) and -(10**PLAIN_PLACES) < number < 10**PLAIN_PLACES:
        return str(number)
    sign, digits, exponent = Decimal(number).as_tuple()
    assert isinstance(exponent, int), "JSON has neither NaN nor Infinity"
    text = "".join(map(str, digits)).lstrip("0")
    significant = text.rstrip("0")
    if not significant:
        return "0"
    exponent += len(text) - len(significant)
    minus = "-" if sign else ""
    return minus + _positioned(significant, exponent)


def _positioned(digits: str, exponent: int) -> str:
    """`digits` x 10^exponent; the digits neither begin nor end with 0."""
    point = len(digits) + exponent  # digits left of the point; negative if zeros follow it first
    if exponent < -PLAIN_PLACES or point > PLAIN_PLACES:
        fraction = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{digits[0]}{fraction}e{point - 1}"
    if exponent >= 0:
        return digits + "0" * exponent
    if point > 0:
        return f"{digits[:point]}.{digits[point:]}"
    return f"0.{'0' * -point}{digits}"


def canonical_text(value: Any) -> str:
    """
    Canonical JSON text of a decoded value (numbers int or Decimal).

    It is what `unique` counts: `1` and `1.0` are one thing, `1` and `"1"` are two.
    """
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return _quoted(value)
        case int() | Decimal():
            return number_text(value)
        case dict():
            members = (f"{_quoted(name)}:{canonical_text(value[name])}" for name in sorted(value))
            return "{" + ",".join(members) + "}"
        case list() | tuple():
            return "[" + ",".join(map(canonical_text, value)) + "]"
    raise AssertionError(f"not a JSON value: {type(value).__name__}")


def dimension_value(value: Any) -> str | None:
    """
    What a value is grouped and priced by; None if it is missing or null.

    The number `1` and the string `"1"` are the same group: on an invoice they look the same.
    """
    if value is None or isinstance(value, str):
        return value
    return canonical_text(value)


def quantity_pico(value: Any, path: str) -> int:
    """
    A metered value as a quantity. Numbers and strings of decimals are quantities, nothing else is.

    Args:
        value: Present and not null.
        path: Where it stands, for the message.

    Raises:
        Rejected: `invalid_quantity` if it is not an exact decimal within K18.
    """
    pico = exact_pico(value)
    if pico is None:
        raise Rejected(
            "invalid_quantity",
            f"{path}: expected a decimal number with at most {MAX_INTEGER_DIGITS} integer and "
            f"{FRACTION_DIGITS} fractional digits, found {kind_of(value)}",
            path=path,
        )
    return pico
