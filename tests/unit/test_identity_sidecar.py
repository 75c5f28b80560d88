"""Identities beside a closed segment: all or nothing, and never someone else's."""

from __future__ import annotations

import numpy as np
import pytest

from taximeter.adapters.identity.sidecar import read_ids, write_ids
from taximeter.errors import Damaged

SCHEME = b"s" * 16


def sample(count: int):
    rng = np.random.default_rng(7)
    keys = rng.integers(0, 2**64, (count, 2), dtype=np.uint64)
    return keys, rng.integers(0, 2**48, count, dtype=np.uint64)


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_what_was_written_is_read(tmp_path, count):
    keys, fingerprints = sample(count)
    write_ids(tmp_path / "a.ids", keys, fingerprints, 17, SCHEME)
    read = read_ids(tmp_path / "a.ids", SCHEME)
    assert read is not None
    assert np.array_equal(read[0], keys)
    assert np.array_equal(read[1], fingerprints)
    assert read[2] == 17
    assert [file.name for file in tmp_path.iterdir()] == ["a.ids"]


def test_a_missing_file_is_none(tmp_path):
    assert read_ids(tmp_path / "a.ids", SCHEME) is None


def test_identities_of_another_secret_are_none(tmp_path):
    write_ids(tmp_path / "a.ids", *sample(3), 1, SCHEME)
    assert read_ids(tmp_path / "a.ids", b"t" * 16) is None


def test_any_flipped_bit_and_any_cut_is_noticed(tmp_path):
    path = tmp_path / "a.ids"
    write_ids(path, *sample(3), 1, SCHEME)
    good = path.read_bytes()
    for place in range(len(good)):
        damaged = bytearray(good)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(Damaged):
            read_ids(path, SCHEME)
        path.write_bytes(good[:place])
        with pytest.raises(Damaged):
            read_ids(path, SCHEME)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.ids"
    write_ids(path, *sample(3), 1, SCHEME)

    def fail(_: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="no space"):
        write_ids(path, *sample(5), 9, SCHEME)
    read = read_ids(path, SCHEME)
    assert read is not None
    assert read[2] == 1
