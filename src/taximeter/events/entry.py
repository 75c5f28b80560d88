"""
What the log holds of one request: who sent it, when it was received, the verdict on each item,
and the body byte for byte.

Verdicts are stored, not derived again, so that a later version of the code, of the acceptance
window or of a meter can never change what was acknowledged. Little-endian layout:

    u8 kind | u8 format | u16 namespace length | u32 items | i64 received_at (us)
    namespace utf-8 | items x u8 verdict | body
"""

from __future__ import annotations

import struct

import msgspec

from taximeter.events.envelope import Format

_HEAD = struct.Struct("<BBHIq")
KIND_EVENTS = 0
KIND_CONSUME = 1  # one event written by the gate; the body holds the event and the decision


class Entry(msgspec.Struct, frozen=True, gc=False):
    """
    One request in the log.

    Attributes:
        received_at: Microseconds since the epoch; the event time of items that carry none.
        verdicts: One `Verdict` value a byte, in the order of the items.
        body: UTF-8 JSON in `format`; for KIND_CONSUME an object {"event": ..., "answer": ...}.
    """

    namespace: str
    received_at: int
    format: Format
    verdicts: bytes
    body: bytes
    kind: int = KIND_EVENTS

    @property
    def accepted(self) -> int:
        """How many items were accepted, that is, by how much the entry moves the position."""
        return self.verdicts.count(0)


def encode_entry(entry: Entry) -> bytes:
    name = entry.namespace.encode()
    head = _HEAD.pack(entry.kind, entry.format, len(name), len(entry.verdicts), entry.received_at)
    return b"".join((head, name, entry.verdicts, entry.body))


def decode_entry(blob: bytes | memoryview) -> Entry:
    """Inverse of `encode_entry`. The blob has passed the log's checksum."""
    kind, form, name_length, items, received_at = _HEAD.unpack_from(blob)
    name_end = _HEAD.size + name_length
    body_start = name_end + items
    return Entry(
        namespace=bytes(blob[_HEAD.size : name_end]).decode(),
        received_at=received_at,
        format=Format(form),
        verdicts=bytes(blob[name_end:body_start]),
        body=bytes(blob[body_start:]),
        kind=kind,
    )
