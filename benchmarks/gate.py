"""
What is measured of the gate: spending, reserving, five levels, and leases.

Beside each spender stands a Redis script that checks and deducts (`peers/check_and_deduct.py`),
called by the same generator with nothing in front, once as it is usually set up and once with every
write synced, as each answer of ours is.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import time
from collections.abc import Iterator
from decimal import Decimal

from benchmarks import bodies, gate_bodies, load, processes
from benchmarks.bodies import Requests
from benchmarks.load import Result, Stream
from benchmarks.scenarios import Bench, sample_of
from benchmarks.targets import Session, Taximeter

CONNECTIONS = 64
WALLETS = (1, bodies.CUSTOMERS)
REQUESTS_PER_S = 120_000
"""More than anybody answers, so that no run ends for want of requests."""
LEASED = 1_000_000
SYNCED = {"redis": "everysec", "redis-always": "always"}


def target(bench: Bench) -> Taximeter:
    """This product with 10,000 customers that have credit, on a template of its own."""
    return Taximeter(
        bench.work / "gate-template",
        gate_bodies.catalog(),
        (bodies.customers, bodies.subscriptions, gate_bodies.grants),
    )


def consume(bench: Bench) -> None:
    """One image at a time, paid with credit, by one customer or by 10,000 at random."""
    _spend(bench, "consume", "consumes/s", steps=1)


def reserve(bench: Bench) -> None:
    """Reservations of 8 images, each settled with 5 by the connection that made it."""
    _spend(bench, "reserve + settle", "pairs/s", steps=2)


def _spend(bench: Bench, what: str, unit: str, steps: int) -> None:
    count = int(bench.plan.seconds * REQUESTS_PER_S) // steps
    make = gate_bodies.consumes if steps == 1 else gate_bodies.reservations
    for wallets in WALLETS:
        scenario = f"{what}, {wallets:,} wallet{'s' * (wallets > 1)}"
        for repetition in range(bench.plan.repetitions):
            seed = 40_000 + 10 * repetition + steps
            requests, warm = make(count, wallets, seed), make(2_000, wallets, seed + 5)
            with bench.directory() as directory, target(bench).session(directory) as session:
                _run(session.server.address, "warm-up", warm, steps, 60)
                cpu, before = session.cpu_s(), spent_cents(session)
                result = _run(session.server.address, what, requests, steps, bench.plan.seconds)
                cpu = session.cpu_s() - cpu
                _verify(result, steps, spent_cents(session) - before)
            sample = sample_of(result, result.per_second / steps)
            bench.add(scenario, "taximeter", unit, sample | {"server_cores": cpu / result.seconds})
            if bench.peers:
                _spend_in_redis(bench, scenario, unit, steps, wallets, seed)


def _spend_in_redis(
    bench: Bench, scenario: str, unit: str, steps: int, wallets: int, seed: int
) -> None:
    from benchmarks.peers import servers
    from benchmarks.peers.check_and_deduct import Scripts

    count = int(bench.plan.seconds * REQUESTS_PER_S) // steps
    for name, synced in SYNCED.items():
        with bench.directory() as directory, servers.valkey(directory, synced) as valkey:
            scripts = Scripts(valkey.url)
            make = scripts.consumes if steps == 1 else scripts.reservations
            _run(scripts.address, "warm-up", make(2_000, wallets, seed + 5), steps, 60, redis=True)
            cpu, before = processes.cpu_s([valkey.pid]), scripts.spent_cents()
            requests = make(count, wallets, seed)
            result = _run(scripts.address, name, requests, steps, bench.plan.seconds, redis=True)
            cpu = processes.cpu_s([valkey.pid]) - cpu
            spent = scripts.spent_cents() - before
        if steps == 1:
            _verify(result, steps, spent)
        sample = sample_of(result, result.per_second / steps)
        bench.add(scenario, name, unit, sample | {"server_cores": cpu / result.seconds})


def _run(
    address: load.Address,
    name: str,
    requests: Requests,
    steps: int,
    seconds: float,
    redis: bool = False,
) -> Result:
    stream = Stream(name, requests, CONNECTIONS, steps=steps, redis=redis)
    [result] = load.run(address, [stream], seconds)
    return result


def _verify(result: Result, steps: int, spent: int) -> None:
    """Every operation that was answered is paid for, to the cent, and nothing else is."""
    units = 1 if steps == 1 else gate_bodies.USED
    expected = result.statuses[200] * units * gate_bodies.PRICE_CENTS
    if spent != expected:
        raise load.Failed(f"{result.name}: {spent} cents were paid, {expected} answered")


def spent_cents(session: Session) -> int:
    """What all customers have paid with credit, by the books."""
    answer = session.server.request("GET", "/v1/ledger/trial-balance")
    spent = [Decimal(one["amount"]) for one in answer["items"] if one["account"] == "spent"]
    return int(100 * sum(spent))


def levels(bench: Bench) -> None:
    """A check bounded by five nested levels beside one bounded by one, on the same server."""
    for repetition in range(bench.plan.repetitions):
        with bench.directory() as directory, target(bench).session(directory) as session:
            results = {}
            for feature in ("chat", "nested"):
                requests = gate_bodies.checks(feature, 20_000, seed=repetition)
                stream = Stream(feature, requests, CONNECTIONS, repeat=True)
                load.run(session.server.address, [stream], 0.3)
                [results[feature]] = load.run(session.server.address, [stream], bench.plan.seconds)
        one, five = results["chat"], results["nested"]
        bench.add("check, 1 level", "taximeter", "checks/s", sample_of(one, one.per_second))
        sample = sample_of(five, five.per_second)
        sample["times_one_level"] = one.per_second / five.per_second
        bench.add("check, 5 levels", "taximeter", "checks/s", sample)


def lease(bench: Bench) -> None:
    """`check` of the SDK while it holds a lease: in process, each call timed alone."""
    for _ in range(bench.plan.repetitions):
        with (
            bench.directory() as directory,
            target(bench).session(directory) as session,
            _sdk(session) as took_ns,
        ):
            ordered = sorted(took_ns)
        sample = {
            "value": statistics.median(ordered) / 1000,
            "p99_us": ordered[int(len(ordered) * 0.99) - 1] / 1000,
            "calls": float(len(ordered)),
        }
        bench.add("leased check, in process", "taximeter", "us, median", sample)


@contextlib.contextmanager
def _sdk(session: Session) -> Iterator[list[int]]:
    """How long each of many leased checks took, the clock's own time taken off."""
    sys.path.insert(0, str(processes.ROOT / "sdk" / "src"))
    from taximeter_sdk import Taximeter as Client

    host, port = session.server.address
    clock = time.perf_counter_ns
    empty = statistics.median(-clock() + clock() for _ in range(100_000))
    with Client(f"http://{host}:{port}") as client:
        client.lease("customer-00000", "chat", LEASED)
        check = client.check
        took = []
        for _ in range(LEASED // 5):
            began = clock()
            decision = check("customer-00000", "chat", 5)
            took.append(clock() - began - int(empty))
            assert decision.decided_by == "lease"
        yield took


ALL = {
    "gate-consume": consume,
    "gate-reserve": reserve,
    "gate-levels": levels,
    "gate-lease": lease,
}
