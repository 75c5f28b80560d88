"""
Ratios as people write them: "10%", 0.1, "-5%".
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import TypeAlias

from taximeter.errors import Rejected
from taximeter.money import format_exact, parse_amount

Ratio: TypeAlias = str | int | Decimal


def read_ratio(value: Ratio, name: str, least: int, most: int) -> Fraction:
    """
    Exact.

    Raises:
        Rejected: `invalid_request`, naming the member, for anything outside the bounds.
    """
    text = str(value)
    try:
        ratio = parse_amount(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except Rejected:
        ratio = None
    if ratio is None or not least <= ratio <= most:
        bounds = f'"{100 * least}%" to "{100 * most}%"'
        raise Rejected("invalid_request", f'{name}: a ratio from {bounds}, such as "10%" or 0.1.')
    return ratio


def percent(ratio: Fraction) -> str:
    """A ratio as it is written: "12.5%"."""
    return f"{format_exact(ratio * 100)}%"
