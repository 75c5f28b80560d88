"""The identity index on its own: growth, room, expiry, limits."""

from __future__ import annotations

import numpy as np
import pytest

from taximeter.adapters.identity import kernels
from taximeter.adapters.identity.index import IdentityIndex, warm_up
from taximeter.errors import Unavailable
from taximeter.events.envelope import Verdict

ACCEPTED, DUPLICATE, CONFLICT = Verdict.ACCEPTED, Verdict.DUPLICATE, Verdict.CONFLICT


def random_ids(count: int, seed: int = 1):
    rng = np.random.default_rng(seed)
    keys = rng.integers(0, 2**64, (count, 2), dtype=np.uint64)
    return keys, rng.integers(0, 2**48, count, dtype=np.uint64)


def filled(count: int, reserve_bytes: int = 64 << 20):
    keys, fingerprints = random_ids(count)
    index = IdentityIndex(reserve_bytes)
    index.decide(keys, fingerprints, 1)
    return index, keys, fingerprints


def expire_everywhere(index: IdentityIndex, before_seq: int) -> int:
    return sum(index.expire(before_seq) for _ in range(index.SHARDS))


def test_new_then_duplicate_then_conflict():
    index = IdentityIndex(16 << 20)
    keys, fingerprints = random_ids(3)
    verdicts, seqs = index.decide(keys, fingerprints, 10)
    assert (verdicts.tolist(), seqs.tolist()) == ([ACCEPTED] * 3, [10, 11, 12])
    fingerprints[1] ^= np.uint64(1 << 47)
    verdicts, seqs = index.decide(keys, fingerprints, 13)
    assert verdicts.tolist() == [DUPLICATE, CONFLICT, DUPLICATE]
    assert seqs.tolist() == [10, 11, 12]
    assert len(index) == 3


def test_repeats_inside_a_batch_are_decided_in_order():
    keys, fingerprints = random_ids(2)
    order = [0, 0, 1, 0, 1]
    content = fingerprints[order]
    content[3] ^= np.uint64(1)
    verdicts, seqs = IdentityIndex(16 << 20).decide(keys[order], content, 5)
    assert verdicts.tolist() == [ACCEPTED, DUPLICATE, ACCEPTED, CONFLICT, DUPLICATE]
    assert seqs.tolist() == [5, 5, 6, 5, 6]


def test_the_first_content_stays_after_a_conflict():
    index, keys, fingerprints = filled(1)
    index.decide(keys, fingerprints ^ np.uint64(1), 2)
    assert index.lookup(keys[0]) == (1, int(fingerprints[0]))


def test_an_empty_batch_changes_nothing():
    index, keys, fingerprints = filled(5)
    verdicts, seqs = index.decide(keys[:0], fingerprints[:0], 6)
    assert (len(verdicts), len(seqs), len(index)) == (0, 0, 5)


def test_every_identity_survives_growth():
    index, keys, fingerprints = filled(300_000)
    assert len(index) == 300_000
    verdicts, seqs = index.decide(keys, fingerprints, 300_001)
    assert set(verdicts.tolist()) == {DUPLICATE}
    assert np.array_equal(seqs, np.arange(1, 300_001, dtype=np.uint64))


def test_keys_that_differ_in_one_compared_bit_are_different():
    base = np.array([[0x0123456789ABCDEF, 0x1200004567ABCDEF]], dtype=np.uint64)
    compared = [(0, bit) for bit in range(64)] + [(1, bit) for bit in (*range(40), *range(56, 64))]
    keys = np.repeat(base, 1 + len(compared), axis=0)
    for row, (word, bit) in enumerate(compared, start=1):
        keys[row, word] ^= np.uint64(1 << bit)
    assert len(compared) == 112
    verdicts, _ = IdentityIndex(16 << 20).decide(keys, np.zeros(len(keys), dtype=np.uint64), 1)
    assert set(verdicts.tolist()) == {ACCEPTED}


def test_the_smallest_and_the_largest_key_have_their_place():
    keys = np.array([[0, 0], [2**64 - 1, 2**64 - 1], [2**64 - 1, 0]], dtype=np.uint64)
    largest = np.full(3, 2**48 - 1, dtype=np.uint64)
    index = IdentityIndex(16 << 20)
    index.decide(keys, largest, 1)
    assert [index.lookup(key) for key in keys] == [(seq, 2**48 - 1) for seq in (1, 2, 3)]


