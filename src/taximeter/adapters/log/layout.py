"""
The bytes of the log, as pure functions. `docs/decisions/0002-log-format.md` says why.

A log is a chain of segment files; a segment is a header and a run of frames, then zeros up to its
preallocated size. A frame is one append: its header, then its entries. Little-endian:

    segment   8s magic | u32 version | u64 first_seq | i64 created_at
              u64 previous_first_seq | u64 previous_last | u64 previous_end
              32s chain | u32 checksum | zeros up to SEGMENT_HEADER_BYTES
    frame     4s magic | u32 checksum | u32 payload bytes | u32 entries | u32 accepted
              u64 first_seq | i64 written_at | 32s chain | payload
    payload   entries x (u32 length | entry)

`chain` of a frame is SHA-256(chain before it | the header fields between checksum and chain |
payload): it fixes the frame and everything before it. The checksum of a frame header is seeded
with that of its segment's header, so bytes inside a customer's event cannot pass for a frame.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

VERSION: Final = 1
GENESIS: Final = bytes(32)  # the chain before the first frame
SEGMENT_HEADER_BYTES: Final = 512  # one sector, so that no append ever rewrites it
MAX_FRAME_BYTES: Final = 256 * 1024 * 1024

# 0xFF never occurs in UTF-8, so searching for the magic does not stop at every body.
FRAME_MAGIC: Final = b"\xffTXF"
_SEGMENT_MAGIC: Final = b"TXMSEG\r\n"

_SEGMENT = struct.Struct("<8sIQqQQQ32s")
_FRAME_START = struct.Struct("<4sI")
_FRAME_FIELDS = struct.Struct("<IIIQq")
_LENGTH = struct.Struct("<I")
_CHECKSUM = struct.Struct("<I")
_CHAIN_AT = _FRAME_START.size + _FRAME_FIELDS.size
FRAME_HEADER_BYTES: Final = _CHAIN_AT + 32
_NO_HEADER = bytes(FRAME_HEADER_BYTES)

_NAME = re.compile(r"\d{20}\.seg")


class Place(NamedTuple):
    """
    Somewhere between two frames of a segment.

    Attributes:
        next_seq: What the next accepted event is numbered.
        offset: Bytes from the start of the file.
        chain: Chain of the frame before.
    """

    next_seq: int
    offset: int
    chain: bytes


class SegmentHeader(NamedTuple):
    """
    What a segment says about itself and about the end of the one before (all 0 in the first).

    Attributes:
        previous_last: Offset of the last frame of the previous segment.
        previous_end: Offset just behind that frame.
        chain: Chain of that frame; `GENESIS` in the first segment.
    """

    first_seq: int
    created_at: int
    previous_first_seq: int
    previous_last: int
    previous_end: int
    chain: bytes

    @property
    def start(self) -> Place:
        """Where its first frame stands."""
        return Place(self.first_seq, SEGMENT_HEADER_BYTES, self.chain)


class FrameHeader(NamedTuple):
    """One frame: its accepted events are first_seq ... first_seq + accepted - 1."""

    payload_bytes: int
    entries: int
    accepted: int
    first_seq: int
    written_at: int
    chain: bytes

    def end(self, offset: int) -> Place:
        """Where the log stands behind this frame, if the frame stands at `offset`."""
        return Place(
            self.first_seq + self.accepted,
            offset + FRAME_HEADER_BYTES + self.payload_bytes,
            self.chain,
        )


def segment_path(directory: Path, first_seq: int) -> Path:
    return directory / f"{first_seq:020d}.seg"


def list_segments(directory: Path) -> list[int]:
    """First seqs of the segments in a directory, ascending."""
    return sorted(int(f.name[:20]) for f in directory.iterdir() if _NAME.fullmatch(f.name))


def encode_segment_header(header: SegmentHeader) -> bytes:
    """Exactly SEGMENT_HEADER_BYTES."""
    fields = _SEGMENT.pack(_SEGMENT_MAGIC, VERSION, *header)
    return (fields + _CHECKSUM.pack(crc32(fields))).ljust(SEGMENT_HEADER_BYTES, b"\0")


def decode_segment_header(block: bytes) -> tuple[SegmentHeader, int] | None:
    """The header and the seed of its frames' checksums; None if the bytes are no such header."""
    if len(block) < SEGMENT_HEADER_BYTES:
        return None
    magic, version, *fields = _SEGMENT.unpack_from(block)
    seed = crc32(block[: _SEGMENT.size])
    (checksum,) = _CHECKSUM.unpack_from(block, _SEGMENT.size)
    if magic != _SEGMENT_MAGIC or version != VERSION or seed != checksum:
        return None
    return SegmentHeader(*fields), seed


def encode_frame(
    blobs: Sequence[bytes], accepted: int, before: Place, seed: int, written_at: int
) -> tuple[bytearray, FrameHeader]:
    """
    One frame, ready to be written at `before.offset`.

    Args:
        blobs: Encoded entries.
        accepted: How many events they accept together.
        seed: Of the segment it goes to, see `decode_segment_header`.
    """
    parts = [_NO_HEADER]
    for blob in blobs:
        parts += (_LENGTH.pack(len(blob)), blob)
    frame = bytearray().join(parts)
    payload_bytes = len(frame) - FRAME_HEADER_BYTES
    fields = _FRAME_FIELDS.pack(payload_bytes, len(blobs), accepted, before.next_seq, written_at)
    chain = _chain(before.chain, fields, memoryview(frame)[FRAME_HEADER_BYTES:])
    _FRAME_START.pack_into(frame, 0, FRAME_MAGIC, crc32(fields + chain, seed))
    frame[_FRAME_START.size : FRAME_HEADER_BYTES] = fields + chain
    return frame, FrameHeader(
        payload_bytes, len(blobs), accepted, before.next_seq, written_at, chain
    )


def decode_frame_header(block: bytes | memoryview, seed: int) -> FrameHeader | None:
    """None if these bytes do not begin with a frame header of this segment."""
    if len(block) < FRAME_HEADER_BYTES:
        return None
    magic, checksum = _FRAME_START.unpack_from(block)
    if magic != FRAME_MAGIC:
        return None
    if crc32(block[_FRAME_START.size : FRAME_HEADER_BYTES], seed) != checksum:
        return None
    chain = bytes(block[_CHAIN_AT:FRAME_HEADER_BYTES])
    return FrameHeader._make((*_FRAME_FIELDS.unpack_from(block, _FRAME_START.size), chain))


def follows(before: Place, frame: bytes | memoryview) -> bool:
    """Whether a whole frame, its header already decoded, is the one written behind `before`."""
    fields = frame[_FRAME_START.size : _CHAIN_AT]
    chain = _chain(before.chain, fields, frame[FRAME_HEADER_BYTES:])
    return chain == frame[_CHAIN_AT:FRAME_HEADER_BYTES]


def split_payload(payload: bytes | memoryview) -> Iterator[bytes | memoryview]:
    """The entries of a frame whose chain has been checked."""
    at = 0
    while at < len(payload):
        (length,) = _LENGTH.unpack_from(payload, at)
        at += _LENGTH.size
        yield payload[at : at + length]
        at += length


def frame_bytes(blobs: Iterable[bytes]) -> int:
    """Size of the frame that would hold these entries."""
    return FRAME_HEADER_BYTES + sum(_LENGTH.size + len(blob) for blob in blobs)


def _chain(before: bytes, fields: bytes | memoryview, payload: memoryview | bytes) -> bytes:
    digest = hashlib.sha256(before)
    digest.update(fields)
    digest.update(payload)  # releases the GIL
    return digest.digest()
