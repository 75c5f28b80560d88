"""The canary comes out to the cent, and says where it does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.serving import Served, serve

from taximeter.services.canary import NAMESPACE, cents, fare_cents, tenths_of


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("canary"), "--sandbox") as running:
        yield running


def clock(server: Served, now: str) -> None:
    assert server.post("/v1/clock", {"now": now}).status == 200


def run(server: Served) -> dict[str, Any]:
    reply = server.post("/v1/canary/run", timeout_s=60)
    assert reply.status == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


def steps(report: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {one["name"]: (one["expected"], one["found"]) for one in report["last"]["steps"]}


def test_known_usage_comes_out_to_the_cent_and_a_day_is_billed(server: Served) -> None:
    clock(server, "2026-11-20T12:00:00Z")
    first = run(server)
    assert first["ok"] is True, first
    assert steps(first)["fare in cents"] == ("137", "137")  # 1.00 + 18.5 x 0.02
    second = run(server)
    assert second["ok"] is True, second
    assert steps(second)["counted"] == ("370", "370")
    clock(server, "2026-11-22T00:00:01Z")
    third = run(server)
    assert third["ok"] is True, third
    assert steps(third)["invoice of 2026-11-20 in cents"] == ("174", "174")
    assert steps(third)["invoice of 2026-11-21 in cents"] == ("100", "100")
    assert steps(third)["invoice of 2026-11-20 recounted"] == ("True", "True")
    assert (third["runs"], third["failures"], third["enabled"]) == (3, 0, False)


def test_it_touches_nothing_of_anybody_else(server: Served) -> None:
    run(server)
    status = server.get("/v1/status").json()
    assert (status["customers"], status["events"]["received"]) == (0, 0)
    assert server.get("/v1/invoices").json()["items"] == []
    other = server.post(
        "/v1/keys", {"name": "x", "scopes": ["admin"], "namespace": "another"}
    ).json()["secret"]
    assert server.get("/v1/canary", key=other).status == 404
    assert server.post("/v1/canary/run", key=other).status == 404


def test_what_comes_out_wrong_is_told_once(server: Served) -> None:
    """Somebody changes the price of the canary's plan behind its back."""
    clock(server, "2026-11-22T12:00:00Z")
    key = (server.data / "canary.key").read_text().strip()
    assert run(server)["ok"] is True
    catalog = server.get("/v1/catalog", key=key).json()
    catalog["plans"]["canary"]["prices"]["base"]["amount"] = "1.01"
    assert server.put("/v1/catalog", catalog, key=key).status == 200
    clock(server, "2026-11-23T00:00:01Z")
    before = run(server)["failures"]
    report = run(server)
    assert (report["ok"], report["failures"]) == (False, before + 1)
    assert steps(report)["fare in cents"] == ("174", "175")
    metrics = server.get("/metrics").text
    assert "taximeter_canary_ok 0.0" in metrics
    notices = server.get("/v1/notices?type=canary.failed").json()["items"]
    assert len(notices) == 1
    assert notices[0]["data"]["failed"] == ["fare in cents"]


def test_its_own_arithmetic_is_that_of_the_conventions() -> None:
    """K5: ties are rounded up; K8: the first tier ends with its bound included."""
    assert [fare_cents(tenths) for tenths in (0, 2, 3, 5, 10_000, 10_001, 10_005)] == [
        100, 100, 101, 101, 2100, 2100, 2101,
    ]  # fmt: skip
    assert [cents(text) for text in ("1.37", "0.05", "12.00")] == ["137", "5", "1200"]
    assert [tenths_of(text) for text in ("18.5", "7", "0")] == [185, 70, 0]
    assert NAMESPACE != "default"
