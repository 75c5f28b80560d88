"""
Identities accepted since the last log segment closed, waiting to become its file.

Two arrays that grow, not an object a request: millions of single events must cost 24 bytes each and
nothing to the garbage collector.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]

_FIRST_CAPACITY = 65_536


class FreshIdentities:
    """Keys and fingerprints of consecutive seqs, the first of which is `first_seq`."""

    def __init__(self) -> None:
        self.first_seq = 0
        self._count = 0
        self._keys = np.empty((_FIRST_CAPACITY, 2), np.uint64)
        self._fingerprints = np.empty(_FIRST_CAPACITY, np.uint64)

    def add(self, first_seq: int, keys: U64, fingerprints: U64) -> None:
        """Append; if it does not follow on what is held, that is forgotten (the log has it)."""
        start, added = self._count, len(fingerprints)
        if start == 0 or first_seq != self.first_seq + start:
            self.first_seq, start = first_seq, 0
        stop = start + added
        if stop > len(self._fingerprints):
            self._grow(stop, start)
        self._keys[start:stop] = keys
        self._fingerprints[start:stop] = fingerprints
        self._count = stop

    def take(self, first_seq: int, last_seq: int) -> tuple[U64, U64] | None:
        """
        Hand over the identities of first_seq to last_seq, and forget everything up to there.

        Returns:
            None if not all of them are held.
        """
        start = first_seq - self.first_seq
        stop = min(last_seq - self.first_seq + 1, self._count)
        if stop <= 0:
            return None
        complete = start >= 0 and stop - start == last_seq - first_seq + 1
        taken = (self._keys[start:stop].copy(), self._fingerprints[start:stop].copy())
        rest = self._count - stop
        self._keys[:rest] = self._keys[stop : self._count].copy()
        self._fingerprints[:rest] = self._fingerprints[stop : self._count].copy()
        self.first_seq, self._count = last_seq + 1, rest
        return taken if complete else None

    def _grow(self, needed: int, held: int) -> None:
        capacity = max(needed, 2 * len(self._fingerprints))
        keys = np.empty((capacity, 2), np.uint64)
        fingerprints = np.empty(capacity, np.uint64)
        keys[:held] = self._keys[:held]
        fingerprints[:held] = self._fingerprints[:held]
        self._keys, self._fingerprints = keys, fingerprints
