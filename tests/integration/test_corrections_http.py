"""Events taken back and given other data, on a real server whose clock the test sets."""

from __future__ import annotations

import copy
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.integration.scene import CATALOG, Scene, event
from tests.integration.test_restart import kill
from tests.serving import Served, serve

NOW = "2026-11-20T12:00:00Z"

WIDE: dict[str, Any] = copy.deepcopy(CATALOG)
WIDE["scopes"] = [{"user": "data.user"}]
WIDE["meters"] |= {
    name: {"event_type": "llm.request", "aggregation": name, "value": "data.tokens"}
    for name in ("max", "unique", "last")
}
WIDE["meters"]["images"] = {"event_type": "image.created", "aggregation": "count"}
WIDE["features"]["image"] = {"type": "metered", "meter": "images"}
WIDE["plans"]["pro"]["entitlements"] |= {
    "calls": {"limit": 100, "reset": "day", "per": {"user": {"limit": 2, "reset": "day"}}},
    "image": {"credit": "usd", "cost": 2},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("corrections"), "--sandbox") as running:
        yield running


@pytest.fixture
def scene(server: Served) -> Scene:
    one = Scene(server)
    one.set_clock(NOW)
    return one.open(WIDE)


def retract(scene: Scene, event_id: str, *, status: int = 200, **members: Any) -> dict[str, Any]:
    body = {"id": event_id, "reason": "sent twice", **members}
    answer: dict[str, Any] = scene.ask("POST", "/v1/events/retract", body, status=status)
    return answer


def amend(scene: Scene, event_id: str, *, status: int = 200, **data: Any) -> dict[str, Any]:
    body = {"id": event_id, "reason": "counted wrongly", "data": data}
    answer: dict[str, Any] = scene.ask("POST", "/v1/events/amend", body, status=status)
    return answer


def receipt(scene: Scene, event_id: str, source: str = "") -> dict[str, Any]:
    answer: dict[str, Any] = scene.ask("GET", "/v1/events/receipt", id=event_id, source=source)
    return answer


def numbers(scene: Scene) -> dict[str, str]:
    """What counts, by every way there is to ask."""
    preview = scene.preview()
    return {
        "used": scene.used(),
        "checked": scene.check()["used"],
        "calls": scene.check("calls")["used"],
        "fare": preview["total"],
        **{meter: scene.used(meter) for meter in ("max", "unique", "last")},
    }


def test_a_retracted_event_counts_nowhere_from_the_answer_on(scene: Scene) -> None:
    scene.send([event("a", 5)])
    before = numbers(scene)
    scene.send([event("b", 300)])
    answer = retract(scene, "b")
    assert answer["status"] == "retracted"
    assert answer["corrected"] == {
        "source": "",
        "id": "b",
        "position": answer["corrected"]["position"],
    }
    assert numbers(scene) == before
    told = receipt(scene, "b")
    assert (told["status"], told["meters"], told["lines"]) == ("retracted", [], [])
    assert told["corrected"]["position"] == answer["position"]
    assert told["corrected"]["reason"] == "sent twice"
    listed = {one["event"]["id"]: one for one in scene.ask("GET", "/v1/events")["items"]}
    assert listed["b"]["status"] == "retracted"
    assert "status" not in listed["a"]


def test_an_amended_event_counts_with_its_new_data_at_its_own_time(scene: Scene) -> None:
    scene.send(event("a", 5, time="2026-11-20T10:00:00Z"))
    answer = amend(scene, "a", tokens="7.5")
    assert numbers(scene)["used"] == "7.5"
    new = answer["replacement"]
    told = receipt(scene, new["id"], new["source"])
    assert told["event"]["time"] == "2026-11-20T10:00:00Z"
    assert (told["status"], told["event"]["data"]) == ("accepted", {"tokens": "7.5"})
    assert receipt(scene, "a")["corrected"]["replaced_by"] == new["position"]


