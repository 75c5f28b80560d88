"""
HyperLogLog: how many different values, roughly, in 4 KiB whatever their number.

For `unique` with `"precision": "sketch"`. Registers hold maxima, so a sketch does not depend on the
order of arrival, two merge exactly, and equal sets have equal bytes; the libraries at hand keep
running estimates beside the registers that differ by order. The estimate is Ertl's ("New
cardinality estimation algorithms for HyperLogLog sketches", 2017), unbiased from 0 on, in decimals
of 30 digits: the same on every machine.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections import Counter
from decimal import ROUND_HALF_UP, Context, Decimal, localcontext
from hashlib import blake2b
from typing import Final

PRECISION: Final = 12
REGISTERS: Final = 2**PRECISION
STANDARD_ERROR: Final = "0.01625"
"""1.04 / sqrt(4096), relative: two of three answers are nearer than 1.6 %, 19 of 20 than 3.3 %."""

_RANKS: Final = 64 - PRECISION  # bits that the rank is read from
_MASK: Final = 2**_RANKS - 1
_EXACT_ENOUGH: Final = Context(prec=30, rounding=ROUND_HALF_UP)


def new_sketch() -> bytearray:
    return bytearray(REGISTERS)


def see(sketch: bytearray, text: str) -> None:
    """Count a value; again changes nothing."""
    number = int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
    rank = _RANKS + 1 - (number & _MASK).bit_length()
    register = number >> _RANKS
    if rank > sketch[register]:
        sketch[register] = rank


def merged(a: bytearray, b: bytearray) -> bytearray:
    """A new sketch of both."""
    return bytearray(map(max, a, b))


def estimate(sketch: bytearray) -> int:
    """About how many different values it has seen; 0 for none."""
    held = Counter(sketch)
    if held[0] == REGISTERS:
        return 0
    with localcontext(_EXACT_ENOUGH):
        m = Decimal(REGISTERS)
        z = m * _tau(1 - held[_RANKS + 1] / m)
        for rank in range(_RANKS, 0, -1):
            z = (z + held[rank]) / 2
        z += m * _sigma(held[0] / m)
        return int((m * m / (2 * Decimal(2).ln() * z)).to_integral_value())


def _sigma(x: Decimal) -> Decimal:
    """x + sum of 2^(k-1) x^(2^k) over k > 0; x < 1."""
    y, z, before = Decimal(1), x, None
    while z != before:
        x *= x
        before = z
        z += x * y
        y += y
    return z


def _tau(x: Decimal) -> Decimal:
    """(1 - x - sum of (1 - x^(2^-k))^2 2^-k over k > 0) / 3."""
    if x in (0, 1):
        return Decimal(0)
    y, z, before = Decimal(1), 1 - x, None
    while z != before:
        x = x.sqrt()
        before = z
        y /= 2
        z -= (1 - x) ** 2 * y
    return z / 3


def dump_sketch(sketch: bytearray) -> str:
    return b64encode(sketch).decode()


def load_sketch(dumped: str) -> bytearray:
    return bytearray(b64decode(dumped))
