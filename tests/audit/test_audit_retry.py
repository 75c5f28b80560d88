"""
One effect for one Idempotency-Key (K17), when a crash came between the log and the stored reply.

The stored replies are taken out of the books while the server is down: that is all such a crash
leaves behind.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.audit.workload import CATALOG, CREDIT
from tests.serving import Served, serve


@contextmanager
def restarted(tmp_path: Path) -> Iterator[Served]:
    """The server again, with no memory of what it replied."""
    with sqlite3.connect(tmp_path / "data" / "books.db") as books:
        assert books.execute("DELETE FROM replies").rowcount > 0
    books.close()
    with serve(tmp_path, "--dev") as server:
        yield server


def ask(server: Served, path: str, body: Any, key: str = "k", status: int = 200) -> Any:
    reply = server.post(path, body, headers={"Idempotency-Key": key})
    assert reply.status == status, reply.text
    return reply.json()


def balance(server: Served, customer: str) -> Any:
    shown = server.get(f"/v1/customers/{customer}/balance?credit={CREDIT}").json()
    return {name: shown[name] for name in ("balance", "available", "reserved")}


STEPS: dict[str, tuple[str, Any, int]] = {
    "a grant without an id": ("/v1/customers/{me}/grants", {"credit": CREDIT, "amount": 5}, 201),
    "a top-up without an id": ("/v1/customers/{me}/top-ups", {"credit": CREDIT, "amount": 5}, 201),
    "a reservation without an id": ("/v1/reservations", {"feature": "chat", "amount": 4}, 201),
    "an extension": ("/v1/reservations/held-{me}/extend", {"amount": 4, "ttl_s": 600}, 200),
    "a settlement": ("/v1/reservations/held-{me}/settle", {"amount": 3}, 200),
    "a release": ("/v1/reservations/held-{me}/release", {}, 200),
    "a void": ("/v1/grants/start-{me}/void", {"reason": "test"}, 200),
    "a refund without an id": ("/v1/grants/start-{me}/refund", {"amount": 2}, 200),
    "a transfer without an id": (
        "/v1/customers/{me}/transfers", {"to": "other", "credit": CREDIT, "amount": 2}, 200,
    ),
}  # fmt: skip


def customer_of(name: str) -> str:
    return name.replace(" ", "-")


def request_of(name: str) -> tuple[str, Any, int]:
    path, body, status = STEPS[name]
    me = customer_of(name)
    extra = {"customer": me} if path == "/v1/reservations" else {}
    return path.replace("{me}", me), body | extra, status


@pytest.fixture(scope="module")
def crashed(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Served, dict[str, Any], dict[str, Any]]]:
    """A server after the crash, what it answered each step before, and the balances after that."""
    directory = tmp_path_factory.mktemp("retry")
    firsts, balances = {}, {}
    with serve(directory, "--dev") as server:
        server.put("/v1/catalog", CATALOG)
        server.put("/v1/customers/other", {})
        for name in STEPS:
            path, body, status = request_of(name)
            open_wallet(server, customer_of(name))
            firsts[name] = ask(server, path, body, key=name, status=status)
            balances[name] = balance(server, customer_of(name))
    with restarted(directory) as server:
        yield server, firsts, balances


def open_wallet(server: Served, me: str) -> None:
    server.put(f"/v1/customers/{me}", {})
    server.post("/v1/subscriptions", {"customer": me, "plan": "paygo"})
    grant = {"id": f"start-{me}", "credit": CREDIT, "amount": 50, "kind": "paid"}
    server.post(f"/v1/customers/{me}/grants", grant)
    hold = {"customer": me, "feature": "chat", "amount": 8, "id": f"held-{me}", "ttl_s": 600}
    assert server.post("/v1/reservations", hold).status == 201


@pytest.mark.parametrize("name", STEPS)
def test_a_command_sent_again_after_a_crash_has_its_first_answer_and_no_second_effect(
    name: str, crashed: Any
) -> None:
    server, firsts, balances = crashed
    path, body, status = request_of(name)
    assert balance(server, customer_of(name)) == balances[name]
    assert ask(server, path, body, key=name, status=status) == firsts[name]
    assert balance(server, customer_of(name)) == balances[name]


def test_the_key_of_another_request_is_refused_after_a_crash_too(crashed: Any) -> None:
    server, _, _ = crashed
    path, _, _ = request_of("a settlement")
    answer = ask(server, path, {"amount": 1}, key="a refund without an id", status=422)
    assert answer["code"] == "idempotency_key_reused"
