"""
Compressed bodies, inflated with a bound.

A few kilobytes can claim to be gigabytes. The work done here is bounded by `limit`, whatever the
bytes say: output stops at the limit, and so does the number of gzip members.
"""

from __future__ import annotations

import zlib
from typing import Final

import zstandard

from taximeter.errors import Rejected, TooLarge

MAX_RATIO: Final = 250  # only looked at beyond FREE_BYTES: small repetitive bodies are normal
FREE_BYTES: Final = 1024 * 1024
MAX_GZIP_MEMBERS: Final = 1024
MAX_ZSTD_WINDOW_BYTES: Final = 8 * 1024 * 1024
_WINDOW_BYTES: Final = 64 * 1024


def decode_body(body: bytes, encoding: str, limit: int) -> bytes:
    """
    Undo a Content-Encoding.

    Args:
        encoding: The header's value: gzip (or x-gzip), zstd, identity or empty; any case.
        limit: Most bytes the result may have.

    Raises:
        Rejected: `unsupported_encoding`; `corrupt_encoding` for damaged or cut data.
        TooLarge: `body_too_large`: more than `limit`, or more than 250 times its size.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return body
    if name in ("gzip", "x-gzip"):
        decoded = _gunzip(body, limit)
    elif name == "zstd":
        decoded = _unzstd(body, limit)
    else:
        raise Rejected("unsupported_encoding", f"Content-Encoding {name!r}: send gzip or zstd.")
    if len(decoded) > FREE_BYTES and len(decoded) > MAX_RATIO * len(body):
        raise too_large(limit)
    return decoded


def too_large(limit: int) -> TooLarge:
    return TooLarge("body_too_large", f"The body is larger than {limit} bytes.", limit=limit)


def _gunzip(body: bytes, limit: int) -> bytes:
    """
    Inflate gzip data of one or more members.

    The input is fed in windows because zlib hands back a copy of all input after each member: a
    body of many tiny members would otherwise cost the square of its length.
    """
    view = memoryview(body)
    parts: list[bytes] = []
    room = limit
    members = 0
    inflate = zlib.decompressobj(wbits=31)
    try:
        for start in range(0, len(view), _WINDOW_BYTES):
            data: bytes | memoryview = view[start : start + _WINDOW_BYTES]
            while data:
                if inflate.eof:
                    members += 1
                    if members >= MAX_GZIP_MEMBERS:
                        raise too_large(limit)
                    inflate = zlib.decompressobj(wbits=31)
                part = inflate.decompress(data, room + 1)
                room -= len(part)
                if room < 0:
                    raise too_large(limit)
                parts.append(part)
                data = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
    except zlib.error as error:
        raise _corrupt(error) from None
    if not inflate.eof:
        raise _corrupt("it ends too early")
    return b"".join(parts)


def _unzstd(body: bytes, limit: int) -> bytes:
    """Inflate exactly one zstd frame; its claim of size is believed only as a reason to stop."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_ZSTD_WINDOW_BYTES)
    try:
        claimed = zstandard.get_frame_parameters(body).content_size
        if claimed != zstandard.CONTENTSIZE_UNKNOWN and claimed > limit:
            raise too_large(limit)
        return decompressor.decompress(
            body, max_output_size=limit, read_across_frames=False, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        if _exceeds(decompressor, body, limit):
            raise too_large(limit) from None
        raise _corrupt(error) from None


def _exceeds(decompressor: zstandard.ZstdDecompressor, body: bytes, limit: int) -> bool:
    """Whether there is more output than `limit`; the one-shot call cannot tell that from a cut."""
    try:
        return len(decompressor.stream_reader(body).read(limit + 1)) > limit
    except zstandard.ZstdError:
        return False


def _corrupt(reason: object) -> Rejected:
    return Rejected("corrupt_encoding", f"The compressed body is damaged: {reason}.")
