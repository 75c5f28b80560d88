"""
What the log holds of one request: who sent it, when it was received, the verdict on each item,
and the body byte for byte.

Verdicts are stored, not derived again, so that a later version of the code, of the acceptance
window or of a meter can never change what was acknowledged. Little-endian layout:

    u8 kind | u8 format | u16 namespace length | u32 items | i64 received_at (us)
    namespace utf-8 | items x u8 verdict | [u32 length | effects] | body

What an entry did to credits and holds (its effects) is stored with it for the same reason: a price
or a plan that changes later never changes what was spent. The bit WITH_EFFECTS of the kind says
that they are there.
"""

from __future__ import annotations

import struct

import msgspec

from taximeter.events.envelope import Format

_HEAD = struct.Struct("<BBHIq")
KIND_EVENTS = 0
KIND_CONSUME = 1  # one usage event written by the gate; the body holds the event and the answer
KIND_COMMAND = 2  # likewise, of a command that is no usage: it counts for no meter
KIND_CORRECTION = 3  # retractions and replacements, in lines; see `corrections.facts`
_LENGTH = struct.Struct("<I")
_WITH_EFFECTS = 0x80


class Entry(msgspec.Struct, frozen=True, gc=False):
    """
    One request in the log.

    Attributes:
        received_at: Microseconds since the epoch; the event time of items that carry none.
        verdicts: One `Verdict` value a byte, in the order of the items.
        body: UTF-8 JSON in `format`; of the gate's kinds an object {"event": ..., "answer": ...}.
        effects: JSON array of `gate.effects`, in the order they were applied; empty for none.
    """

    namespace: str
    received_at: int
    format: Format
    verdicts: bytes
    body: bytes
    kind: int = KIND_EVENTS
    effects: bytes = b""

    @property
    def accepted(self) -> int:
        """How many items were accepted, that is, by how much the entry moves the position."""
        return self.verdicts.count(0)

    @property
    def size(self) -> int:
        """Bytes that grow with what was sent, for bounds."""
        return len(self.body) + len(self.effects)


def encode_entry(entry: Entry) -> bytes:
    name = entry.namespace.encode()
    effects = entry.effects
    kind = entry.kind | _WITH_EFFECTS if effects else entry.kind
    head = _HEAD.pack(kind, entry.format, len(name), len(entry.verdicts), entry.received_at)
    if effects:
        effects = _LENGTH.pack(len(effects)) + effects
    return b"".join((head, name, entry.verdicts, effects, entry.body))


def decode_entry(blob: bytes | memoryview) -> Entry:
    """Inverse of `encode_entry`. The blob has passed the log's checksum."""
    kind, form, name_length, items, received_at = _HEAD.unpack_from(blob)
    name_end = _HEAD.size + name_length
    body_start = effects_start = name_end + items
    if kind & _WITH_EFFECTS:
        (length,) = _LENGTH.unpack_from(blob, body_start)
        effects_start += _LENGTH.size
        body_start = effects_start + length
    return Entry(
        namespace=bytes(blob[_HEAD.size : name_end]).decode(),
        received_at=received_at,
        format=Format(form),
        verdicts=bytes(blob[name_end : name_end + items]),
        body=bytes(blob[body_start:]),
        kind=kind & ~_WITH_EFFECTS,
        effects=bytes(blob[effects_start:body_start]),
    )