def test_what_was_amended_can_be_amended_again_and_then_taken_back(scene: Scene) -> None:
    scene.send(event("a", 5))
    first = amend(scene, "a", tokens=6)
    second = amend(scene, "a", tokens=7)
    assert second["replacement"] != first["replacement"]
    assert amend(scene, "a", tokens=7) == second
    gone = retract(scene, "a")
    assert gone["status"] == "retracted"
    assert scene.check()["used"] == "0"
    refused = amend(scene, "a", status=409, tokens=8)
    assert refused["code"] == "already_retracted"
    assert refused["position"] == gone["position"]


def test_asking_again_is_answered_alike_and_corrects_nothing(scene: Scene) -> None:
    scene.send([event("a", 5), event("b", 6)])
    first = retract(scene, "a", reason="first")
    assert retract(scene, "a", reason="second") == first
    assert len(scene.ask("GET", "/v1/corrections")["items"]) == 1
    same = amend(scene, "b", status=422, tokens=6)
    assert "says already" in same["detail"]


def test_the_identity_of_what_was_corrected_stays_taken(scene: Scene) -> None:
    """A client that sends its event again must not undo the correction."""
    now = {"time": "2026-11-20T11:00:00Z"}
    scene.send([event("a", 5, **now), event("b", 6, **now)])
    retract(scene, "a")
    amend(scene, "b", tokens=1)
    again = scene.send([event("a", 5, **now), event("b", 6, **now), event("b", 1, **now)])
    assert (again["duplicates"], again["conflicts"], again["accepted"]) == (2, 1, 0)
    assert scene.used() == "1"
    assert scene.status()["events"]["balanced"]


def test_only_usage_events_of_ones_own_namespace_are_corrected(server: Served) -> None:
    one, other = Scene(server).open(WIDE), Scene(server).open(WIDE)
    one.send(event("a", 5))
    assert retract(other, "a", status=404)["code"] == "not_found"
    assert retract(one, "b", status=404)["code"] == "not_found"
    assert retract(one, "a", source="api", status=404)["code"] == "not_found"
    grant = {"id": "g", "credit": "usd", "amount": 1}
    one.ask("POST", "/v1/customers/acme/grants", grant, status=201)
    refused = retract(one, "g", source="taximeter/grant", status=422)
    assert "no usage event" in refused["detail"]
    retract(one, "a")
    refused = retract(one, "retract:1", source="taximeter/corrections", status=404)
    body = {"id": "a", "reason": ""}
    assert one.ask("POST", "/v1/events/retract", body, status=422)["code"] == "invalid_request"


def test_nobody_else_writes_events_of_corrections(scene: Scene) -> None:
    forged = event("retract:1", 0, source="taximeter/corrections", type="taximeter.retraction")
    scene.send(event("a", 5))
    answer = scene.send([forged, event("b", 1)])
    assert (answer["accepted"], answer["rejected"]) == (1, 1)
    assert answer["errors"][0]["code"] == "reserved_source"
    assert scene.check()["used"] == "6"


def test_new_data_is_held_against_the_rules_for_events(scene: Scene) -> None:
    scene.send(event("a", 5))
    assert amend(scene, "a", status=422, tokens="many")["code"] == "invalid_quantity"
    assert amend(scene, "a", status=422, tokens=10**26)["code"] == "invalid_quantity"
    large = amend(scene, "a", status=413, tokens=1, text="x" * 270_000)
    assert large["code"] == "event_too_large"
    deep: Any = 1
    for _ in range(40):
        deep = [deep]
    assert amend(scene, "a", status=400, tokens=1, deep=deep)["code"] == "too_deep"
    assert scene.check()["used"] == "5"


