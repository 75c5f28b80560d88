"""
What is really damaged is found, named, and healed by a replay.

The node runs in this process, so that a test can reach into its memory and its files.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.integration.scene import CATALOG, Scene, event
from tests.serving import Served

from taximeter.adapters.log import LogReader
from taximeter.adapters.node import Node
from taximeter.adapters.store.columnar import ColumnarStore
from taximeter.settings import Settings


class Inside:
    """A node on a loop of its own."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.node = self.run(self._start())
        url = f"http://127.0.0.1:{self.node.port}"
        self.served = Served(url, data, None, data / "none")  # type: ignore[arg-type]

    async def _start(self) -> Node:
        node = Node(Settings(data=self.data, port=0, sandbox=True))
        await node.start()
        return node

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(120)

    def stop(self) -> None:
        self.run(self.node.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    running = Inside(tmp_path_factory.mktemp("reconciled") / "data")
    yield running
    running.stop()


@pytest.fixture
def scene(inside: Inside) -> Scene:
    """Three customers in the middle of a month, with usage."""
    scene = Scene(inside.served)
    scene.set_clock("2026-11-20T12:00:00Z")
    scene.publish(CATALOG)
    for key in ("acme", "bolt", "core"):
        scene.customer(key)
        scene.subscribe(key, start="2026-10-01T00:00:00Z")
    scene.send(
        [
            event(f"{key}{n}", n, subject=key, time=f"2026-1{n % 2}-1{n % 9}T00:00:00Z")
            for key in ("acme", "bolt", "core")
            for n in range(1, 10)
        ]
    )
    return scene


def run(scene: Scene, **body: Any) -> list[dict[str, Any]]:
    report = scene.ask("POST", "/v1/reconciliation/run", body, timeout_s=90.0)
    assert report["ok"] is not report["items"] or not report["items"]
    items: list[dict[str, Any]] = report["items"]
    assert scene.ask("GET", "/v1/reconciliation")["items"] == items or body
    return items


def heal(scene: Scene, gap: dict[str, Any]) -> None:
    done = scene.ask("POST", "/v1/reconciliation/repair", {"gap": gap["id"]}, timeout_s=90.0)
    assert done == {"gap": gap["id"], "repair": gap["repair"], "healed": True}


def essence(gap: dict[str, Any]) -> tuple[Any, ...]:
    names = ("cause", "customer", "meter", "expected", "found", "repair")
    return (*gap["between"], *(gap[name] for name in names))


def issued(scene: Scene) -> list[dict[str, Any]]:
    """The October invoices, final."""
    return [
        scene.ask("POST", f"/v1/invoices/{one['id']}/finalize")
        for one in scene.close("2026-11-01T00:00:00Z")
    ]


# --- nothing is wrong -------------------------------------------------------------------------


def test_without_damage_every_stage_says_the_same(scene: Scene) -> None:
    issued(scene)
    assert run(scene) == []
    report = scene.ask("GET", "/v1/reconciliation")
    assert report["ok"] is True
    assert report["checked"]["invoices"] >= 3
    assert report["checked"]["numbers"] >= 3 * 2 * 2
    assert report["events"]["balanced"] is True
    assert scene.status()["reconciliation"]["gaps"] == 0


def test_all_stages_of_a_customer_are_shown_side_by_side(scene: Scene) -> None:
    invoice = next(one for one in issued(scene) if one["customer"] == "acme")
    payment = {
        "id": "p1", "customer": "acme", "amount": "0.05", "currency": "USD",
        "invoices": [{"invoice": invoice["id"], "amount": "0.05"}],
    }  # fmt: skip
    scene.ask("POST", "/v1/payments", payment, status=201)
    october, november = scene.ask("GET", "/v1/reconciliation/chain", customer="acme")["items"]
    meters = {one["meter"]: one for one in october["meters"]}
    assert meters["tokens"] == {
        "meter": "tokens", "unit": None, "accepted": {"events": 4, "quantity": "20"},
        "counted": {"events": 4, "quantity": "20"}, "rated": "0.20", "invoiced": "0.20",
    }  # fmt: skip
    (shown,) = october["invoices"]
    assert [shown[name] for name in ("rated", "invoiced", "posted", "paid", "open")] == [
        "0.20", "0.20", "0.20", "0.05", "0.15",
    ]  # fmt: skip
    running = next(one for one in november["meters"] if one["meter"] == "tokens")
    assert (running["rated"], running["invoiced"]) == ("0.25", None)
    assert november["invoices"] == []
    assert scene.raw("GET", "/v1/reconciliation/chain", customer="nobody").status == 404
    assert scene.raw("GET", "/v1/reconciliation/chain", customer="acme", periods=0).status == 422


# --- accepted = counted -----------------------------------------------------------------------


def test_a_live_counter_that_lost_an_event_is_found_and_folded_again(
    scene: Scene, inside: Inside
) -> None:
    live = inside.node.tenants[scene.namespace].live
    slot = next(n for n, one in enumerate(live.layout.counters) if one.meter.key == "tokens")
    cells = live.accounts["bolt"].cells
    before = scene.check(customer="bolt")["used"]
    cells[2 * slot] -= 1
    cells[2 * slot + 1] -= 3 * 10**12
    gaps = run(scene)
    assert [essence(gap)[:4] for gap in gaps] == [("accepted", "counted", "missing", "bolt")]
    (gap,) = gaps
    assert (gap["meter"], gap["difference"], gap["repair"]) == ("tokens", "-3", "rebuild_account")
    assert gap["blocks"] is True
    heal(scene, gap)
    assert scene.check(customer="bolt")["used"] == before
    assert run(scene) == []


def test_a_counter_that_counted_twice_is_a_duplicate_and_another_value_is_code(
    scene: Scene, inside: Inside
) -> None:
    live = inside.node.tenants[scene.namespace].live
    slots = {one.meter.key: n for n, one in enumerate(live.layout.counters)}
    live.accounts["acme"].cells[2 * slots["requests"]] += 1
    live.accounts["core"].cells[2 * slots["tokens"] + 1] += 10**12
    found = {gap["customer"]: (gap["cause"], gap["meter"]) for gap in run(scene)}
    assert found == {"acme": ("duplicate", "requests"), "core": ("code", "tokens")}
    for gap in run(scene):
        heal(scene, gap)


def test_a_row_that_the_event_store_lost_is_read_from_the_log_again(
    scene: Scene, inside: Inside
) -> None:
    issued(scene)
    drop_row(scene, inside, "acme4")
    gaps = run(scene)
    counted = [gap for gap in gaps if gap["between"] == ["accepted", "accepted"]]
    assert {(gap["cause"], gap["customer"], gap["repair"]) for gap in counted} == {
        ("missing", "acme", "rebuild_store")
    }
    # The invoice was right: it is what was billed for that is gone.
    billed = [gap for gap in gaps if gap["between"] == ["rated", "invoiced"]]
    assert {gap["repair"] for gap in billed} == {"rebuild_store"}
    heal(scene, counted[0])
    assert run(scene) == []


def drop_row(scene: Scene, inside: Inside, event_id: str) -> None:
    """Write the file that holds an event again without it, while the store has it open."""
    inside.run(reopen_sealed(inside))
    hit = 0
    for file in sorted((inside.data / "events").glob("*.parquet")):
        spare = file.with_suffix(".spare")
        names = [scene.namespace, event_id]
        rest = f"FROM read_parquet('{file}') WHERE NOT (namespace = $1 AND id = $2)"
        (kept,) = duckdb.execute(f"SELECT count(*) {rest}", names).fetchone() or (0,)
        (all_of_it,) = duckdb.execute(f"SELECT count(*) FROM '{file}'").fetchone() or (0,)
        if kept < all_of_it:
            duckdb.execute(f"COPY (SELECT * {rest}) TO '{spare}' (FORMAT parquet)", names)
            spare.replace(file)
            hit += 1
    assert hit == 1


async def reopen_sealed(inside: Inside) -> None:
    """Have everything in files, and another store process that reads them."""
    running = inside.node.store
    await running.close()
    store = ColumnarStore(inside.data / "events", LogReader(inside.data / "log").read)
    store.refresh(inside.node.log.position)
    store.seal()
    store.close()
    running._closing, running._supervisor, running._process = False, None, None
    running.start(inside.node.log.position)
    await running.find("", 1)


# --- rated = invoiced -------------------------------------------------------------------------


def test_an_amount_that_was_edited_in_the_books_is_put_back_as_its_digest_has_it(
    scene: Scene, inside: Inside
) -> None:
    invoice = issued(scene)[0]
    path = f"/v1/invoices/{invoice['id']}"
    edit(inside, invoice["id"], f'"amount":"{invoice["lines"][0]["amount"]}"', '"amount":"0.01"')
    assert scene.ask("GET", f"{path}/verify")["ok"] is False
    gaps = [gap for gap in run(scene) if gap["target"].startswith(invoice["id"])]
    causes = {gap["cause"]: gap["repair"] for gap in gaps}
    assert causes["altered"] == "rerate"
    assert causes["rate"] == "rerate"
    heal(scene, gaps[0])
    assert scene.ask("GET", path) == invoice
    assert scene.ask("GET", f"{path}/verify")["ok"] is True
    assert run(scene) == []
    actions = [one["action"] for one in scene.ask("GET", "/v1/audit", limit=1000)["items"]]
    assert actions[-2:] == ["reconciliation.repair", "invoice.restore"]


def edit(inside: Inside, invoice_id: str, old: str, new: str) -> None:
    """What nobody may do: change an issued document behind the program's back."""
    with sqlite3.connect(inside.data / "books.db") as books:
        name = "invoices_are_final_once_issued"
        (rule,) = books.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (name,)).fetchone()
        books.execute(f"DROP TRIGGER {name}")
        (document,) = books.execute(
            "SELECT document FROM invoices WHERE id = ?", (invoice_id,)
        ).fetchone()
        changed = bytes(document).replace(old.encode(), new.encode(), 1)
        assert changed != bytes(document)
        books.execute("UPDATE invoices SET document = ? WHERE id = ?", (changed, invoice_id))
        books.execute(rule)


