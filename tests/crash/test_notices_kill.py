"""
SIGKILL around a crossing: whatever was acknowledged is told, each line as one message.

A message may arrive twice, when the kill comes between the receiver's answer and our record of it;
then it has the same id.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from tests.integration.scene import Scene, event
from tests.receivers import Answering, Got, receiver
from tests.serving import Reply, Served, serve

SEED = int(os.environ.get("TAXIMETER_TEST_SEED", "1"))
FLAGS = ("--webhook-allow-private",)
LINES = [f"{n}%" for n in range(1, 101)]


def kill(server: Served) -> None:
    os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait()


def again(server: Served, scene: Scene) -> Scene:
    """The same namespace on a server that was started again."""
    found = Scene.__new__(Scene)
    found.server, found.namespace, found.key = server, scene.namespace, scene.key
    return found


def test_what_was_crossed_before_a_kill_arrives_after_the_restart_with_the_same_id(
    tmp_path: Path,
) -> None:
    with receiver(Answering(503)) as inbox:
        with serve(tmp_path, *FLAGS) as server:
            scene = Scene(server).open()
            scene.ask("PUT", "/v1/webhooks/ops", {"url": inbox.url})
            alert = {"on": "usage", "feature": "chat", "thresholds": ["80%"]}
            scene.ask("PUT", "/v1/alerts/near", alert)
            scene.send(event("1", 900))
            first = inbox.wait(1)[0]
            kill(server)
        inbox.answer = Answering()
        with serve(tmp_path, *FLAGS) as server:
            scene = again(server, scene)
            second = inbox.wait(2)[1]
            assert (second.id, second.body) == (first.id, first.body)
            scene.send(event("2", 50))
            time.sleep(0.5)
            assert len(inbox.got) == 2
            assert len(scene.ask("GET", "/v1/notices")["items"]) == 1


def test_an_attempt_under_way_at_the_kill_is_made_again(tmp_path: Path) -> None:
    hanging = [True]

    def answer(got: Got) -> Answering:
        return Answering(delay_s=1.0 if hanging[0] else 0.0)

    with receiver(answer) as inbox:
        with serve(tmp_path, *FLAGS) as server:
            scene = Scene(server).open()
            scene.ask("PUT", "/v1/webhooks/ops", {"url": inbox.url})
            alert = {"on": "usage", "feature": "chat", "thresholds": ["80%"]}
            scene.ask("PUT", "/v1/alerts/near", alert)
            scene.send(event("1", 900))
            inbox.wait(1)
            kill(server)
        hanging[0] = False
        with serve(tmp_path, *FLAGS):
            first, second = inbox.wait(2)
            assert first.id == second.id


@pytest.mark.slow
def test_kills_at_any_moment_lose_no_crossing_and_tell_none_as_two(tmp_path: Path) -> None:
    """Events come one by one over a hundred lines; the node dies again and again."""
    chance = random.Random(SEED)
    acknowledged = 0
    with receiver() as inbox:
        scene = None
        while acknowledged < 1000:
            with serve(tmp_path, *FLAGS) as server:
                if scene is None:
                    scene = Scene(server).open()
                    scene.ask("PUT", "/v1/webhooks/ops", {"url": inbox.url})
                    alert = {"on": "usage", "feature": "chat"}
                    for start in range(0, 100, 20):  # as many lines as an alert may have
                        lines = LINES[start : start + 20]
                        scene.ask("PUT", f"/v1/alerts/a{start}", alert | {"thresholds": lines})
                scene = again(server, scene)
                upto = min(1000, acknowledged + chance.randint(150, 450))
                while acknowledged < upto:
                    reply = scene.raw("POST", "/v1/events", event(f"e{acknowledged}", 1))
                    assert settled(reply), reply.text
                    acknowledged += 1
                time.sleep(chance.uniform(0, 0.02))
                kill(server)
        with serve(tmp_path, *FLAGS) as server:
            scene = again(server, scene)
            deadline = time.monotonic() + 60
            while len(ids_by_line(inbox.got)) < len(LINES) and time.monotonic() < deadline:
                time.sleep(0.05)
            told = ids_by_line(inbox.got)
            assert set(told) == set(LINES), "every line arrived"
            assert all(len(ids) == 1 for ids in told.values()), "and each as one message"
            stored = scene.ask("GET", "/v1/notices", limit=1000)["items"]
            assert len(stored) == len(LINES)


def settled(reply: Reply) -> bool:
    answer: dict[str, Any] = reply.json()
    return reply.status == 200 and answer["accepted"] + answer["duplicates"] == 1


def ids_by_line(got: list[Got]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for one in list(got):
        found[one.json()["data"]["threshold"]].add(one.id)
    return found
