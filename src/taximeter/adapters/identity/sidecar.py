"""
Identities of one closed log segment, in a file beside it, so that a restart need not
decode the log.

    b"TAXIIDS1" | scheme 16 | u64 count | u64 first_seq
    keys count x 16 | fingerprints count x 8 | xxh3-128 of all before it, 16

All little-endian. The file only repeats what the log says: if it is missing, of another scheme or
damaged, the identities are computed again from the log.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_128

from taximeter.errors import Damaged

U64 = NDArray[np.uint64]

_MAGIC: Final = b"TAXIIDS1"
_HEAD: Final = struct.Struct("<8s16sQQ")
_DIGEST_BYTES: Final = 16
_ID_BYTES: Final = 24


def write_ids(path: Path, keys: U64, fingerprints: U64, first_seq: int, scheme: bytes) -> None:
    """
    Store the identities of the seqs first_seq, first_seq + 1, ... durably and all at once.

    Args:
        keys: (n, 2), as `events.identity.identities` gives them.
        scheme: 16 bytes from `events.identity.scheme`.

    Raises:
        OSError: The disk refused; nothing is at `path` that was not there before.
    """
    assert len(keys) == len(fingerprints)
    head = _HEAD.pack(_MAGIC, scheme, len(keys), first_seq)
    parts = (head, _little_endian(keys), _little_endian(fingerprints))
    digest = xxh3_128()
    unfinished = path.with_name(path.name + ".tmp")
    with unfinished.open("wb") as file:
        for part in parts:
            file.write(part)
            digest.update(part)
        file.write(digest.digest())
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    _sync_directory(path.parent)


def read_ids(path: Path, scheme: bytes) -> tuple[U64, U64, int] | None:
    """
    Read what `write_ids` stored.

    Returns:
        Keys, fingerprints and first seq (read-only arrays); None if there is no such file, or it
        was written with another secret or by another version.

    Raises:
        Damaged: `log_damaged`, the file is not what was written.
    """
    try:
        blob = path.read_bytes()
    except FileNotFoundError:
        return None
    content, digest = memoryview(blob)[:-_DIGEST_BYTES], blob[-_DIGEST_BYTES:]
    if len(content) < _HEAD.size or xxh3_128(content).digest() != digest:
        raise _damaged(path)
    magic, written_scheme, count, first_seq = _HEAD.unpack_from(content)
    if (magic, written_scheme) != (_MAGIC, scheme):
        return None
    if len(content) != _HEAD.size + count * _ID_BYTES:
        raise _damaged(path)
    keys = np.frombuffer(content, "<u8", count * 2, _HEAD.size).reshape(-1, 2)
    fingerprints = np.frombuffer(content, "<u8", count, _HEAD.size + count * 16)
    return keys, fingerprints, first_seq


def _little_endian(words: U64) -> bytes:
    return words.astype("<u8", copy=False).tobytes()


def _damaged(path: Path) -> Damaged:
    return Damaged("log_damaged", f"{path.name} fails its checksum", file=path.name)


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
