"""Compressed bodies: the ordinary, the damaged and the explosive."""

from __future__ import annotations

import contextlib
import gzip
import os
import time
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from taximeter.adapters.http.body import decode_body
from taximeter.errors import Rejected, TaximeterError, TooLarge

LIMIT = 8 * 1024 * 1024


def zstd(data: bytes, *, sized: bool = True) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=sized).compress(data)


def refused(body: bytes, encoding: str, limit: int = LIMIT) -> str:
    with pytest.raises(TaximeterError) as refusal:
        decode_body(body, encoding, limit)
    return refusal.value.code


@given(st.binary(max_size=5000), st.integers(0, 3))
def test_what_was_compressed_comes_back(data: bytes, extra_members: int) -> None:
    assert decode_body(gzip.compress(data), "gzip", LIMIT) == data
    assert decode_body(gzip.compress(data) * (extra_members + 1), " X-GZip ", LIMIT) == data * (
        extra_members + 1
    )
    assert decode_body(zstd(data), "zstd", LIMIT) == data
    assert decode_body(zstd(data, sized=False), "ZSTD", LIMIT) == data
    assert decode_body(data, "identity", LIMIT) == data


@pytest.mark.parametrize("encoding", ["deflate", "br", "gzip, gzip", "gzip,zstd", "x"])
def test_other_encodings_are_named_and_refused(encoding: str) -> None:
    assert refused(b"", encoding) == "unsupported_encoding"


@pytest.mark.parametrize("sized", [True, False])
@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_the_limit_is_inclusive(encoding: str, sized: bool) -> None:
    data = os.urandom(1000)
    body = gzip.compress(data) if encoding == "gzip" else zstd(data, sized=sized)
    assert decode_body(body, encoding, 1000) == data
    assert refused(body, encoding, 999) == "body_too_large"


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_cut_or_followed_by_rubbish_is_corrupt(encoding: str) -> None:
    data = os.urandom(3000)
    body = gzip.compress(data) if encoding == "gzip" else zstd(data)
    for length in (0, 1, 5, 20, len(body) - 1):
        assert refused(body[:length], encoding) == "corrupt_encoding"
    assert refused(body + b"rubbish", encoding) == "corrupt_encoding"


def test_a_flipped_bit_is_corrupt() -> None:
    body = bytearray(gzip.compress(b"a" * 1000))
    body[-5] ^= 1
    assert refused(bytes(body), "gzip") == "corrupt_encoding"


@given(st.binary(max_size=300), st.sampled_from(["gzip", "zstd"]))
def test_any_bytes_decode_or_are_refused(data: bytes, encoding: str) -> None:
    prefix = b"\x1f\x8b\x08\x00" if encoding == "gzip" else b"\x28\xb5\x2f\xfd"
    for body in (data, prefix + data):
        with contextlib.suppress(Rejected, TooLarge):
            decode_body(body, encoding, 10_000)


def bombs() -> list[tuple[str, bytes]]:
    huge = bytes(64 * 1024 * 1024)
    return [
        ("gzip", gzip.compress(huge, 9)),
        ("gzip", gzip.compress(b"", 9) * 100_000),  # members of nothing
        ("zstd", zstd(huge)),
        ("zstd", zstd(huge, sized=False)),
        ("gzip", gzip.compress(bytes(LIMIT), 9)),  # within the limit, but 1000 times its size
    ]


@pytest.mark.parametrize(
    ("encoding", "bomb"), bombs(), ids=["gzip", "members", "zstd", "un", "ratio"]
)
def test_bombs_end_in_413_after_little_work(encoding: str, bomb: bytes) -> None:
    began = time.process_time()
    assert refused(bomb, encoding) == "body_too_large"
    assert time.process_time() - began < 0.5  # generous: some 10 ms when nothing else runs


def test_a_frame_that_lies_about_its_size_is_corrupt() -> None:
    body = bytearray(zstd(bytes(1000)))
    size_at = body.index((1000 - 256).to_bytes(2, "little"))
    body[size_at : size_at + 2] = (500 - 256).to_bytes(2, "little")
    assert refused(bytes(body), "zstd") == "corrupt_encoding"


def test_raw_deflate_is_not_gzip() -> None:
    assert refused(zlib.compress(b"x"), "gzip") == "corrupt_encoding"
