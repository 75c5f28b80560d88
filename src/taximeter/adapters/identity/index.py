"""
Every identity that was accepted, in memory: the one place where new, duplicate and conflict are
decided.

Exact, not probable: 112 bits of the key are compared, and nothing is ever evicted before it is
expired. The layout and its arithmetic are in `kernels`; this class owns the memory.

The slots live in one reservation of address space, a stretch per shard. Memory is used only where
a shard has grown to, so a shard grows and shrinks in place, a 256th of the index at a time: there
is never a second table, and never a pause longer than one shard takes.
"""

from __future__ import annotations

import mmap
import os
import sys
from typing import Final

import numpy as np
from numpy.typing import NDArray

from taximeter.adapters.identity import kernels
from taximeter.errors import Unavailable

U64 = NDArray[np.uint64]

SLOT_BYTES: Final = 24
MAX_SEQ: Final = (1 << 40) - 1
FINGERPRINT_LIMIT: Final = 1 << 48

_MIN_CAPACITY: Final = 256
_SHRINK_PERCENT: Final = 50  # a shard emptier than this gives memory back
_ALIGN: Final = 512  # slots; 512 x 24 bytes are whole pages
# Linux takes the flag from 3.11 on only by number. Without it, strict overcommit counts the
# reservation as if it were used.
_NORESERVE: Final = 0x4000 if sys.platform == "linux" else 0


