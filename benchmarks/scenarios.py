"""
What is measured, and how: one function a scenario, each on fresh data.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import bodies, load, processes
from benchmarks.load import Result, Stream
from benchmarks.targets import PostgresCopy, Recipe, Session, Target, Taximeter, usage

# (events per request, connections)
SHAPES = ((1, 64), (100, 16), (1000, 8))
CHECK_CONNECTIONS = 64
FEW_CONNECTIONS = 8


@dataclass(frozen=True)
class Plan:
    """How long and how often."""

    seconds: float = 4.0
    repetitions: int = 3
    batch_events: int = 3_000_000
    single_events: int = 300_000
    restart_events: int = 1_000_000
    lag_probes: int = 500


QUICK = Plan(
    seconds=1.5,
    repetitions=1,
    batch_events=1_000_000,
    single_events=100_000,
    restart_events=200_000,
    lag_probes=100,
)


@dataclass
class Measurement:
    """
    One figure for one target: the median over repetitions, with everything around it.

    Attributes:
        samples: One dict per repetition: "value" in `unit`, and more, by name.
        notes: What a reader must know to not misread it.
    """

    scenario: str
    target: str
    unit: str
    samples: list[dict[str, float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def median(self, name: str = "value") -> float | None:
        values = [sample[name] for sample in self.samples if name in sample]
        return statistics.median(values) if values else None


class Bench:
    """Runs scenarios below one work directory and keeps the measurements in order."""

    def __init__(self, work: Path, plan: Plan, peers: bool = True) -> None:
        self.work = work
        self.plan = plan
        self.taximeter = Taximeter(
            work / "template", bodies.catalog(), (bodies.customers, bodies.subscriptions)
        )
        self.peers: list[Target] = [Recipe(), PostgresCopy()] if peers else []
        self.measurements: dict[tuple[str, str], Measurement] = {}

    def add(self, scenario: str, target: str, unit: str, sample: dict[str, float]) -> Measurement:
        measurement = self.measurements.setdefault(
            (scenario, target), Measurement(scenario, target, unit)
        )
        measurement.samples.append(sample)
        print(f"  {scenario:28} {target:18} {sample['value']:>14,.1f} {unit}", flush=True)
        return measurement

    @contextmanager
    def directory(self) -> Iterator[Path]:
        made = Path(tempfile.mkdtemp(prefix="run-", dir=self.work))
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)


def ingest(bench: Bench) -> None:
    """Durable ingest, three shapes of requests, every target; the generator's ceiling first."""
    for batch, connections in SHAPES:
        for repetition in range(bench.plan.repetitions):
            traffic = _traffic(bench.plan, batch, repetition)
            _ceiling(bench, traffic, connections)
            for target in [bench.taximeter, *bench.peers]:
                with bench.directory() as directory, target.session(directory) as session:
                    sample = _ingest(bench, session, traffic, connections)
                bench.add(f"ingest {batch}", target.name, "events/s", sample)
            if bench.peers and batch > 1:
                _postgres_direct(bench, traffic)


def _traffic(plan: Plan, batch: int, repetition: int) -> bodies.Traffic:
    wanted = plan.single_events if batch == 1 else plan.batch_events
    return bodies.events(wanted, batch, seed=1000 * batch + repetition)


def _ceiling(bench: Bench, traffic: bodies.Traffic, connections: int) -> None:
    server = processes.module(
        "benchmarks.null_server", str(traffic.requests.size), log=bench.work / "null.log"
    )
    try:
        stream = Stream("ceiling", traffic.requests, connections, repeat=True)
        [result] = load.run(server.address, [stream], min(1.0, bench.plan.seconds))
    finally:
        server.kill()
    value = result.per_second * traffic.batch
    bench.add(f"ingest {traffic.batch}", "ceiling", "events/s", {"value": value})


