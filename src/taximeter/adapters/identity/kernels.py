"""
The compiled parts of the identity index: a sorted array with gaps.

Each shard is one stretch of the slot array, sorted by the first word of the key. A key's home is
its proportional place, `first word x capacity`; it lies there or a few slots to the right, because
whoever has the smaller key goes first. That order is what makes everything else simple: a search
ends at the first larger key, and growing, shrinking and expiring are linear passes in place,
without a second table.

A slot is three words, 24 bytes:

    key bits 0-63 | key bits 64-103, fingerprint high 24 | seq 40, fingerprint low 24

The top 8 bits of the key choose the shard, so 112 bits decide. A slot whose third word is 0 is
empty: seqs start at 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from taximeter.events.compiled import compiled

U64 = NDArray[np.uint64]

SHARDS = 256
SLACK = 256  # slots behind a shard's capacity, for what its last homes push to the right
MAX_LOAD_PERCENT = 84
GROWTH_PERCENT = 120

OK, FULL = 0, -1
_ACCEPTED, _DUPLICATE, _CONFLICT = 0, 1, 2
_AHEAD = 128  # how many keys are touched before they are decided: their lines fit the L1 cache
_NEXT_LINE = 3  # slots; 3 x 24 bytes are always in the next cache line

_24 = np.uint64(24)
_32 = np.uint64(32)
_56 = np.uint64(56)
_LOW24 = np.uint64((1 << 24) - 1)
_LOW40 = np.uint64((1 << 40) - 1)
_EMPTY = np.uint64(0)


@compiled
def _signed(word: np.uint64) -> int:
    """An index or a count; mixed with signed numbers, an unsigned one would become a float."""
    return np.int64(word)  # type: ignore[return-value]


@compiled
def _home(word: np.uint64, capacity: int) -> int:
    """The place of a key in proportion to all keys; monotone, below the capacity."""
    return _signed(((word >> _32) * np.uint64(capacity)) >> _32)


@compiled
def _touch(slots: U64, stride: int, capacity: U64, keys: U64, start: int, stop: int) -> int:
    """
    Load the home of each key and the line after it, so that the cache misses of a batch overlap
    instead of queueing.

    The sum says nothing; it keeps the compiler from leaving the loads out.
    """
    seen = np.uint64(0)
    for i in range(start, stop):
        shard = _signed(keys[i, 1] >> _56)
        home = shard * stride + _home(keys[i, 0], capacity[shard])
        seen ^= slots[home, 2] ^ slots[home + _NEXT_LINE, 2]
    return _signed(seen & np.uint64(1))


@compiled
def _search(slots: U64, position: int, key: np.uint64, low: np.uint64) -> tuple[bool, int]:
    """Walk from the home to the key, or to where it belongs."""
    while slots[position, 2] != _EMPTY and slots[position, 0] <= key:
        if slots[position, 0] == key and slots[position, 1] >> _24 == low:
            return True, position
        position += 1
    return False, position


@compiled
def _insert(
    slots: U64, position: int, stop: int, first: np.uint64, second: np.uint64, third: np.uint64
) -> bool:
    """Put an entry at its place, pushing larger keys one to the right; False if none is free."""
    free = position
    while slots[free, 2] != _EMPTY:
        free += 1
        if free == stop:
            return False
    while free > position:
        slots[free, 0] = slots[free - 1, 0]
        slots[free, 1] = slots[free - 1, 1]
        slots[free, 2] = slots[free - 1, 2]
        free -= 1
    slots[position, 0] = first
    slots[position, 1] = second
    slots[position, 2] = third
    return True


@compiled
def _place(slots: U64, base: int, start: int, stop: int, capacity: int, before: np.uint64) -> int:
    """
    Move the entries in [start, stop) to their places for a capacity, forgetting seqs < `before`.

    An entry moves only to the left, or stays, so one pass from the left needs no second table.

    Returns:
        How many remain; FULL if the last ones would pass `stop`, which for hashed keys at this
        load has a probability below 1e-30.
    """
    free = base
    kept = 0
    for read in range(start, stop):
        third = slots[read, 2]
        if third == _EMPTY:
            continue
        slots[read, 2] = _EMPTY
        if third >> _24 < before:
            continue
        position = max(free, base + _home(slots[read, 0], capacity))
        if position > read:
            return FULL
        slots[position, 0] = slots[read, 0]
        slots[position, 1] = slots[read, 1]
        slots[position, 2] = third
        free = position + 1
        kept += 1
    return kept


@compiled
def grow(slots: U64, stride: int, capacity: U64, shard: int, room: int) -> int:
    """Give a shard more room, in place: pack it to the right end, then place it from the left."""
    base = shard * stride
    old = _signed(capacity[shard])
    if room + SLACK > stride:
        return FULL
    stop = packed = base + room + SLACK
    for read in range(base + old + SLACK - 1, base - 1, -1):
        if slots[read, 2] != _EMPTY:
            packed -= 1
            slots[packed, 0] = slots[read, 0]
            slots[packed, 1] = slots[read, 1]
            slots[packed, 2] = slots[read, 2]
            if packed != read:
                slots[read, 2] = _EMPTY
    capacity[shard] = np.uint64(room)
    return FULL if _place(slots, base, packed, stop, room, _EMPTY) == FULL else OK


@compiled
def _add(
    slots: U64,
    stride: int,
    capacity: U64,
    count: U64,
    shard: int,
    position: int,
    first: np.uint64,
    second: np.uint64,
    third: np.uint64,
) -> int:
    """Insert an entry where `_search` said it belongs; the shard grows first if it must."""
    while True:
        base, room = shard * stride, _signed(capacity[shard])
        roomy = _signed(count[shard]) * 100 < room * MAX_LOAD_PERCENT
        if roomy and _insert(slots, position, base + room + SLACK, first, second, third):
            count[shard] += np.uint64(1)
            return OK
        if grow(slots, stride, capacity, shard, room * GROWTH_PERCENT // 100 + 1) == FULL:
            return FULL
        home = base + _home(first, _signed(capacity[shard]))
        _, position = _search(slots, home, first, second >> _24)


@compiled
def decide(
    slots: U64,
    stride: int,
    capacity: U64,
    count: U64,
    keys: U64,
    fingerprints: U64,
    next_seq: int,
    verdicts: NDArray[np.uint8],
    seqs: U64,
) -> int:
    """Verdict and seq of each key, in order; new ones are inserted. Negative if FULL."""
    seq = np.uint64(next_seq)
    seen = 0
    for i in range(len(keys)):
        if i % _AHEAD == 0:
            stop = min(i + _AHEAD, len(keys))
            seen += _touch(slots, stride, capacity, keys, i, stop)
        first, low = keys[i, 0], keys[i, 1] & _LOW40
        shard = _signed(keys[i, 1] >> _56)
        home = shard * stride + _home(first, capacity[shard])
        found, position = _search(slots, home, first, low)
        if found:
            third = slots[position, 2]
            stored = (slots[position, 1] & _LOW24) << _24 | third & _LOW24
            verdicts[i] = _DUPLICATE if stored == fingerprints[i] else _CONFLICT
            seqs[i] = third >> _24
            continue
        second = low << _24 | fingerprints[i] >> _24
        third = seq << _24 | fingerprints[i] & _LOW24
        if _add(slots, stride, capacity, count, shard, position, first, second, third) == FULL:
            return FULL
        verdicts[i] = _ACCEPTED
        seqs[i] = seq
        seq += np.uint64(1)
    return seen


@compiled
def load(
    slots: U64,
    stride: int,
    capacity: U64,
    count: U64,
    keys: U64,
    fingerprints: U64,
    seqs: U64,
) -> int:
    """Insert entries with their seqs; a key already there gets the new seq and fingerprint."""
    seen = 0
    for i in range(len(keys)):
        if i % _AHEAD == 0:
            stop = min(i + _AHEAD, len(keys))
            seen += _touch(slots, stride, capacity, keys, i, stop)
        first, low = keys[i, 0], keys[i, 1] & _LOW40
        shard = _signed(keys[i, 1] >> _56)
        second = low << _24 | fingerprints[i] >> _24
        third = seqs[i] << _24 | fingerprints[i] & _LOW24
        home = shard * stride + _home(first, capacity[shard])
        found, position = _search(slots, home, first, low)
        if found:
            slots[position, 1], slots[position, 2] = second, third
        elif _add(slots, stride, capacity, count, shard, position, first, second, third) == FULL:
            return FULL
    return seen


@compiled
def find(slots: U64, stride: int, capacity: U64, first: np.uint64, last: np.uint64) -> int:
    """Index of a key's slot, or -1."""
    shard = _signed(last >> _56)
    home = shard * stride + _home(first, capacity[shard])
    found, position = _search(slots, home, first, last & _LOW40)
    return position if found else -1


@compiled
def expire(
    slots: U64, stride: int, capacity: U64, count: U64, shard: int, room: int, before: int
) -> int:
    """Forget the seqs < `before` of one shard and shrink it to `room` slots. Returns FULL or OK."""
    base = shard * stride
    stop = base + _signed(capacity[shard]) + SLACK
    kept = _place(slots, base, base, stop, room, np.uint64(before))
    if kept == FULL:
        return FULL
    capacity[shard] = np.uint64(room)
    count[shard] = np.uint64(kept)
    return OK
