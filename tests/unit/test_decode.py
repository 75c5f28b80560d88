"""Decoding: what is one event, what is refused, and that neighbours never notice."""

from __future__ import annotations

import contextlib
import time
from decimal import Decimal

import msgspec
import pytest

from taximeter.errors import Rejected, TooLarge
from taximeter.events import decode as decode_module
from taximeter.events.decode import decode
from taximeter.events.envelope import (
    MAX_BATCH_EVENTS,
    MAX_BODY_BYTES,
    MAX_DEPTH,
    MAX_EVENT_BYTES,
    Event,
    Format,
    Rejection,
)

GOOD = b'{"id":"a","type":"t","subject":"s"}'
FULL = (
    b'{"specversion":"1.0","id":"a","source":"api","type":"t","subject":"s",'
    b'"time":"2026-11-20T10:00:00Z","data":{"tokens":5,"model":"opus"}}'
)


def event(**members: bytes) -> bytes:
    """A good event with some members set to raw JSON, or left out with b""."""
    parts = {"id": b'"b"', "type": b'"t"', "subject": b'"s"'} | members
    return b"{" + b",".join(b'"%b":%b' % (k.encode(), v) for k, v in parts.items() if v) + b"}"


def array(*items: bytes) -> bytes:
    return b"[" + b",".join(items) + b"]"


def codes(body: bytes, form: Format = Format.ARRAY) -> list[str | None]:
    """Per item its code, None for an event."""
    items = decode(body, form).items
    return [item.code if isinstance(item, Rejection) else None for item in items]


def only(body: bytes) -> Event:
    [found] = decode(body, Format.OBJECT).events
    return found


def is_clean(body: bytes, form: Format = Format.ARRAY) -> bool:
    return decode_module._decode_clean(body, form) is not None


# --- what is read ------------------------------------------------------------------------------


def test_absent_attributes_have_their_defaults():
    assert only(GOOD) == Event(id="a", type="t", subject="s")


def test_each_format_gives_the_same_events():
    events = decode(array(GOOD, FULL), Format.ARRAY).events
    assert events == decode(GOOD + b"\n" + FULL, Format.LINES).events
    assert events == [only(GOOD), only(FULL)]


def test_numbers_are_exact_and_have_one_form():
    found = only(event(data=b'{"a":0.1,"b":1.50,"c":1e3,"d":-0.0,"e":18446744073709551617}'))
    assert found.data == {
        "a": Decimal("0.1"), "b": Decimal("1.5"), "c": 1000, "d": 0, "e": 18446744073709551617,
    }  # fmt: skip
    assert [type(value) for value in found.data.values()] == [Decimal, Decimal, int, int, int]
    assert str(found.data["b"]) == "1.5"


def test_the_careful_reader_gives_numbers_the_same_form():
    plain = event(data=b'{"a":[1.50,{"b":10E-1}],"c":2.0}')
    extended = event(data=b'{"a":[1.50,{"b":10E-1}],"c":2.0}', tenant=b'"x"')
    assert is_clean(plain, Format.OBJECT)
    assert not is_clean(extended, Format.OBJECT)
    assert only(plain) == only(extended)
    assert repr(only(plain)) == repr(only(extended))


def test_extension_attributes_are_accepted_and_left_aside():
    assert only(event(traceparent=b'"00-1"', tenantid=b"7", sampled=b"true")).id == "b"


def test_json_content_types_of_data_are_accepted():
    for content_type in (b'"application/json"', b'"application/vnd.x+json; charset=utf-8"'):
        assert only(event(datacontenttype=content_type)).id == "b"


def test_null_is_an_absent_attribute():
    found = only(event(source=b"null", time=b"null", data=b"null", specversion=b"null"))
    assert found == Event(id="b", type="t", subject="s")


def test_blank_lines_and_carriage_returns_between_lines_are_no_items():
    body = b"\n\r\n" + GOOD + b"\r\n  \n\t\n" + FULL + b"\n\n"
    assert codes(body, Format.LINES) == [None, None]


def test_white_space_everywhere_changes_nothing():
    spaced = b' [ { "id" : "a" , "type"\t:\n"t", "subject" : "s" } ] '
    assert decode(spaced, Format.ARRAY).events == [only(GOOD)]
    assert is_clean(spaced)


def test_colons_and_braces_in_text_are_text():
    tricky = event(data=b'{"a":"x \\": {[ y","b":" :","c":"}\\n{"}')
    assert only(tricky).data == {"a": 'x ": {[ y', "b": " :", "c": "}\n{"}


