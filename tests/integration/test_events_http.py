"""Events over HTTP, from the first byte to the answers they change."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import zstandard
from tests.integration.scene import CATALOG, Scene, event
from tests.serving import Reply, Served, serve


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("events")) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def far_ahead(server: Served) -> Iterator[Future[Reply]]:
    """Asks at once for a position that is never reached; the answer takes its time."""
    scene = Scene(server)
    scene.publish()
    with ThreadPoolExecutor(1) as pool:
        query = {"position": "0:999999999999", "timeout_s": 30}
        yield pool.submit(scene.raw, "GET", "/v1/meters/tokens/usage", **query)


@pytest.fixture
def scene(server: Served) -> Scene:
    return Scene(server).open()


def at(**ago: float) -> str:
    """An instant some time ago, as RFC 3339."""
    return (datetime.now(UTC) - timedelta(**ago)).isoformat().replace("+00:00", "Z")


def long_ago() -> dict[str, str]:
    """A span that holds everything."""
    return {"from_": "1990-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}


# --- shapes -----------------------------------------------------------------------------------


def test_one_object_is_accepted_and_its_position_given(scene: Scene) -> None:
    answer = scene.send(event("1", 5))
    assert answer.pop("position").startswith("0:")
    assert answer == {
        "received": 1, "accepted": 1, "duplicates": 0, "conflicts": 0, "rejected": 0, "errors": [],
    }  # fmt: skip
    assert scene.used() == "5"


SHAPES = {
    "array": ("application/json", lambda events: json.dumps(events)),
    "ndjson": ("application/x-ndjson", lambda events: "\n".join(map(json.dumps, events))),
    "ndjson with a final newline": (
        "application/x-ndjson",
        lambda events: "".join(json.dumps(one) + "\n" for one in events),
    ),
    "batch": ("application/cloudevents-batch+json; charset=utf-8", lambda e: json.dumps(e)),
    "structured": ("application/cloudevents+json", lambda events: json.dumps(events)),
}
ENCODINGS = {
    "": lambda body: body,
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_and_encoding_counts_the_same(scene: Scene, shape: str, encoding: str) -> None:
    content_type, write = SHAPES[shape]
    events = [event(str(n), n, specversion="1.0") for n in range(1, 4)]
    headers = {"Content-Type": content_type}
    if encoding:
        headers["Content-Encoding"] = encoding
    body = ENCODINGS[encoding](write(events).encode())
    answer = scene.ask("POST", "/v1/events", body, headers)
    assert (answer["received"], answer["accepted"]) == (3, 3)
    assert scene.used() == "6"


def test_binary_mode_takes_attributes_from_headers_and_data_from_the_body(scene: Scene) -> None:
    headers = {
        "ce-specversion": "1.0",
        "ce-id": "b%20one",
        "ce-source": "gateway",
        "ce-type": "llm.request",
        "ce-subject": "acme",
        "ce-time": at(minutes=1),
    }
    answer = scene.ask("POST", "/v1/events", b'{"tokens": 2.50}', headers)
    assert answer["accepted"] == 1
    found = scene.ask("GET", "/v1/events/receipt", source="gateway", id="b one")
    assert found["event"]["data"] == {"tokens": 2.5}
    assert scene.used() == "2.5"


def test_openmeter_clients_get_204_and_nothing_else(scene: Scene) -> None:
    headers = {"Content-Type": "application/cloudevents+json"}
    body = json.dumps(event("1", 7, specversion="1.0", source="sdk")).encode()
    reply = scene.raw("POST", "/api/v1/events", body, headers)
    assert (reply.status, reply.body) == (204, b"")
    assert scene.used() == "7"


def test_receipts_say_of_each_item_what_became_of_it_and_where(scene: Scene) -> None:
    first = scene.send(event("a", 1))["position"]
    batch = [event("a", 1), event("b", 2), event("a", 9), event("c", "many"), {"id": "d"}]
    answer = scene.send(batch, receipts=1)
    receipts = answer["receipts"]
    verdicts = ["duplicate", "accepted", "conflict", "rejected", "rejected"]
    assert [(r["index"], r["status"]) for r in receipts] == list(enumerate(verdicts))
    assert receipts[0]["position"] == receipts[2]["position"] == first
    assert receipts[1]["position"] == answer["position"]
    assert receipts[3]["position"] is None
    counts = [answer[name] for name in ("received", "accepted", "duplicates")]
    assert counts == [5, 1, 1]
    assert (answer["conflicts"], answer["rejected"]) == (1, 2)
    shown = [(error["index"], error["id"], error["code"]) for error in answer["errors"]]
    assert shown == [
        (2, "a", "event_conflict"), (3, "c", "invalid_quantity"), (4, "d", "invalid_event"),
    ]  # fmt: skip
    assert "receipts" not in scene.send(event("z", 1))


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"not json", "application/json", 400, "invalid_json"),
        (b"", "application/json", 400, "empty_body"),
        (b"[]", "application/json", 400, "empty_body"),
        (b"17", "application/json", 400, "invalid_event"),
        (b'{"id":"1"}', "application/json", 400, "invalid_event"),
        (b"<event/>", "application/xml", 415, "unsupported_media_type"),
        (b'{"id":"1","id":"2","type":"t","subject":"s"}', "application/json", 400, "duplicate_key"),
    ],
)
def test_a_body_without_any_event_is_refused_as_a_whole(
    scene: Scene, body: bytes, content_type: str, status: int, code: str
) -> None:
    before = scene.status()["events"]
    problem = scene.ask("POST", "/v1/events", body, {"Content-Type": content_type}, status=status)
    assert problem["code"] == code
    assert scene.status()["events"] == before


def test_a_damaged_compressed_body_is_refused(scene: Scene) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    body = gzip.compress(json.dumps(event("1")).encode())[:-3]
    assert scene.raw("POST", "/v1/events", body, headers).status == 400


def test_more_than_ten_thousand_events_are_too_many(scene: Scene) -> None:
    problem = scene.send([event(str(n)) for n in range(10_001)], status=413)
    assert problem["code"] == "batch_too_large"
    assert scene.send([event(str(n)) for n in range(10_000)])["accepted"] == 10_000


def test_text_that_is_no_unicode_gets_an_answer(scene: Scene) -> None:
    """A lone surrogate can be written in JSON and in no UTF-8."""
    body = b'[{"id":"\\ud800","type":"t","subject":"s"},{"id":"1","type":"t","subject":"s"}]'
    headers = {"Content-Type": "application/json"}
    reply = scene.raw("POST", "/v1/events", body, headers, timeout_s=30)
    assert reply.status in (200, 400)
    reply = scene.raw(
        "POST", "/v1/events", b'{"id":"2","type":"\\ud800","subject":"s"}', headers, timeout_s=30
    )
    assert reply.status in (200, 400)


# --- identity (K11) ---------------------------------------------------------------------------


def test_the_same_content_in_another_spelling_is_a_duplicate(scene: Scene) -> None:
    when = (datetime.now(UTC) - timedelta(seconds=2)).replace(microsecond=500_000)
    utc = when.strftime("%Y-%m-%dT%H:%M:%S")
    berlin = (when + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%S")
    first = (
        f'{{"id":"x","type":"llm.request","subject":"acme","time":"{utc}.5Z",'
        '"data":{"tokens":1,"model":"opus"}}'
    )
    again = (
        '{ "data": {"model":"op\\u0075s","tokens":1.0e0}, "subject":"acme", "source":"",'
        f'"time":"{berlin}.500000+02:00","type":"llm.request","specversion":"1.0","id":"x"}}'
    )
    headers = {"Content-Type": "application/json"}
    assert scene.ask("POST", "/v1/events", first.encode(), headers)["accepted"] == 1
    assert scene.ask("POST", "/v1/events", again.encode(), headers)["duplicates"] == 1
    assert scene.used() == "1"


def test_identity_is_byte_exact_in_source_and_id(scene: Scene) -> None:
    names = ["é", "e\u0301", "A", "a", "a ", "ａ"]
    events = [event(name, 1, source=source) for name in names for source in ("", "S", "s")]
    answer = scene.send(events)
    assert answer["accepted"] == len(events)
    assert scene.send(list(reversed(events)))["duplicates"] == len(events)
    assert scene.used() == str(len(events))


@pytest.mark.parametrize(
    "other",
    [
        {"data": {"tokens": 2}},
        {"subject": "user-9"},
        {"type": "image.created"},
        {"time": "2999-01-01T00:00:00Z"},
        {"data": {"tokens": 1, "model": None}},
    ],
)
def test_the_same_identity_with_other_content_conflicts_and_hurts_no_neighbour(
    scene: Scene, other: dict[str, Any]
) -> None:
    scene.send(event("1", 1))
    answer = scene.send([event("2", 10), event("1", 1, **other), event("3", 100)])
    assert answer["accepted"] == 2
    if "time" in other:
        assert answer["errors"][0]["code"] == "timestamp_in_future"
    else:
        assert (answer["conflicts"], answer["errors"][0]["code"]) == (1, "event_conflict")
    assert scene.used() == scene.check()["used"] == "111"


def test_repeats_within_one_batch_are_decided_in_its_order(scene: Scene) -> None:
    answer = scene.send([event("1", 1), event("1", 1), event("1", 2)], receipts=1)
    assert [r["status"] for r in answer["receipts"]] == ["accepted", "duplicate", "conflict"]
    assert scene.used() == "1"


# --- acceptance window (K16) ------------------------------------------------------------------


def test_events_outside_of_the_window_are_rejected_one_by_one(scene: Scene) -> None:
    answer = scene.send(
        [
            event("old", 1, time=at(days=91)),
            event("young", 10, time=at(days=89)),
            event("soon", 100, time=at(minutes=-4)),
            event("future", 1000, time=at(minutes=-6)),
            event("local", 10_000, time="2026-11-20T10:00:00"),
            event("leap", 100_000, time="2016-12-31T23:59:60Z"),
        ]
    )
    codes = {error["id"]: error["code"] for error in answer["errors"]}
    assert codes == {
        "old": "timestamp_too_old",
        "future": "timestamp_in_future",
        "local": "invalid_timestamp",
        "leap": "timestamp_too_old",
    }
    assert scene.used(**long_ago()) == "110"


def test_a_backfill_lifts_the_past_bound_only_and_needs_the_right_to_write(scene: Scene) -> None:
    events = [event("old", 1, time="2016-12-31T23:59:60Z"), event("f", 1, time=at(minutes=-6))]
    answer = scene.send(events, backfill=1)
    assert (answer["accepted"], answer["errors"][0]["code"]) == (1, "timestamp_in_future")
    spans = {"from_": "2016-12-31T23:59:59.999999Z", "to": "2017-01-01T00:00:00Z"}
    assert scene.used(**spans) == "1"
    ingest_only = scene.new_key("ingest")
    problem = scene.ask("POST", "/v1/events", events, status=403, key=ingest_only, backfill=1)
    assert problem["code"] == "insufficient_scope"


def test_an_event_without_a_time_happened_when_it_was_received(scene: Scene) -> None:
    scene.send(event("1", 1))
    (item,) = scene.ask("GET", "/v1/events")["items"]
    assert item["time"] == item["received_at"] == item["event"]["time"]
    assert scene.send(event("1", 1))["duplicates"] == 1


# --- subjects ---------------------------------------------------------------------------------


def test_events_of_an_unknown_subject_count_in_the_answer_after_it_is_claimed(
    scene: Scene,
) -> None:
    answer = scene.send([event("1", 40, subject="user-7"), event("2", 2, subject="user-8")])
    assert answer["accepted"] == 2
    assert scene.status()["unmatched"] == {
        "subjects": 2, "events": 2, "first": ["user-7", "user-8"],
    }  # fmt: skip
    receipt = scene.ask("GET", "/v1/events/receipt", id="1")
    assert (receipt["status"], receipt["customer"]) == ("unmatched", None)
    assert scene.used(customer="acme") == "0"
    scene.customer(subjects=["user-7"])
    assert scene.check()["used"] == "40"
    assert scene.preview()["subtotal"] == "0.40"
    assert scene.used(customer="acme") == "40"
    assert scene.ask("GET", "/v1/events/receipt", id="1")["customer"] == "acme"
    assert scene.status()["unmatched"] == {"subjects": 1, "events": 1, "first": ["user-8"]}
    scene.send(event("3", 1, subject="user-7"))
    assert scene.check()["used"] == "41"


def test_a_customer_that_comes_after_its_events_has_them(scene: Scene) -> None:
    scene.send([event("1", 3, subject="late"), event("2", 4, subject="late-user")])
    scene.customer("late", subjects=["late-user"])
    scene.subscribe("late", start=at(days=1))
    assert scene.check(customer="late")["used"] == "7"
    assert scene.check(customer="late-user")["used"] == "7"
    assert scene.preview("late")["subtotal"] == "0.07"


def test_a_subject_belongs_to_one_customer_at_a_time(scene: Scene) -> None:
    scene.customer(subjects=["shared"])
    problem = scene.ask("PUT", "/v1/customers/other", {"subjects": ["shared"]}, status=409)
    assert problem["code"] == "subject_taken"
    assert scene.raw("GET", "/v1/customers/other").status == 404


def test_a_subject_given_up_takes_its_history_to_the_next_customer(scene: Scene) -> None:
    scene.customer(subjects=["roamer"])
    scene.customer("other")
    scene.subscribe("other", start=at(days=1))
    scene.send([event("1", 5, subject="roamer"), event("2", 1), event("3", 2, subject="roamer")])
    assert scene.check()["used"] == "8"
    scene.customer(subjects=[])
    assert scene.check()["used"] == "1"
    assert scene.status()["unmatched"] == {"subjects": 1, "events": 2, "first": ["roamer"]}
    scene.customer("other", subjects=["roamer"])
    assert scene.check(customer="other")["used"] == "7"
    assert scene.used(customer="other") == "7"
    assert scene.status()["unmatched"]["subjects"] == 0


# --- dead letters -----------------------------------------------------------------------------


@pytest.fixture
def metering(server: Served) -> Scene:
    """Only meters, which may change without anybody's bill depending on them."""
    scene = Scene(server)
    scene.publish({"meters": CATALOG["meters"]})
    scene.customer()
    return scene