def test_limits_of_other_windows_and_levels_are_freed(scene: Scene) -> None:
    body = {"customer": "acme", "feature": "calls", "amount": 1, "scope": {"user": "u7"}}
    scene.send([event(n, data={"tokens": 1, "user": "u7"}) for n in "ab"])
    assert scene.ask("POST", "/v1/check", body)["reason"] == "limit_reached"
    retract(scene, "a")
    freed = scene.ask("POST", "/v1/check", body)
    assert (freed["allowed"], scene.check("calls")["used"]) == (True, "1")
    amend(scene, "b", tokens=1, user="u8")
    assert scene.ask("POST", "/v1/check", body | {"amount": 2})["allowed"]


def test_subjects_nobody_claims_are_counted_as_before(scene: Scene) -> None:
    scene.send([event("a", 5, subject="stranger"), event("b", 6, subject="stranger")])
    retract(scene, "a")
    assert scene.status()["unmatched"]["events"] == 1
    amend(scene, "b", tokens=60)
    assert scene.status()["unmatched"]["events"] == 1
    scene.customer("acme", subjects=["stranger"])
    assert numbers(scene)["used"] == "60"
    retract(scene, "b")
    assert scene.status()["unmatched"]["events"] == 0
    assert numbers(scene)["used"] == "0"


# --- credits ------------------------------------------------------------------------------------


def image(event_id: str) -> dict[str, Any]:
    return event(event_id, type="image.created", data={})


def wallet(scene: Scene) -> tuple[str, list[str]]:
    path = "/v1/customers/acme/balance"
    answer = scene.ask("GET", path, credit="usd")
    return answer["balance"], [one["remaining"] for one in answer["grants"]]


def ledger(scene: Scene) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = scene.ask("GET", "/v1/customers/acme/ledger")["items"]
    return items


def grant(scene: Scene, grant_id: str, amount: int, **members: Any) -> None:
    body = {"id": grant_id, "credit": "usd", "amount": amount, **members}
    scene.ask("POST", "/v1/customers/acme/grants", body, status=201)


def test_credit_returns_to_the_grants_that_paid_by_balanced_postings(scene: Scene) -> None:
    """K19."""
    grant(scene, "small", 1, priority=1)
    grant(scene, "big", 10, priority=2)
    scene.send(image("i1"))
    assert wallet(scene)[0] == "9"
    answer = retract(scene, "i1")
    assert wallet(scene) == ("11", ["1", "10"])
    (reversal,) = [one for one in ledger(scene) if one["kind"] == "reverse"]
    assert reversal["cause"]["do"] == "retract"
    assert f"0:{reversal['cause']['seq']}" == answer["position"]
    assert f"0:{reversal['cause']['event']}" == answer["corrected"]["position"]
    assert {p["account"]: p["amount"] for p in reversal["postings"]} == {
        "wallet/small": "1",
        "wallet/big": "1",
        "spent": "-2",
    }


def test_what_an_expired_grant_had_paid_is_breakage(scene: Scene) -> None:
    grant(scene, "short", 5, expires_at="2026-11-21T00:00:00Z")
    scene.send(image("i1"))
    scene.set_clock("2026-11-22T12:00:00Z")
    retract(scene, "i1")
    assert wallet(scene)[0] == "0"
    (reversal,) = [one for one in ledger(scene) if one["kind"] == "reverse"]
    assert {p["account"]: p["amount"] for p in reversal["postings"]} == {
        "breakage": "2",
        "spent": "-2",
    }


def test_an_amendment_gives_back_and_burns_anew(scene: Scene) -> None:
    grant(scene, "g", 10)
    answer = scene.consume("c1", feature="image")
    assert (answer["allowed"], wallet(scene)[0]) == (True, "8")
    body = {"source": "taximeter/consume", "id": "c1", "reason": "named", "data": {"user": "u"}}
    scene.ask("POST", "/v1/events/amend", body)
    assert wallet(scene) == ("8", ["8"])
    kinds = [one["kind"] for one in ledger(scene)]
    assert sorted(kinds) == ["grant", "reverse", "spend", "spend"]