def test_raw_gives_the_bytes_of_each_item():
    body = b"[ " + GOOD + b" ,\n" + FULL + b"]"
    decoded = decode(body, Format.ARRAY)
    assert [decoded.raw(0), decoded.raw(1)] == [GOOD, FULL]
    lines = decode(b"\n" + GOOD + b"\nnonsense\n" + FULL, Format.LINES)
    assert [lines.raw(i) for i in range(3)] == [GOOD, b"nonsense", FULL]


# --- what the quick path must leave to the careful one -------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        event(id=b'"b","id":"c"'),
        event(data=b'{"x":1,"x":1}'),
        event(data=b'{"a":{"x":1,"x":2}}'),
        event(data=b'{"a":[{"x":1,"\\u0078":2}]}'),
        event(data=b'{"x" :1,"x" :2}'),
        event(data=b'{"x"\n:1,"x"\t:2}'),
        event(extension=b'"1","extension":"2"'),
    ],
)
def test_a_member_named_twice_is_found_at_any_depth(body):
    assert codes(array(GOOD, body, GOOD)) == [None, "duplicate_key", None]
    assert codes(GOOD + b"\n" + body.replace(b"\n", b" "), Format.LINES) == [None, "duplicate_key"]


def test_a_missing_attribute_does_not_make_up_for_a_repeated_one():
    repeated = event(data=b'{"x":1,"x":2}', time=b"")
    full = event(data=b'{"x":1}', time=b'"2026-11-20T10:00:00Z"', source=b'"q"')
    assert codes(array(full, repeated)) == [None, "duplicate_key"]


def test_clean_batches_take_the_quick_path():
    nested = event(data=b'{"a":[1,{"b":{}}],"c":0.5}')
    assert is_clean(array(GOOD, FULL, nested))
    assert is_clean(GOOD + b"\n" + FULL, Format.LINES)
    assert is_clean(GOOD + b"\n" + FULL + b"\n", Format.LINES)


@pytest.mark.parametrize(
    "lines",
    [
        GOOD + GOOD,
        GOOD + GOOD + b'\n{\n"id":"c","type":"t","subject":"s"}',
        GOOD + b" " + GOOD,
        GOOD + b"," + GOOD,
        event(data=b'{"a":{}\n}') + GOOD,
        event(data=b'{"a":[1,\n{}]}') + GOOD,
    ],
)
def test_items_of_ndjson_are_lines_and_nothing_else(lines):
    assert not is_clean(lines, Format.LINES)
    assert "invalid_json" in codes(lines + b"\n" + GOOD, Format.LINES)


# --- single items refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "code"),
    [
        (event(id=b""), "invalid_event"),
        (event(type=b""), "invalid_event"),
        (event(subject=b""), "invalid_event"),
        (event(id=b'""'), "invalid_event"),
        (event(id=b"5"), "invalid_event"),
        (event(id=b'"%b"' % (b"x" * 513)), "invalid_event"),
        (event(type=b'"%b"' % (b"x" * 257)), "invalid_event"),
        (event(source=b'"%b"' % (b"x" * 513)), "invalid_event"),
        (event(source=b"{}"), "invalid_event"),
        (event(time=b"1700000000"), "invalid_event"),
        (event(specversion=b'"0.3"'), "invalid_event"),
        (event(specversion=b"1.0"), "invalid_event"),
        (event(data=b"[]"), "invalid_event"),
        (event(data=b'"{}"'), "invalid_event"),
        (event(data_base64=b'"e30="'), "invalid_event"),
        (event(datacontenttype=b'"text/xml"'), "invalid_event"),
        (event(datacontenttype=b"true"), "invalid_event"),
        (event(customerId=b'"x"'), "invalid_event"),
        (event(extension=b"{}"), "invalid_event"),
        (event(id=b'"a\\u0000"'), "invalid_event"),
        (event(subject=b'"a\\n"'), "invalid_event"),
        (event(type=b'"a\x7f"'), "invalid_event"),
        (event(source=b'"a\xc2\x85"'), "invalid_event"),
        (event(data=b'{"a":"\\ud800"}'), "invalid_json"),
        (event(data=b'{"a":"\xff"}'), "invalid_json"),
        (event(extension=b'"\xed\xa0\x80"'), "invalid_json"),
        (event(data=b'{"a":"\xc0\xaf"}'), "invalid_json"),
        (event(data=b'{"a":NaN}'), "invalid_event"),
        (event(data=b'{"a":[-Infinity]}'), "invalid_event"),
        (event(data=b'{"a":1E400}'), "invalid_event"),
        (event(data=b'{"a":1e-101}'), "invalid_event"),
        (event(data=b'{"a":0e999999999}'), "invalid_event"),
        (event(data=b'{"a":' + b"9" * 101 + b"}"), "invalid_event"),
        (event(data=b'{"a":' + b"9" * 5000 + b',"b":1}'), "invalid_event"),
        (event(data=b'{"a":0.' + b"1" * 99 + b"}"), "invalid_event"),
        (event(data=b'{"a":%b}' % (b"[" * 31 + b"]" * 31)), "too_deep"),
        (event(data=b'{"a":"%b"}' % (b"x" * MAX_EVENT_BYTES)), "event_too_large"),
        (b"null", "invalid_event"),
        (b"[]", "invalid_event"),
        (b"17", "invalid_event"),
    ],
)
def test_a_refused_item_leaves_its_neighbours_alone(item, code):
    assert codes(array(GOOD, item, FULL)) == [None, code, None]
    if b"\n" not in item:
        assert codes(b"\n".join((GOOD, item, FULL)), Format.LINES) == [None, code, None]


