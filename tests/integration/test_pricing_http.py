"""Backtests, simulations and rollouts on a real server, against sums done here by hand."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.integration.scene import CATALOG, Scene
from tests.serving import Served, serve

CENT = Decimal("0.01")
MODELS = ("opus", "haiku")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("pricing"), "--sandbox") as running:
        yield running


def priced(price: dict[str, Any]) -> dict[str, Any]:
    document = copy.deepcopy(CATALOG)
    document["plans"]["pro"]["prices"] = {"tokens": {"meter": "tokens"} | price}
    return document


def per_unit(unit: str) -> dict[str, Any]:
    return priced({"type": "per_unit", "unit": unit})


def used(n: int, count: int = 60) -> list[tuple[int, int, str, int]]:
    """(customer, month, model, tokens) of some events, the same each time."""
    return [(i % n, 9 + i % 3, MODELS[i % 5 % 2], (i * 7919) % 500) for i in range(count)]


def populated(server: Served, customers: int = 4) -> Scene:
    scene = Scene(server)
    scene.set_clock("2026-11-20T12:00:00Z")
    scene.publish(per_unit("0.01"))
    for n in range(customers):
        tier = "gold" if n % 2 else "free"
        scene.customer(f"c{n}", metadata={"tier": tier})
        scene.subscribe(f"c{n}", start="2026-09-01T00:00:00Z")
    scene.send(
        [
            {
                "id": f"e{i}", "type": "llm.request", "subject": f"c{n}",
                "time": f"2026-{month:02}-{1 + i % 17:02}T10:00:00Z",
                "data": {"tokens": tokens, "model": model},
            }
            for i, (n, month, model, tokens) in enumerate(used(customers))
        ]
    )  # fmt: skip
    return scene


def graduated(quantity: int) -> Decimal:
    """300 at 0.02, then 0.005, rounded once (K5, K8)."""
    exact = Decimal("0.02") * min(quantity, 300) + Decimal("0.005") * max(0, quantity - 300)
    return exact.quantize(CENT, ROUND_HALF_UP)


# --- backtests --------------------------------------------------------------------------------


def test_a_backtest_is_what_each_customer_would_have_paid_and_changes_nothing(
    server: Served,
) -> None:
    scene = populated(server)
    rates = [
        {"meter": "tokens", "match": {"model": "opus"}, "unit": "0.003", "currency": "USD"},
        {"meter": "tokens", "unit": 0.001, "currency": "USD"},
        {
            "meter": "tokens", "unit": "0.002", "currency": "USD",
            "effective_at": "2026-10-10T00:00:00Z",
        },
    ]  # fmt: skip
    scene.ask("PUT", "/v1/cost-rates", {"rates": rates, "reason": "new prices of models"})
    tiers = [{"up_to": 300, "unit": "0.02"}, {"unit": "0.005"}]
    tried = priced({"type": "graduated", "tiers": tiers})
    job = scene.ask("POST", "/v1/backtests", {"catalog": tried, "from": "2026-09-10T00:00:00Z"})
    assert job["status"] == "done"
    assert job["done"] == job["total"] == 2 * 4 * 3

    quantities: defaultdict[tuple[int, int], int] = defaultdict(int)
    cost: defaultdict[int, Decimal] = defaultdict(Decimal)
    for i, (n, month, model, tokens) in enumerate(used(4)):
        quantities[n, month] += tokens
        late = (month, 1 + i % 17) >= (10, 10)
        unit = "0.003" if model == "opus" else "0.002" if late else "0.001"
        cost[n] += tokens * Decimal(unit)
    expected = {}
    for n in range(4):
        months = [quantities[n, month] for month in (9, 10, 11)]
        before = sum(Decimal(q) / 100 for q in months)
        after = sum(map(graduated, months), Decimal(0))
        spent = cost[n].quantize(CENT, ROUND_HALF_UP)
        expected[f"c{n}"] = (before, after, after - before, spent, before - spent, after - spent)
    members = ("before", "after", "difference", "cost", "margin_before", "margin_after")
    result = job["result"]
    rows = {one["customer"]: tuple(Decimal(one[m]) for m in members) for one in result["customers"]}
    assert rows == expected
    (total,) = result["totals"]
    assert tuple(Decimal(total[m]) for m in members) == tuple(
        map(sum, zip(*expected.values(), strict=True))
    )
    differences = [one[2] for one in expected.values()]
    assert total["pay_more"] == sum(d > 0 for d in differences)
    assert total["pay_less"] == sum(d < 0 for d in differences)
    changed = [abs(Decimal(one["difference"])) for one in result["customers"]]
    assert changed == sorted(changed, reverse=True)

    assert scene.ask("GET", "/v1/catalog/versions")["items"][0]["version"] == 1
    again = scene.ask("GET", f"/v1/backtests/{job['id']}")
    assert again["result"] == result
    assert scene.ask("GET", "/v1/audit")["items"][-1]["action"] == "cost_rates.put"


def test_a_backtest_of_the_same_prices_changes_nobodys_bill(server: Served) -> None:
    scene = populated(server)
    body = {"version": 1, "last": "90d", "customers": ["c1", "c2"]}
    (total,) = scene.ask("POST", "/v1/backtests", body)["result"]["totals"]
    assert (total["customers"], total["pay_the_same"]) == (2, 2)
    assert total["difference"] == "0.00"
    assert total["cost"] is None


def test_who_cannot_be_placed_in_the_other_catalogue_is_named(server: Served) -> None:
    scene = populated(server, 2)
    document = per_unit("0.02")
    document["plans"]["other"] = document["plans"].pop("pro")
    result = scene.ask("POST", "/v1/backtests", {"catalog": document})["result"]
    assert result["totals"] == []
    assert {(one["customer"], *one["lacks"]) for one in result["not_placed"]} == {
        ("c0", "plan 'pro'"),
        ("c1", "plan 'pro'"),
    }


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "invalid_request"),
        ({"version": 9}, "not_found"),
        ({"version": 1, "catalog": {}}, "invalid_request"),
        ({"version": 1, "customers": ["nobody"]}, "not_found"),
        ({"version": 1, "from": "2027-01-01T00:00:00Z"}, "invalid_parameter"),
        ({"version": 1, "last": "soon"}, "invalid_parameter"),
        ({"version": 1, "limit": 0}, "invalid_parameter"),
        ({"catalog": {"plans": {"pro": {}}}}, "catalog_invalid"),
    ],
)
def test_a_backtest_that_makes_no_sense_is_refused(
    server: Served, body: dict[str, Any], code: str
) -> None:
    scene = populated(server, 1)
    reply = scene.raw("POST", "/v1/backtests", body)
    assert reply.json()["code"] == code


# --- simulations ------------------------------------------------------------------------------


def test_a_simulation_takes_the_mean_of_past_periods_on(server: Served) -> None:
    scene = populated(server)
    body = {"customer": "c1", "periods": 2, "growth": "50%", "learn": 2}
    answer = scene.ask("POST", "/v1/simulations", body)
    months = [sum(t for n, m, _, t in used(4) if (n, m) == (1, month)) for month in (9, 10)]
    mean = Decimal(sum(months)) / 2
    quantities = [mean * Decimal("1.5"), mean * Decimal("2.25")]
    assert [Decimal(one["lines"][0]["quantity"]) for one in answer["invoices"]] == quantities
    totals = [(q / 100).quantize(CENT, ROUND_HALF_UP) for q in quantities]
    assert [Decimal(one["total"]) for one in answer["invoices"]] == totals
    assert answer["totals"] == [{"currency": "USD", "revenue": str(sum(totals))}]
    assert [one["period"]["start"] for one in answer["invoices"]] == [
        "2026-12-01T00:00:00Z",
        "2027-01-01T00:00:00Z",
    ]


def test_a_simulation_of_somebody_new_needs_a_plan_and_usage(server: Served) -> None:
    scene = populated(server, 1)
    body = {"plan": "pro", "usage": {"tokens": "400"}, "periods": 1}
    tiers = [{"up_to": 300, "unit": "0.02"}, {"unit": "0.005"}]
    tried = priced({"type": "graduated", "tiers": tiers})
    answer = scene.ask("POST", "/v1/simulations", body | {"catalog": tried})
    assert answer["invoices"][0]["total"] == str(graduated(400))
    assert (
        scene.raw("POST", "/v1/simulations", {"plan": "pro"}).json()["code"] == "invalid_parameter"
    )
    typo = scene.raw("POST", "/v1/simulations", body | {"usage": {"tokns": 1}}).json()
    assert (typo["code"], "did you mean 'tokens'" in typo["detail"]) == ("invalid_parameter", True)
    assert scene.raw("POST", "/v1/simulations", body | {"growth": "much"}).status == 422
    assert (
        scene.raw("POST", "/v1/simulations", body | {"plan": "prp"}).json()["code"]
        == "unknown_plan"
    )


def test_given_usage_of_a_price_with_bounds_for_each_event_is_of_events_that_are_alike(
    server: Served,
) -> None:
    scene = populated(server, 1)
    bounds = {"min_per_event": "0.50", "max_per_event": "2"}
    tried = priced({"type": "percentage", "rate": "0.01", **bounds})
    for each, fee in ((10, "0.5"), (100, "1"), (900, "2")):
        given = {"tokens": [{"quantity": 10 * each, "events": 10}]}
        body = {"plan": "pro", "catalog": tried, "usage": given, "periods": 1}
        (invoice,) = scene.ask("POST", "/v1/simulations", body)["invoices"]
        assert Decimal(invoice["total"]) == 10 * Decimal(fee)


# --- rollouts ---------------------------------------------------------------------------------


def staged(scene: Scene, unit: str = "0.02") -> int:
    version: int = scene.ask("PUT", "/v1/catalog", per_unit(unit), staged=1, reason="a test")[
        "version"
    ]
    return version


def lines(scene: Scene, customer: str, at: str) -> list[tuple[str, str, str]]:
    found = scene.preview(customer, at=at)["lines"]
    return [(line["price"], line["quantity"], line["amount"]) for line in found]


def test_a_staged_version_is_rolled_out_and_back_without_touching_what_is_billed(
    server: Served,
) -> None:
    scene = populated(server)
    scene.close()
    (issued,) = scene.ask("GET", "/v1/invoices", customer="c1", limit=1)["items"]
    scene.ask("POST", f"/v1/invoices/{issued['id']}/finalize")
    version = staged(scene)
    assert scene.ask("GET", "/v1/subscriptions")["items"][0]["version"] == 1
    before = [lines(scene, f"c{n}", "2026-11-30T00:00:00Z") for n in range(4)]

    wish = {"version": version, "customers": ["c1"]}
    assert scene.ask("PUT", "/v1/rollouts/r", wish)["moved"] == 1
    assert scene.ask("PUT", "/v1/rollouts/r", wish)["moved"] == 0
    (mine,) = scene.ask("GET", "/v1/customers/c1/rollouts")["items"]
    assert (mine["rollout"], mine["side"]) == ("r", "treatment")
    assert [lines(scene, f"c{n}", "2026-11-30T00:00:00Z") for n in (0, 2, 3)] == [
        before[n] for n in (0, 2, 3)
    ]

    scene.set_clock("2026-11-25T00:00:00Z")
    late = {"id": "late", "type": "llm.request", "subject": "c1", "data": {"tokens": 100}}
    scene.send([late])
    scene.set_clock("2026-11-26T00:00:00Z")
    assert scene.ask("POST", "/v1/rollouts/r/rollback", {"reason": "enough"})["moved"] == 1
    scene.send([late | {"id": "later"}])
    scene.set_clock("2026-12-02T00:00:00Z")
    ((_, quantity, amount),) = before[1]
    assert lines(scene, "c1", "2026-11-30T00:00:00Z") == [
        ("pro/tokens@1", quantity, amount),
        (f"pro/tokens@{version}", "100", "2.00"),
        ("pro/tokens@1", "100", "1.00"),
    ]  # K20: one line a version, its own quantity
    assert scene.ask("GET", f"/v1/invoices/{issued['id']}/verify")["ok"]
    scene.close()
    (closed,) = scene.ask("GET", "/v1/invoices", customer="c1", limit=1)["items"]
    assert [line["amount"] for line in closed["lines"]] == [amount, "2.00", "1.00"]
    assert scene.ask("GET", f"/v1/invoices/{closed['id']}/verify")["ok"]
    over = scene.raw("POST", "/v1/rollouts/r/rollback", {})
    assert (over.status, over.json()["code"]) == (409, "rollout_over")


def test_sides_are_compared_and_completing_publishes_for_all(server: Served) -> None:
    scene = populated(server, 12)
    version = staged(scene)
    wish = {"version": version, "share": "40%", "holdout": "30%", "segment": {"tier": "gold"}}
    scene.ask("PUT", "/v1/rollouts/x", wish)
    listed = scene.ask("GET", "/v1/rollouts/x/assignments")["items"]
    of = defaultdict(set)
    for one in listed:
        of[one["side"]].add(one["customer"])
    assert set.union(*of.values()) == {f"c{n}" for n in range(1, 12, 2)}
    sides = scene.ask("GET", "/v1/rollouts/x")["sides"]
    for side, names in of.items():
        numbers = {int(name[1:]) for name in names}
        quantity = sum(t for n, month, _, t in used(12) if n in numbers and month == 11)
        (total,) = sides[side]["totals"]
        assert sides[side]["customers"] == len(names)
        assert Decimal(total["revenue"]) == Decimal(quantity) / 100  # all of it was before

    held = {"version": version, "share": 1, "segment": {"tier": "gold"}, "holdout": "0%"}
    scene.ask("PUT", "/v1/rollouts/x", held)
    again = {
        one["customer"]: one["side"]
        for one in scene.ask("GET", "/v1/rollouts/x/assignments")["items"]
    }
    assert {name for name, side in again.items() if side == "holdout"} == of["holdout"]
    scene.ask("POST", "/v1/rollouts/x/complete")
    versions = scene.ask("GET", "/v1/catalog/versions")["items"]
    assert [(one["version"], one["staged"]) for one in versions] == [
        (3, False),
        (2, True),
        (1, False),
    ]
    assert versions[0]["reason"] == "rollout x completed"
    assert scene.ask("GET", "/v1/catalog")["plans"]["pro"]["prices"]["tokens"]["unit"] == "0.02"
    pinned = {one["pinned"] for one in scene.ask("GET", "/v1/subscriptions")["items"]}
    assert pinned == {False}


def test_completing_never_takes_back_what_was_published_meanwhile(server: Served) -> None:
    scene = populated(server, 1)
    version = staged(scene)
    scene.ask("PUT", "/v1/rollouts/x", {"version": version})
    scene.publish(per_unit("0.03"))
    refused = scene.raw("POST", "/v1/rollouts/x/complete")
    assert (refused.status, refused.json()["code"]) == (409, "catalog_changed")
    assert scene.ask("GET", "/v1/rollouts")["items"][0]["status"] == "running"


def test_a_rollout_survives_a_restart_and_gives_the_same_bill(tmp_path: Path) -> None:
    with serve(tmp_path, "--sandbox") as first:
        scene = populated(first, 1)
        scene.ask("PUT", "/v1/rollouts/x", {"version": staged(scene)})
        scene.set_clock("2026-11-25T00:00:00Z")
        scene.send([{"id": "n", "type": "llm.request", "subject": "c0", "data": {"tokens": 50}}])
        before = scene.preview("c0", at="2026-11-26T00:00:00Z")["lines"]
    assert [line["price"] for line in before] == ["pro/tokens@1", "pro/tokens@2"]
    with serve(tmp_path, "--sandbox") as second:
        scene.server = second
        scene.set_clock("2026-11-25T00:00:00Z")
        assert scene.preview("c0", at="2026-11-26T00:00:00Z")["lines"] == before
        unit = scene.ask("GET", "/v1/catalog")["plans"]["pro"]["prices"]["tokens"]["unit"]
        assert unit == "0.01"


@pytest.mark.parametrize(
    "body",
    [
        {"version": 1},
        {"version": 2, "share": "80%", "holdout": "30%"},
        {"version": 2, "from": "soon"},
        {"version": 2, "customers": ["nobody"]},
        {"share": "10%"},
    ],
)
def test_a_rollout_that_makes_no_sense_is_refused(server: Served, body: dict[str, Any]) -> None:
    scene = populated(server, 1)
    staged(scene)
    assert scene.raw("PUT", "/v1/rollouts/x", body).status in (404, 422)
    assert scene.ask("GET", "/v1/rollouts")["items"] == []
