"""Namespaces see nothing of each other, and keys do what their scopes say and no more."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest
from tests.integration.scene import Scene, event
from tests.serving import Served, serve

SCOPES = ("ingest", "check", "read", "write", "admin")
# What a scope brings along: reading is part of writing, and all of it of administration.
IMPLIES = {"write": {"read"}, "admin": {"ingest", "check", "read", "write"}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("tenancy"), "--sandbox") as running:
        yield running


@pytest.fixture(scope="module")
def rich(server: Served) -> Scene:
    """A namespace with something of everything."""
    scene = Scene(server)
    scene.set_clock("2026-11-20T12:00:00Z")
    scene.open(start="2026-10-01T00:00:00Z")
    scene.send([event("1", 5), event("2", 1, subject="stranger"), event("3", "many")])
    scene.send(event("4", 1))
    scene.ask("POST", "/v1/events/retract", {"id": "4", "reason": "sent by a test"})
    scene.consume("c1", 3)
    scene.close()
    backfill = {"id": "b1", "reason": "a day of usage was lost"}
    scene.ask("POST", "/v1/backfills", backfill, status=201)
    grant = {"id": "g1", "credit": "usd", "amount": 10}
    scene.ask("POST", "/v1/customers/acme/grants", grant, status=201)
    top_up = {"below": 1, "amount": 5}
    scene.ask("PUT", "/v1/customers/acme/auto-top-ups/usd", top_up)
    scene.ask("PUT", "/v1/customers/acme/budgets/b1", {"feature": "chat", "limit": 5000})
    scene.ask("PUT", "/v1/customers/acme/seats/seats/bob")
    hold = {"customer": "acme", "feature": "chat", "amount": 1, "ttl_s": 86400}
    scene.ask("POST", "/v1/reservations", hold | {"id": "r1"}, status=201)
    scene.ask("POST", "/v1/leases", hold | {"id": "l1"}, status=201)
    catalog = scene.ask("GET", "/v1/catalog")
    catalog["plans"]["pro"]["prices"]["tokens"]["unit"] = "0.5"
    scene.ask("PUT", "/v1/catalog", catalog, staged=1)
    scene.ask("PUT", "/v1/rollouts/t1", {"version": 2, "share": "0%"})
    scene.ask("PUT", "/v1/coupons/half", {"percent": 50})
    scene.ask("POST", "/v1/customers/acme/discounts", {"coupon": "half", "id": "d1"}, status=201)
    scene.ask("PUT", "/v1/alerts/a1", {"on": "usage", "feature": "chat", "thresholds": ["80%"]})
    money = {"id": "p1", "customer": "acme", "amount": "5.00", "currency": "USD"}
    scene.ask("POST", "/v1/payments", money, status=201)
    scene.ask("PUT", "/v1/payment-sources/bank")
    webhook = {"url": "https://example.com/hook"}
    scene.ask("PUT", "/v1/webhooks/w1", webhook)
    return scene


def names(rich: Scene) -> dict[str, str]:
    """A value for each variable of a path, of things that exist in the rich namespace."""
    invoice = rich.ask("GET", "/v1/invoices")["items"][0]
    return {
        "invoices": invoice["id"],
        "subscriptions": rich.ask("GET", "/v1/subscriptions")["items"][0]["id"],
        "keys": rich.ask("GET", "/v1/keys")["items"][0]["id"],
        "backfills": "b1",
        "corrections": rich.ask("GET", "/v1/corrections")["items"][0]["id"],
        "customers": "acme",
        "meters": "tokens",
        "line": invoice["lines"][0]["id"],
        "grants": "g1",
        "auto-top-ups": "usd",
        "budgets": "b1",
        "seats": "seats",
        "holder": "bob",
        "reservations": "r1",
        "leases": "l1",
        "alerts": "a1",
        "backtests": rich.ask("POST", "/v1/backtests", {"version": 1})["id"],
        "rollouts": "t1",
        "coupons": "half",
        "discounts": "d1",
        "webhooks": "w1",
        "payments": "p1",
        "payment-sources": "bank",
        "webhook": "src_nobody",
        "plans": "pro",
        "scheduled": "2030-01-01T00:00:00Z",
        **dict.fromkeys(
            ("notices", "deliveries", "reviews", "rules", "changes", "late-usage", "credit-notes"),
            "nobody",
        ),
    }


def operations(server: Served) -> list[tuple[str, str, dict[str, Any]]]:
    document = server.get("/openapi.json").json()
    return [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method in ("get", "put", "post", "delete")
    ]


def filled(path: str, known: dict[str, str]) -> str:
    parts = path.split("/")
    for place, part in enumerate(parts):
        if part in ("{line}", "{holder}"):
            parts[place] = known[part.strip("{}")]
        elif part.startswith("{"):
            parts[place] = known[parts[place - 1]] + part.partition("}")[2]
    return "/".join(parts)


def test_another_namespace_gets_404_for_everything_with_a_name(server: Served, rich: Scene) -> None:
    stranger = Scene(server)
    known = names(rich)
    tried = 0
    for method, path, _ in operations(server):
        if "{" not in path or method == "PUT":
            continue  # what is put there is its own
        body = {} if method == "POST" else None
        reply = stranger.raw(method, filled(path, known), body)
        if reply.status == 422:
            # The body is looked at first; then nobody's name is answered just the same.
            nobody = filled(path, dict.fromkeys(known, "nobody"))
            assert stranger.raw(method, nobody, body).json()["code"] == reply.json()["code"], path
            continue
        assert reply.status == 404, (method, path, reply.text)
        tried += 1
    assert tried >= 12


def test_another_namespace_finds_all_lists_empty(server: Served, rich: Scene) -> None:
    stranger = Scene(server)
    for path in (
        "/v1/events", "/v1/dead-letters", "/v1/meters", "/v1/customers", "/v1/subscriptions",
        "/v1/invoices",
    ):  # fmt: skip
        assert rich.ask("GET", path)["items"], path
        assert stranger.ask("GET", path) == {"items": [], "next": None}, path
    assert stranger.raw("GET", "/v1/events/receipt", id="1").status == 404
    catalog = stranger.ask("GET", "/v1/catalog")
    assert not any(catalog.values())
    status = stranger.status()
    assert set(status["events"].values()) == {0, True}
    assert (status["unmatched"]["subjects"], status["customers"]) == (0, 0)
    assert [one["action"] for one in stranger.ask("GET", "/v1/audit")["items"]] == []
    assert len(stranger.ask("GET", "/v1/keys")["items"]) == 1
    answer = stranger.check()
    assert (answer["allowed"], answer["reason"]) == (False, "unknown_customer")
    assert stranger.ask("POST", "/v1/close")["invoices"] == []
    assert stranger.ask("POST", "/v1/dead-letters/replay")["tried"] == 0


def test_two_namespaces_may_use_the_same_names_and_ids(server: Served) -> None:
    one, two = Scene(server).open(), Scene(server).open()
    assert one.send(event("same", 1))["accepted"] == 1
    assert two.send(event("same", 2))["accepted"] == 1
    assert one.send(event("same", 1))["duplicates"] == 1
    assert (one.used(), two.used()) == ("1", "2")
    assert one.consume("c", 10)["allowed"] is True
    assert two.consume("c", 20)["allowed"] is True
    assert (one.check()["used"], two.check()["used"]) == ("11", "22")
    assert one.ask("GET", "/v1/events/receipt", id="same")["event"]["data"] == {"tokens": 1}


def test_replies_remembered_for_one_namespace_are_not_given_to_another(server: Served) -> None:
    one, two = Scene(server), Scene(server)
    headers = {"Idempotency-Key": "k"}
    first = one.ask("PUT", "/v1/customers/acme", {"name": "One"}, headers)
    second = two.ask("PUT", "/v1/customers/acme", {"name": "Two"}, headers)
    assert (first["name"], second["name"]) == ("One", "Two")


def test_only_the_installations_owner_makes_keys_for_other_namespaces(server: Served) -> None:
    scene = Scene(server)
    body = {"name": "x", "scopes": ["read"], "namespace": "elsewhere"}
    assert scene.raw("POST", "/v1/keys", body).status == 404
    assert server.post("/v1/keys", body).status == 201
    assert server.post("/v1/keys", body | {"namespace": "no/slash"}).status == 422


def allowed(scopes: tuple[str, ...]) -> set[str]:
    return set(scopes).union(*(IMPLIES.get(scope, set()) for scope in scopes))


def test_every_operation_asks_for_exactly_its_scope(server: Served, rich: Scene) -> None:
    """
    The operations are those of the API's own document. Nothing is sent that could succeed in
    changing anything; who is refused for the key is told before the body is looked at.
    """
    known = names(rich)
    nobody = dict.fromkeys(known, "nobody")
    subsets = [
        subset for size in (1, 2) for subset in combinations(SCOPES, size) if "admin" not in subset
    ]
    keys = {subset: rich.new_key(*subset) for subset in [*subsets, ("admin",)]}
    found = operations(server)
    assert len(found) > 30
    for method, path, operation in found:
        if "security" not in operation:
            continue
        harmless = method == "GET" and not path.endswith("/stream")
        target = filled(path, known if harmless else nobody)
        if path in ("/v1/events/stream", "/v1/notices/stream"):
            target += "?customer=nobody"
        needs = scope_of(operation)
        for key in ("", "tm_wrong"):
            assert rich.raw(method, target, key=key).status == 401, (method, path)
        for scopes, key in keys.items():
            reply = rich.raw(method, target, b"[" if method != "GET" else None, key=key)
            if needs in allowed(scopes):
                assert reply.status not in (401, 403), (method, path, scopes, reply.text)
            else:
                assert reply.status == 403, (method, path, scopes)
                assert reply.json()["code"] == "insufficient_scope"


def test_what_is_dangerous_asks_for_more(server: Served) -> None:
    needs = {
        f"{method} {path}": scope_of(operation)
        for method, path, operation in operations(server)
        if "security" in operation
    }
    expected = {
        "ingest": ["POST /v1/events", "POST /api/v1/events"],
        "check": ["POST /v1/check", "POST /v1/consume"],
        "read": ["GET /v1/events", "GET /v1/invoices/{id}", "GET /v1/status", "GET /metrics"],
        "write": [
            "PUT /v1/catalog", "PUT /v1/meters/{key}", "PUT /v1/customers/{key}",
            "POST /v1/subscriptions", "POST /v1/close", "POST /v1/invoices/{id}/finalize",
            "POST /v1/invoices/{id}/void", "POST /v1/dead-letters/replay",
        ],
        "admin": [
            "GET /v1/keys", "POST /v1/keys", "POST /v1/keys/{id}/revoke", "GET /v1/audit",
            "POST /v1/clock",
        ],
    }  # fmt: skip
    for scope, named in expected.items():
        assert {one: needs[one] for one in named} == dict.fromkeys(named, scope)


def scope_of(operation: dict[str, Any]) -> str:
    (requirement,) = operation["security"]
    ((_, scopes),) = requirement.items()
    (scope,) = scopes
    return str(scope)


def test_pages_and_probes_without_a_key_tell_nothing(server: Served) -> None:
    for path in ("/healthz", "/readyz", "/openapi.json"):
        assert server.get(path, key="").status == 200
    assert "acme" not in server.get("/openapi.json", key="").text.replace('"acme"', "")


def test_every_change_is_in_the_audit_trail_with_who_made_it(server: Served) -> None:
    scene = Scene(server)
    scene.set_clock("2026-11-20T12:00:00Z")
    scene.open(start="2026-10-01T00:00:00Z")
    (draft,) = scene.close()
    scene.ask("POST", f"/v1/invoices/{draft['id']}/finalize")
    scene.ask("POST", f"/v1/invoices/{draft['id']}/void", {"reason": "a mistake"})
    scene.new_key("read")
    mine = scene.ask("POST", "/v1/keys", {"name": "mine", "scopes": ["read"]}, status=201)
    scene.ask("POST", f"/v1/keys/{mine['id']}/revoke")
    trail: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = scene.ask("GET", "/v1/audit", limit=3, cursor=cursor)
        trail += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    assert [entry["action"] for entry in trail] == [
        "catalog.publish", "customer.put", "subscription.create", "invoice.create",
        "invoice.finalize", "invoice.void", "key.create", "key.revoke",
    ]  # fmt: skip
    (me,) = {entry["actor"] for entry in trail}
    assert me in {key["id"] for key in scene.ask("GET", "/v1/keys")["items"]}
    assert trail[5]["detail"] == {"reason": "a mistake"}
    assert [entry["id"] for entry in trail] == sorted(entry["id"] for entry in trail)


def test_a_customer_is_not_its_own_ancestor_and_has_a_zone_and_currency_that_exist(
    server: Served,
) -> None:
    scene = Scene(server)
    scene.customer("a")
    scene.customer("b", parent="a")
    for key, body, status, code in (
        ("a", {"parent": "b"}, 422, "invalid_request"),
        ("a", {"parent": "a"}, 422, "invalid_request"),
        ("c", {"parent": "nobody"}, 404, "not_found"),
        ("c", {"timezone": "Mars/Olympus"}, 422, "unknown_timezone"),
        ("c", {"currency": "XXY"}, 422, "unknown_currency"),
        ("c", {"subjects": ["a\nb"]}, 422, "invalid_request"),
        ("c", {"colour": "red"}, 422, "invalid_request"),
    ):
        problem = scene.ask("PUT", f"/v1/customers/{key}", body, status=status)
        assert problem["code"] == code, body
    assert [one["key"] for one in scene.ask("GET", "/v1/customers")["items"]] == ["a", "b"]


def test_a_subscription_names_a_plan_and_version_that_exist_and_is_the_only_one(
    server: Served,
) -> None:
    scene = Scene(server).open()
    for body, status, code in (
        ({"customer": "acme", "plan": "pro"}, 409, "subscription_exists"),
        ({"customer": "nobody", "plan": "pro"}, 404, "not_found"),
        ({"customer": "other", "plan": "none"}, 422, "unknown_plan"),
        ({"customer": "other", "plan": "pro", "version": 9}, 422, "unknown_plan"),
        ({"customer": "other", "plan": "pro", "start": "soon"}, 422, "invalid_timestamp"),
        ({"customer": "other", "plan": "pro", "overrides": {"x": 1}}, 422, "catalog_invalid"),
        ({"customer": "other", "plan": "pro", "anchor": "moon"}, 422, "invalid_request"),
    ):
        scene.customer("other")
        assert scene.ask("POST", "/v1/subscriptions", body, status=status)["code"] == code, body
    problem = scene.ask("PUT", "/v1/catalog", {"meters": {}, "plans": {}}, status=422)
    assert "has active subscriptions" in problem["detail"]
