"""The gate of the real server under the auditor: concurrency, kills, retries, seeded bugs."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmarks.processes import Server, free_port
from tests.audit import programme
from tests.audit.client import Lane
from tests.audit.linear import linearise
from tests.audit.programme import Programme, run, set_up
from tests.audit.record import Record
from tests.audit.workload import CREDIT, Request

FULL = os.environ.get("TAXIMETER_TEST_FULL") == "1"
SEED = int(os.environ.get("TAXIMETER_TEST_SEED", "11"))
QUICK_BUGS = ["check_ignores_holds", "replay_drops_effects"]
BUGS = [
    "settle_keeps_the_rest", "usable_at_its_end", "granted_again_on_a_retry", "burns_oldest_first",
    "settled_stays_open", "lapses_forgotten_in_a_restart", "check_ignores_holds",
    "transfer_arrives_twice", "refund_of_what_was_spent", "replay_drops_effects",
    "part_is_half_of_it", "consumed_again_on_a_retry", "answered_before_it_is_durable",
    "overage_is_forgotten",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_anomaly_in_mixed_operations_with_kills_in_between(tmp_path: Path) -> None:
    outcome = run(
        Programme(SEED, operations=24_000 if FULL else 3_000, wallets=6, kills=2), tmp_path
    )
    assert outcome.verdict.findings == [], str(outcome)
    done = {what.removesuffix(" done") for what in outcome.verdict.counts if "done" in what}
    assert {"consume", "reserve", "settle", "grant", "void", "refund", "transfer"} <= done


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_anomaly_when_everybody_wants_the_same_wallet(tmp_path: Path) -> None:
    outcome = run(
        Programme(
            SEED, operations=10_000 if FULL else 1_500, wallets=2, kills=1, lanes=32, quiet=False
        ),
        tmp_path,
    )
    assert outcome.verdict.findings == [], str(outcome)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", BUGS if FULL else QUICK_BUGS)
def test_a_seeded_bug_is_found_within_a_minute(name: str, tmp_path: Path) -> None:
    small = Programme(SEED, operations=3_000, wallets=4, kills=1, quiet=False)
    outcome = run(small, tmp_path, lambda data, port: programme.start(data, port, name))
    assert outcome.verdict.findings
    assert outcome.seconds < 60


# --- any order at all -----------------------------------------------------------------------------

HISTORIES = 300 if FULL else 40
LANES = 8


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = programme.start(tmp_path_factory.mktemp("linear") / "data", free_port())
    set_up(running, HISTORIES)
    yield running
    running.kill()


def lane_of(draw: random.Random, wallet: str, lane: int) -> list[Request]:
    """What one client does to a wallet; identifiers are few, so that clients meet."""
    made: list[Request] = []
    for number in range(5):
        name = (
            f"{wallet}-{draw.randrange(6)}" if draw.random() < 0.3 else f"{wallet}-{lane}.{number}"
        )
        amount = str(draw.randrange(1, 9))
        kind = draw.choice(("consume", "consume", "reserve", "settle", "release", "grant"))
        made.append(request(kind, wallet, name, amount, draw))
    return made


def request(kind: str, wallet: str, name: str, amount: str, draw: random.Random) -> Request:
    hold = f"{wallet}-h{draw.randrange(3)}"
    ask: dict[str, Any] = {"id": name, "feature": "chat", "amount": amount}
    body: dict[str, Any] = {"customer": wallet, **ask}
    if kind == "consume":
        ask["id"] = body["id"] = f"{name}-{amount}"
        return Request(name, kind, wallet, ask, "POST", "/v1/consume", body)
    if kind == "reserve":
        ask |= {"id": hold, "amount": "4"}
        return Request(name, kind, wallet, ask, "POST", "/v1/reservations", body | ask)
    if kind == "grant":
        ask["id"] = f"{name}-g{amount}"
        body = {"id": ask["id"], "credit": CREDIT, "amount": amount}
        return Request(name, kind, wallet, ask, "POST", f"/v1/customers/{wallet}/grants", body)
    path = f"/v1/reservations/{hold}/{kind}"
    ask = {"hold": hold, "feature": "chat"}
    body = {}
    if kind == "settle":
        ask["amount"] = body["amount"] = str(draw.randrange(1, 5))
    return Request(name, kind, wallet, ask, "POST", path, body)


async def history(server: Server, wallet: str, seed: int) -> list[Record]:
    draw = random.Random(seed)
    lanes = [lane_of(draw, wallet, lane) for lane in range(LANES)]

    async def drive(requests: list[Request]) -> list[Record]:
        lane = Lane(None, server.address[1], None)  # type: ignore[arg-type]
        return [await lane.perform(request) for request in requests]

    return [record for done in await asyncio.gather(*map(drive, lanes)) for record in done]


@pytest.mark.parametrize("number", range(HISTORIES))
def test_answers_have_an_order_even_if_seq_is_not_believed(number: int, server: Server) -> None:
    records = asyncio.run(history(server, f"w{number}", SEED * 1000 + number))
    assert linearise(records) is not None, "\n".join(map(str, records))