def test_a_document_whose_digest_was_changed_as_well_takes_a_person(
    scene: Scene, inside: Inside
) -> None:
    invoice = issued(scene)[0]
    edit(inside, invoice["id"], invoice["digest"], "sha256:" + "0" * 64)
    (gap,) = [gap for gap in run(scene) if gap["cause"] == "altered"]
    assert (gap["repair"], gap["automatic"]) == ("look", False)
    reply = scene.ask("POST", "/v1/reconciliation/repair", {"gap": gap["id"]}, status=409)
    assert reply["code"] == "not_repairable"
    edit(inside, invoice["id"], "sha256:" + "0" * 64, invoice["digest"])
    assert run(scene) == []


def test_what_came_late_is_a_gap_until_it_is_adjusted(scene: Scene) -> None:
    issued(scene)
    scene.send(event("late", 7, time="2026-10-31T23:00:00Z"))
    late = [gap for gap in run(scene) if gap["cause"] == "late"]
    assert [(g["customer"], g["difference"], g["repair"]) for g in late] == [
        ("acme", "-1", "adjust")
    ]
    assert late[0]["blocks"] is False


# --- invoiced = posted ------------------------------------------------------------------------


def test_a_journal_entry_that_was_lost_is_booked_again(scene: Scene, inside: Inside) -> None:
    invoice = issued(scene)[0]
    with sqlite3.connect(inside.data / "books.db") as books:
        found = books.execute(
            "SELECT name, sql FROM sqlite_schema "
            "WHERE type = 'trigger' AND tbl_name LIKE 'journal%'"
        ).fetchall()
        for name, _ in found:
            books.execute(f"DROP TRIGGER {name}")
        (rank,) = books.execute(
            "SELECT rank FROM journal_entries WHERE id = ?", (f"issue:{invoice['id']}",)
        ).fetchone()
        books.execute("DELETE FROM journal_postings WHERE entry = ?", (rank,))
        books.execute("DELETE FROM journal_entries WHERE rank = ?", (rank,))
        for _, sql in found:
            books.execute(sql)
    gaps = [gap for gap in run(scene) if gap["between"] == ["invoiced", "posted"]]
    assert {(gap["cause"], gap["repair"]) for gap in gaps} == {("missing", "repost")}
    heal(scene, gaps[0])
    assert run(scene) == []