def _ingest(
    bench: Bench, session: Session, traffic: bodies.Traffic, connections: int
) -> dict[str, float]:
    warm = bodies.events(100 * traffic.batch, traffic.batch, seed=99_000_000 + traffic.batch)
    stream = Stream("warm-up", warm.requests, connections)
    [warmed] = load.run(session.server.address, [stream], bench.plan.seconds)
    cpu = session.cpu_s()
    stream = Stream("ingest", traffic.requests, connections)
    [result] = load.run(session.server.address, [stream], bench.plan.seconds)
    cpu = session.cpu_s() - cpu
    expected = warm.counted(warmed.sent) + traffic.counted(result.sent)
    counted = session.counted()
    if counted != expected:
        raise load.Failed(f"the server counted {counted}, sent were {expected}")
    sample = sample_of(result, result.per_second * traffic.batch)
    return sample | {"server_cores": cpu / result.seconds}


def sample_of(result: Result, value: float) -> dict[str, float]:
    return {
        "value": value,
        "p50_ms": result.percentile_ms(0.50),
        "p99_ms": result.percentile_ms(0.99),
        "p999_ms": result.percentile_ms(0.999),
        "generator_share": result.cpu_share,
    }


def _postgres_direct(bench: Bench, traffic: bodies.Traffic) -> None:
    """COPY and merge without HTTP: the database at its best."""
    from benchmarks.peers import postgres_copy, servers

    with bench.directory() as directory, servers.postgres(directory) as postgres:
        requests = traffic.requests
        waiting = (requests.body(number) for number in range(len(requests)))
        cpu = processes.cpu_s([postgres.pid]) + time.process_time()
        sent, stored, took = uvloop.run(
            postgres_copy.drive(postgres.url, waiting, bench.plan.seconds)
        )
        cpu = processes.cpu_s([postgres.pid]) + time.process_time() - cpu
        counted = bodies.Counted(**uvloop.run(postgres_copy.totals(postgres.url)))
    if counted != traffic.counted(sent):
        raise load.Failed(f"PostgreSQL counted {counted}, sent were {traffic.counted(sent)}")
    sample = {"value": stored / took, "server_cores": cpu / took}
    bench.add(f"ingest {traffic.batch}", "postgres-direct", "events/s", sample)


def check(bench: Bench) -> None:
    """`POST /v1/check` alone, on a server that has counted something for most customers."""
    targets: list[Target] = [bench.taximeter, *(p for p in bench.peers if p.name == "recipe")]
    for repetition in range(bench.plan.repetitions):
        history = bodies.events(20_000, 100, seed=7_000 + repetition)
        checks = bodies.checks(20_000, seed=repetition)
        for target in targets:
            with bench.directory() as directory, target.session(directory) as session:
                load.run(session.server.address, [Stream("history", history.requests, 4)], 60)
                stream = Stream("check", checks, CHECK_CONNECTIONS, repeat=True)
                load.run(session.server.address, [stream], 0.3)
                cpu = session.cpu_s()
                [result] = load.run(session.server.address, [stream], bench.plan.seconds)
                cpu = session.cpu_s() - cpu
            sample = sample_of(result, result.per_second) | {"server_cores": cpu / result.seconds}
            bench.add("check", target.name, "checks/s", sample)


def check_during_ingest(bench: Bench) -> None:
    """Checks while batches of 100 arrive as fast as the server takes them."""
    targets: list[Target] = [bench.taximeter, *(p for p in bench.peers if p.name == "recipe")]
    for repetition in range(bench.plan.repetitions):
        traffic = _traffic(bench.plan, 100, 50 + repetition)
        checks = bodies.checks(20_000, seed=repetition)
        for target in targets:
            with bench.directory() as directory, target.session(directory) as session:
                streams = [
                    Stream("check", checks, CHECK_CONNECTIONS, repeat=True),
                    Stream("ingest", traffic.requests, 16),
                ]
                results = load.run(session.server.address, streams, bench.plan.seconds)
            checked, ingested = results
            sample = sample_of(checked, checked.per_second)
            bench.add("check during ingest", target.name, "checks/s", sample)
            sample = sample_of(ingested, ingested.per_second * traffic.batch)
            bench.add("ingest during check", target.name, "events/s", sample)
        with bench.directory() as directory, bench.taximeter.session(directory) as session:
            streams[0].connections = FEW_CONNECTIONS
            checked, _ = load.run(session.server.address, streams, bench.plan.seconds)
        sample = sample_of(checked, checked.per_second)
        bench.add("check during ingest, 8 conns", "taximeter", "checks/s", sample)