COUNTING = {"meters": {"tokens": CATALOG["meters"]["requests"]}}


def test_rejected_items_are_kept_and_count_after_the_fix(metering: Scene) -> None:
    scene = metering
    scene.send([event("1", "many"), event("2", 5), event("3", 7, time=at(days=100)), {"id": "4"}])
    letters = scene.ask("GET", "/v1/dead-letters")["items"]
    assert [(letter["event_id"], letter["code"]) for letter in letters] == [
        ("1", "invalid_quantity"), ("3", "timestamp_too_old"), ("4", "invalid_event"),
    ]  # fmt: skip
    assert json.loads(letters[0]["body"]) == event("1", "many")
    unchanged = scene.ask("POST", "/v1/dead-letters/replay", {"code": "invalid_quantity"})
    assert unchanged == {"tried": 1, "accepted": 0, "duplicates": 0, "failed": 1, "next": None}
    scene.publish(COUNTING)
    replayed = scene.ask("POST", "/v1/dead-letters/replay")
    assert replayed == {"tried": 3, "accepted": 2, "duplicates": 0, "failed": 1, "next": None}
    assert scene.used(**long_ago()) == "3"
    (left,) = scene.ask("GET", "/v1/dead-letters", pending=1)["items"]
    assert (left["event_id"], left["replayed_at"]) == ("4", None)
    assert scene.ask("POST", "/v1/dead-letters/replay")["tried"] == 1
    assert scene.used(**long_ago()) == "3"
    assert scene.status()["events"]["balanced"]


