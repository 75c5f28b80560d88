"""The quick path against the careful one and against the standard library, on random bodies."""

from __future__ import annotations

import json
import os
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taximeter.errors import TaximeterError
from taximeter.events import strict
from taximeter.events.decode import _decode_clean, decode
from taximeter.events.envelope import Event, Format, Rejection

EXAMPLES = 20_000 if os.environ.get("TAXIMETER_TEST_FULL") else 100
bounded = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)

_TEXT = st.text(st.sampled_from('ab:{}[]",\\\n 0é\u0085\x7f\ud800'), max_size=6)
_NUMBER_TEXT = st.sampled_from(
    [
        "0",
        "-0",
        "1",
        "1.0",
        "1e0",
        "10E-1",
        "0.1",
        "1.50",
        "1e400",
        "-12.30e-5",
        "12345678901234567890",
    ]
)


class Number(str):
    """Number text that is written as it is."""


def write(value: Any, spaces: str, escape: bool) -> str:
    """JSON text with a choice of white space; objects are lists of pairs, so they may repeat."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, tuple):
        pairs = (
            f"{write(k, spaces, escape)}{spaces}:{spaces}{write(v, spaces, escape)}"
            for k, v in value
        )
        return "{" + f"{spaces},".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + f",{spaces}".join(write(v, spaces, escape) for v in value) + "]"
    return json.dumps(value, ensure_ascii=escape)


_KEYS = st.sampled_from(["x", "y", "id", "type", ":", "specversion", '"'])
_VALUES = st.recursive(
    st.none() | st.booleans() | _NUMBER_TEXT.map(Number) | _TEXT,
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(st.tuples(_KEYS, inner), max_size=3).map(tuple)
    ),
    max_leaves=6,
)
_DATA = st.lists(st.tuples(_KEYS, _VALUES), max_size=4).map(tuple)
_ATTRIBUTES = st.fixed_dictionaries(
    {"id": st.sampled_from(["a", "b", 'q"', "é"]), "type": st.just("t"), "subject": st.just("s")},
    optional={
        "source": st.sampled_from(["", "api", None]),
        "specversion": st.sampled_from(["1.0", "1.0", "0.3", None]),
        "time": st.sampled_from(["2026-11-20T10:00:00Z", None]),
        "data": _DATA | st.none(),
        "traceparent": st.just("00-1"),
        "badName": st.just(1),
    },
)


_SPLICES = st.sampled_from([b"", *(bytes([c]) for c in b'":{}[],\\\n 1\0\xff'), b"\xc2\x80"])


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, Format]:
    """A request, mostly well-formed: with repeats, odd spacing, and sometimes flipped bytes."""
    form = draw(st.sampled_from(Format))
    spaces = draw(st.sampled_from(["", "", " ", " \t" if form is Format.LINES else "\n "]))
    escape = draw(st.booleans())
    items = []
    for members in draw(st.lists(_ATTRIBUTES, min_size=1, max_size=4)):
        pairs = list(members.items())
        if draw(st.integers(0, 9)) == 0:
            pairs.append(draw(st.sampled_from(pairs)))
        items.append(write(tuple(draw(st.permutations(pairs))), spaces, escape))
    if form is Format.OBJECT:
        text = items[0]
    elif form is Format.ARRAY:
        text = "[" + ",".join(items) + "]"
    else:
        text = "\n".join(items) + draw(st.sampled_from(["", "\n"]))
    body = bytearray(text.encode("utf-8", "surrogatepass"))
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        place = draw(st.integers(0, len(body) - 1))
        body[place : place + draw(st.integers(0, 2))] = draw(_SPLICES)
    return bytes(body), form


@bounded
@given(bodies())
def test_a_body_proved_clean_reads_the_same_item_by_item(case):
    body, form = case
    clean = _decode_clean(body, form)
    if clean is not None:
        careful, _ = strict.read(body, form)
        assert repr(clean) == repr(careful)


@bounded
@given(bodies())
def test_every_event_says_what_the_standard_library_reads(case):
    body, form = case
    try:
        decoded = decode(body, form)
    except TaximeterError:
        return
    for index, item in enumerate(decoded.items):
        if isinstance(item, Event):
            assert _as_read_by_json(item) == _plain(decoded.raw(index))
        else:
            assert isinstance(item, Rejection)
            assert item.index == index


@bounded
@given(st.binary(max_size=60), st.sampled_from(Format))
def test_arbitrary_bytes_give_items_or_one_documented_error(body, form):
    try:
        items = decode(body, form).items
    except TaximeterError:
        return
    assert items
    assert all(isinstance(item, Event | Rejection) for item in items)


def _as_read_by_json(event: Event) -> dict[str, Any]:
    return {name: getattr(event, name) for name in Event.__struct_fields__}


def _plain(raw: bytes) -> dict[str, Any]:
    """An independent reading: no member twice, numbers as Decimal, defaults filled in."""
    members = json.loads(
        raw.decode(), object_pairs_hook=_unique, parse_int=Decimal, parse_float=Decimal
    )
    defaults = {"source": "", "specversion": "1.0", "time": None, "data": None}
    known = {k: v for k, v in members.items() if k in Event.__struct_fields__ and v is not None}
    return defaults | known


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len({key for key, _ in pairs}) == len(pairs), "a repeated member was accepted"
    return dict(pairs)