def memory(bench: Bench) -> None:
    """The process group with 10,000 customers and 10 meters, each with usage."""
    for repetition in range(bench.plan.repetitions):
        with bench.directory() as directory, bench.taximeter.session(directory) as session:
            pid = session.server.pid
            session.server.request("PUT", "/v1/catalog", bodies.catalog(meters=10))
            empty_rss, empty_pss = processes.memory_mib(pid)
            history = bodies.events(100_000, 1000, seed=8_000 + repetition)
            load.run(session.server.address, [Stream("history", history.requests, 4)], 60)
            usage(session.server, "input_tokens")  # the store has read everything as well
            rss, pss = processes.memory_mib(pid)
            identity = _identity_bytes(session.server) / 2**20
        sample = {"value": pss - identity, "identity_mib": identity, "pss_mib": pss, "rss_mib": rss}
        sample |= {"unused_pss_mib": empty_pss, "unused_rss_mib": empty_rss}
        bench.add("memory", "taximeter", "MiB, PSS less identities", sample)


def _identity_bytes(server: processes.Server) -> int:
    """What the identity index says it holds: it is budgeted apart from everything else."""
    return int(server.request("GET", "/v1/status")["identities"]["bytes"])


def restart(bench: Bench) -> None:
    """kill -9 with events since the snapshot; from the start command to the ready line."""
    for repetition in range(bench.plan.repetitions):
        traffic = bodies.events(bench.plan.restart_events, 1000, seed=9_000 + repetition)
        with bench.directory() as directory:
            data = bench.taximeter.fresh(directory)
            server = processes.taximeter(data)
            try:
                before = processes.memory_mib(server.pid)[1]
                stream = Stream("ingest", traffic.requests, 8)
                [result] = load.run(server.address, [stream], 300)
                server.kill()
                server = processes.taximeter(data)
                server.request("GET", "/readyz")
                after = processes.memory_mib(server.pid)[1]
                identity = _identity_bytes(server)
                session = Session(server, [server.pid])
                counted, expected = session.counted(), traffic.counted(result.sent)
            finally:
                server.kill()
        if counted != expected:
            raise load.Failed(f"after kill -9: counted {counted}, acknowledged {expected}")
        sample = {
            "value": server.ready_s,
            "events": float(bench.plan.restart_events),
            "identity_bytes_per_event": identity / expected.requests,
            "all_bytes_per_event": (after - before) * 2**20 / expected.requests,
        }
        bench.add("restart", "taximeter", "s to ready", sample)


def lag(bench: Bench) -> None:
    """Is an acknowledged event in the very next check, and in the very next usage query?"""
    probes = bench.plan.lag_probes
    traffic = bodies.events(probes, 1, seed=11)
    with bench.directory() as directory, bench.taximeter.session(directory) as session:
        for name, read in (("check", _used), ("usage", _total)):
            missed = 0
            took: list[float] = []
            for number in range(probes // 2):
                number += (probes // 2) * (name == "usage")
                before = read(session.server, traffic, number)
                _send(session.server, traffic, number)
                answered = time.perf_counter()
                seen = read(session.server, traffic, number)
                took.append((time.perf_counter() - answered) * 1000)
                fresh = traffic.counted(number + 1) != traffic.counted(number)
                missed += fresh and seen == before
            sample = {
                "value": float(missed),
                "probes": float(len(took)),
                "p50_ms": statistics.median(took),
                "p99_ms": sorted(took)[int(len(took) * 0.99) - 1],
            }
            bench.add(f"read own write ({name})", "taximeter", "stale reads", sample)


def _send(server: processes.Server, traffic: bodies.Traffic, number: int) -> None:
    server.request("POST", "/v1/events", _event(traffic, number))


def _used(server: processes.Server, traffic: bodies.Traffic, number: int) -> str:
    question = {"customer": _event(traffic, number)["subject"], "feature": "chat"}
    return str(server.request("POST", "/v1/check", question)["used"])


def _total(server: processes.Server, traffic: bodies.Traffic, number: int) -> str:
    return str(usage(server, "requests"))


def _event(traffic: bodies.Traffic, number: int) -> Any:
    import json

    return json.loads(bytes(traffic.requests.body(number)))


ALL = {
    "ingest": ingest,
    "check": check,
    "check-during-ingest": check_during_ingest,
    "memory": memory,
    "restart": restart,
    "lag": lag,
}
