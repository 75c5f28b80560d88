"""
Rating a closed month: from stored events to rated lines and whole documents.

    python -m benchmarks --only rating                     20 million events, 10,000 customers
    python -m benchmarks.rating --events 2000000 [--keep DIR] [--no-proofs] [--json]

The events are made by DuckDB in the files the event store writes, a million rows each, since
taking them in is measured elsewhere (`usage_queries`). Three meters, two of them by model, one fee:
eleven usage lines and a fee for each customer. The floor is one bare statement of DuckDB that adds
the same columns up as integers by customer and model, in the same run, over the same files. Nothing
is stored.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import resource
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb

from benchmarks.scenarios import QUICK, Bench
from taximeter.adapters.store.columnar import ColumnarStore
from taximeter.adapters.store.files import event_file, write_file
from taximeter.adapters.store.process import StoreProcess
from taximeter.catalog.document import parse_catalog
from taximeter.customers import Customer, Segment, Subscription
from taximeter.events.acceptance import AcceptanceWindow
from taximeter.events.entry import Entry
from taximeter.events.envelope import Format
from taximeter.instants import DAY, format_instant, parse_instant
from taximeter.invoices.document import canonical_bytes
from taximeter.periods import Anchor, Cadence
from taximeter.ports import LoggedEntry
from taximeter.services.billing.drafting.assembly import fare_of
from taximeter.services.billing.drafting.pipeline import counted_ahead
from taximeter.services.billing.due.counted import recounted
from taximeter.services.billing.due.dues import Due, due_of
from taximeter.services.tenant import Tenant

EVENTS = 20_000_000
CUSTOMERS = 10_000
ROWS = 1_000_000
START = parse_instant("2026-09-01T00:00:00Z")
END = START + 30 * DAY
LATE = 20

CATALOG: dict[str, Any] = {
    "meters": {
        "input": {
            "event_type": "llm.request", "aggregation": "sum", "value": "data.input_tokens",
            "dimensions": {"model": "data.model"},
        },
        "output": {
            "event_type": "llm.request", "aggregation": "sum", "value": "data.output_tokens",
            "dimensions": {"model": "data.model"},
        },
        "images": {"event_type": "image.created", "aggregation": "count"},
    },
    "plans": {
        "pro": {
            "currency": "USD",
            "cadence": "month",
            "prices": {
                "base": {"type": "flat", "amount": 49},
                "input": {
                    "type": "graduated", "meter": "input", "group_by": ["model"],
                    "tiers": [{"up_to": 100_000, "unit": "0.000003"}, {"unit": "0.0000025"}],
                },
                "output": {
                    "type": "matrix", "meter": "output", "default": "0.00001",
                    "cells": [{"match": {"model": "opus"}, "unit": "0.000075"}],
                },
                "images": {"type": "package", "meter": "images", "size": 10, "amount": "0.4"},
            },
        }
    },
}  # fmt: skip

# One number an event decides everything about it, spread by a hash as real ids are.
_EVENTS = """
SELECT seq, 'default' AS namespace, 'req_' || to_hex(hash(seq)) AS id, 'api' AS source,
    CASE WHEN image THEN 'image.created' ELSE 'llm.request' END AS "type",
    'cust_' || (hash(seq * 7 + 3) % {customers}) AS subject, "time",
    "time" + 100000 AS received_at,
    CASE WHEN image THEN '{{"size":1024}}'
        ELSE '{{"input_tokens":' || input || ',"model":"' || model || '","output_tokens":' || output
             || '}}' END AS data,
    NULL::BIGINT AS retracts, NULL::BIGINT AS replaces,
    CASE WHEN image THEN '1024' END AS "data.size",
    CASE WHEN NOT image THEN '"' || model END AS "data.model",
    CASE WHEN NOT image THEN input::VARCHAR END AS "data.input_tokens",
    CASE WHEN NOT image THEN output::VARCHAR END AS "data.output_tokens"
