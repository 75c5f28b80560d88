"""A crowd that wants the same thing at the same instant: exactly as many get it as there is."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import pytest
from benchmarks.processes import Server, free_port
from tests.audit.client import Connection, Lane
from tests.audit.programme import start
from tests.audit.record import Record
from tests.audit.workload import CATALOG, CREDIT, Request

CROWD = 500
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = start(tmp_path_factory.mktemp("races") / "data", free_port())
    running.request("PUT", "/v1/catalog", CATALOG)
    yield running
    running.kill()


def customer(server: Server, name: str, credit: str) -> str:
    server.request("PUT", f"/v1/customers/{name}", {})
    server.request("POST", "/v1/subscriptions", {"customer": name, "plan": "paygo"})
    grant = {"id": f"{name}-start", "credit": CREDIT, "amount": credit}
    server.request("POST", f"/v1/customers/{name}/grants", grant)
    return name


def at_once(server: Server, requests: Sequence[tuple[str, Any]]) -> list[Record]:
    """Each on a connection of its own, all connected before the first is sent."""

    async def run() -> list[Record]:
        loop, (_, port) = asyncio.get_running_loop(), server.address
        lanes = []
        for _ in requests:
            lane = Lane(None, port, None)  # type: ignore[arg-type]
            _, lane._connection = await loop.create_connection(Connection, "127.0.0.1", port)
            lanes.append(lane)
        asked = [
            Request(str(n), "race", "w", {}, "POST", path, body)
            for n, (path, body) in enumerate(requests)
        ]
        try:
            return await asyncio.gather(
                *(lane.perform(one) for lane, one in zip(lanes, asked, strict=True))
            )
        finally:
            for lane in lanes:
                lane._connection.close()

    return asyncio.run(run())


def balance(server: Server, name: str) -> Any:
    return server.request("GET", f"/v1/customers/{name}/balance?credit={CREDIT}")


def kinds(server: Server, name: str) -> Counter[str]:
    """How many entries of each kind its ledger has."""
    path = f"/v1/customers/{name}/ledger?credit={CREDIT}&limit=1000"
    return Counter(entry["kind"] for entry in server.request("GET", path)["items"])


def debit(name: str, event_id: str) -> tuple[str, Any]:
    return "/v1/consume", {"customer": name, "feature": "chat", "amount": 2, "id": event_id}


def hold(name: str, hold_id: str) -> tuple[str, Any]:
    body = {"customer": name, "feature": "chat", "amount": 2, "id": hold_id, "ttl_s": 600}
    return "/v1/reservations", body


def test_as_many_spenders_of_one_wallet_succeed_as_the_balance_allows(server: Server) -> None:
    name = customer(server, "spenders", "123.75")
    answers = at_once(server, [debit(name, f"spend-{n}") for n in range(CROWD)])
    assert Counter(r.answer["allowed"] for r in answers) == {True: 123, False: CROWD - 123}
    assert len({r.seq for r in answers if r.done}) == 123
    left = {Decimal(r.answer["balance_after"]) for r in answers if r.done}
    assert left == {Decimal("0.75") + n for n in range(123)}
    assert (balance(server, name)["balance"], kinds(server, name)["spend"]) == ("0.75", 123)


def test_holds_and_debits_together_never_take_more_than_there_is(server: Server) -> None:
    name = customer(server, "mixed", "100")
    wanted = [(hold if n % 2 else debit)(name, f"mixed-{n}") for n in range(CROWD)]
    done = [r for r in at_once(server, wanted) if r.done]
    assert len(done) == 100
    shown = balance(server, name)
    held = sum(1 for r in done if "granted" in r.answer)
    assert (shown["available"], shown["reserved"]) == ("0", str(held))
    assert shown["balance"] == str(held)


def test_one_id_has_one_effect_however_many_send_it_at_once(server: Server) -> None:
    name = customer(server, "same", "100")
    answers = at_once(server, [debit(name, "same-id")] * CROWD)
    assert len({str(r.answer) for r in answers}) == 1
    assert balance(server, name)["balance"] == "99"
    answers = at_once(server, [hold(name, "same-hold")] * CROWD)
    assert len({str(r.answer) for r in answers}) == 1
    assert balance(server, name)["reserved"] == "1"


def test_of_all_who_settle_or_release_one_hold_one_does(server: Server) -> None:
    name = customer(server, "resolved", "100")
    server.request("POST", *hold(name, "wanted"))
    ways: list[tuple[str, Any]] = [
        ("/v1/reservations/wanted/settle", {"amount": 1}),
        ("/v1/reservations/wanted/release", {}),
    ]
    answers = at_once(server, ways * (CROWD // 2))
    (winner,) = [r for r in answers if r.status == 200]
    assert {r.answer["code"] for r in answers if r is not winner} == {"already_resolved"}
    spent = "99.5" if winner.answer["status"] == "settled" else "100"
    assert (balance(server, name)["balance"], balance(server, name)["reserved"]) == (spent, "0")


def test_an_automatic_top_up_is_made_once_however_many_run_the_wallet_low(server: Server) -> None:
    name = customer(server, "low", "50")
    rule = {"below": 10, "amount": 100, "cooldown_s": 3600, "max_per_day": 5}
    server.request("PUT", f"/v1/customers/{name}/auto-top-ups/{CREDIT}", rule)
    answers = at_once(server, [debit(name, f"low-{n}") for n in range(CROWD)])
    assert Counter(r.answer["allowed"] for r in answers) == {True: 150, False: CROWD - 150}
    assert kinds(server, name)["grant"] == 2  # the first, and the one it was topped up with
    assert balance(server, name)["balance"] == "0"
