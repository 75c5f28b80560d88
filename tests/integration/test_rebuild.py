"""History comes back into what began in the middle, while events go on arriving."""

from __future__ import annotations

import copy
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest
from tests.integration.scene import CATALOG, Scene, event
from tests.serving import Served, serve

HISTORY = 5_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("rebuild")) as running:
        yield running


def bulk(prefix: str, count: int, **members: Any) -> list[dict[str, Any]]:
    return [
        event(
            f"{prefix}-{n}", data={"tokens": n % 7, "out": n % 5, "model": f"m{n % 3}"}, **members
        )
        for n in range(count)
    ]


@pytest.fixture
def scene(server: Served) -> Scene:
    """Five thousand events of acme's two subjects, in this period."""
    scene = Scene(server)
    scene.publish(with_limit(10**9))
    scene.customer(subjects=["user-1"])
    month = scene.server.get("/v1/clock").json()["now"][:7]
    scene.subscribe(start=f"{month}-01T00:00:00Z")
    scene.send(bulk("own", HISTORY - 1000))
    scene.send(bulk("user", 1000, subject="user-1"))
    return scene


def with_limit(limit: int, **meters: Any) -> dict[str, Any]:
    document = copy.deepcopy(CATALOG)
    document["meters"] |= meters
    document["plans"]["pro"]["entitlements"]["chat"]["limit"] = limit
    return document


def out_meter(value: str = "data.out") -> dict[str, Any]:
    return {"event_type": "llm.request", "aggregation": "sum", "value": value}


def with_output(limit: int) -> dict[str, Any]:
    """A new meter, a feature limited by it, and a price."""
    document = with_limit(10**9, out=out_meter())
    document["features"]["write"] = {"type": "metered", "meter": "out"}
    entitled = {"limit": limit, "enforcement": "hard", "reset": "period"}
    document["plans"]["pro"]["entitlements"]["write"] = entitled
    return document


class Sender:
    """Sends events one after the other until it is told to stop."""

    def __init__(self, scene: Scene, **members: Any) -> None:
        self._scene = scene
        self._members = members
        self._stopped = threading.Event()
        self.sent = 0

    def run(self) -> None:
        while not self._stopped.is_set():
            data = {"tokens": 1, "out": 1}
            answer = self._scene.send(event(f"live-{self.sent}", data=data, **self._members))
            assert answer["accepted"] == 1
            self.sent += 1

    @contextmanager
    def sending(self) -> Iterator[None]:
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(self.run)
            while self.sent < 3:
                time.sleep(0.001)
            try:
                yield
            finally:
                self._stopped.set()
                done.result()