def test_many_keys_with_one_home_are_all_kept():
    """Not from a hash, but allowed: the cluster outgrows the slack and the shard makes room."""
    count = 3 * kernels.SLACK
    keys = np.zeros((count, 2), dtype=np.uint64)
    keys[:, 0] = np.uint64(2**64 - 1) - np.arange(count, dtype=np.uint64) * np.uint64(2**52)
    index = IdentityIndex(64 << 20)
    index.decide(keys, np.zeros(count, dtype=np.uint64), 1)
    assert [index.lookup(key) for key in keys] == [(seq, 0) for seq in range(1, count + 1)]


def test_expired_identities_are_new_again_and_others_are_not():
    index, keys, fingerprints = filled(50_000)
    assert expire_everywhere(index, 20_001) == 20_000
    assert len(index) == 30_000
    assert index.lookup(keys[0]) is None
    assert index.lookup(keys[20_000]) == (20_001, int(fingerprints[20_000]))
    verdicts, seqs = index.decide(keys, fingerprints, 50_001)
    assert verdicts.tolist() == [ACCEPTED] * 20_000 + [DUPLICATE] * 30_000
    assert int(seqs[19_999]) == 70_000


def test_memory_comes_back_when_identities_expire():
    index, keys, _ = filled(400_000)
    grown = index.memory_bytes
    expire_everywhere(index, 400_000)
    assert len(index) == 1
    assert index.lookup(keys[-1]) is not None
    assert index.memory_bytes < grown / 3


def test_memory_stays_flat_under_steady_traffic():
    index = IdentityIndex(64 << 20)
    sizes = []
    for step in range(40):
        keys, fingerprints = random_ids(5_000, seed=step)
        index.decide(keys, fingerprints, 1 + step * 5_000)
        for _ in range(index.SHARDS // 4):
            index.expire(1 + (step - 8) * 5_000) if step > 8 else None
        sizes.append(index.memory_bytes)
    assert max(sizes[20:]) <= 1.25 * max(sizes[:20])


def test_a_slot_costs_about_thirty_bytes():
    index, _, _ = filled(1_000_000)
    assert index.memory_bytes / len(index) < 24 / 0.70 + 2


def test_loading_gives_back_what_was_decided():
    decided, keys, fingerprints = filled(20_000)
    loaded = IdentityIndex(64 << 20)
    loaded.expect(20_000)
    room = loaded.memory_bytes
    for array in (keys, fingerprints):
        array.flags.writeable = False
    loaded.load(keys, fingerprints, np.arange(1, 20_001, dtype=np.uint64))
    assert loaded.memory_bytes == room
    assert len(loaded) == len(decided)
    assert [loaded.lookup(k) for k in keys[:500]] == [decided.lookup(k) for k in keys[:500]]


def test_an_identity_accepted_again_after_expiry_loads_with_its_later_seq():
    keys, fingerprints = random_ids(1)
    index = IdentityIndex(16 << 20)
    index.load(keys, fingerprints, np.array([3], dtype=np.uint64))
    index.load(keys, fingerprints ^ np.uint64(1), np.array([9], dtype=np.uint64))
    assert index.lookup(keys[0]) == (9, int(fingerprints[0]) ^ 1)
    assert len(index) == 1


def test_a_full_reservation_is_an_error_not_a_loss():
    index = IdentityIndex(1 << 20)
    keys, fingerprints = random_ids(400_000)
    with pytest.raises(Unavailable):
        index.decide(keys, fingerprints, 1)
    with pytest.raises(Unavailable):
        index.expect(10_000_000)


def test_warming_up_compiles_every_kernel():
    warm_up()
    for kernel in (kernels.decide, kernels.load, kernels.find, kernels.expire, kernels.grow):
        assert len(kernel.signatures) == 1, kernel
    filled(2_000)[0].expire(5)
    index, keys, fingerprints = filled(10)
    index.decide(keys, fingerprints, 11)
    index.lookup(keys[3])
    for kernel in (kernels.decide, kernels.load, kernels.find, kernels.expire, kernels.grow):
        assert len(kernel.signatures) == 1, kernel