FROM (
    SELECT range AS seq, {start} + (range * {step})::BIGINT AS "time", dice % 10 = 0 AS image,
        ['opus', 'sonnet', 'haiku', 'mini', 'large'][(1 + (dice // 1000) % 5)::BIGINT] AS model,
        (dice // 16) % 4000 AS input, (dice // 65536) % 900 AS output
    FROM (SELECT range, hash(range * 13 + 1) // 4 AS dice FROM range({first}, {last} + 1)))
"""

_FLOOR = """
SELECT subject, "data.model", count(*), sum(TRY_CAST("data.input_tokens" AS BIGINT)),
    sum(TRY_CAST("data.output_tokens" AS BIGINT))
FROM read_parquet('{files}') GROUP BY subject, "data.model"
"""


def make_events(directory: Path, events: int, customers: int) -> None:
    """As the event store has them after taking them in and merging."""
    directory.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(config={"threads": 2}) as db:
        for first in range(1, events + 1, ROWS):
            last = min(events, first + ROWS - 1)
            step = (END - START) / events
            text = _EVENTS.format(
                customers=customers, start=START, step=step, first=first, last=last
            )
            write_file(event_file(directory, first, last), text, db)


class Month:
    """Ten thousand customers on one plan, and what is due of them."""

    def __init__(self, customers: int) -> None:
        self.tenant = Tenant("default", b"benchmark", AcceptanceWindow())
        self.tenant.add_catalog(1, parse_catalog(CATALOG), START)
        for n in range(customers):
            key = f"cust_{n}"
            self.tenant.know_customer(Customer(key))
            segment = Segment(START, "pro", 1, Cadence.MONTH)
            self.tenant.put_subscription(
                Subscription(f"sub_{n}", key, Anchor.CALENDAR, "UTC", (segment,))
            )

    def dues(self, count: int | None = None) -> list[Due]:
        subscriptions = list(self.tenant.subscriptions.values())[:count]
        return [due_of(self.tenant, one, 0) for one in subscriptions]


async def rate(
    core: Any, tenant: Tenant, dues: list[Due], upto: int, *, proofs: bool = False
) -> list[bytes]:
    """The documents of due periods, as closing makes them before it stores them."""
    return [
        canonical_bytes(fare_of(tenant, due, due.customer.key, usage, upto))
        async for due, usage in counted_ahead(core, tenant, dues, upto, proofs=proofs)
    ]


class _Timer:
    """Seconds of wall clock, and of this process's CPU, which says more on a busy machine."""

    def __enter__(self) -> _Timer:
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall = time.perf_counter() - self._wall
        self.cpu = time.process_time() - self._cpu


def floor(directory: Path) -> _Timer:
    """The best of three."""
    with duckdb.connect(config={"threads": 2, "memory_limit": "2GB"}) as db:
        runs = []
        for _ in range(3):
            with _Timer() as timer:
                db.execute(_FLOOR.format(files=directory / "*.parquet")).fetchall()
            runs.append(timer)
    return min(runs, key=lambda run: run.wall)


def measure(directory: Path, events: int, customers: int, *, proofs: bool) -> dict[str, float]:
    gc.set_threshold(100_000, 50, 50)  # as a node has it
    bare = floor(directory)
    found = {"floor, s": bare.wall, "floor, CPU s": bare.cpu}
    month = Month(customers)
    found |= asyncio.run(_whole_runs(directory, month, events, proofs=proofs))
    found["value"] = found["rating run, s"]
    found["times the floor"] = found["rating run, s"] / bare.wall
    found |= _one_late_event(directory, month, events)
    return found


async def _whole_runs(
    directory: Path, month: Month, events: int, *, proofs: bool
) -> dict[str, float]:
    """As a node does it: the store counts in its own process, this one rates."""
    with _Timer() as timer:
        dues = month.dues()
    found: dict[str, float] = {"due periods, s": timer.wall}
    async with _store(directory, events) as (core, _):
        with _Timer() as timer:
            await recounted(core, month.tenant, dues, events, proofs=False)
        found["totals, s"] = timer.wall
    async with _store(directory, events) as (core, store):
        counting = _cpu_s(store)
        with _Timer() as timer:
            documents = await rate(core, month.tenant, month.dues(), events)
        found["rating run, s"] = timer.wall
        found["rating run, CPU s"] = timer.cpu + _cpu_s(store) - counting
        found["documents"] = len(documents)
        found["lines"] = sum(document.count(b'"lineage"') for document in documents)
        with _Timer() as timer:
            await rate(core, month.tenant, month.dues(), events)
        found["the same again, s"] = timer.wall
        found["store, MiB"] = _peak_mib(store)
    if proofs:
        async with _store(directory, events) as (core, store):
            with _Timer() as timer:
                await rate(core, month.tenant, month.dues(), events, proofs=True)
            found["with proofs, s"] = timer.wall
            found["store with proofs, MiB"] = _peak_mib(store)
    found["engine, MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found


@asynccontextmanager
async def _store(directory: Path, events: int) -> AsyncIterator[tuple[Any, StoreProcess]]:
    """A fresh one that is up and remembers nothing."""
    with tempfile.TemporaryDirectory() as log:
        store = StoreProcess(directory, Path(log), "taximeter.adapters.log:LogReader")
        store.start(events)
        try:
            await store.find("default", 1)
            yield _core(store, END), store
        finally:
            await store.close()


def _cpu_s(store: StoreProcess) -> float:
    """What its process has used."""
    fields = Path(f"/proc/{_process(store)}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _process(store: StoreProcess) -> int:
    assert store._process is not None
    return store._process.pid


def _peak_mib(store: StoreProcess) -> float:
    """The most its process ever held."""
    for line in Path(f"/proc/{_process(store)}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


class _LateLog:
    """The log behind the files: one late event after the other."""

    def __init__(self, events: int) -> None:
        self.position = events

    def read(self, after: int, upto: int) -> Iterator[LoggedEntry]:
        for seq in range(after + 1, upto + 1):
            at = format_instant(START + 3 * DAY)
            body = (
                f'{{"id":"late_{seq}","source":"api","type":"llm.request","subject":"cust_7",'
                f'"time":"{at}","data":{{"input_tokens":5,"model":"opus","output_tokens":1}}}}'
            )
            yield LoggedEntry(seq, Entry("default", END, Format.OBJECT, b"\0", body.encode()))


def _one_late_event(directory: Path, month: Month, events: int) -> dict[str, float]:
    """From an event that is durable in the log to the customer's whole document; the median."""
    log = _LateLog(events)
    store = ColumnarStore(directory, log.read)
    core = _core(_Inline(store), END)
    (due,) = [due_of(month.tenant, month.tenant.subscriptions["sub_7"], 0)]
    taken = []
    for _ in range(LATE):
        log.position += 1
        with _Timer() as timer:
            asyncio.run(rate(core, month.tenant, [due], log.position))
        taken.append((timer.wall, timer.cpu))
    store.close()
    wall, cpu = (1000 * sorted(column)[LATE // 2] for column in zip(*taken, strict=True))
    return {"one late event, ms": wall, "one late event, CPU ms": cpu}


class _Inline:
    """A store of this process behind the interface of one that is not."""

    def __init__(self, store: ColumnarStore) -> None:
        self._store = store

    async def recount(self, scopes: Any, *, proofs: bool = True) -> Any:
        return self._store.recount(scopes, proofs)


def _core(store: Any, now: int) -> Any:
    return SimpleNamespace(store=store, clock=SimpleNamespace(now=lambda: now))


def rating(bench: Bench) -> None:
    """A month of 20 million events; a tenth of it in a quick run."""
    events = EVENTS // 10 if bench.plan is QUICK else EVENTS
    with bench.directory() as directory:
        make_events(directory, events, CUSTOMERS)
        sample = measure(directory, events, CUSTOMERS, proofs=True)
    sample["load"] = os.getloadavg()[0]
    bench.add("rating run", "taximeter", "s", sample)
    bench.add("rating, bare DuckDB", "duckdb", "s", {"value": sample["floor, s"]})
    for scenario, name, unit in (
        ("rating, one late event", "one late event, ms", "ms"),
        ("rating, with proofs", "with proofs, s", "s"),
    ):
        bench.add(scenario, "taximeter", unit, {"value": sample[name]})


ALL = {"rating": rating}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--customers", type=int, default=CUSTOMERS)
    parser.add_argument("--keep", type=Path, help="keep the events here, and use them again")
    parser.add_argument("--no-proofs", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    directory = options.keep or Path(tempfile.mkdtemp())
    try:
        if not any(directory.glob("*.parquet")):
            make_events(directory, options.events, options.customers)
        found = measure(directory, options.events, options.customers, proofs=not options.no_proofs)
    finally:
        if options.keep is None:
            shutil.rmtree(directory, ignore_errors=True)
    if options.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:24} {value:>14,.3f}")


if __name__ == "__main__":
    main()