def test_a_transaction_of_credit_that_was_lost_is_booked_again(
    scene: Scene, inside: Inside
) -> None:
    for n in range(3):
        grant = {"id": f"g{n}", "credit": "usd", "amount": 10 + n}
        scene.ask("POST", "/v1/customers/core/grants", grant, status=201)
    before = scene.ask("GET", "/v1/customers/core/ledger")
    with sqlite3.connect(inside.data / "ledger.db") as ledger:
        (rule,) = ledger.execute(
            "SELECT sql FROM sqlite_schema WHERE name = 'transactions_are_kept'"
        ).fetchone()
        ledger.execute("DROP TRIGGER transactions_are_kept")
        ledger.execute(
            "DELETE FROM transactions WHERE namespace = ? AND ordinal = 2", (scene.namespace,)
        )
        ledger.execute(rule)
    (gap,) = run(scene)
    assert (gap["customer"], gap["cause"], gap["repair"]) == ("core", "missing", "rebuild_ledger")
    heal(scene, gap)
    after = scene.ask("GET", "/v1/customers/core/ledger")
    assert sorted(map(repr, after["items"])) == sorted(map(repr, before["items"]))
    assert run(scene) == []


# --- the edges --------------------------------------------------------------------------------


def test_what_clients_sent_is_compared_with_what_arrived(scene: Scene) -> None:
    span = {"from": "2026-10-01T00:00:00Z", "to": "2026-12-01T00:00:00Z", "type": "llm.request"}
    report = scene.ask(
        "POST", "/v1/reconciliation/sent", {"source": "", "counts": [span | {"events": 27}]}
    )
    assert report["ok"] is True
    report = scene.ask(
        "POST", "/v1/reconciliation/sent", {"source": "", "counts": [span | {"events": 29}]}
    )
    (gap,) = report["items"]
    assert (gap["cause"], gap["difference"], gap["repair"]) == ("missing", "-2", "resend")
    assert [one["id"] for one in run(scene)] == [gap["id"]]
    scene.send([event("x1", time="2026-11-02T00:00:00Z"), event("x2", time="2026-11-02T00:00:00Z")])
    assert run(scene) == []
    more = {"source": 'o"dd \\', "counts": [span | {"events": 0}]}
    scene.send(event("y", time="2026-11-02T00:00:00Z", source='o"dd \\'))
    (gap,) = scene.ask("POST", "/v1/reconciliation/sent", more)["items"]
    assert gap["cause"] == "duplicate"