def test_what_a_reservation_came_to_is_given_back(scene: Scene) -> None:
    grant(scene, "g", 10)
    hold = {"id": "r1", "customer": "acme", "feature": "image", "amount": 3, "ttl_s": 60}
    scene.ask("POST", "/v1/reservations", hold, status=201)
    scene.ask("POST", "/v1/reservations/r1/settle", {"amount": 1})
    assert wallet(scene)[0] == "8"
    (one,) = scene.ask("GET", "/v1/events", type="image.created")["items"]
    retract(scene, one["event"]["id"], source=one["event"]["source"])
    assert wallet(scene) == ("10", ["10"])
    assert scene.used("images") == "0"


def test_a_pool_has_again_what_a_child_had_taken(scene: Scene) -> None:
    scene.customer("kid", parent="acme", pool=True)
    grant(scene, "g", 10)
    assert scene.consume("k1", 300, customer="kid")["allowed"]
    assert scene.consume("k2", 1, customer="kid", feature="image")["allowed"]
    assert (scene.check(amount=701)["allowed"], wallet(scene)[0]) == (False, "8")
    retract(scene, "k1", source="taximeter/consume")
    retract(scene, "k2", source="taximeter/consume")
    assert (scene.check(amount=1000)["allowed"], wallet(scene)[0]) == (True, "10")


# --- by query -----------------------------------------------------------------------------------

BY_QUERY = {"action": "retract", "customer": "acme", "filter": "data.tokens > 10"}


def previewed(scene: Scene, query: dict[str, Any] | None = None) -> dict[str, Any]:
    answer: dict[str, Any] = scene.ask("POST", "/v1/corrections/preview", query or BY_QUERY)
    return answer


def commit(
    scene: Scene, preview: dict[str, Any], query: dict[str, Any] | None = None, *, status: int = 201
) -> dict[str, Any]:
    body = {**(query or BY_QUERY), "preview": preview["preview"], "reason": "a test loop"}
    answer: dict[str, Any] = scene.ask("POST", "/v1/corrections", body, status=status)
    return answer


def test_a_preview_says_what_would_change_and_changes_nothing(scene: Scene) -> None:
    scene.send([event("a", 5), event("b", 50), event("c", 70)])
    before = numbers(scene)
    shown = previewed(scene)
    assert (shown["events"], shown["unmatched"], shown["needs_approval"]) == (2, 0, False)
    changes = {one["meter"]: (one["before"], one["after"]) for one in shown["effect"]}
    assert changes == {
        "tokens": ("125", "5"),
        "requests": ("3", "1"),
        "max": ("70", "5"),
        "unique": ("3", "1"),
        "last": ("70", "5"),
    }
    (fare,) = shown["fares"]
    assert (fare["before"], fare["after"], fare["currency"]) == ("1.25", "0.05", "USD")
    assert fare["before"] == before["fare"]
    assert numbers(scene) == before
    commit(scene, shown)
    after = numbers(scene)
    assert (after["used"], after["max"], after["last"]) == ("5", "5", "5")
    assert after["fare"] == fare["after"]


def test_exactly_what_was_previewed_is_corrected(scene: Scene) -> None:
    scene.send([event("a", 50), event("b", 60)])
    shown = previewed(scene)
    scene.send(event("late", 70))
    made = commit(scene, shown)
    assert (made["events"], scene.check()["used"]) == (2, "70")
    assert commit(scene, shown)["id"] == made["id"]
    assert commit(scene, shown, BY_QUERY | {"filter": "data.tokens > 0"})["id"] == made["id"]


def test_a_correction_that_is_no_more_what_was_previewed_is_refused(scene: Scene) -> None:
    scene.send([event("a", 50), event("b", 60)])
    shown = previewed(scene)
    other = BY_QUERY | {"filter": "data.tokens > 55"}
    assert commit(scene, shown, other, status=409)["code"] == "correction_changed"
    retract(scene, "a")
    assert commit(scene, shown, status=409)["code"] == "correction_changed"
    assert scene.check()["used"] == "60"
    assert commit(scene, {"preview": "cor_x"}, status=422)["code"] == "invalid_request"
    far = {"preview": "cor_99999999_0123456789abcdef0123"}
    assert commit(scene, far, status=409)["code"] == "correction_changed"


