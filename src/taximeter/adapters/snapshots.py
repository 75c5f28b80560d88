"""
Snapshots of the live state on disk: `live/<position>.snap`, the newest two are kept.

    b"TAXISNP1" | sha256 of the rest, 32 | zstd of the encoded snapshot
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final

import zstandard

_MAGIC: Final = b"TAXISNP1"
_KEPT: Final = 2
_log = logging.getLogger(__name__)


class SnapshotFiles:
    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory

    def write(self, position: int, content: bytes) -> None:
        """Durably and all at once; older ones beyond the kept are removed."""
        packed = zstandard.compress(content, 3)
        path = self._directory / f"{position:020d}.snap"
        unfinished = path.with_suffix(".tmp")
        with unfinished.open("wb") as file:
            file.write(_MAGIC + sha256(packed).digest() + packed)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        for old in sorted(self._directory.glob("*.snap"))[:-_KEPT]:
            old.unlink(missing_ok=True)

    def newest_first(self) -> Iterator[bytes]:
        """Contents that are as they were written; damaged ones are passed over."""
        for path in sorted(self._directory.glob("*.snap"), reverse=True):
            blob = path.read_bytes()
            digest, packed = blob[len(_MAGIC) : len(_MAGIC) + 32], blob[len(_MAGIC) + 32 :]
            if blob.startswith(_MAGIC) and sha256(packed).digest() == digest:
                yield zstandard.decompress(packed)
            else:
                _log.warning("snapshot %s is damaged; an older one or the log is used", path.name)
