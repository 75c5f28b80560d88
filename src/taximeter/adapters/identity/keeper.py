"""
The identity index of a running node, with its copy on disk.

Identities of a closed log segment lie in a file named after it, so a restart reads 24 bytes an
event instead of decoding the log. The files are written behind, when a segment closes; until then
the log itself is the copy.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from taximeter.adapters.identity.fresh import FreshIdentities
from taximeter.adapters.identity.index import IdentityIndex
from taximeter.adapters.identity.sidecar import read_ids, write_ids
from taximeter.errors import Damaged
from taximeter.events.identity import SECRET_BYTES, scheme

_log = logging.getLogger(__name__)


class ClosedIds(NamedTuple):
    """The identities of one closed segment, ready for its file."""

    path: Path
    first_seq: int
    keys: Any
    fingerprints: Any
    scheme: bytes

    def write(self) -> None:
        """Blocking; for any thread. Without the file a restart reads the log instead."""
        if not self.path.exists():
            write_ids(self.path, self.keys, self.fingerprints, self.first_seq, self.scheme)


class IdentityKeeper:
    """
    Args:
        directory: Of the `.ids` files and the installation's secret.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self.secret = _secret(directory / "secret")
        self._scheme = scheme(self.secret)
        self.index = IdentityIndex()
        self._fresh = FreshIdentities()

    def decide(self, keys: Any, fingerprints: Any, next_seq: int) -> tuple[Any, Any]:
        """See `IdentityIndex.decide`."""
        verdicts, seqs = self.index.decide(keys, fingerprints, next_seq)
        if verdicts.any():
            accepted = verdicts == 0
            keys, fingerprints = keys[accepted], fingerprints[accepted]
        self._fresh.add(next_seq, keys, fingerprints)
        return verdicts, seqs

    def lookup(self, key: Any) -> tuple[int, int] | None:
        return self.index.lookup(key)

    def expire(self, before_seq: int) -> int:
        return self.index.expire(before_seq)

    def load(self, keys: Any, fingerprints: Any, first_seq: int) -> None:
        """Take identities read back from the log."""
        self._load(keys, fingerprints, first_seq)
        self._fresh.add(first_seq, keys, fingerprints)

    def _load(self, keys: Any, fingerprints: Any, first_seq: int) -> None:
        seqs = np.arange(first_seq, first_seq + len(fingerprints), dtype=np.uint64)
        self.index.load(keys, fingerprints, seqs)

    def load_closed(self, segments: Iterable[tuple[int, int]], from_seq: int) -> int:
        """
        Load the identities of closed segments (first seq, last seq), oldest first.

        Args:
            from_seq: Segments that end before it have expired.

        Returns:
            The seq up to which identities are known; the caller reads the log beyond.
        """
        known = 0
        for first, last in segments:
            if last >= from_seq:
                found = self._read(first)
                if found is None or len(found[1]) != last - first + 1:
                    return known
                keys, fingerprints, _ = found
                self._load(keys, fingerprints, first)
            known = last
        return known

    def take_closed(self, segments: Iterable[tuple[int, int]]) -> list[ClosedIds]:
        """What is to be written of segments (first seq, last seq) that have closed by now."""
        taken = []
        for first, last in segments:
            found = self._fresh.take(first, last)
            if found is not None:
                taken.append(ClosedIds(self._path(first), first, *found, self._scheme))
        return taken

    def _read(self, first: int) -> tuple[Any, Any, int] | None:
        try:
            return read_ids(self._path(first), self._scheme)
        except Damaged as error:
            _log.warning("%s It is rebuilt from the log.", error)
            return None

    def _path(self, first: int) -> Path:
        return self._directory / f"{first:020d}.ids"


def _secret(path: Path) -> bytes:
    """The installation's secret for identities; losing it costs only the `.ids` files."""
    if path.exists():
        secret = path.read_bytes()
        if len(secret) == SECRET_BYTES:
            return secret
        raise Damaged("log_damaged", "The identity secret has the wrong length.", file=str(path))
    secret = secrets.token_bytes(SECRET_BYTES)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())
    return secret


def segment_spans(segments: Iterable[Any]) -> Iterator[tuple[int, int]]:
    """(first seq, last seq) of the closed segments."""
    for segment in segments:
        if segment.closed:
            yield segment.first_seq, segment.last_seq
