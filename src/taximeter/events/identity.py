"""
Which event is it, and is it the same content? (K11)

An identity is a 128-bit key of (namespace, source, id), byte-exact. A fingerprint is a 48-bit hash
of what the event says: its type, subject, time and data, not how they were spelled. Equal instants
and equal numbers are equal however written, and neither the order of members nor white space
matters.

Both are keyed with secrets of the installation, so that a sender cannot compute which identities
would collide. See docs/decisions/0003-identity-index.md for the arithmetic of chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_digest, xxh3_128_digest

from taximeter.events.envelope import Event
from taximeter.instants import parse_instant

SECRET_BYTES: Final = 32
FINGERPRINT_BITS: Final = 48

Keys = NDArray[np.uint64]
Fingerprints = NDArray[np.uint64]

# A change of what is hashed, or how, is a new version: identities of older ones are then computed
# again from the log.
_VERSION: Final = b"taximeter identity 1"
_FINGERPRINT_MASK: Final = np.uint64((1 << FINGERPRINT_BITS) - 1)
_quote: Final = msgspec.json.Encoder().encode
_canonical: Final = msgspec.json.Encoder(order="sorted", decimal_format="number").encode


def namespace_seed(secret: bytes, namespace: str) -> int:
    """
    The 64-bit seed of one namespace.

    Args:
        secret: 32 random bytes, made once per installation and kept with its data.
    """
    digest = blake2b(namespace.encode(), digest_size=8, key=secret, person=_VERSION[:16])
    return int.from_bytes(digest.digest(), "little")


def scheme(secret: bytes) -> bytes:
    """
    16 bytes that are equal exactly if identities were computed with this secret and version.

    Stored with identities at rest: ones of another scheme would silently match nothing.
    """
    return blake2b(_VERSION, digest_size=16, key=secret).digest()


def identities(
    seed: int, events: Sequence[Event], times: Sequence[int] | None = None
) -> tuple[Keys, Fingerprints]:
    """
    Key and fingerprint of each event.

    Args:
        seed: Of the events' namespace, from `namespace_seed`.
        events: Their data holds every number in its one form, as `events.decode` leaves it (see
            `events.numbers`); their `time`, if any, is valid.
        times: The resolved instant of each event, if the caller already has them. Those of events
            without a time of their own are ignored: a repeat is received at another time.

    Returns:
        Keys, (n, 2) uint64, and fingerprints, (n,) uint64 below 2**48.
    """
    if len(events) == 1:
        return _of_one(seed, events[0], None if times is None else times[0])
    if times is None:
        times = [0 if event.time is None else parse_instant(event.time) for event in events]
    # JSON quotes and escapes, so ("ab", "c") and ("a", "bc") are different bytes.
    keys = [xxh3_128_digest(_quote((event.source, event.id)), seed) for event in events]
    fingerprints = [
        xxh3_64_digest(
            _canonical((e.type, e.subject, None if e.time is None else time, e.data)), seed
        )
        for e, time in zip(events, times, strict=True)
    ]
    return _words(keys).reshape(-1, 2), _words(fingerprints) & _FINGERPRINT_MASK


def _of_one(seed: int, event: Event, time: int | None) -> tuple[Keys, Fingerprints]:
    """As `identities`: commands come one by one, and five small arrays would cost the most."""
    if event.time is None:
        time = None
    elif time is None:
        time = parse_instant(event.time)
    key = xxh3_128_digest(_quote((event.source, event.id)), seed)
    content = _canonical((event.type, event.subject, time, event.data))
    words = _words([key, xxh3_64_digest(content, seed)])
    words[2] &= _FINGERPRINT_MASK
    return words[:2].reshape(1, 2), words[2:]


def _words(digests: list[bytes]) -> NDArray[np.uint64]:
    """Little-endian on every machine; in a bytearray, so that the array is writable."""
    return np.frombuffer(bytearray(b"".join(digests)), dtype="<u8")