def test_a_replayed_event_without_a_time_happened_when_it_was_first_received(
    metering: Scene,
) -> None:
    scene = metering
    scene.send([event("1", "many"), event("2", 1)])
    (letter,) = scene.ask("GET", "/v1/dead-letters")["items"]
    scene.publish(COUNTING)
    assert scene.ask("POST", "/v1/dead-letters/replay")["accepted"] == 1
    receipt = scene.ask("GET", "/v1/events/receipt", id="1")
    assert receipt["event"]["time"] == letter["received_at"]


def test_an_event_from_the_future_can_be_replayed_when_its_time_has_come(tmp_path: Path) -> None:
    with serve(tmp_path, "--sandbox") as server:
        scene = Scene(server)
        scene.set_clock("2026-11-20T12:00:00Z")
        scene.publish({"meters": CATALOG["meters"]})
        assert scene.send([event("1", 5, time="2026-11-20T13:00:00Z"), event("2")])["rejected"] == 1
        assert scene.ask("POST", "/v1/dead-letters/replay")["failed"] == 1
        scene.set_clock("2026-11-20T13:00:00Z")
        assert scene.ask("POST", "/v1/dead-letters/replay")["accepted"] == 1


def test_hopeless_dead_letters_do_not_stand_in_the_way_of_later_ones(scene: Scene) -> None:
    hopeless = [{"id": f"h{n}", "no": "event"} for n in range(3)]
    scene.send([*hopeless, event("1", 5, time=at(days=100)), event("ok")])
    first = scene.ask("POST", "/v1/dead-letters/replay", {"limit": 3})
    assert (first["tried"], first["failed"]) == (3, 3)
    second = scene.ask("POST", "/v1/dead-letters/replay", {"limit": 3, "after": first["next"]})
    assert second == {"tried": 1, "accepted": 1, "duplicates": 0, "failed": 0, "next": None}
    by_code = {"limit": 1, "code": "timestamp_too_old"}
    scene.send([*hopeless, event("2", 5, time=at(days=100)), event("ok")])
    assert scene.ask("POST", "/v1/dead-letters/replay", by_code)["accepted"] == 1


