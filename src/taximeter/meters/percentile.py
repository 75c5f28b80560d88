"""
Percentiles by nearest rank, exact: the value that p percent of all values do not exceed.

Of n values in ascending order it is the one at rank ceil(p / 100 x n), counted from 1: no value is
made up between two others. The state says how often each value was seen, so it grows with the
number of different values and not of events, and two states add up.
"""

from __future__ import annotations

from typing import TypeAlias

from taximeter.quantities import E12

Histogram: TypeAlias = dict[int, int]
"""Value in pico -> how many events had it."""


def merged(a: Histogram, b: Histogram) -> Histogram:
    """A new histogram of both."""
    result = a.copy()
    for value, count in b.items():
        result[value] = result.get(value, 0) + count
    return result


def nearest_rank(histogram: Histogram, percentile_pico: int) -> int:
    """
    The percentile in pico.

    Args:
        histogram: Of at least one value.
        percentile_pico: 0 < p <= 100, in pico: p99.9 is 99_900_000_000_000.
    """
    count = sum(histogram.values())
    rank = -(-percentile_pico * count // (100 * E12))
    for value in sorted(histogram):
        rank -= histogram[value]
        if rank <= 0:
            return value
    raise AssertionError("a rank is at most the number of values")
