"""What the gate writes of itself is as it will be read back, however quickly that was seen."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from taximeter.errors import Rejected
from taximeter.events.decode import decode
from taximeter.events.envelope import Event, Format
from taximeter.events.identity import identities
from taximeter.services.gate.commands import canonical, encode

NAMES = st.text(max_size=8) | st.sampled_from(
    ["acme", "consume", "x" * 257, "a\x7f", "é", "\u0085"]
)
VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-(10**19), 10**19)
    | st.just(10**120)
    | st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9)
    | st.text(max_size=8)
    | st.just("y" * 300)
    | st.just({})
    | st.just({"in": {"side": 1}})
    | st.just([1, "two"])
)
DATA = st.none() | st.dictionaries(st.text(max_size=5), VALUES, max_size=4)


def read_back(event: Event) -> Event:
    """Through JSON and the door of every sender."""
    members = {
        name: value
        for name in ("id", "type", "subject", "source", "data")
        if (value := getattr(event, name)) is not None
    }
    return decode(encode(members), Format.OBJECT).events[0]


def outcome(read: Callable[[Event], Event], event: Event) -> Event | str:
    """The event, or the code of its refusal."""
    try:
        return read(event)
    except Rejected as refused:
        return refused.code


@settings(deadline=None)
@given(NAMES, NAMES, NAMES, NAMES, DATA)
@example("1", "t", "s", "", {"n": Decimal("1.50"), "m": 10**18})
@example("1", "t", "s", "src", {"scope": {}, "amount": "5", "ttl_us": 120, "partial": False})
@example("", "t", "s", "src", None)
def test_a_command_is_as_it_is_read_back_or_refused_alike(
    event_id: str, kind: str, subject: str, source: str, data: dict[str, Any] | None
) -> None:
    event = Event(id=event_id, type=kind, subject=subject, source=source, data=data)
    found, expected = outcome(canonical, event), outcome(read_back, event)
    assert found == expected
    assert encode(found) == encode(expected), "each number in its one form"


@settings(deadline=None)
@given(DATA, st.none() | st.just("2026-11-20T10:00:00+01:00"), st.integers(0, 2**63))
def test_one_event_has_the_identity_it_has_among_others(
    data: dict[str, Any] | None, time: str | None, seed: int
) -> None:
    event = Event(id="1", type="t", subject="s", source="src", time=time, data=data)
    other = Event(id="2", type="t", subject="s")
    keys, fingerprints = identities(seed, [event, other])
    key, fingerprint = identities(seed, [event])
    assert np.array_equal(key, keys[:1])
    assert np.array_equal(fingerprint, fingerprints[:1])
    assert key.flags.writeable
    assert key.flags.c_contiguous
