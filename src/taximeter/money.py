"""
Money: exact amounts before rounding, whole minor units after it, and the only rounding (K5-K7).

An exact amount is a `Fraction` in units of its currency (Fraction(1, 10) USD is ten cents). A
rounded one is an `int` of minor units, as many digits as ISO 4217 gives the currency.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

import msgspec

from taximeter.errors import Rejected
from taximeter.quantities import E12, exact_pico

_TWO_DIGITS: Final = """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF
    CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD
    GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL
    MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR
    PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP
    TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG
"""
_OTHER_DIGITS: Final = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}

EXPONENTS: Final[dict[str, int]] = dict.fromkeys(_TWO_DIGITS.split(), 2) | {
    code: digits for digits, codes in _OTHER_DIGITS.items() for code in codes.split()
}
"""Active ISO 4217 codes with a minor unit -> its digits. Metals and test codes have none."""


def exponent(currency: str) -> int:
    """
    Fractional digits of a currency's minor unit: JPY 0, USD 2, KWD 3.

    Raises:
        Rejected: `unknown_currency`. Codes are upper case.
    """
    digits = EXPONENTS.get(currency)
    if digits is None:
        raise Rejected(
            "unknown_currency", f"{currency[:16]!r} is not an ISO 4217 currency code such as USD"
        )
    return digits


def parse_amount(value: int | Decimal | str) -> Fraction:
    """
    Read an amount or a price exactly, in units of its currency.

    Args:
        value: At most 26 integer and 12 fractional digits; may be negative.

    Raises:
        Rejected: `invalid_amount`.
    """
    pico = exact_pico(value)
    if pico is None:
        raise Rejected(
            "invalid_amount",
            f"a {type(value).__name__} that is not a decimal number with at most 26 integer and "
            "12 fractional digits",
        )
    return Fraction(pico, E12)


def round_minor(amount: Fraction, currency: str) -> int:
    """
    The only rounding (K5): to the currency's minor unit, half-up with ties away from zero.

    Returns:
        Minor units: 0.005 USD -> 1, -0.005 USD -> -1.
    """
    return _half_up(amount.numerator * 10 ** exponent(currency), amount.denominator)


def whole_minor(minor: Fraction) -> int:
    """The same for what is a number of minor units already, such as a share of some."""
    return _half_up(minor.numerator, minor.denominator)


def _half_up(numerator: int, denominator: int) -> int:
    whole = (2 * abs(numerator) + denominator) // (2 * denominator)
    return -whole if numerator < 0 else whole


def format_minor(minor: int, currency: str) -> str:
    """Minor units as text with exactly the currency's digits: 15700 USD -> "157.00"."""
    digits = exponent(currency)
    sign = "-" if minor < 0 else ""
    if digits == 0:
        return f"{sign}{abs(minor)}"
    whole, fraction = divmod(abs(minor), 10**digits)
    return f"{sign}{whole}.{fraction:0{digits}}"


def format_exact(amount: Fraction, min_digits: int = 0) -> str:
    """
    All digits of an exact amount: 1/8 -> "0.125"; with `min_digits=2`, 1/10 -> "0.10".

    A value without a finite decimal form, such as a prorated fee, is given as "49/31".
    """
    digits = _decimal_digits(amount.denominator)
    if digits is None:
        return str(amount)
    digits = max(digits, min_digits)
    scaled = abs(amount.numerator) * (10**digits // amount.denominator)
    sign = "-" if amount.numerator < 0 else ""
    if digits == 0:
        return f"{sign}{scaled}"
    whole, fraction = divmod(scaled, 10**digits)
    return f"{sign}{whole}.{fraction:0{digits}}"


@lru_cache(maxsize=4096)  # denominators of decimals are few
def _decimal_digits(denominator: int) -> int | None:
    """The fewest digits that write n/denominator (in lowest terms) exactly; None if none do."""
    twos = (denominator & -denominator).bit_length() - 1
    rest, fives = denominator >> twos, 0
    while rest % 5 == 0:
        rest //= 5
        fives += 1
    return max(twos, fives) if rest == 1 else None


def allocate(total_minor: int, weights: Sequence[int]) -> list[int]:
    """
    Split an amount over parts in proportion, by largest remainder, ties to the lower index (K7).

    The split is made on the absolute amount and the sign is put back, so that a credit is split
    exactly as the charge it reverses.

    Args:
        weights: Not negative, at least one above zero. A weight of 0 gets 0.

    Returns:
        Minor units in the order of the weights; their sum is exactly `total_minor`.
    """
    scale = sum(weights)
    assert scale > 0, "nothing to allocate by"
    assert min(weights) >= 0, weights
    shares = [divmod(abs(total_minor) * weight, scale) for weight in weights]
    parts = [whole for whole, _ in shares]
    by_remainder = sorted(range(len(parts)), key=lambda index: (-shares[index][1], index))
    for index in by_remainder[: abs(total_minor) - sum(parts)]:
        parts[index] += 1
    return [-part for part in parts] if total_minor < 0 else parts


class Money(msgspec.Struct, frozen=True):
    """
    A rounded amount in a currency.

    Attributes:
        amount_minor: Minor units; negative is owed to the customer.
    """

    amount_minor: int
    currency: str

    def to_json(self) -> dict[str, Any]:
        """{"amount": "12.34", "currency": "USD"}"""
        return {
            "amount": format_minor(self.amount_minor, self.currency),
            "currency": self.currency,
        }
