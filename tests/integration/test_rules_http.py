"""Rules over HTTP: they fire while events pass, once, and people have the last word."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.integration.scene import CATALOG, Scene, event
from tests.serving import Served, serve

PLANS: dict[str, Any] = {
    name: {
        "currency": "USD",
        "entitlements": {"chat": {"limit": 100_000}, "export": True},
    }
    for name in ("free", "pro")
}
MANY = {"count": "events", "window": "10m", "more_than": 3, "by": "user"}
RUNAWAY: dict[str, Any] = {
    "on": "llm.request",
    "over": MANY,
    "features": ["chat"],
    "do": ["flag", "notify", "review", {"block": {"for": "1h"}}],
    "mode": "on",
    "reason": "more than a person makes",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("rules"), "--sandbox") as served:
        yield served


@pytest.fixture
def open_scene(server: Served) -> Callable[..., Scene]:
    """A namespace with some rules, and acme on the plan `free`."""

    def make(**rules: Any) -> Scene:
        scene = Scene(server)
        scene.publish(CATALOG | {"plans": PLANS, "rules": rules})
        scene.customer()
        scene.subscribe(plan="free")
        return scene

    return make


def burst(scene: Scene, many: int, user: str = "u1", customer: str = "acme") -> None:
    events = [
        event(f"{customer}-{user}-{n}", subject=customer, data={"tokens": 1, "user": user})
        for n in range(many)
    ]
    assert scene.send(events)["accepted"] == many


def fires(scene: Scene, rule: str = "runaway", **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = scene.ask("GET", f"/v1/rules/{rule}/fires", **query)["items"]
    return found


def audited(scene: Scene, actor: str = "rule runaway") -> list[dict[str, Any]]:
    items = scene.ask("GET", "/v1/audit")["items"]
    return [one for one in items if one["actor"] == actor]


def only_key(scene: Scene) -> str:
    """The id of the key that the scene works with."""
    items = scene.ask("GET", "/v1/audit")["items"]
    return next(one["actor"] for one in items if one["action"] == "catalog.publish")


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def test_what_a_rule_blocks_is_blocked_when_the_event_is_acknowledged(
    open_scene: Callable[..., Scene],
) -> None:
    scene = open_scene(runaway=RUNAWAY)
    burst(scene, 3)
    assert scene.check()["allowed"]
    burst(scene, 2, "u2")
    assert scene.check()["allowed"], "nobody has made more than three"
    scene.send(event("fourth", data={"tokens": 1, "user": "u1"}))
    refused = scene.check()
    assert (refused["allowed"], refused["reason"]) == (False, "paused")
    assert "blocked by rule runaway" in refused["detail"]
    assert "more than a person makes" in refused["detail"]
    assert refused["resets_at"] in refused["help"]
    assert scene.check("export")["allowed"], "the rule names chat alone"


def test_a_fire_leaves_one_record_one_notice_and_a_line_for_each_action(
    open_scene: Callable[..., Scene],
) -> None:
    scene = open_scene(runaway=RUNAWAY)
    burst(scene, 9)
    (fire,) = fires(scene)
    assert fire["id"].startswith("runaway@1:")
    assert (fire["customer"], fire["value"], fire["observed"]) == ("acme", "u1", "4")
    assert (fire["event"], fire["mode"], fire["review"]) == ("acme-u1-3", "on", "open")
    assert fire["outcomes"]["block"].startswith("until ")
    (notice,) = scene.ask("GET", "/v1/notices", type="rule.fired")["items"]
    assert notice["data"]["fire"] == fire["id"]
    assert notice["data"]["position"] == fire["position"]
    assert (notice["data"]["observed"], notice["data"]["more_than"]) == ("4", "3")
    lines = audited(scene)
    assert [one["action"] for one in lines] == [
        "rule.flag", "rule.notify", "rule.review", "rule.block",
    ]  # fmt: skip
    for line in lines:
        assert line["target"] == "acme"
        assert line["detail"]["catalog_version"] == 1
        assert line["detail"]["position"] == fire["position"]
        assert line["detail"]["fire"] == fire["id"]
    (listed,) = scene.ask("GET", "/v1/rules")["items"]
    assert (listed["key"], listed["mode"]) == ("runaway", "on")
    assert listed["fires_today"] == {"on": 1, "dry_run": 0}


def test_a_rule_that_tries_out_is_recorded_and_does_nothing(
    open_scene: Callable[..., Scene],
) -> None:
    scene = open_scene(runaway=RUNAWAY | {"mode": "dry_run"})
    burst(scene, 9)
    (fire,) = fires(scene, mode="dry_run")
    assert set(fire["outcomes"].values()) == {"dry_run"}
    assert fire["review"] is None
    assert scene.check()["allowed"]
    assert scene.ask("GET", "/v1/notices")["items"] == []
    assert scene.ask("GET", "/v1/reviews")["items"] == []
    assert audited(scene) == []


def test_a_trial_on_history_finds_what_the_rule_did_live(open_scene: Callable[..., Scene]) -> None:
    scene = open_scene(runaway=RUNAWAY)
    for customer in ("acme", "globex", "initech"):
        scene.customer(customer)
    for user in ("u1", "u2"):
        burst(scene, 7, user)
        burst(scene, 5, user, "globex")
        burst(scene, 3, user, "initech")
    trial = scene.ask("POST", "/v1/rules/dry-run", {"rule": "runaway"})
    live = fires(scene)
    assert (trial["events"], trial["fires"], trial["customers"]) == (30, 4, 2)
    tried = {
        (one["customer"], sample["position"], sample["value"], sample["observed"])
        for one in trial["items"]
        for sample in one["samples"]
    }
    assert tried == {
        (one["customer"], one["position"], one["value"], one["observed"]) for one in live
    }
    assert trial["would"] == ["flag", "notify", "review", "block"]


def test_a_rule_is_tried_out_before_it_is_in_the_catalogue(
    open_scene: Callable[..., Scene],
) -> None:
    scene = open_scene()
    burst(scene, 5)
    rule = {
        "on": "llm.request",
        "over": {"sum": "data.tokens", "window": "1m", "more_than": 1.5},
        "do": [{"throttle": {"limit": 1, "per": "1m"}}],
        "plans": ["free"],
    }
    trial = scene.ask("POST", "/v1/rules/dry-run", {"rule": rule})
    assert trial["items"][0]["samples"][0]["observed"] == "2"
    elsewhere = scene.ask("POST", "/v1/rules/dry-run", {"rule": rule | {"plans": ["pro"]}})
    assert (elsewhere["events"], elsewhere["items"]) == (0, [])
    long_ago = {"rule": rule, "from": "2020-01-01T00:00:00Z", "to": "2020-01-02T00:00:00Z"}
    assert scene.ask("POST", "/v1/rules/dry-run", long_ago)["events"] == 0
    assert scene.check()["allowed"]
    assert scene.ask("GET", "/v1/catalog").get("rules") is None


@pytest.mark.parametrize(
    ("body", "status", "code", "says"),
    [
        ({"rule": "runawy"}, 404, "not_found", "runawy"),
        ({"rule": {"on": "t", "do": "flagg"}}, 422, "catalog_invalid", "did you mean 'flag'"),
        ({"rule": {"on": "t", "when": "1 +", "do": "flag"}}, 422, "catalog_invalid", "column"),
        ({"rule": {}}, 422, "catalog_invalid", "at least 'on' and 'do'"),
        ({"rule": 7}, 422, "invalid_request", "rule"),
        ({}, 422, "invalid_request", "rule"),
        ({"rule": "runaway", "from": "yesterday"}, 422, "invalid_timestamp", ""),
        (
            {"rule": "runaway", "from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"},
            422,
            "invalid_parameter",
            "'from' is before 'to'",
        ),
    ],
)
def test_a_trial_that_makes_no_sense_is_refused(
    open_scene: Callable[..., Scene], body: dict[str, Any], status: int, code: str, says: str
) -> None:
    problem = open_scene(runaway=RUNAWAY).ask("POST", "/v1/rules/dry-run", body, status=status)
    assert problem["code"] == code
    assert says in problem["detail"]


def test_dismissing_a_review_lifts_what_the_rule_imposed_and_nothing_else(
    open_scene: Callable[..., Scene],
) -> None:
    other = {"on": "signup", "do": "block", "features": ["export"], "mode": "on"}
    scene = open_scene(runaway=RUNAWAY, other=other)
    scene.send(event("s", type="signup"))
    burst(scene, 4)
    (open_one,) = scene.ask("GET", "/v1/reviews")["items"]
    assert not scene.check()["allowed"]
    path = f"/v1/reviews/{open_one['id']}"
    closed = scene.ask("POST", f"{path}/dismiss", {"note": "a load test"})
    assert (closed["review"], closed["note"]) == ("dismissed", "a load test")
    assert scene.check()["allowed"]
    assert not scene.check("export")["allowed"], "that is another rule's"
    assert scene.ask("GET", "/v1/reviews")["items"] == []
    assert scene.ask("GET", path) == closed
    assert scene.ask("GET", "/v1/reviews", status_="dismissed")["items"] == [closed]
    again = scene.ask("POST", f"{path}/approve", status=409)
    assert again["code"] == "already_resolved"
    assert "dismissed" in again["detail"]


def test_approving_a_review_leaves_the_block(open_scene: Callable[..., Scene]) -> None:
    scene = open_scene(runaway=RUNAWAY)
    burst(scene, 4)
    (fire,) = fires(scene)
    assert scene.ask("POST", f"/v1/reviews/{fire['id']}/approve")["review"] == "approved"
    assert not scene.check()["allowed"]
    actions = [one["action"] for one in scene.ask("GET", "/v1/audit")["items"]]
    assert "review.approved" in actions


def test_what_asks_for_no_review_has_none(open_scene: Callable[..., Scene]) -> None:
    scene = open_scene(r={"on": "signup", "do": "flag", "mode": "on"})
    scene.send(event("s", type="signup"))
    (fire,) = fires(scene, "r")
    scene.ask("POST", f"/v1/reviews/{fire['id']}/approve", status=404)
    scene.ask("POST", "/v1/reviews/nothing/approve", status=404)
    scene.ask("GET", "/v1/reviews", status_="maybe", status=422)


def test_a_block_ends_by_itself(open_scene: Callable[..., Scene]) -> None:
    scene = open_scene(runaway=RUNAWAY)
    burst(scene, 4)
    until = datetime.fromisoformat(scene.check()["resets_at"])
    scene.set_clock((until - timedelta(seconds=1)).isoformat())
    assert not scene.check()["allowed"]
    scene.set_clock(until.isoformat())
    assert scene.check()["allowed"]
    assert scene.ask("GET", "/v1/customers/acme/blocks")["items"] == []


def test_somebody_lifts_everything_by_hand(open_scene: Callable[..., Scene]) -> None:
    throttle = {"throttle": {"limit": 5, "per": "1m", "for": "1h"}}
    scene = open_scene(runaway=RUNAWAY, slow={"on": "llm.request", "do": [throttle], "mode": "on"})
    burst(scene, 4)
    held = scene.ask("GET", "/v1/customers/acme/blocks")["items"]
    assert {(one["kind"], one["by"], one["feature"]) for one in held} == {
        ("block", "rule runaway", "chat"),
        ("throttle", "rule slow", None),
    }
    only = scene.ask("POST", "/v1/customers/acme/unblock", {"feature": "chat"})
    assert [one["by"] for one in only["lifted"]] == ["rule runaway"]
    refused = scene.check(amount=6)
    assert refused["reason"] == "rate_limited"
    lifted = scene.ask("POST", "/v1/customers/acme/unblock", {"reason": "talked to them"})
    assert [one["by"] for one in lifted["lifted"]] == ["rule slow"]
    assert lifted["seq"] > only["seq"]
    assert scene.check(amount=6)["allowed"]
    nothing = scene.ask("POST", "/v1/customers/acme/unblock")
    assert (nothing["lifted"], nothing["seq"]) == ([], None)
    scene.ask("POST", "/v1/customers/nobody/unblock", status=404)
    lines = [one for one in audited(scene, only_key(scene)) if one["action"] == "customer.unblock"]
    assert [one["detail"]["reason"] for one in lines] == ["", "talked to them"]


def test_unblocking_again_under_the_same_key_gives_the_first_answer(
    open_scene: Callable[..., Scene],
) -> None:
    scene = open_scene(runaway=RUNAWAY)
    burst(scene, 4)
    path, headers = "/v1/customers/acme/unblock", {"Idempotency-Key": "once"}
    first = scene.ask("POST", path, {"reason": "x"}, headers)
    assert len(first["lifted"]) == 1
    assert scene.ask("POST", path, {"reason": "x"}, headers) == first
    assert scene.ask("POST", path, {"reason": "x"})["lifted"] == []


def test_a_rule_looks_at_what_is_consumed_and_reserved_through_the_gate(
    open_scene: Callable[..., Scene],
) -> None:
    over = {"sum": "data.tokens", "window": "10m", "more_than": 100}
    scene = open_scene(big={"on": "llm.request", "over": over, "do": "block", "mode": "on"})
    assert scene.consume("c1", 60)["allowed"]
    body = {"customer": "acme", "feature": "chat", "amount": 60, "id": "r1"}
    scene.ask("POST", "/v1/reservations", body, status=201)
    assert scene.consume("c2", 1)["allowed"], "what is held is not used yet"
    scene.ask("POST", "/v1/reservations/r1/settle", {"amount": 60})
    assert scene.consume("c3", 1)["reason"] == "paused"
    problem = scene.ask("POST", "/v1/reservations", body | {"id": "r2"}, status=403)
    assert problem["code"] == "paused"


def test_a_customer_that_outgrows_its_plan_is_moved_once(open_scene: Callable[..., Scene]) -> None:
    grown: dict[str, Any] = {
        "on": "llm.request",
        "over": {"sum": "data.tokens", "window": "30d", "more_than": 1000},
        "plans": ["free"],
        "do": ["notify", {"change_plan": {"to": "pro"}}],
        "cooldown": "1s",
        "mode": "on",
    }
    scene = open_scene(grown=grown)
    for number in range(5):
        scene.send(event(f"e{number}", 600))
    found = fires(scene, "grown")
    wait_for(
        lambda: all("pending" not in one["outcomes"].values() for one in fires(scene, "grown"))
    )
    assert [one["outcomes"]["change_plan"] for one in fires(scene, "grown")][-1] == "done"
    (subscription,) = scene.ask("GET", "/v1/subscriptions")["items"]
    assert subscription["plan"] == "pro"
    changes = [one for one in audited(scene, "rule grown") if one["action"] == "rule.change_plan"]
    assert len(changes) == len(found)
    done = [one for one in changes if one["detail"]["outcome"] == "done"]
    assert len(done) == 1, "who is on pro is not looked at any more"


def test_a_change_of_plan_that_cannot_be_made_says_why(open_scene: Callable[..., Scene]) -> None:
    rule = {"on": "signup", "do": [{"change_plan": {"to": "pro"}}], "mode": "on"}
    scene = open_scene(r=rule)
    scene.customer("globex")
    scene.send([event("s1", type="signup"), event("s2", type="signup", subject="globex")])
    wait_for(lambda: all("pending" not in one["outcomes"].values() for one in fires(scene, "r")))
    outcomes = {one["customer"]: one["outcomes"]["change_plan"] for one in fires(scene, "r")}
    assert outcomes["acme"] == "done"
    assert outcomes["globex"].startswith("failed: the customer has no subscription")


def test_the_catalogue_shows_and_compares_rules(open_scene: Callable[..., Scene]) -> None:
    scene = open_scene(runaway=RUNAWAY)
    document = scene.ask("GET", "/v1/catalog")
    assert document["rules"]["runaway"]["mode"] == "on"
    document["rules"]["runaway"]["mode"] = "off"
    answer = scene.raw("PUT", "/v1/catalog", document).json()
    assert any("rules.runaway.mode" in str(change) for change in answer["changes"])
    burst(scene, 9)
    assert fires(scene) == []


def test_fires_are_read_in_pages(open_scene: Callable[..., Scene]) -> None:
    scene = open_scene(runaway=RUNAWAY | {"over": MANY | {"more_than": 0}})
    for user in range(5):
        burst(scene, 1, f"u{user}")
    first = scene.ask("GET", "/v1/rules/runaway/fires", limit=3)
    rest = scene.ask("GET", "/v1/rules/runaway/fires", limit=3, cursor=first["next"])
    assert [one["value"] for one in first["items"] + rest["items"]] == [
        "u4",
        "u3",
        "u2",
        "u1",
        "u0",
    ]
    assert rest["next"] is None
    scene.ask("GET", "/v1/rules/nothing/fires", status=404)


def test_a_thousand_users_over_the_line_in_one_request_fire_once_each(
    open_scene: Callable[..., Scene],
) -> None:
    rule = RUNAWAY | {"over": MANY | {"more_than": 1}, "do": ["flag", "block"]}
    scene = open_scene(runaway=rule)
    events = [
        event(f"{user}-{n}", data={"tokens": 1, "user": f"u{user}"})
        for n in range(3)
        for user in range(1000)
    ]
    assert scene.send(events)["accepted"] == 3000
    (listed,) = scene.ask("GET", "/v1/rules")["items"]
    assert listed["fires_today"]["on"] == 1000


def test_nobody_sees_another_namespaces_rules(open_scene: Callable[..., Scene]) -> None:
    scene = open_scene(runaway=RUNAWAY)
    burst(scene, 4)
    (fire,) = fires(scene)
    stranger = Scene(scene.server)
    assert stranger.ask("GET", "/v1/rules")["items"] == []
    assert stranger.ask("GET", "/v1/reviews")["items"] == []
    stranger.ask("GET", "/v1/rules/runaway/fires", status=404)
    stranger.ask("POST", f"/v1/reviews/{fire['id']}/dismiss", status=404)
    stranger.ask("POST", "/v1/customers/acme/unblock", status=404)
    stranger.ask("POST", "/v1/rules/dry-run", {"rule": "runaway"}, status=404)
    assert not scene.check()["allowed"]


def test_who_may_only_read_lifts_nothing(open_scene: Callable[..., Scene]) -> None:
    scene = open_scene(runaway=RUNAWAY)
    burst(scene, 4)
    reader = scene.new_key("read")
    (fire,) = scene.ask("GET", "/v1/rules/runaway/fires", key=reader)["items"]
    for path in (f"/v1/reviews/{fire['id']}/dismiss", "/v1/customers/acme/unblock"):
        scene.ask("POST", path, {}, key=reader, status=403)


def test_metrics_count_fires_and_open_reviews(open_scene: Callable[..., Scene]) -> None:
    scene = open_scene(runaway=RUNAWAY)
    burst(scene, 4)
    fires(scene)
    text = scene.raw("GET", "/metrics", key=scene.server.key).text
    labels = f'mode="on",namespace="{scene.namespace}",rule="runaway"'
    assert f"taximeter_rule_fires_total{{{labels}}} 1.0" in text
    assert f'taximeter_reviews_open{{namespace="{scene.namespace}"}} 1.0' in text


def test_what_a_rule_did_is_there_after_a_restart(tmp_path: Path) -> None:
    with serve(tmp_path) as server:
        scene = Scene(server)
        scene.publish(CATALOG | {"plans": PLANS, "rules": {"runaway": RUNAWAY}})
        scene.customer()
        scene.subscribe(plan="free")
        burst(scene, 4)
        burst(scene, 3, "u2")
        before, until = fires(scene), scene.check()["resets_at"]
    with serve(tmp_path) as server:
        scene.server = server
        assert fires(scene) == before
        assert scene.check()["resets_at"] == until
        scene.send(event("u1-again", data={"tokens": 1, "user": "u1"}))
        scene.send(event("u2-fourth", data={"tokens": 1, "user": "u2"}))
        assert [one["value"] for one in fires(scene)] == ["u2", "u1"], "u1 rests, u2 was counted"
