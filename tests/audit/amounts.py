"""
Decimals as whole numbers of 10^-12, by the auditor's own hand: nothing of the product is used.
"""

from __future__ import annotations

E12 = 10**12


def pico(text: str) -> int:
    """
    "-0.25" as -250,000,000,000.

    Raises:
        ValueError: Not a plain decimal of at most twelve fractional digits.
    """
    whole, _, fraction = text.removeprefix("-").partition(".")
    if not (whole + fraction).isdigit() or len(fraction) > 12:
        raise ValueError(f"not an amount: {text!r}")
    number = int(whole) * E12 + int(fraction.ljust(12, "0"))
    return -number if text.startswith("-") else number


def plain(amount: int) -> str:
    """The shortest decimal that `pico` reads back."""
    sign, size = ("-" if amount < 0 else ""), abs(amount)
    fraction = f"{size % E12:012d}".rstrip("0")
    return f"{sign}{size // E12}" + (f".{fraction}" if fraction else "")