def test_what_a_client_has_dropped_or_lost_sight_of_is_in_its_own_counters(scene: Scene) -> None:
    stats = {"tracked": 100, "recovered": 5, "accepted": 90, "duplicates": 3, "buffered": 12}
    sent = {"source": "api-1", "stats": stats | {"retries": 7, "last_error": None}}
    assert scene.ask("POST", "/v1/reconciliation/sent", sent)["items"] == []
    sent["stats"] |= {"buffered": 8, "dropped": 3}
    items = scene.ask("POST", "/v1/reconciliation/sent", sent)["items"]
    assert [(one["cause"], one["difference"], one["repair"]) for one in items] == [
        ("missing", "-3", "resend"), ("code", "-1", "look"),
    ]  # fmt: skip
    scene.ask("POST", "/v1/reconciliation/sent", {"source": "api-1"}, status=422)


def test_what_nobody_claims_and_what_was_refused_are_gaps_with_a_name(scene: Scene) -> None:
    scene.send([event("s", subject="stranger"), event("bad", "many", subject="acme")])
    found = {gap["cause"]: gap for gap in run(scene)}
    assert found.keys() == {"unmatched", "quarantined"}
    assert found["unmatched"]["target"] == "stranger"
    assert found["quarantined"]["customer"] == "acme"
    assert not any(gap["blocks"] for gap in found.values())
    reply = scene.ask(
        "POST", "/v1/reconciliation/repair", {"gap": found["unmatched"]["id"]}, status=409
    )
    assert "claim_subject" in reply["detail"]


