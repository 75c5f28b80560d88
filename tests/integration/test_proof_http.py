"""Proof over HTTP: shares of events, inclusion, and the offline check of what was downloaded."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from tests.integration.scene import CATALOG, Scene, event
from tests.serving import Served, serve

HOSTILE = 'a "quote", a \\ and a \n line; \u2028 \x7f é 漢 🚕'
PRICES: dict[str, Any] = {
    "base": {"type": "flat", "amount": 49},
    "tokens": {
        "type": "graduated", "meter": "tokens", "free": 10,
        "tiers": [{"up_to": 50, "unit": "0.10"}, {"unit": "0.033", "flat": 2}],
    },
    "models": {"type": "per_unit", "meter": "tokens", "unit": "0.003", "group_by": ["model"]},
    "volume": {
        "type": "volume", "meter": "tokens",
        "tiers": [{"up_to": 100, "unit": "0.2"}, {"unit": "0.1", "flat": 1}],
    },
    "calls": {"type": "package", "meter": "requests", "size": 7, "amount": 3, "minimum": 5},
    "peak": {"type": "per_unit", "meter": "peak", "unit": 2},
    "names": {"type": "per_unit", "meter": "names", "unit": "0.5"},
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("proof"), "--sandbox") as running:
        yield running


@pytest.fixture(scope="module")
def scene(server: Served) -> Scene:
    """A month of 60 events, closed and issued."""
    scene = Scene(server)
    document = copy.deepcopy(CATALOG)
    document["meters"] |= {
        "peak": {"event_type": "llm.request", "aggregation": "max", "value": "data.tokens"},
        "names": {"event_type": "llm.request", "aggregation": "unique", "value": "data.model"},
    }
    document["plans"]["pro"]["prices"] = PRICES
    scene.set_clock("2026-11-20T12:00:00Z")
    scene.publish(document)
    scene.customer(subjects=["u1"])
    scene.subscribe(start="2026-11-01T00:00:00Z")
    scene.send(
        [
            event(
                f"e{n}",
                subject="u1" if n % 3 else "acme",
                time=f"2026-11-{1 + n % 18:02}T10:00:00Z",
                data={"tokens": f"{n % 9}.5", "model": f"m{n % 4}", "note": HOSTILE, "x": 1.50},
            )
            for n in range(60)
        ]
    )
    scene.send(event("of nobody", subject="stranger", time="2026-11-05T00:00:00Z"))
    scene.set_clock("2026-12-01T00:00:00Z")
    return scene


@pytest.fixture(scope="module")
def invoice(scene: Scene) -> dict[str, Any]:
    (draft,) = scene.close()
    issued: dict[str, Any] = scene.ask("POST", f"/v1/invoices/{draft['id']}/finalize")
    return issued


def line_path(invoice: dict[str, Any], description: str) -> tuple[str, dict[str, Any]]:
    line = next(one for one in invoice["lines"] if one["description"] == description)
    return f"/v1/invoices/{invoice['id']}/lines/{line['id']}", line


def pages(scene: Scene, path: str, limit: int) -> list[dict[str, Any]]:
    found, cursor = [], None
    while True:
        page = scene.ask("GET", path, limit=limit, cursor=cursor)
        found.append(page)
        cursor = page["next"]
        if cursor is None:
            return found


# --- rated records ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "description", ["tokens", "models (model: m1)", "volume", "calls", "peak", "names"]
)
def test_the_shares_of_a_line_add_up_to_its_exact_amount(
    scene: Scene, invoice: dict[str, Any], description: str
) -> None:
    path, line = line_path(invoice, description)
    whole = scene.ask("GET", f"{path}/rated", limit=1000)
    events = scene.ask("GET", f"{path}/events", limit=1000)["items"]
    assert [one["id"] for one in whole["items"]] == [one["event"]["id"] for one in events]
    exact = Fraction(whole["base"]) + sum(Fraction(one["amount"]) for one in whole["items"])
    assert exact == Fraction(whole["exact"])
    explained = sum(Fraction(tier["amount"]) for tier in line["tiers"])
    assert exact == explained + Fraction(line.get("adjustment", "0"))
    assert whole["amount"] == line["amount"]
    quantity = sum(Fraction(one["quantity"]) for one in whole["items"])
    assert quantity == Fraction(line["quantity"])
    assert sum(Fraction(one["free"]) for one in whole["items"]) == Fraction(line.get("free", "0"))
    in_parts = pages(scene, f"{path}/rated", 7)
    assert [one for page in in_parts for one in page["items"]] == whole["items"]
    assert (in_parts[0]["base"], in_parts[-1]["exact"]) == (whole["base"], whole["exact"])


def test_an_event_that_crosses_tiers_shows_a_part_in_each(
    scene: Scene, invoice: dict[str, Any]
) -> None:
    path, _ = line_path(invoice, "tokens")
    items = scene.ask("GET", f"{path}/rated", limit=1000)["items"]
    (crossing,) = (one for one in items if len(one["tiers"]) == 2)
    first, second = crossing["tiers"]
    assert (first["unit"], second["unit"]) == ("0.10", "0.033")
    assert Fraction(second["amount"]) == Fraction(second["quantity"]) * Fraction("0.033") + 2
    assert Fraction(first["quantity"]) + Fraction(second["quantity"]) == Fraction(
        crossing["quantity"]
    )
    assert crossing["price"] == "pro/tokens@1"


def test_a_minimum_belongs_to_no_event_until_usage_has_passed_it(
    scene: Scene, invoice: dict[str, Any]
) -> None:
    path, _ = line_path(invoice, "calls")
    rated = scene.ask("GET", f"{path}/rated", limit=1000)
    assert rated["base"] == "5.00"
    paid = [(n, one["amount"]) for n, one in enumerate(rated["items"]) if one["amount"] != "0.00"]
    assert paid[0] == (7, "1.00")
    assert paid[1] == (14, "3.00")


def test_shares_add_up_in_another_currency_by_the_hour_and_within_bounds_of_each_event(
    server: Served,
) -> None:
    scene = Scene(server)
    scene.set_clock("2026-11-20T12:00:00Z")
    document = copy.deepcopy(CATALOG)
    document["rates"] = [{"from": "USD", "to": "GBP", "rate": "0.78"}]
    document["plans"]["pro"]["prices"] = {
        "paid": {
            "type": "percentage", "meter": "tokens", "rate": "0.03", "fixed": "0.1",
            "min_per_event": "0.15", "max_per_event": "0.3",
        },
        "night": {
            "type": "graduated", "meter": "tokens", "tiers": [{"up_to": 9, "unit": 1}, {"unit": 2}],
            "time_of_day": [{"from": "22:00", "to": "06:00", "factor": "0.5"}],
        },
    }  # fmt: skip
    scene.publish(document)
    scene.customer(currency="GBP")
    scene.subscribe(start="2026-11-01T00:00:00Z")
    scene.send([event(f"e{n}", n, time=f"2026-11-{n:02}T{n + 9:02}:30:00Z") for n in range(1, 14)])
    scene.set_clock("2026-12-01T00:00:00Z")
    (invoice,) = scene.close()
    assert invoice["currency"] == "GBP"
    assert len(invoice["lines"]) == 3
    for line in invoice["lines"]:
        path = f"/v1/invoices/{invoice['id']}/lines/{line['id']}/rated"
        whole = scene.ask("GET", path)
        assert len(whole["items"]) == line["lineage"]["events"] > 0
        exact = Fraction(whole["base"]) + sum(Fraction(one["amount"]) for one in whole["items"])
        assert exact == Fraction(whole["exact"])
        assert exact == Fraction("0.78") * Fraction(line.get("multiplier", "1")) * sum(
            Fraction(tier["amount"]) for tier in line["tiers"]
        )
        in_parts = pages(scene, path, 3)
        assert [one for page in in_parts for one in page["items"]] == whole["items"]


def test_a_flat_fee_has_no_rated_records(scene: Scene, invoice: dict[str, Any]) -> None:
    path, _ = line_path(invoice, "base")
    assert scene.ask("GET", f"{path}/rated")["items"] == []
    assert scene.raw("GET", f"{path}/events.jsonl").body == b""


def test_a_cursor_that_was_not_given_is_refused(scene: Scene, invoice: dict[str, Any]) -> None:
    path, _ = line_path(invoice, "tokens")
    for cursor in ("x", "1", "1.2", "1.2.3.4", "1.2.x", "9" * 80 + ".1.1"):
        reply = scene.ask("GET", f"{path}/rated", cursor=cursor, status=422)
        assert reply["code"] == "invalid_parameter"


# --- inclusion --------------------------------------------------------------------------------


def check(tmp_path: Path, script: bytes, *files: tuple[str, bytes], line: str | None = None) -> Any:
    """Run the script as its user would, away from this program."""
    (tmp_path / "verify.py").write_bytes(script)
    for name, content in files:
        (tmp_path / name).write_bytes(content)
    names = [name for name, _ in files]
    if line is not None:
        names.insert(1, line)
    return subprocess.run(
        [sys.executable, "-I", "verify.py", *names],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def script(server: Served) -> bytes:
    reply = server.get("/verify.py", key="")
    assert reply.status == 200
    assert len(reply.body.splitlines()) <= 50
    return reply.body


def document(scene: Scene, invoice: dict[str, Any]) -> bytes:
    return scene.raw("GET", f"/v1/invoices/{invoice['id']}").body


def test_a_customer_checks_an_invoice_and_all_events_of_a_line_offline(
    scene: Scene, invoice: dict[str, Any], script: bytes, tmp_path: Path
) -> None:
    body = document(scene, invoice)
    done = check(tmp_path, script, ("invoice.json", body))
    assert done.returncode == 0, done.stdout + done.stderr
    for description in ("tokens", "models (model: m0)", "names"):
        path, line = line_path(invoice, description)
        leaves = scene.raw("GET", f"{path}/events.jsonl").body
        assert leaves.count(b"\n") == line["lineage"]["events"]
        done = check(
            tmp_path, script, ("invoice.json", body), ("events.jsonl", leaves), line=line["id"]
        )
        assert done.returncode == 0, done.stdout + done.stderr
        for tampered in (
            leaves.replace(b'"e12"', b'"e13"', 1) if b'"e12"' in leaves else leaves[10:],
            b"".join(leaves.splitlines(keepends=True)[1:]),
            b"".join(reversed(leaves.splitlines(keepends=True))),
            leaves + leaves.splitlines(keepends=True)[-1],
        ):
            files = ("invoice.json", body), ("events.jsonl", tampered)
            assert check(tmp_path, script, *files, line=line["id"]).returncode == 1


def test_a_customer_checks_one_event_without_the_others(
    scene: Scene, invoice: dict[str, Any], script: bytes, tmp_path: Path
) -> None:
    body = document(scene, invoice)
    path, line = line_path(invoice, "tokens")
    for name in ("e0", "e31", "e59"):
        proof = scene.ask("GET", f"{path}/proof", id=name)
        assert f'"{name}"' in proof["leaf"]
        assert (proof["size"], proof["root"]) == (60, line["lineage"]["digest"])
        assert len(proof["path"]) <= 6
        proofs = ("proof.json", json.dumps(proof).encode())
        done = check(tmp_path, script, ("invoice.json", body), proofs, line=line["id"])
        assert done.returncode == 0, done.stdout + done.stderr
    for tampered in (
        proof | {"leaf": proof["leaf"].replace("5.5", "5.4")},
        proof | {"index": proof["index"] - 1},
        proof | {"path": proof["path"][:-1]},
        proof | {"path": [*proof["path"], "00" * 32]},
        proof | {"size": 61},
    ):
        proofs = ("proof.json", json.dumps(tampered).encode())
        done = check(tmp_path, script, ("invoice.json", body), proofs, line=line["id"])
        assert done.returncode == 1, tampered


def test_an_invoice_that_was_edited_is_not_what_its_digest_says(
    scene: Scene, invoice: dict[str, Any], script: bytes, tmp_path: Path
) -> None:
    body = document(scene, invoice)
    edited = body.replace(b'"49.00"', b'"48.00"', 1)
    assert edited != body
    done = check(tmp_path, script, ("invoice.json", edited))
    assert done.returncode == 1
    assert "They differ." in done.stderr


def test_a_page_of_events_comes_with_a_proof_each(scene: Scene, invoice: dict[str, Any]) -> None:
    path, line = line_path(invoice, "models (model: m1)")
    found = pages(scene, f"{path}/events", 100)
    plain = [one for page in found for one in page["items"]]
    proved = scene.ask("GET", f"{path}/events", proof=1)["items"]
    assert [{k: v for k, v in one.items() if k != "proof"} for one in proved] == plain
    for n, one in enumerate(proved):
        alone = scene.ask("GET", f"{path}/proof", id=one["event"]["id"])
        assert one["proof"] == alone
        assert (alone["index"], alone["root"]) == (n, line["lineage"]["digest"])


def test_an_event_that_a_line_was_not_billed_for_has_no_proof(
    scene: Scene, invoice: dict[str, Any]
) -> None:
    path, _ = line_path(invoice, "models (model: m1)")
    for name in ("e0", "of nobody", "never sent"):
        assert scene.raw("GET", f"{path}/proof", id=name).status == 404
    flat, _ = line_path(invoice, "base")
    assert scene.raw("GET", f"{flat}/proof", id="e1").status == 404


# --- from an event back -----------------------------------------------------------------------


def test_a_receipt_names_every_line_that_billed_the_event(
    scene: Scene, invoice: dict[str, Any]
) -> None:
    receipt = scene.ask("GET", "/v1/events/receipt", id="e5")
    described = {line["id"]: line["description"] for line in invoice["lines"]}
    assert {one["invoice"] for one in receipt["lines"]} == {invoice["id"]}
    assert sorted(described[one["line"]] for one in receipt["lines"]) == [
        "calls", "models (model: m1)", "names", "peak", "tokens", "volume",
    ]  # fmt: skip
    assert scene.ask("GET", "/v1/events/receipt", id="of nobody")["lines"] == []


def test_a_void_invoice_has_billed_nothing(server: Served) -> None:
    scene = Scene(server)
    scene.set_clock("2026-11-20T12:00:00Z")
    scene.open(start="2026-11-01T00:00:00Z")
    scene.send(event("1", 5))
    scene.set_clock("2026-12-01T00:00:00Z")
    (draft,) = scene.close()
    assert len(scene.ask("GET", "/v1/events/receipt", id="1")["lines"]) == 1
    scene.ask("POST", f"/v1/invoices/{draft['id']}/void", {"reason": "test"})
    assert scene.ask("GET", "/v1/events/receipt", id="1")["lines"] == []
    (again,) = scene.close()
    (line,) = scene.ask("GET", "/v1/events/receipt", id="1")["lines"]
    assert line["invoice"] == again["id"]
