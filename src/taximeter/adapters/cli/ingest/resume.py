"""
Where an interrupted load goes on.

One small file for each (content, mapping, server), under the user's state directory. It is only a
short cut: events carry their identity, so forgetting it costs time and never a wrong count.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from taximeter.adapters.cli.ingest.load import Totals


class Bookmark:
    """
    The saved totals of one load.

    Args:
        parts: All that decides what the rows of the file become, and where they go.
    """

    def __init__(self, environment: Mapping[str, str], *parts: str) -> None:
        home = environment.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
        name = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
        self._path = Path(home) / "taximeter" / "ingest" / f"{name}.json"

    def read(self) -> Totals | None:
        """None if there is none, or none that can be read."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Totals)
        except (OSError, msgspec.DecodeError):
            return None

    def save(self, totals: Totals) -> None:
        """Replace the file at once, so that a kill leaves the old or the new one. Where nothing
        can be written, the load just is not resumable."""
        fresh = self._path.with_suffix(".new")
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_bytes(msgspec.json.encode(totals))
            os.replace(fresh, self._path)

    def forget(self) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