def test_a_patch_amends_members_and_leaves_the_others(scene: Scene) -> None:
    data = {"tokens": 5, "model": "opus", "inner": {"a": 1, "b": 2}}
    scene.send([event("a", data=data), event("b", data={"tokens": 7, "model": "mini"})])
    query = {
        "action": "amend",
        "type": "llm.request",
        "patch": {"model": "mini", "inner": {"a": None}},
    }
    shown = previewed(scene, query)
    assert (shown["events"], shown["unchanged"]) == (2, 0)
    commit(scene, shown, query)
    standing = [one for one in scene.ask("GET", "/v1/events")["items"] if "status" not in one]
    datas = {one["event"]["data"]["tokens"]: one["event"]["data"] for one in standing}
    assert datas[5] == {"tokens": 5, "model": "mini", "inner": {"b": 2}}
    assert datas[7] == {"tokens": 7, "model": "mini", "inner": {}}  # RFC 7396
    assert previewed(scene, query | {"patch": {"model": "mini"}})["unchanged"] == 2


def test_a_query_that_says_too_little_or_selects_too_much_is_refused(scene: Scene) -> None:
    def code(status: int, **query: Any) -> str:
        answer = scene.ask(
            "POST", "/v1/corrections/preview", {"action": "retract", **query}, status=status
        )
        return str(answer["code"])

    assert code(422) == "invalid_request"
    assert code(422, type="t", patch={"a": 1}) == "invalid_request"
    assert code(422, type="t", filter="data.x >") == "invalid_filter"
    assert code(404, customer="nobody") == "not_found"
    assert code(422, type="t", **{"from": "yesterday"}) == "invalid_timestamp"


def test_ten_thousand_events_are_corrected_at_once_and_no_more(scene: Scene) -> None:
    scene.send([event(str(n), 1) for n in range(10_000)])
    query = {"action": "amend", "customer": "acme", "patch": {"tokens": 3}}
    made = commit(scene, previewed(scene, query), query)
    assert (made["events"], numbers(scene)["used"]) == (10_000, "30000")
    scene.send(event("one more", 1))
    refused = scene.ask(
        "POST", "/v1/corrections/preview", {"action": "retract", "customer": "acme"}, status=413
    )
    assert refused["code"] == "batch_too_large"


def test_a_correction_is_undone_by_further_facts_and_that_as_well(scene: Scene) -> None:
    scene.send([event("a", 5), event("b", 60), event("c", 70)])
    before = numbers(scene)
    made = commit(scene, previewed(scene))
    path = f"/v1/corrections/{made['id']}"
    undone = scene.ask("POST", f"{path}/revert", {"reason": "was right"})
    assert numbers(scene) == before
    assert scene.ask("POST", f"{path}/revert", {"reason": "again"})["id"] == undone["id"]
    shown = scene.ask("GET", path)
    assert (shown["status"], shown["reverted_by"]) == ("reverted", undone["id"])
    scene.ask("POST", f"/v1/corrections/{undone['id']}/revert", {"reason": "no, wrong"})
    assert numbers(scene)["used"] == "5"
    assert receipt(scene, "b")["status"] == "amended"


def test_what_was_corrected_since_is_not_undone(scene: Scene) -> None:
    scene.send([event("a", 50), event("b", 60)])
    query = {"action": "amend", "customer": "acme", "patch": {"tokens": 1}}
    made = commit(scene, previewed(scene, query), query)
    amend(scene, "a", tokens=2)
    path = f"/v1/corrections/{made['id']}/revert"
    refused = scene.ask("POST", path, {"reason": "x"}, status=409)
    assert refused["code"] == "correction_changed"
    assert numbers(scene)["used"] == "3"