class IdentityIndex:
    """
    Not safe for more than one thread at a time.

    Args:
        reserve_bytes: Address space for the slots, and so the most memory the index can ever use;
            None for as much as the machine has. Less is taken if the system does not grant it.
    """

    SHARDS: Final = kernels.SHARDS

    def __init__(self, reserve_bytes: int | None = None) -> None:
        self._memory, self._stride = _reserve(reserve_bytes or _physical_memory())
        self._slots: U64 = np.frombuffer(self._memory, dtype=np.uint64).reshape(-1, 3)
        # Capacities start apart and grow by one factor, so that shards, which fill alike, do not
        # all grow at the same time.
        growth = kernels.GROWTH_PERCENT / 100
        spread = growth ** (np.arange(self.SHARDS) / self.SHARDS)
        self._smallest: U64 = (_MIN_CAPACITY * spread).astype(np.uint64)
        self._capacity: U64 = self._smallest.copy()
        self._count: U64 = np.zeros(self.SHARDS, dtype=np.uint64)
        self._cursor = 0

    def decide(self, keys: U64, fingerprints: U64, next_seq: int) -> tuple[NDArray[np.uint8], U64]:
        """
        Decide a batch, in order; a repeat inside the batch counts like one of an earlier batch.

        Args:
            keys: (n, 2), C-contiguous.
            fingerprints: (n,), below 2**48.
            next_seq: Seq of the first new event; 1 to 2**40 - 1.

        Returns:
            Per key a `Verdict` value, ACCEPTED, DUPLICATE or CONFLICT; and the seq it has: a new
            one, ascending without gaps, or that of the original.

        Raises:
            Unavailable: `overloaded`, the reservation is full. Some of the batch may have been
                inserted: the process must restart with more memory.
        """
        size = len(keys)
        assert 0 < next_seq <= MAX_SEQ - size, next_seq
        verdicts = np.empty(size, dtype=np.uint8)
        seqs = np.empty(size, dtype=np.uint64)
        status = kernels.decide(
            self._slots,
            self._stride,
            self._capacity,
            self._count,
            _writable(keys),
            _writable(fingerprints),
            next_seq,
            verdicts,
            seqs,
        )
        _require(status)
        return verdicts, seqs

    def load(self, keys: U64, fingerprints: U64, seqs: U64) -> None:
        """
        Insert identities that were accepted before, in ascending order of seq.

        A key that is there already gets the later seq: it was accepted again after it had expired.

        Raises:
            Unavailable: `overloaded`, as for `decide`.
        """
        assert len(keys) == len(fingerprints) == len(seqs)
        status = kernels.load(
            self._slots,
            self._stride,
            self._capacity,
            self._count,
            _writable(keys),
            _writable(fingerprints),
            _writable(seqs),
        )
        _require(status)

    def expect(self, total: int) -> None:
        """
        Make room for this many identities at once, so that loading them need not grow in between.

        Raises:
            Unavailable: `overloaded`, as for `decide`.
        """
        needed = total * 100 // kernels.MAX_LOAD_PERCENT // self.SHARDS
        for shard in range(self.SHARDS):
            room = int(self._capacity[shard])
            while room <= needed:
                room = room * kernels.GROWTH_PERCENT // 100 + 1
            if room > int(self._capacity[shard]):
                _require(kernels.grow(self._slots, self._stride, self._capacity, shard, room))

    def lookup(self, key: U64) -> tuple[int, int] | None:
        """Seq and fingerprint of one key, a row of two words; None if it was never accepted."""
        at = kernels.find(self._slots, self._stride, self._capacity, key[0], key[1])
        if at < 0:
            return None
        second, third = int(self._slots[at, 1]), int(self._slots[at, 2])
        return third >> 24, (second & 0xFFFFFF) << 24 | third & 0xFFFFFF

    def expire(self, before_seq: int) -> int:
        """
        Forget the identities of seqs < `before_seq` in the next shard.

        Each call works on one shard, `SHARDS` calls on all of them; call it as often as there is
        time. What a shard no longer needs goes back to the system.

        Returns:
            How many were forgotten by this call.
        """
        shard = self._cursor
        self._cursor = (shard + 1) % self.SHARDS
        before, room = int(self._count[shard]), int(self._capacity[shard])
        self._place(shard, room, before_seq)
        smaller = self._fitting(shard, room)
        if smaller < room:
            self._place(shard, smaller, 0)
            self._release(shard, smaller, room)
        return before - int(self._count[shard])

    def __len__(self) -> int:
        return int(self._count.sum())

    @property
    def memory_bytes(self) -> int:
        """Bytes of memory the slots use now."""
        return int(self._capacity.sum() + self.SHARDS * kernels.SLACK) * SLOT_BYTES

    def _place(self, shard: int, room: int, before: int) -> None:
        status = kernels.expire(
            self._slots, self._stride, self._capacity, self._count, shard, room, before
        )
        _require(status)

    def _fitting(self, shard: int, room: int) -> int:
        """The capacity a shard with this many entries should have; at least its smallest."""
        count = int(self._count[shard])
        while count * 100 < room * _SHRINK_PERCENT:
            smaller = room * 100 // kernels.GROWTH_PERCENT
            if smaller < int(self._smallest[shard]):
                break
            room = smaller
        return room

    def _release(self, shard: int, used: int, touched: int) -> None:
        page = mmap.PAGESIZE
        base = shard * self._stride
        start = -(-(base + used + kernels.SLACK) * SLOT_BYTES // page) * page
        stop = (base + touched + kernels.SLACK) * SLOT_BYTES // page * page
        if start < stop:
            self._memory.madvise(mmap.MADV_DONTNEED, start, stop - start)


def warm_up() -> None:
    """Compile, or load from the cache, every kernel the index uses. Do it before serving."""
    index = IdentityIndex(reserve_bytes=16 << 20)
    index.expect(100_000)
    keys = np.zeros((1, 2), dtype=np.uint64)
    fingerprints, seqs = np.zeros(1, dtype=np.uint64), np.ones(1, dtype=np.uint64)
    index.load(keys, fingerprints, seqs)
    index.decide(keys, fingerprints, 2)
    index.lookup(keys[0])
    index.expire(0)


def _writable(array: U64) -> U64:
    """Compiled code is specific to writability; one kind of array halves what must be compiled."""
    return array if array.flags.writeable else array.copy()


def _require(status: int) -> None:
    if status < 0:
        raise Unavailable("overloaded", "the memory reserved for event identities is full")


def _physical_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _reserve(wanted: int) -> tuple[mmap.mmap, int]:
    """Address space for all shards and the slots of one: what was wanted, or the half of it, ..."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE
    least = (2 * _MIN_CAPACITY + kernels.SLACK) // _ALIGN + 1
    while True:
        stride = max(wanted // SLOT_BYTES // kernels.SHARDS // _ALIGN, least) * _ALIGN
        try:
            memory = mmap.mmap(-1, stride * kernels.SHARDS * SLOT_BYTES, flags=flags)
        except (OSError, MemoryError):
            if wanted < 1 << 28:
                raise
            wanted //= 2
            continue
        # A huge page per shard would be half a gigabyte before the first event.
        if hasattr(mmap, "MADV_NOHUGEPAGE"):
            memory.madvise(mmap.MADV_NOHUGEPAGE)
        return memory, stride
