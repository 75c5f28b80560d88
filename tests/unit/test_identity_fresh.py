"""
Identities waiting for their file: consecutive, handed over once, cheap.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from taximeter.adapters.identity.fresh import FreshIdentities

U64 = NDArray[np.uint64]


def ids(first: int, count: int) -> tuple[U64, U64]:
    seqs = np.arange(first, first + count, dtype=np.uint64)
    return np.stack([seqs, seqs + np.uint64(7)], axis=1), seqs * np.uint64(3)


def held(fresh: FreshIdentities, first: int, last: int) -> bool:
    found = fresh.take(first, last)
    if found is None:
        return False
    keys, fingerprints = ids(first, last - first + 1)
    return bool((found[0] == keys).all() and (found[1] == fingerprints).all())


def test_what_was_added_in_pieces_is_handed_over_whole() -> None:
    fresh = FreshIdentities()
    for first, count in ((1, 1), (2, 5), (7, 200_000), (200_007, 1)):
        fresh.add(first, *ids(first, count))
    assert held(fresh, 1, 150_000)
    assert held(fresh, 150_001, 200_007)


def test_nothing_is_handed_over_twice() -> None:
    fresh = FreshIdentities()
    fresh.add(1, *ids(1, 10))
    assert held(fresh, 1, 10)
    assert fresh.take(1, 10) is None


def test_a_segment_that_is_not_held_completely_is_left_to_the_log() -> None:
    fresh = FreshIdentities()
    fresh.add(5, *ids(5, 10))
    assert fresh.take(1, 8) is None
    assert held(fresh, 9, 14)
    fresh.add(15, *ids(15, 2))
    assert fresh.take(15, 17) is None


def test_a_gap_begins_anew() -> None:
    fresh = FreshIdentities()
    fresh.add(1, *ids(1, 10))
    fresh.add(21, *ids(21, 10))
    assert fresh.take(1, 10) is None
    assert held(fresh, 21, 30)


def test_adding_nothing_changes_nothing() -> None:
    fresh = FreshIdentities()
    fresh.add(1, *ids(1, 3))
    fresh.add(4, *ids(4, 0))
    fresh.add(4, *ids(4, 1))
    assert held(fresh, 1, 4)