def when_counted(scene: Scene) -> None:
    deadline = time.monotonic() + 60
    while scene.status()["rebuilds"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def total(count: int, modulus: int) -> int:
    return sum(n % modulus for n in range(count))


OWN_OUT = total(HISTORY - 1000, 5)
USER_OUT = total(1000, 5)
OWN = total(HISTORY - 1000, 7)
USER = total(1000, 7)


def test_a_new_meter_has_all_of_its_history_in_usage_and_in_the_gate(scene: Scene) -> None:
    sender = Sender(scene)
    with sender.sending():
        published = scene.publish(with_output(OWN_OUT + USER_OUT + 10**6))
        assert published["rebuilding"] is False, "a short history is there when it answers"
        seen = int(scene.check("write")["used"])
        assert seen >= OWN_OUT + USER_OUT
    expected = str(OWN_OUT + USER_OUT + sender.sent)
    assert scene.check("write")["used"] == scene.used("out") == expected
    assert scene.check("chat")["used"] == str(OWN + USER + sender.sent)
    assert scene.ask("GET", "/v1/meters/out")["rebuilding"] is False


def test_a_hard_limit_on_a_new_meter_holds_from_the_first_check(scene: Scene) -> None:
    scene.publish(with_output(OWN_OUT + USER_OUT))
    assert scene.check("write", 1)["reason"] == "limit_reached"
    assert scene.check("write", 0)["allowed"] is True


def test_a_redefined_meter_counts_its_history_anew(scene: Scene) -> None:
    sender = Sender(scene)
    before = scene.preview()["lines"][0]["quantity"]
    assert before == str(OWN + USER)
    document = with_limit(10**9, tokens=out_meter() | {"dimensions": {"model": "data.model"}})
    with sender.sending():
        scene.publish(document)
    expected = str(OWN_OUT + USER_OUT + sender.sent)
    assert scene.check()["used"] == scene.used() == expected
    assert scene.preview()["lines"][0]["quantity"] == expected
    scene.publish(with_limit(10**9))
    assert scene.check()["used"] == scene.used() == str(OWN + USER + sender.sent)


def test_a_subscription_counts_from_its_start_also_what_came_before_it_was_made(
    server: Served,
) -> None:
    scene = Scene(server)
    scene.publish()
    scene.customer()
    now = scene.server.get("/v1/clock").json()["now"]
    scene.send(bulk("early", 1000, time=f"{now[:7]}-01T00:00:00Z"))
    scene.send(bulk("late", 500))
    sender = Sender(scene)
    with sender.sending():
        scene.subscribe(start=f"{now[:7]}-01T00:00:00.000001Z")
    assert scene.check()["used"] == str(total(500, 7) + sender.sent)
    other = Scene(server)
    other.publish()
    other.customer()
    other.send(bulk("early", 1000, time=f"{now[:7]}-01T00:00:00Z"))
    other.subscribe(start=f"{now[:7]}-01T00:00:00Z")
    assert other.check()["used"] == str(total(1000, 7))


def test_subjects_come_and_go_while_events_arrive(scene: Scene) -> None:
    sender = Sender(scene, subject="user-1")
    with sender.sending():
        for _ in range(5):
            scene.customer(subjects=[])
            scene.customer(subjects=["user-1"])
        scene.customer(subjects=[])
    assert scene.check()["used"] == str(OWN)
    unmatched = scene.status()["unmatched"]
    assert unmatched == {"subjects": 1, "events": 1000 + sender.sent, "first": ["user-1"]}
    scene.customer(subjects=["user-1"])
    assert scene.check()["used"] == scene.used(customer="acme") == str(OWN + USER + sender.sent)
    assert scene.status()["unmatched"]["subjects"] == 0


def test_another_timezone_moves_the_months_of_a_customer_without_a_subscription(
    server: Served,
) -> None:
    scene = Scene(server)
    scene.publish()
    scene.customer()
    now = scene.server.get("/v1/clock").json()["now"]
    # In Kiritimati (UTC+14) the month begins fourteen hours before it does in UTC.
    scene.send(bulk("edge", 100, time=f"{now[:7]}-01T00:00:00Z"))
    scene.customer(timezone="Pacific/Kiritimati")
    scene.subscribe(start=f"{now[:7]}-01T00:00:00Z")
    assert scene.check()["used"] == str(total(100, 7))
    scene.customer(timezone="America/New_York", name="renamed")
    assert scene.ask("GET", "/v1/customers/acme")["name"] == "renamed"
    assert scene.check()["used"] == str(total(100, 7))
    assert scene.ask("GET", "/v1/subscriptions")["items"][0]["timezone"] == "Pacific/Kiritimati"


def test_meters_put_at_the_same_time_are_all_kept(scene: Scene) -> None:
    def put(n: int) -> None:
        scene.ask("PUT", f"/v1/meters/extra{n}", out_meter())

    sender = Sender(scene)
    with sender.sending(), ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(8)))
    found = {meter["key"]: meter for meter in scene.ask("GET", "/v1/meters")["items"]}
    assert set(found) == {"tokens", "requests", *(f"extra{n}" for n in range(8))}
    when_counted(scene)
    for n in range(8):
        assert scene.used(f"extra{n}") == str(OWN_OUT + USER_OUT + sender.sent)
    assert scene.ask("GET", "/v1/catalog")["meters"].keys() == found.keys()


