"""
Values as people read them: grouped digits, local days, and text from outside made harmless.
"""

from __future__ import annotations

import re
from datetime import date
from fractions import Fraction
from typing import Final

from taximeter.meters.rounding import half_up
from taximeter.money import format_exact, format_minor
from taximeter.periods import Period, local_day
from taximeter.quantities import format_quantity

LONGEST: Final = 600
"""Characters of one text on a page; what is longer ends in an ellipsis."""

_MONTHS: Final = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip

# What has no shape of its own: controls, separators of lines, halves of characters and what no
# character will ever be. XML does not allow most of them either.
_SHAPELESS: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)
# These turn what follows around, so that "10" could read as "01". Shown instead of obeyed.
_TURNING: Final = re.compile("[\u202a-\u202e\u2066-\u2069]")


def plain(text: str, longest: int = LONGEST) -> str:
    """Text from outside in one line: what it says, without what it does."""
    text = _SHAPELESS.sub(" ", text[: longest + 1])
    text = _TURNING.sub(lambda found: f"[U+{ord(found[0]):04X}]", text).strip()
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def grouped(number: str) -> str:
    """A plain decimal with its integer part in threes: "-1234567.5" -> "−1,234,567.5"."""
    sign, digits = ("−", number[1:]) if number.startswith("-") else ("", number)
    whole, point, fraction = digits.partition(".")
    if not whole.isdigit():  # an exact fraction, such as "49/31"
        return f"{sign}{digits}"
    return f"{sign}{int(whole):,}{point}{fraction}"


def amount(minor: int, currency: str) -> str:
    """Minor units with the currency's digits: 123450 USD -> "1,234.50"."""
    return grouped(format_minor(minor, currency))


def exact(value: Fraction, digits: int) -> str:
    """An exact amount or unit price with at least so many digits."""
    return grouped(format_exact(value, digits))


def quantity(pico: int) -> str:
    return grouped(format_quantity(pico))


def percent(rate: Fraction) -> str:
    """0.19 -> "19 %"."""
    return f"{format_exact(rate * 100)} %"


def rounded(value: Fraction) -> str:
    """To two digits, for a remark; nothing is reckoned with it."""
    return grouped(format_exact(Fraction(half_up(value.numerator * 100, value.denominator), 100)))


def day_text(day: date) -> str:
    """The same in every locale: "1 Nov 2026"."""
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def day(at: int, timezone: str) -> str:
    return day_text(local_day(at, timezone))


def last_day(period: Period, timezone: str) -> date:
    """The local day of the last instant before a period's end, which is exclusive (K1)."""
    return local_day(period.end - 1, timezone)


def span(period: Period, timezone: str) -> str:
    """
    A period as its first and last local day. One that ends inside a day names that day too, as
    the one that follows does: the document has the exact instants.
    """
    first, last = local_day(period.start, timezone), last_day(period, timezone)
    return day_text(first) if first == last else f"{day_text(first)} – {day_text(last)}"
