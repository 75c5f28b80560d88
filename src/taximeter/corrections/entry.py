"""One correction as one entry of the log: all of its facts, or none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from taximeter.events.entry import KIND_CORRECTION, Entry
from taximeter.events.envelope import Event, Format

_encode: Final = msgspec.json.Encoder(decimal_format="number").encode


def entry_of(namespace: str, made_at: int, facts: Sequence[Event], effects: bytes = b"") -> Entry:
    """The entry of some facts; `events.replay.accepted_events` gives them back."""
    body = b"\n".join(map(_encode, facts))
    return Entry(
        namespace, made_at, Format.LINES, bytes(len(facts)), body, KIND_CORRECTION, effects
    )