# --- read your own write ----------------------------------------------------------------------


def test_everything_reflects_an_event_right_after_its_acknowledgement(scene: Scene) -> None:
    for n in range(1, 30):
        position = scene.send(event(str(n), 1))["position"]
        check = scene.check()
        assert (check["used"], check["as_of"]["position"]) == (str(n), position)
        usage = scene.usage()
        assert usage["items"][0]["value"] == str(n)
        assert usage["as_of"]["position"] == position
        assert scene.preview()["lines"][0]["quantity"] == str(n)
        newest = scene.ask("GET", "/v1/events", limit=1)["items"][0]
        assert (newest["event"]["id"], newest["position"]) == (str(n), position)


def test_a_read_can_ask_for_a_position_and_waits_for_it(scene: Scene) -> None:
    position = scene.send(event("1", 1))["position"]
    assert scene.usage(position=position)["items"][0]["value"] == "1"
    assert scene.ask("GET", "/v1/events", position=position)["items"]
    for wrong in ("5", "1:5", "0:x", "0:-1"):
        problem = scene.ask("GET", "/v1/events", position=wrong, status=422)
        assert problem["code"] == "invalid_parameter"


# --- finding ----------------------------------------------------------------------------------


def test_events_are_found_by_customer_type_and_time_newest_first(scene: Scene) -> None:
    scene.customer("other")
    scene.customer(subjects=["user-1"])
    scene.send(
        [
            event("1", time=at(hours=3)),
            event("2", time=at(hours=2), subject="user-1"),
            event("3", time=at(hours=1), subject="other"),
            event("4", time=at(hours=1), type="image.created"),
            event("5", time=at(hours=4)),
        ]
    )

    def ids(**query: Any) -> list[str]:
        return [i["event"]["id"] for i in scene.ask("GET", "/v1/events", **query)["items"]]

    assert ids() == ["5", "4", "3", "2", "1"]
    assert ids(customer="acme") == ["5", "4", "2", "1"]
    assert ids(type="image.created") == ["4"]
    assert ids(customer="acme", type="llm.request") == ["5", "2", "1"]
    assert ids(from_=at(hours=2.5)) == ["4", "3", "2"]
    assert ids(from_=at(hours=3.5), to=at(hours=1.5)) == ["2", "1"]
    assert scene.raw("GET", "/v1/events", customer="nobody").status == 404


