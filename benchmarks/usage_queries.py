"""
How fast the event store takes events in and answers.

    python -m benchmarks.usage_queries [--events 1000000] [--customers 10000] [--json]

Events of one month, five models, evenly spread over the customers, in the order of time; ids are
random, so that they compress no better than real ones. The best of three runs is shown. The last
line is the floor: DuckDB adding up one column as integers.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from taximeter.adapters.store.columnar import ColumnarStore
from taximeter.events.entry import Entry
from taximeter.events.envelope import Format
from taximeter.instants import DAY, format_instant, parse_instant
from taximeter.meters.definition import Aggregation, Meter
from taximeter.periods import Period
from taximeter.ports import EventsQuery, LineScope, LoggedEntry, UsageQuery

START = parse_instant("2026-09-01T00:00:00Z")
MONTH = Period(START, START + 30 * DAY)
BATCH = 1_000
MODELS = ("opus", "sonnet", "haiku", "mini", "large")
TOKENS = Meter(
    "tokens", "llm.request", Aggregation.SUM, "data.input_tokens", {"model": "data.model"}
)


class GeneratedLog:
    """Entries made while they are read, the same for the same seq."""

    def __init__(self, events: int, customers: int) -> None:
        self.events = events
        self.customers = customers
        self.making_s = 0.0
        self.making_cpu_s = 0.0

    def read(self, after: int, upto: int) -> Iterator[LoggedEntry]:
        for first in range(after, upto, BATCH):
            began, cpu = time.perf_counter(), time.thread_time()
            entry = Entry("default", START, Format.ARRAY, bytes(BATCH), self._body(first))
            self.making_s += time.perf_counter() - began
            self.making_cpu_s += time.thread_time() - cpu
            yield LoggedEntry(first + 1, entry)

    def _body(self, first: int) -> bytes:
        dice = random.Random(first)
        step = MONTH.end - MONTH.start
        return b"[%s]" % b",".join(
            b'{"id":"req_%x","source":"api","type":"llm.request","subject":"cust_%d","time":"%s",'
            b'"data":{"model":"%s","input_tokens":%d,"output_tokens":%d,"cached":%s}}'
            % (
                dice.getrandbits(64),
                dice.randrange(self.customers),
                format_instant(START + (first + i) * step // self.events).encode(),
                dice.choice(MODELS).encode(),
                dice.randrange(4_000),
                dice.randrange(900),
                dice.choice((b"true", b"false")),
            )
            for i in range(BATCH)
        )


def timed(ask: Callable[[], Any], rounds: int = 3) -> float:
    """Least seconds: what it takes when nothing else is in the way."""
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        ask()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def measure(events: int, customers: int, directory: Path) -> dict[str, float]:
    log = GeneratedLog(events, customers)
    store = ColumnarStore(directory, log.read)
    began, cpu = time.perf_counter(), time.process_time()
    store.refresh(events)
    store.seal()
    taken = time.perf_counter() - began - log.making_s
    cpu_taken = time.process_time() - cpu - log.making_cpu_s
    began = time.perf_counter()
    while store.compact():
        pass
    compacted = time.perf_counter() - began
    found = {
        "events": events,
        "take in, events/s": events / taken,
        "take in, CPU us/event": cpu_taken / events * 1e6,
        "compact, s": compacted,
        "bytes/event": store.progress.bytes / events,
        "files": store.progress.files,
    }
    return found | answers(store, events, customers)


def answers(store: ColumnarStore, events: int, customers: int) -> dict[str, float]:
    days = tuple(Period(START + i * DAY, START + (i + 1) * DAY) for i in range(30))
    hours = tuple(Period(START + i * DAY // 24, START + (i + 1) * DAY // 24) for i in range(720))

    def usage(**fields: Any) -> Callable[[], Any]:
        query = {"windows": (MONTH,), "upto": events, "meter": TOKENS, **fields}
        return lambda: store.usage(UsageQuery(namespace="default", **query))

    by_customer = Meter(
        "t", "llm.request", Aggregation.SUM, "data.input_tokens", {"who": "subject", **_MODEL}
    )
    distinct = Meter("u", "llm.request", Aggregation.UNIQUE, "data.input_tokens", _MODEL)
    last = Meter("l", "llm.request", Aggregation.LAST, "data.input_tokens", _MODEL)
    scopes = [
        LineScope("default", TOKENS, (f"cust_{i}",), MONTH, events, None, ("model",))
        for i in range(customers)
    ]
    return {
        "usage by day and model, s": timed(usage(windows=days, group_by=("model",))),
        "usage by hour, s": timed(usage(windows=hours)),
        "usage by customer and model, s": timed(
            usage(meter=by_customer, group_by=("who", "model"))
        ),
        "usage with a filter, s": timed(
            usage(filter='data.cached == false and data.model in ["opus", "haiku"]')
        ),
        "unique by model, s": timed(usage(meter=distinct, group_by=("model",))),
        "last by model, s": timed(usage(meter=last, group_by=("model",))),
        "one customer by day and model, s": timed(
            usage(windows=days, subjects=("cust_7",), group_by=("model",))
        ),
        "newest 100 events, s": timed(lambda: store.events(EventsQuery("default", events))),
        "one event by seq, s": timed(lambda: store.find("default", events // 2)),
        "recount of all customers by model, s": timed(lambda: store.recount(scopes), 1),
        "bare DuckDB sum by model, s": timed(
            lambda: store._db.execute(
                'SELECT "data.model", sum("data.input_tokens"::BIGINT) FROM events GROUP BY 1'
            ).fetchall()
        ),
    }


_MODEL = {"model": "data.model"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--customers", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        found = measure(options.events, options.customers, Path(directory))
    if options.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:40} {value:>14,.3f}")


if __name__ == "__main__":
    main()