def test_a_refused_item_is_reported_with_its_id_and_its_bytes():
    bad = event(time=b"5")
    decoded = decode(array(GOOD, bad), Format.ARRAY)
    [rejection] = decoded.rejections
    assert (rejection.index, rejection.id, rejection.code) == (1, "b", "invalid_event")
    assert "time" in rejection.detail
    assert decoded.raw(1) == bad
    assert (decoded.rejected, len(decoded.events)) == (1, 1)


@pytest.mark.parametrize("line", [b'{"id":', b"\x00", GOOD + b"\x00", b"\x0c" + GOOD, b"]", b'"'])
def test_a_line_that_is_not_json_is_refused_alone(line):
    assert codes(b"\n".join((GOOD, line, FULL)), Format.LINES) == [None, "invalid_json", None]


def test_numbers_at_the_limits_are_kept():
    longest = b"9" * 100
    found = only(event(data=b'{"a":%b,"b":1e100,"c":1e-100,"d":-1E+100}' % longest))
    assert found.data["a"] == int(longest)
    assert found.data["b"] == 10**100 == -found.data["d"]
    assert found.data["c"] == Decimal("1e-100")


def test_depth_at_the_limit_is_kept_on_both_paths():
    data = b'{"a":%b}' % (b"[" * (MAX_DEPTH - 2) + b"]" * (MAX_DEPTH - 2))
    assert is_clean(event(data=data), Format.OBJECT)
    assert codes(event(data=data, extension=b'"x"'), Format.OBJECT) == [None]


@pytest.mark.parametrize("filler", [b'"%b"', b'[{"x":"%b"}]'])
def test_event_size_is_measured_in_large_batches_too(filler):
    overhead = len(event(data=b'{"a":%b}' % (filler % b"")))
    fits = event(data=b'{"a":%b}' % (filler % (b"x" * (MAX_EVENT_BYTES - overhead))))
    over = event(data=b'{"a":%b}' % (filler % (b"x" * (MAX_EVENT_BYTES - overhead + 1))))
    assert len(fits) == MAX_EVENT_BYTES
    assert codes(array(GOOD, fits, GOOD)) == [None, None, None]
    assert codes(array(GOOD, over, GOOD)) == [None, "event_too_large", None]