def test_four_eyes_above_the_threshold(scene: Scene) -> None:
    scene.ask("PUT", "/v1/billing/settings", {"four_eyes_events": 1})
    scene.send([event("a", 50), event("b", 60), event("c", 1)])
    retract(scene, "c")
    shown = previewed(scene)
    assert shown["needs_approval"]
    made = commit(scene, shown, status=202)
    assert (made["status"], scene.check()["used"]) == ("pending", "110")
    path = f"/v1/corrections/{made['id']}"
    assert scene.ask("POST", f"{path}/approve", status=403)["code"] == "four_eyes"
    second = scene.new_key("write")
    approved = scene.ask("POST", f"{path}/approve", key=second)
    assert (approved["status"], scene.check()["used"]) == ("committed", "0")
    assert approved["approved_by"] != approved["made_by"]
    waiting = scene.ask("POST", f"{path}/revert", {"reason": "x"}, status=202)
    assert waiting["status"] == "pending"
    scene.ask("POST", f"/v1/corrections/{waiting['id']}/approve", key=second)
    assert scene.check()["used"] == "110"
    assert scene.ask("GET", path)["status"] == "reverted"
    scene.ask("PUT", "/v1/billing/settings", {"four_eyes_events": 0})
    assert retract(scene, "a", status=403)["code"] == "four_eyes"


def test_what_waits_can_be_rejected_and_proposed_anew(scene: Scene) -> None:
    scene.ask("PUT", "/v1/billing/settings", {"four_eyes_events": 1})
    scene.send([event("a", 50), event("b", 60)])
    shown = previewed(scene)
    path = f"/v1/corrections/{commit(scene, shown, status=202)['id']}"
    assert scene.ask("POST", f"{path}/reject", {"reason": "wrong hour"})["status"] == "rejected"
    second = scene.new_key("write")
    refused = scene.ask("POST", f"{path}/approve", key=second, status=409)
    assert refused["code"] == "correction_not_open"
    assert commit(scene, shown, status=202)["status"] == "pending"
    scene.ask("POST", f"{path}/approve", key=second)
    assert scene.check()["used"] == "0"
    body = {"reason": "too late"}
    assert scene.ask("POST", f"{path}/reject", body, status=409)["code"] == "correction_not_open"


def test_four_eyes_from_an_amount_on(scene: Scene) -> None:
    scene.ask("PUT", "/v1/billing/settings", {"four_eyes": {"USD": "1.00"}})
    scene.send([event("a", 99), event("b", 100)])
    assert retract(scene, "a")["status"] == "retracted"
    assert retract(scene, "b", status=403)["code"] == "four_eyes"
    assert amend(scene, "b", tokens=1)["status"] == "amended"
    scene.send([event("c", 60), event("d", 60)])
    shown = previewed(scene)
    assert shown["needs_approval"]
    assert commit(scene, shown, status=202)["status"] == "pending"


def test_every_correction_is_in_the_audit_trail_with_who_and_why(scene: Scene) -> None:
    scene.send([event("a", 50), event("b", 60)])
    retract(scene, "a", reason="double")
    made = commit(scene, previewed(scene))
    trail = scene.ask("GET", "/v1/audit")["items"]
    found = {one["target"]: one for one in trail if one["action"] == "events.retract"}
    assert found[made["id"]]["detail"]["reason"] == "a test loop"
    assert {one["detail"]["reason"] for one in found.values()} == {"double", "a test loop"}
    assert len(found) == 2


# --- invoices -----------------------------------------------------------------------------------


def test_an_invoice_from_before_still_verifies_and_names_what_it_billed(server: Served) -> None:
    scene = Scene(server)
    scene.set_clock("2026-10-20T12:00:00Z")
    scene.open(WIDE, start="2026-10-01T00:00:00Z")
    scene.send([event("a", 50), event("b", 60)])
    scene.set_clock("2026-11-20T12:00:00Z")
    (invoice,) = scene.close()
    path = f"/v1/invoices/{invoice['id']}"
    (line,) = [one for one in invoice["lines"] if one["kind"] == "usage"]
    shown = previewed(scene)
    assert shown["invoices"] == [
        {"id": invoice["id"], "number": invoice["number"], "status": "draft", "lines": [line["id"]]}
    ]
    retract(scene, "a")
    assert scene.ask("GET", f"{path}/verify")["ok"]
    events = scene.ask("GET", f"{path}/lines/{line['id']}/events")["items"]
    assert [one["event"]["id"] for one in events] == ["a", "b"]
    told = receipt(scene, "a")
    assert (told["status"], len(told["lines"])) == ("retracted", 1)