def test_an_older_version_that_is_subscribed_to_again_has_its_history_for_everybody(
    scene: Scene,
) -> None:
    """The first meter is gone, comes back for one pinned customer, and then for all."""
    scene.publish(with_limit(10**9, tokens=out_meter() | {"dimensions": {"model": "data.model"}}))
    scene.customer("pinned")
    scene.subscribe("pinned", version=1)
    scene.publish(with_limit(10**9))
    assert scene.check()["used"] == str(OWN + USER)


def store_process(server: Served) -> int:
    """The process id of the server's store, once it is up."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        children = Path(f"/proc/{server.process.pid}/task").glob("*/children")
        for child in " ".join(one.read_text() for one in children).split():
            if b"taximeter.adapters.store.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
        time.sleep(0.01)
    raise AssertionError("no store process")


@contextmanager
def publishing(scene: Scene, document: dict[str, Any]) -> Iterator[None]:
    """While the history of a new catalogue is on its way; the store does not get to answer."""
    store = store_process(scene.server)
    os.kill(store, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        published = pool.submit(scene.raw, "PUT", "/v1/catalog", document)
        while not scene.status()["rebuilds"]:
            time.sleep(0.005)
        try:
            yield
        finally:
            os.kill(store, signal.SIGCONT)
            with suppress(OSError, HTTPException):
                published.result()


def test_a_rebuild_says_so_and_no_hard_limit_is_guessed_meanwhile(tmp_path: Path) -> None:
    with serve(tmp_path) as server:
        scene = Scene(server).open()
        scene.send(bulk("own", 100))
        with publishing(scene, with_output(10**9)):
            (progress,) = scene.status()["rebuilds"]
            assert (progress["meters"], progress["customers"]) == (["out"], 1)
            assert (progress["position"], progress["upto"]) == ("0:0", "0:100")
            assert scene.ask("GET", "/v1/meters/out")["rebuilding"] is True
            question = {"customer": "acme", "feature": "write", "amount": 1}
            refused = scene.raw("POST", "/v1/check", question)
            assert (refused.status, refused.json()["code"]) == (503, "rebuilding")
            assert int(refused.headers["retry-after"]) >= 1
            assert scene.raw("POST", "/v1/consume", question | {"id": "c"}).status == 503
            assert scene.check("chat", 1)["allowed"] is True, "its history is complete"
            assert scene.ask("GET", "/v1/customers/acme/entitlements")["items"]
            assert scene.send(bulk("more", 10))["accepted"] == 10
            # However it ends now, nothing half counted may be taken for the whole.
            os.kill(server.process.pid, signal.SIGKILL)
            server.process.wait()
    with serve(tmp_path) as server:
        scene.server = server
        assert scene.check("write", 1)["used"] == str(total(100, 5) + total(10, 5))


def test_a_stop_in_the_middle_of_a_rebuild_loses_nothing(tmp_path: Path) -> None:
    with serve(tmp_path) as server:
        scene = Scene(server).open()
        scene.send(bulk("own", 100))
        with publishing(scene, with_output(10**9)):
            scene.send(bulk("more", 10))
            server.process.terminate()
            time.sleep(0.3)
        server.process.wait(60)
    with serve(tmp_path) as server:
        scene.server = server
        assert scene.check("write", 1)["used"] == str(total(100, 5) + total(10, 5))


def test_a_rebuild_goes_on_after_the_store_was_killed(tmp_path: Path) -> None:
    with serve(tmp_path) as server:
        scene = Scene(server).open()
        scene.send(bulk("own", 100))
        store = store_process(server)
        os.kill(store, signal.SIGSTOP)
        with ThreadPoolExecutor(1) as pool:
            publishing = pool.submit(scene.publish, with_output(10**9))
            while not scene.status()["rebuilds"]:
                time.sleep(0.01)
            os.kill(store, signal.SIGKILL)
            # The next one is killed with the question in its hands, too.
            while (second := store_process(server)) == store:
                time.sleep(0.01)
            os.kill(second, signal.SIGKILL)
            publishing.result()
        when_counted(scene)
        assert scene.check("write")["used"] == str(total(100, 5))
