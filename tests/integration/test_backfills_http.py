"""History imported as a whole: staged, looked at, committed exactly once, taken back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.integration.scene import Scene, event
from tests.integration.test_restart import kill
from tests.serving import Served, serve

NOW = "2026-11-20T12:00:00Z"
OLD = "2026-03-01T00:00:00Z"  # beyond the acceptance window of 90 days (K16)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("backfills"), "--sandbox") as running:
        yield running


@pytest.fixture
def scene(server: Served) -> Scene:
    one = Scene(server)
    one.set_clock(NOW)
    return one.open(start="2026-01-01T00:00:00Z")


def opened(scene: Scene, backfill: str = "march") -> str:
    body = {"id": backfill, "reason": "the gateway lost a day"}
    assert scene.ask("POST", "/v1/backfills", body, status=201)["status"] == "open"
    return f"/v1/backfills/{backfill}"


def total(scene: Scene) -> str:
    return scene.used(from_="2026-01-01T00:00:00Z")


def test_what_is_staged_counts_nowhere_until_it_is_committed(scene: Scene) -> None:
    path = opened(scene)
    scene.send(event("now", 5))
    staged = scene.send([event("a", 7, time=OLD), event("b", 1)], backfill="march")
    assert (staged["accepted"], staged["backfill"]) == (2, "march")
    assert (total(scene), scene.check()["used"], scene.status()["events"]["received"]) == (
        "5",
        "5",
        1,
    )
    made = scene.ask("POST", f"{path}/commit")
    assert (made["status"], made["staged"], made["accepted"]) == ("committed", 2, 2)
    assert (total(scene), scene.check()["used"]) == ("13", "6")
    events = scene.status()["events"]
    assert (events["received"], events["accepted"], events["balanced"]) == (3, 3, True)


def test_its_effect_is_shown_before(scene: Scene) -> None:
    path = opened(scene)
    scene.send(event("now", 5))
    scene.send(
        [event("a", 7, time=OLD), event("now", 5), event("s", 9, subject="x")], backfill="march"
    )
    scene.send([event("a", 7, time=OLD), event("b", 2)], backfill="march")
    shown = scene.ask("GET", path)["preview"]
    assert (shown["events"], shown["known"], shown["unmatched"]) == (3, 1, 1)
    assert (shown["first"], shown["last"]) == (OLD, NOW)
    tokens = [one for one in shown["effect"] if one["meter"] == "tokens"]
    assert [(one["period"]["start"], one["before"], one["after"]) for one in tokens] == [
        (OLD, "0", "7"),
        ("2026-11-01T00:00:00Z", "5", "7"),
    ]


def test_each_item_is_checked_when_it_is_staged(scene: Scene) -> None:
    opened(scene)
    scene.send([event("known", 5), event("taken", 5)])
    answer = scene.send(
        [
            event("bad", "many"),
            event("known", 5),
            event("taken", 6),
            event("future", 1, time="2027-01-01T00:00:00Z"),
            event("forged", 1, source="taximeter/corrections"),
            {"id": "no event"},
            event("good", 1, time=OLD),
        ],
        backfill="march",
    )
    assert (answer["received"], answer["accepted"], answer["duplicates"]) == (7, 1, 1)
    assert (answer["conflicts"], answer["rejected"]) == (1, 4)
    assert [one["code"] for one in answer["errors"]] == [
        "invalid_quantity", "event_conflict", "timestamp_in_future", "reserved_source",
        "invalid_event",
    ]  # fmt: skip


def test_a_backfill_is_taken_back_as_a_whole_whatever_became_of_its_events(scene: Scene) -> None:
    path = opened(scene)
    scene.send([event("mine", 3)])
    scene.send([event("a", 7, time=OLD), event("b", 8), event("mine", 3)], backfill="march")
    scene.ask("POST", f"{path}/commit")
    scene.ask("POST", "/v1/events/amend", {"id": "a", "data": {"tokens": 70}, "reason": "x"})
    scene.ask("POST", "/v1/events/retract", {"id": "b", "reason": "x"})
    assert total(scene) == "73"
    undone = scene.ask("POST", f"{path}/revert", {"reason": "the wrong file"})
    assert (undone["status"], total(scene)) == ("reverted", "3")
    assert scene.ask("POST", f"{path}/revert", {"reason": "again"})["status"] == "reverted"
    assert scene.send(event("b", 8))["duplicates"] + scene.send(event("c", 1))["accepted"] >= 1


def test_a_backfill_is_in_one_state_at_a_time(scene: Scene) -> None:
    path = opened(scene)
    assert opened(scene) == path
    assert (
        scene.ask("POST", f"{path}/revert", {"reason": "x"}, status=409)["code"]
        == "backfill_closed"
    )
    assert scene.ask("POST", f"{path}/commit")["status"] == "committed"
    assert scene.ask("POST", f"{path}/commit")["status"] == "committed"
    late = scene.send(event("a"), backfill="march", status=409)
    assert late["code"] == "backfill_closed"
    assert scene.send(event("a"), backfill="april", status=404)["code"] == "not_found"
    opened(scene, "mine")
    other = Scene(scene.server)
    assert other.send(event("a"), backfill="mine", status=404)["code"] == "not_found"
    for name in ("true", "", "a/b", "x" * 129):
        body = {"id": name, "reason": "r"}
        assert scene.ask("POST", "/v1/backfills", body, status=422)["code"] == "invalid_request"


def test_at_once_means_at_once(scene: Scene) -> None:
    """The older way: an import that counts as it comes."""
    assert scene.send(event("a", 7, time=OLD))["rejected"] == 1
    assert scene.send(event("b", 7, time=OLD), backfill=1)["accepted"] == 1
    assert scene.send(event("c", 7, time=OLD), backfill="false")["rejected"] == 1
    sender = scene.new_key("ingest")
    assert scene.raw("POST", "/v1/events", event("d"), key=sender, backfill="march").status == 403


def test_a_large_one_takes_two_people(scene: Scene) -> None:
    scene.ask("PUT", "/v1/billing/settings", {"four_eyes_events": 1})
    path = opened(scene)
    scene.send([event("a", 7), event("b", 8)], backfill="march")
    assert scene.ask("POST", f"{path}/commit", status=403)["code"] == "four_eyes"
    second = scene.new_key("write")
    made = scene.ask("POST", f"{path}/commit", key=second)
    assert made["committed_by"] != made["made_by"]
    body = {"reason": "wrong"}
    assert scene.ask("POST", f"{path}/revert", body, status=403, key=second)["code"] == "four_eyes"
    assert scene.ask("POST", f"{path}/revert", body)["status"] == "reverted"


def test_a_commit_goes_on_after_a_kill_and_counts_everything_once(tmp_path: Path) -> None:
    parts, size = 30, 400

    def scene_of(server: Served) -> Scene:
        one = Scene(server, namespace="default")
        one.set_clock(NOW)
        return one

    def state(one: Scene) -> dict[str, Any]:
        answer: dict[str, Any] = one.ask("GET", "/v1/backfills/march")
        return answer

    with serve(tmp_path, "--sandbox") as server:
        scene = scene_of(server).open(start="2026-01-01T00:00:00Z")
        opened(scene)
        for part in range(parts):
            scene.send([event(f"{part}-{n}", 1) for n in range(size)], backfill="march")

        def commit() -> None:
            with suppress(OSError):
                scene.raw("POST", "/v1/backfills/march/commit")

        committing = threading.Thread(target=commit)
        committing.start()
        while not state(scene)["accepted"]:
            pass
        kill(server)
        committing.join()
    with serve(tmp_path, "--sandbox") as server:
        again = scene_of(server)
        deadline = time.monotonic() + 30
        while (found := state(again))["status"] != "committed":
            assert time.monotonic() < deadline, found
            time.sleep(0.02)
        assert (found["accepted"], found["duplicates"]) == (parts * size, 0)
        assert (again.used(), again.check()["used"]) == (str(parts * size),) * 2
        undone = again.ask("POST", "/v1/backfills/march/revert", {"reason": "all of it"})
        assert (undone["status"], again.check()["used"]) == ("reverted", "0")