# --- races and ends -----------------------------------------------------------------------------


def test_of_two_corrections_at_once_each_sees_the_other(scene: Scene) -> None:
    scene.send([event(str(n), 5) for n in range(8)])

    def correct(number: int) -> int:
        name = str(number // 2)
        if number % 2:
            body = {"id": name, "reason": "r", "data": {"tokens": 100}}
            return scene.raw("POST", "/v1/events/amend", body).status
        return scene.raw("POST", "/v1/events/retract", {"id": name, "reason": "r"}).status

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(correct, range(16)))
    assert set(statuses[::2]) == {200}  # amended before or not, it is gone
    assert set(statuses[1::2]) <= {200, 409}
    assert numbers(scene)["used"] == "0"


def leave_on_its_way(books: Path) -> None:
    """As a kill leaves it between the entry in the log and the note of it in the books, and once
    before the entry."""
    with closing(sqlite3.connect(books)) as opened, opened:
        opened.execute("UPDATE corrections SET status = 'committing'")
        opened.execute(
            "INSERT INTO corrections (namespace, id, status, document, seqs) SELECT namespace,"
            " 'cor_1_never', status, json_set(document, '$.fact', 'retract:99'), seqs"
            " FROM corrections LIMIT 1"
        )


def test_corrections_survive_a_kill_and_the_loss_of_everything_but_the_log(tmp_path: Path) -> None:
    with serve(tmp_path, "--sandbox") as server:
        scene = Scene(server, namespace="default")
        scene.set_clock(NOW)
        scene.open(WIDE)
        grant(scene, "g", 10)
        scene.send([event(name, 10 * n) for n, name in enumerate("abcd", 1)])
        scene.send([image("i1"), image("i2"), event("s", 7, subject="stranger")])
        retract(scene, "d")
        amend(scene, "c", tokens=3)
        retract(scene, "i1")
        retract(scene, "s")
        made = commit(scene, previewed(scene, BY_QUERY), BY_QUERY)
        scene.ask("POST", f"/v1/corrections/{made['id']}/revert", {"reason": "undo"})
        before = (numbers(scene), wallet(scene), scene.status()["unmatched"], ledger(scene))
        assert before[0]["used"] == "33"
        made = scene.ask("GET", "/v1/corrections")["items"]
        kill(server)
    leave_on_its_way(tmp_path / "data" / "books.db")
    with serve(tmp_path, "--sandbox") as server:
        again = Scene(server, namespace="default")
        again.set_clock(NOW)
        after = (numbers(again), wallet(again), again.status()["unmatched"], ledger(again))
        assert after == before
        assert retract(again, "d")["status"] == "retracted"
        found = again.ask("GET", "/v1/corrections")["items"]
        assert [(one["id"], one["position"]) for one in found] == [
            (one["id"], one["position"]) for one in made
        ]
        assert {one["status"] for one in found} == {"committed"}
        kill(server)
    for cache in ("live", "events", "identity"):
        for file in (tmp_path / "data" / cache).iterdir():
            if (
                file.name != "secret"
                and file.is_file()
                and file.suffix in (".snap", ".parquet", ".ids")
            ):
                file.unlink()
    with serve(tmp_path, "--sandbox") as server:
        again = Scene(server, namespace="default")
        again.set_clock(NOW)
        assert (numbers(again), wallet(again), again.status()["unmatched"]) == before[:3]
        assert again.status()["events"]["balanced"]