def test_a_large_batch_of_small_events_takes_the_quick_path():
    body = array(*[FULL] * (MAX_EVENT_BYTES // len(FULL) + 100))
    assert len(body) > MAX_EVENT_BYTES
    assert is_clean(body)


# --- whole bodies refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "form", "code"),
    [
        (b"", Format.OBJECT, "empty_body"),
        (b" \r\n\t", Format.ARRAY, "empty_body"),
        (b"\n\n", Format.LINES, "empty_body"),
        (b"[]", Format.ARRAY, "empty_body"),
        (b" [ ] ", Format.ARRAY, "empty_body"),
        (b"nonsense", Format.OBJECT, "invalid_json"),
        (b"nonsense", Format.LINES, "invalid_json"),
        (b"[", Format.ARRAY, "invalid_json"),
        (array(GOOD)[:-1], Format.ARRAY, "invalid_json"),
        (array(GOOD) + b"]", Format.ARRAY, "invalid_json"),
        (array(GOOD, b""), Format.ARRAY, "invalid_json"),
        (array(GOOD, b'{"a":}'), Format.ARRAY, "invalid_json"),
        (array(GOOD, b'{"a":1]'), Format.ARRAY, "invalid_json"),
        (array(GOOD + b"],[" + GOOD), Format.ARRAY, "invalid_json"),
        (b'["' + GOOD + b"]", Format.ARRAY, "invalid_json"),
        (GOOD + GOOD, Format.OBJECT, "invalid_json"),
        (b"\xef\xbb\xbf" + GOOD, Format.OBJECT, "invalid_json"),
        (GOOD.decode().encode("utf-16"), Format.OBJECT, "invalid_json"),
        (b"5", Format.OBJECT, "invalid_event"),
        (b"[1,2]", Format.ARRAY, "invalid_event"),
        (b'{"hello":"world"}', Format.OBJECT, "invalid_event"),
        (event(time=b"5"), Format.OBJECT, "invalid_event"),
        (event(data=b'{"x":1,"x":2}'), Format.OBJECT, "duplicate_key"),
        (event(data=b'{"a":"%b"}' % (b"x" * MAX_EVENT_BYTES)), Format.OBJECT, "event_too_large"),
        (b"[" * 100_000 + b"]" * 100_000, Format.ARRAY, "too_deep"),
    ],
)
def test_a_body_without_any_event_is_refused_as_a_whole(body, form, code):
    with pytest.raises(Rejected) as caught:
        decode(body, form)
    assert caught.value.code == code


@pytest.mark.parametrize("item", [GOOD, b"0", b"{", event(extension=b"1")])
def test_too_many_events_are_refused_as_a_whole(item):
    with pytest.raises(TooLarge) as caught:
        decode(b"\n".join([item] * (MAX_BATCH_EVENTS + 1)), Format.LINES)
    assert caught.value.code == "batch_too_large"


def test_as_many_events_as_the_limit_are_taken():
    assert len(decode(array(*[GOOD] * MAX_BATCH_EVENTS), Format.ARRAY).events) == MAX_BATCH_EVENTS


# --- hostile bodies -------------------------------------------------------------------------------

_HOSTILE = {
    "deep arrays": (b"[" * (MAX_BODY_BYTES // 2) + b"]" * (MAX_BODY_BYTES // 2), Format.ARRAY),
    "open brackets": (b"[" * MAX_BODY_BYTES, Format.ARRAY),
    "deep objects": (b'{"a":' * (MAX_BODY_BYTES // 5), Format.OBJECT),
    "digits": (array(event(data=b'{"a":%b}' % (b"9" * (MAX_BODY_BYTES - 99)))), Format.ARRAY),
    "99 digits": (
        array(*[event(data=b'{"a":[%b]}' % b",".join([b"9" * 99] * 2000))] * 40),
        Format.ARRAY,
    ),
    "exponents": (
        array(*[event(data=b'{"a":[%b]}' % b",".join([b"1e999999999"] * 9000))] * 70),
        Format.ARRAY,
    ),
    "blank lines": (b"\n" * (MAX_BODY_BYTES - len(GOOD)) + GOOD, Format.LINES),
    "quotes": (b'"' * MAX_BODY_BYTES, Format.LINES),
    "commas": (b"[" + b"," * (MAX_BODY_BYTES - 2) + b"]", Format.ARRAY),
    "members": (
        event(data=b"{%b}" % b",".join(b'"%d":0' % i for i in range(600_000))),
        Format.OBJECT,
    ),
    "backslashes": (array(event(data=b'{"a":"%b"}' % (b"\\" * 2_000_000))), Format.ARRAY),
    "bad bytes": (b"\xff" * MAX_BODY_BYTES, Format.LINES),
}


@pytest.mark.parametrize("name", _HOSTILE)
def test_hostile_bodies_cost_bounded_time(name):
    body, form = _HOSTILE[name]
    decode(GOOD, Format.OBJECT)  # compiled before the clock runs
    started = time.process_time()
    with contextlib.suppress(Rejected):
        assert all(isinstance(item, Rejection | Event) for item in decode(body, form).items)
    assert time.process_time() - started < 1.5


def test_a_repeat_of_the_same_body_decodes_the_same():
    body = array(GOOD, event(time=b"5"), FULL)
    assert msgspec.json.encode(decode(body, Format.ARRAY).items) == msgspec.json.encode(
        decode(body, Format.ARRAY).items
    )