# --- tolerance, notices -----------------------------------------------------------------------


def test_a_gap_raises_one_notice_and_within_tolerance_none(scene: Scene, inside: Inside) -> None:
    live = inside.node.tenants[scene.namespace].live
    slot = next(n for n, one in enumerate(live.layout.counters) if one.meter.key == "tokens")
    scene.ask("PUT", "/v1/reconciliation/tolerance", {"tolerance": "0.5"})
    live.accounts["bolt"].cells[2 * slot + 1] += 10**12
    (gap,) = run(scene)
    assert gap["blocks"] is False
    assert scene.ask("GET", "/v1/notices", type="reconciliation.gap")["items"] == []
    scene.ask("PUT", "/v1/reconciliation/tolerance", {"tolerance": "0"})
    for _ in range(2):
        assert run(scene)[0]["blocks"] is True
    inside.run(inside.node.notices.settled())
    (notice,) = scene.ask("GET", "/v1/notices", type="reconciliation.gap")["items"]
    assert notice["data"]["id"] == gap["id"]
    assert f'cause="code",namespace="{scene.namespace}"' in scene.raw("GET", "/metrics").text
    heal(scene, gap)


def test_a_gap_holds_back_the_close_of_that_period_only(scene: Scene, inside: Inside) -> None:
    tenant = inside.node.tenants[scene.namespace]
    slot = next(n for n, one in enumerate(tenant.live.layout.counters) if not one.group_by)
    tenant.live.accounts["bolt"].cells[2 * slot] += 1
    (gap,) = run(scene)
    scene.set_clock("2026-12-01T00:00:01Z")
    closed = scene.ask("POST", "/v1/close", {})
    assert [(one["customer"], one["period"]["start"], one["gap"]) for one in closed["held"]] == [
        ("bolt", "2026-11-01T00:00:00Z", gap["id"])
    ]
    assert len(closed["invoices"]) == 5, "October of three customers, November of two"
    heal(scene, gap)
    closed = scene.ask("POST", "/v1/close", {})
    assert (closed["held"], len(closed["invoices"])) == ([], 1)


def test_a_close_compares_what_it_bills_and_needs_no_sweep_for_it(
    scene: Scene, inside: Inside
) -> None:
    live = inside.node.tenants[scene.namespace].live
    slot = next(n for n, one in enumerate(live.layout.counters) if not one.group_by)
    live.accounts["core"].cells[2 * slot] -= 1
    scene.set_clock("2026-12-01T00:00:01Z")
    (held,) = scene.ask("POST", "/v1/close", {})["held"]
    assert held["customer"] == "core"
    heal(scene, {"id": held["gap"], "repair": "rebuild_account"})
    assert scene.ask("POST", "/v1/close", {})["held"] == []