def test_pages_of_events_cover_everything_once(scene: Scene) -> None:
    scene.send([event(str(n)) for n in range(25)])
    seen: list[str] = []
    cursor = None
    while True:
        page = scene.ask("GET", "/v1/events", limit=10, cursor=cursor)
        seen += [item["event"]["id"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
        scene.send(event(f"later-{cursor}"))  # does not disturb the pages that follow
    assert seen == [str(n) for n in reversed(range(25))]
    assert scene.ask("GET", "/v1/events", limit=0, status=422)["code"] == "invalid_parameter"
    assert scene.raw("GET", "/v1/events", cursor="abc").status == 422
    assert scene.raw("GET", "/v1/events", colour="red").status == 422


def test_numbers_come_back_exactly_as_they_were_sent(scene: Scene) -> None:
    body = (
        b'{"id":"1","type":"llm.request","subject":"acme",'
        b'"data":{"tokens":0.1,"big":12345678901234567890123456,"fine":0.000000000001}}'
    )
    scene.ask("POST", "/v1/events", body)
    found = scene.raw("GET", "/v1/events/receipt", id="1").text
    data = json.loads(found, parse_float=Decimal)["event"]["data"]
    assert data["big"] == 12345678901234567890123456
    assert data["fine"] == Decimal("0.000000000001")
    assert data["tokens"] == Decimal("0.1")


def test_a_receipt_names_the_meters_that_counted_and_the_lines_that_billed(
    tmp_path: Path,
) -> None:
    with serve(tmp_path, "--sandbox") as server:
        scene = Scene(server)
        scene.set_clock("2026-11-20T12:00:00Z")
        scene.open(start="2026-11-01T00:00:00Z")
        scene.send([event("1", 5, source="s"), event("2", 1, type="other")])
        receipt = scene.ask("GET", "/v1/events/receipt", source="s", id="1")
        assert receipt["status"] == "accepted"
        assert (receipt["meters"], receipt["lines"]) == (["requests", "tokens"], [])
        assert receipt["event"]["data"] == {"tokens": 5}
        assert scene.ask("GET", "/v1/events/receipt", id="2")["meters"] == []
        scene.set_clock("2026-12-01T00:00:00Z")
        (invoice,) = scene.close()
        receipt = scene.ask("GET", "/v1/events/receipt", source="s", id="1")
        assert receipt["lines"] == [{"invoice": invoice["id"], "line": "line_1"}]
        scene.ask("POST", f"/v1/invoices/{invoice['id']}/void", {"reason": "test"})
        assert scene.ask("GET", "/v1/events/receipt", source="s", id="1")["lines"] == []
        assert scene.raw("GET", "/v1/events/receipt", source="s", id="9").status == 404
        assert scene.raw("GET", "/v1/events/receipt", source="", id="1").status == 404
        assert scene.raw("GET", "/v1/events/receipt").status == 422


def test_usage_by_window_group_and_filter_adds_up(scene: Scene) -> None:
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=2)
    events = [
        event(
            f"{hour}-{n}",
            1 + n,
            time=(day + timedelta(hours=hour, minutes=n)).isoformat().replace("+00:00", "Z"),
            data={"tokens": 1 + n, "model": "opus" if n % 2 else "haiku"},
        )
        for hour in (0, 5, 23)
        for n in range(4)
    ]
    scene.send(events)
    span = {
        "from_": day.isoformat().replace("+00:00", "Z"),
        "to": (day + timedelta(days=1)).isoformat().replace("+00:00", "Z"),
    }
    hours = scene.usage(window="hour", **span)["items"]
    assert [(item["start"][11:13], item["value"]) for item in hours] == [
        ("00", "10"), ("05", "10"), ("23", "10"),
    ]  # fmt: skip
    groups = scene.usage(group_by="model", **span)["items"]
    values = {item["group"]["model"]: item["value"] for item in groups}
    assert values == {"haiku": "12", "opus": "18"}
    assert scene.used(filter='data.model == "opus"', **span) == "18"
    assert scene.raw("GET", "/v1/meters/tokens/usage", filter="data.", **span).status == 422
    assert scene.raw("GET", "/v1/meters/nothing/usage").status == 404
    assert scene.raw("GET", "/v1/meters/tokens/usage", group_by="colour").status == 422


def test_a_position_that_is_not_reached_in_time_is_said_so(far_ahead: Future[Reply]) -> None:
    reply = far_ahead.result()
    assert (reply.status, reply.json()["code"]) == (503, "position_not_reached")
    assert int(reply.headers["retry-after"]) >= 1
