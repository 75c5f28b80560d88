"""Every kind of meter through a running server: usage, live fare, closed invoice and gate agree."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from tests.integration.scene import Scene
from tests.serving import Served, serve

NOW = "2026-11-20T12:00:00Z"
METERS: dict[str, Any] = {
    "p95": {"event_type": "call", "aggregation": "percentile", "percentile": 95},
    "storage": {"event_type": "disk", "aggregation": "weighted_sum", "value": "data.gb",
                "series": "data.volume", "dimensions": {"region": "data.region"}},
    "seats": {"event_type": "seat", "aggregation": "weighted_sum", "value": "data.change",
              "mode": "delta", "per": "day"},
    "talking": {"event_type": "call", "aggregation": "session", "value": "data.call",
                "stop": "data.over == true", "timeout_s": 600, "per": "minute"},
    "lines": {"event_type": "call", "aggregation": "concurrency", "value": "data.call",
              "stop": "data.over == true", "timeout_s": 600},
    "weighted_tokens": {"event_type": "llm", "aggregation": "sum",
                        "value": "data.input + 4 * default(data.output, 0)"},
    "items": {"event_type": "order", "aggregation": "sum", "value": "data.items[].n"},
    "people": {"event_type": "call", "aggregation": "unique", "value": "data.who",
               "precision": "sketch"},
}  # fmt: skip
METERS["p95"]["value"] = "data.ms"
BILLED = ("p95", "storage", "seats", "talking", "lines", "weighted_tokens", "items")
CATALOG: dict[str, Any] = {
    "meters": METERS,
    "features": {
        "disk": {"type": "metered", "meter": "storage"},
        "lines": {"type": "metered", "meter": "lines"},
    },
    "plans": {
        "pro": {
            "currency": "USD",
            "entitlements": {
                "disk": {"limit": 1000, "enforcement": "hard", "reset": "period"},
                "lines": {"limit": 2, "enforcement": "hard", "reset": "period"},
            },
            "prices": {
                key: {"type": "per_unit", "meter": key, "unit": "0.01"}
                | ({"group_by": ["region"]} if key == "storage" else {})
                for key in BILLED
            },
        }
    },
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("meters"), "--sandbox") as running:
        yield running


@pytest.fixture
def scene(server: Served) -> Scene:
    scene = Scene(server)
    scene.set_clock(NOW)
    return scene.open(CATALOG, start="2026-10-01T00:00:00Z")


_ids = iter(range(10**6))


def happened(kind: str, time: str, **data: Any) -> dict[str, Any]:
    return {"id": str(next(_ids)), "type": kind, "subject": "acme", "time": time, "data": data}


def fare(scene: Scene, **query: Any) -> dict[str, Decimal]:
    """Quantity of each line of the running fare; grouped lines by key and group."""
    lines = scene.preview(**query)["lines"]
    return {
        line["meter"] + "".join(f"/{v}" for v in line["group"].values()): Decimal(line["quantity"])
        for line in lines
    }


EVENTS = [
    happened("disk", "2026-09-10T00:00:00Z", gb=2, volume="a", region="eu"),
    happened("disk", "2026-11-10T00:00:00Z", gb=5, volume="a", region="eu"),
    happened("disk", "2026-11-20T00:00:00Z", gb=1, volume="b", region="us"),
    happened("seat", "2026-10-15T00:00:00Z", change=3),
    happened("seat", "2026-11-11T00:00:00Z", change=-1),
    happened("call", "2026-11-20T10:00:00Z", call="x", ms=10, who="u1"),
    happened("call", "2026-11-20T10:05:00Z", call="x", ms=20, who="u1"),
    happened("call", "2026-11-20T10:06:00Z", call="y", ms="30.5", who="u2"),
    happened("call", "2026-11-20T10:09:00Z", call="x", ms=40, over=True),
    happened("llm", "2026-11-20T10:00:00Z", input=100, output=25),
    happened("llm", "2026-11-20T10:00:01Z", input="0.5"),
    happened("llm", "2026-11-20T10:00:02Z", output=7),
    happened("order", "2026-11-20T10:00:00Z", items=[{"n": 2}, {"n": "3.5"}, {}]),
]
DISK_EU = Decimal(2 * 9 * 24 + 5 * 10 * 24 + 5 * 12)
EXPECTED = {
    "p95": Decimal(40),
    "storage/eu": DISK_EU,
    "storage/us": Decimal(12),
    "seats": Decimal(3 * 10 + 2 * 9) + Decimal(2) * 12 / 24,
    "talking": Decimal(9 + 10),
    "lines": Decimal(2),
    "weighted_tokens": Decimal("200.5"),
    "items": Decimal("5.5"),
}


def test_usage_and_both_ways_to_the_running_fare_agree(scene: Scene) -> None:
    answer = scene.send(EVENTS)
    assert answer["accepted"] == len(EVENTS), answer
    assert fare(scene) == EXPECTED
    assert fare(scene, at=NOW) == EXPECTED
    for key in BILLED:
        group_by = "region" if key == "storage" else None
        items = scene.usage(key, customer="acme", group_by=group_by)["items"]
        found = {"/".join([key, *item["group"].values()]): Decimal(item["value"]) for item in items}
        assert found == {k: v for k, v in EXPECTED.items() if k.split("/")[0] == key}


def test_time_passes_for_levels_and_for_nothing_else(scene: Scene) -> None:
    scene.send(EVENTS)
    scene.set_clock("2026-11-20T14:00:00Z")
    later = EXPECTED | {
        "storage/eu": DISK_EU + 10,
        "storage/us": Decimal(14),
        "seats": EXPECTED["seats"] + Decimal(2) * 2 / 24,
    }
    for found in (fare(scene), fare(scene, at="2026-11-20T14:00:00Z")):
        assert {k: round(v, 9) for k, v in found.items()} == {
            k: round(v, 9) for k, v in later.items()
        }


def test_closed_periods_are_what_their_events_and_openings_come_to(scene: Scene) -> None:
    scene.send(EVENTS)
    scene.set_clock("2026-12-02T00:00:00Z")
    october, november = scene.close()
    lines = {line["meter"]: line for line in october["lines"]}
    assert Decimal(lines["storage"]["quantity"]) == 2 * 31 * 24
    assert lines["storage"]["lineage"]["events"] == 0, "the level is from September"
    assert Decimal(lines["seats"]["quantity"]) == 3 * 17
    lines = {(line["meter"], *line["group"].values()): line for line in november["lines"]}
    assert Decimal(lines["storage", "eu"]["quantity"]) == (2 * 9 + 5 * 21) * 24
    assert lines["storage", "eu"]["lineage"]["events"] == 1
    for invoice in (october, november):
        assert scene.ask("GET", f"/v1/invoices/{invoice['id']}/verify")["ok"]


def test_late_levels_change_every_number_after_them(scene: Scene) -> None:
    scene.send(EVENTS)
    scene.send([happened("disk", "2026-10-31T23:00:00Z", gb=0, volume="a", region="eu")])
    assert fare(scene)["storage/eu"] == DISK_EU - 2 * 9 * 24
    assert fare(scene, at=NOW)["storage/eu"] == DISK_EU - 2 * 9 * 24


def test_a_limit_on_what_weighs_time_is_reached_by_waiting(scene: Scene) -> None:
    scene.send([happened("disk", "2026-11-20T12:00:00Z", gb=500, volume="a")])
    assert scene.check("disk")["used"] == "0"
    scene.set_clock("2026-11-20T13:00:00Z")
    assert scene.check("disk")["used"] == "500"
    assert scene.check("disk", amount=500)["allowed"]
    scene.set_clock("2026-11-20T14:00:00Z")
    answer = scene.check("disk", amount=1)
    assert (answer["allowed"], answer["reason"], answer["used"]) == (False, "limit_reached", "1000")


def test_a_limit_on_concurrency_counts_the_most_at_once(scene: Scene) -> None:
    scene.send(EVENTS)
    assert scene.check("lines", amount=1)["reason"] == "limit_reached"


def test_usage_by_window_opens_with_what_was_before(scene: Scene) -> None:
    scene.send(EVENTS)
    items = scene.usage(
        "storage",
        from_="2026-11-09T00:00:00Z",
        to="2026-11-11T00:00:00Z",
        window="day",
    )["items"]
    assert [(item["start"][:10], item["value"]) for item in items] == [
        ("2026-11-09", "48"),
        ("2026-11-10", "120"),
    ]


def test_usage_ends_now_for_levels(scene: Scene) -> None:
    scene.send(EVENTS)
    days = scene.usage("seats", from_="2026-11-20T00:00:00Z", to="2026-11-23T00:00:00Z",
                       window="day")["items"]  # fmt: skip
    assert [(item["start"][:10], item["value"]) for item in days] == [("2026-11-20", "1")]


def test_a_day_of_25_hours_weighs_25(scene: Scene) -> None:
    scene.send([happened("disk", "2026-10-20T00:00:00Z", gb=1, volume="z")])
    items = scene.usage(
        "storage",
        from_="2026-10-24T22:00:00Z",
        to="2026-10-26T23:00:00Z",
        window="day",
        tz="Europe/Berlin",
    )["items"]
    assert [item["value"] for item in items] == ["25", "24"]


def test_rolling_windows_reach_back_from_each_end(scene: Scene) -> None:
    scene.send(EVENTS)
    answer = scene.usage(
        "talking",
        from_="2026-11-20T10:00:00Z",
        to="2026-11-20T13:00:00Z",
        window="hour",
        rolling="2h",
    )
    assert answer["rolling"] == "2h"
    assert [(item["start"], item["end"], item["value"]) for item in answer["items"]] == [
        ("2026-11-20T09:00:00Z", "2026-11-20T11:00:00Z", "19"),
        ("2026-11-20T10:00:00Z", "2026-11-20T12:00:00Z", "19"),
    ]
    answer = scene.usage("p95", from_="2026-11-20T10:05:00Z", to="2026-11-20T10:07:00Z",
                         window="minute", rolling="6m")  # fmt: skip
    assert [item["value"] for item in answer["items"]] == ["20", "30.5"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"rolling": "2h"}, "invalid_parameter"),
        ({"window": "hour", "rolling": "2 hours"}, "invalid_parameter"),
        ({"window": "hour", "rolling": "P1D"}, "invalid_parameter"),
        ({"window": "minute", "rolling": "3d"}, "too_many_windows"),
    ],
)
def test_rolling_windows_that_make_no_sense_are_refused(
    scene: Scene, query: dict[str, Any], code: str
) -> None:
    span = {"from_": "2026-11-20T10:00:00Z", "to": "2026-11-20T11:00:00Z"}
    assert scene.ask("GET", "/v1/meters/p95/usage", status=422, **span, **query)["code"] == code


def test_an_estimate_states_its_error(scene: Scene) -> None:
    scene.send(EVENTS)
    answer = scene.usage("people")
    assert answer["items"][0]["value"] == "2"
    assert answer["estimate"] == {"standard_error": "0.01625"}
    assert "estimate" not in scene.usage("p95")


def test_a_value_that_is_no_quantity_is_rejected_with_its_place(scene: Scene) -> None:
    bad = [
        happened("llm", NOW, input="many"),
        happened("order", NOW, items={"n": 1}),
        happened("order", NOW, items=[{"n": 1}] * 1001),
        happened("order", NOW, items=[{"n": [[[[1]]]]}]),
        happened("disk", NOW, gb=10**26),
        happened("call", NOW, call="c", ms=True),
    ]
    answer = scene.send([*bad, happened("order", NOW, items=[{"n": -4}])])
    assert (answer["accepted"], answer["rejected"]) == (1, len(bad))
    assert {error["code"] for error in answer["errors"]} == {"invalid_quantity"}
    assert [error["detail"].split(":")[0] for error in answer["errors"]] == [
        "data.input", "data.items[].n", "data.items[].n", "data.items[].n", "data.gb", "data.ms",
    ]  # fmt: skip
    assert scene.used("items") == "-4"


def test_a_meter_that_comes_later_counts_the_history_before_the_subscription(scene: Scene) -> None:
    scene.send(EVENTS)
    body = {"event_type": "disk", "aggregation": "weighted_sum", "value": "data.gb", "per": "day"}
    scene.ask("PUT", "/v1/meters/gb_days", body)
    items = scene.usage("gb_days", from_="2026-10-01T00:00:00Z", to="2026-11-01T00:00:00Z")["items"]
    assert items[0]["value"] == str(2 * 31)


def test_a_definition_is_read_back_as_it_was_put(scene: Scene) -> None:
    for key, document in METERS.items():
        found = scene.ask("GET", f"/v1/meters/{key}")
        assert {name: found[name] for name in document} == document


def test_consume_needs_a_meter_with_one_place_for_an_amount(scene: Scene) -> None:
    body = {"customer": "acme", "feature": "lines", "amount": 1, "id": "c1"}
    refused = scene.ask("POST", "/v1/consume", body, status=422)
    assert refused["code"] == "feature_not_metered"
