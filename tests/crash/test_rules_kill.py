"""
SIGKILL between a rule's fire and each step of what follows: after the restart all of it has
happened, and none of it twice.

The server is told, by a module that Python imports first, to stand still at one step; then it is
killed there.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from tests.integration.scene import CATALOG, Scene, event
from tests.serving import Served, serve

PLAN: dict[str, Any] = {"currency": "USD", "entitlements": {"chat": {"limit": 1000}}}
RULE: dict[str, Any] = {
    "on": "llm.request",
    "over": {"sum": "data.tokens", "window": "10m", "more_than": 5},
    "plans": ["free"],
    "do": ["notify", "review", "block", {"change_plan": {"to": "pro"}}],
    "mode": "on",
}
STAND_STILL = """
import asyncio, inspect, sys, time

if "taximeter.adapters.store.worker" not in sys.orig_argv:
    from {module} import {owner} as owner

    async def wait(*args, **kwargs):
        open({reached!r}, "w").close()
        await asyncio.sleep(3600)

    def block(*args, **kwargs):
        open({reached!r}, "w").close()
        time.sleep(3600)

    waits = inspect.iscoroutinefunction(getattr(owner, {method!r}))
    setattr(owner, {method!r}, wait if waits else block)
"""
STEPS = {
    "before anything is done": ("taximeter.services.rules.service", "RuleService", "_record"),
    "before it is recorded": ("taximeter.adapters.books.sqlite", "SqliteBooks", "add_fires"),
    "before the plan is changed": (
        "taximeter.services.rules.service",
        "RuleService",
        "_change_plan",
    ),
    "after the plan was changed": (
        "taximeter.adapters.books.sqlite",
        "SqliteBooks",
        "conclude_fire",
    ),
}


def standing_still(directory: Path, step: str) -> tuple[dict[str, str], Path]:
    """What the server's environment needs for that, and the file that says it is there."""
    module, owner, method = STEPS[step]
    reached = directory / "reached"
    directory.mkdir()
    text = STAND_STILL.format(module=module, owner=owner, method=method, reached=str(reached))
    (directory / "sitecustomize.py").write_text(text)
    paths = [str(directory), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths)}, reached


def kill(server: Served) -> None:
    os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait()


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, "it never came to that step"
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_any_step_leaves_nothing_out_and_does_nothing_twice(
    step: str, tmp_path: Path
) -> None:
    env, reached = standing_still(tmp_path / "first", step)
    with serve(tmp_path, env=env, from_nothing=True) as server:
        scene = Scene(server)
        plans = {"free": PLAN, "pro": PLAN}
        scene.publish(CATALOG | {"plans": plans, "rules": {"r": RULE}})
        scene.customer()
        scene.subscribe(plan="free")
        scene.send(event("1", 6))
        wait_for(reached)
        kill(server)
    with serve(tmp_path) as server:
        scene.server = server
        assert scene.check()["reason"] == "paused", "it was in the log with the event"
        (fire,) = settled(scene)
        assert fire["outcomes"]["change_plan"] == "done"
        assert fire["review"] == "open"
        once(scene, fire)
    with serve(tmp_path) as server:
        scene.server = server
        assert settled(scene) == [fire]
        once(scene, fire)


def settled(scene: Scene) -> list[dict[str, Any]]:
    """The fires, when nothing about them is pending any more."""
    deadline = time.monotonic() + 60
    while True:
        items: list[dict[str, Any]] = scene.ask("GET", "/v1/rules/r/fires")["items"]
        if items and all("pending" not in one["outcomes"].values() for one in items):
            return items
        assert time.monotonic() < deadline, items
        time.sleep(0.05)


def once(scene: Scene, fire: dict[str, Any]) -> None:
    """One notice, one line for each action, one change of plan."""
    (notice,) = scene.ask("GET", "/v1/notices")["items"]
    assert notice["data"]["fire"] == fire["id"]
    lines = [one for one in scene.ask("GET", "/v1/audit")["items"] if one["actor"] == "rule r"]
    actions = sorted(one["action"] for one in lines)
    assert actions == [
        "rule.block", "rule.change_plan", "rule.notify", "rule.review", "subscription.change",
    ]  # fmt: skip
    (subscription,) = scene.ask("GET", "/v1/subscriptions")["items"]
    assert subscription["plan"] == "pro"


@pytest.mark.slow
def test_kills_at_no_particular_moment_fire_each_rule_once_for_each_user(tmp_path: Path) -> None:
    rule = {
        "on": "llm.request",
        "over": {"count": "events", "window": "1h", "more_than": 1, "by": "user"},
        "do": ["notify", "flag"],
        "mode": "on",
        "cooldown": "1d",
    }
    with serve(tmp_path) as server:
        scene = Scene(server)
        scene.publish(CATALOG | {"rules": {"r": rule}})
        scene.customer()
    for life in range(3):
        with serve(tmp_path) as server:
            scene.server = server
            for user in range(10):
                data = {"tokens": 1, "user": f"u{user}"}
                scene.send([event(f"{life}-{user}-{n}", data=data) for n in range(2)])
            kill(server)
    with serve(tmp_path) as server:
        scene.server = server
        found = scene.ask("GET", "/v1/rules/r/fires")["items"]
        assert sorted(one["value"] for one in found) == [f"u{user}" for user in range(10)]
        notices = scene.ask("GET", "/v1/notices", type="rule.fired")["items"]
        assert {one["data"]["fire"] for one in notices} == {one["id"] for one in found}
        lines = [one for one in scene.ask("GET", "/v1/audit")["items"] if one["actor"] == "rule r"]
        assert len(lines) == 20
