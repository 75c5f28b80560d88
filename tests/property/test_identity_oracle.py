"""The identity index against a dict, and fingerprints against equality of values."""

from __future__ import annotations

import os
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from taximeter.adapters.identity.index import IdentityIndex
from taximeter.adapters.identity.sidecar import read_ids, write_ids
from taximeter.events.decode import decode
from taximeter.events.envelope import Format, Verdict
from taximeter.events.identity import identities

FULL = bool(os.environ.get("TAXIMETER_TEST_FULL"))
SCHEME = bytes(16)


class Oracle:
    """What the index should be: a dict of the 112 bits, in the order of acceptance."""

    def __init__(self) -> None:
        self.known: dict[tuple[int, int], tuple[int, int]] = {}
        self.seq = 0

    def decide(self, key: tuple[int, int], fingerprint: int) -> tuple[int, int]:
        if key not in self.known:
            self.seq += 1
            self.known[key] = (self.seq, fingerprint)
            return Verdict.ACCEPTED, self.seq
        seq, stored = self.known[key]
        return (Verdict.DUPLICATE if stored == fingerprint else Verdict.CONFLICT), seq

    def expire(self, before: int) -> None:
        self.known = {key: entry for key, entry in self.known.items() if entry[0] >= before}


def shifted(rng: np.random.Generator, universe: np.ndarray, size: int) -> np.ndarray:
    """Rows of a universe, some of them often."""
    return np.minimum(rng.geometric(min(1.0, 3 / len(universe)), size), len(universe)) - 1


@settings(max_examples=200 if FULL else 15, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    universe=st.sampled_from([1, 5, 300, 20_000]),
    spread=st.sampled_from([8, 33, 64]),
    steps=st.lists(st.tuples(st.integers(0, 3_000), st.booleans()), min_size=1, max_size=8),
)
def test_every_verdict_is_the_dicts(tmp_path_factory, seed, universe, spread, steps):
    """Random batches with repeats and conflicts, expiry between them, and a reload at the end.

    `spread` < 64 leaves only the high bits of the first word to chance, so keys crowd together.
    """
    rng = np.random.default_rng(seed)
    keys = rng.integers(0, 2**64, (universe, 2), dtype=np.uint64)
    keys[:, 0] &= np.uint64((2**64 - 1) ^ (2 ** (64 - spread) - 1))
    keys[:, 1] &= np.uint64(0xFF0000FFFFFFFFFF if seed % 2 else 0x03000000FFFFFFFF)
    index, oracle = IdentityIndex(64 << 20), Oracle()
    for size, expiring in steps:
        chosen = shifted(rng, keys, size)
        fingerprints = chosen.astype(np.uint64) % np.uint64(7) + np.uint64(2**47)
        fingerprints[rng.random(size) < 0.05] ^= np.uint64(1 << 30)
        batch = keys[chosen]
        verdicts, seqs = index.decide(batch, fingerprints, oracle.seq + 1)
        expected = [
            oracle.decide(key, fingerprint)
            for key, fingerprint in zip(
                map(tuple, batch.tolist()), fingerprints.tolist(), strict=True
            )
        ]
        assert list(zip(verdicts.tolist(), seqs.tolist(), strict=True)) == expected
        if expiring and oracle.seq:
            before = int(rng.integers(1, oracle.seq + 2))
            for _ in range(index.SHARDS):
                index.expire(before)
            oracle.expire(before)
        assert len(index) == len(oracle.known)
    for key in keys[:50]:
        assert index.lookup(key) == oracle.known.get(tuple(key.tolist()))
    _assert_reload(tmp_path_factory.mktemp("ids") / "a.ids", oracle)


def _assert_reload(path: Any, oracle: Oracle) -> None:
    entries = sorted(oracle.known.items(), key=lambda entry: entry[1])
    keys = np.array([key for key, _ in entries], dtype=np.uint64).reshape(-1, 2)
    fingerprints = np.array([found for _, (_, found) in entries], dtype=np.uint64)
    write_ids(path, keys, fingerprints, 1, SCHEME)
    read = read_ids(path, SCHEME)
    assert read is not None
    index = IdentityIndex(64 << 20)
    index.load(read[0], read[1], np.arange(1, len(keys) + 1, dtype=np.uint64))
    assert len(index) == len(entries)
    for seq, (key, (_, fingerprint)) in enumerate(entries[:100], start=1):
        assert index.lookup(np.array(key, dtype=np.uint64)) == (seq, fingerprint)


_SCALARS = (
    st.none()
    | st.booleans()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
    | st.sampled_from(
        [0, 1, -1, 10, Decimal("0.5"), Decimal("0.50"), Decimal("1.0"), Decimal("1e1")]
    )
)
_JSON = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=4,
)
_encode = msgspec.json.Encoder(decimal_format="number").encode


def same(one: Any, other: Any) -> bool:
    """Equality of JSON values: like Python's, but true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return (type(one) is type(other) and one == other) or _numbers_equal(one, other)


def _numbers_equal(one: Any, other: Any) -> bool:
    return isinstance(one, int | Decimal) and isinstance(other, int | Decimal) and one == other


@settings(max_examples=20_000 if FULL else 100, deadline=None, derandomize=True)
@given(st.lists(st.dictionaries(st.sampled_from("xy"), _JSON, max_size=2), min_size=2, max_size=4))
def test_fingerprints_are_equal_exactly_if_the_values_are(values):
    lines = [b'{"id":"a","type":"t","subject":"s","data":%b}' % _encode(value) for value in values]
    _, fingerprints = identities(5, decode(b"\n".join(lines), Format.LINES).events)
    for value, fingerprint in zip(values, fingerprints.tolist(), strict=True):
        assert (fingerprint == int(fingerprints[0])) == same(value, values[0])
