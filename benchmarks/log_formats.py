"""
The event log against well-kept stores: durable group commits of 215-byte events.

    python -m benchmarks.log_formats [--seconds 1] [--rounds 3] [--dir DIR]

Each commit holds one record from each of `clients` waiting clients, a record being a batch of
events; that is the steady state of group commit. Every store syncs before a commit returns. The
segment log also encodes and SHA-256-chains what it writes; the others store the bytes as given.
lmdb and rocksdict are compared if they are installed (`pip install lmdb rocksdict`); Taximeter
does not depend on them. DIR must be on a real disk: in memory there is nothing to measure.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from taximeter.adapters.log import SegmentLog
from taximeter.events.entry import Entry
from taximeter.events.envelope import Format

EVENT_BYTES = 215
BATCHES = (1, 100, 1000)
CLIENTS = (1, 8, 64)


class Store(NamedTuple):
    """`commit(records, events)` returns when they are durable."""

    commit: Callable[[list[bytes], int], None]
    close: Callable[[], None]


def segments(directory: Path) -> Store:
    log = SegmentLog.open(directory, now=lambda: time.time_ns() // 1000)

    def commit(records: list[bytes], events: int) -> None:
        now, verdicts = time.time_ns() // 1000, bytes(events)
        log.append([Entry("default", now, Format.ARRAY, verdicts, each) for each in records])

    return Store(commit, log.close)


def growing_file(directory: Path) -> Store:
    """The simplest log there is: no checksum, no preallocation."""
    directory.mkdir()
    fd = os.open(directory / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def commit(records: list[bytes], events: int) -> None:
        os.write(fd, b"".join(records))
        os.fdatasync(fd)

    return Store(commit, lambda: os.close(fd))


def sqlite_wal(directory: Path) -> Store:
    directory.mkdir()
    db = sqlite3.connect(directory / "log.db", isolation_level=None)
    db.execute("pragma journal_mode=wal")
    db.execute("pragma synchronous=full")
    db.execute("create table log (seq integer primary key, body blob)")

    def commit(records: list[bytes], events: int) -> None:
        db.execute("begin")
        db.executemany("insert into log (body) values (?)", [(each,) for each in records])
        db.execute("commit")

    return Store(commit, db.close)


def lmdb_sync(directory: Path) -> Store:
    import lmdb

    env: Any = lmdb.open(str(directory), map_size=64 << 30)
    seq = 0

    def commit(records: list[bytes], events: int) -> None:
        nonlocal seq
        with env.begin(write=True) as transaction:
            for each in records:
                seq += 1
                transaction.put(seq.to_bytes(8, "big"), each, append=True)

    return Store(commit, env.close)


def rocksdb_sync(directory: Path) -> Store:
    import rocksdict

    db: Any = rocksdict.Rdict(str(directory), rocksdict.Options(raw_mode=True))
    durable: Any = rocksdict.WriteOptions()
    durable.sync = True
    seq = 0

    def commit(records: list[bytes], events: int) -> None:
        nonlocal seq
        batch: Any = rocksdict.WriteBatch(raw_mode=True)
        for each in records:
            seq += 1
            batch.put(seq.to_bytes(8, "big"), each)
        db.write(batch, durable)

    return Store(commit, db.close)


STORES: dict[str, Callable[[Path], Store]] = {
    "segments": segments,
    "growing file": growing_file,
    "sqlite WAL FULL": sqlite_wal,
    "lmdb sync": lmdb_sync,
    "rocksdb WAL sync": rocksdb_sync,
}


def measure(
    make: Callable[[Path], Store], directory: Path, batch: int, clients: int, seconds: float
) -> tuple[float, list[float]]:
    """Events a second, and the sorted seconds of each commit."""
    store = make(directory / "store")
    records = [os.urandom(EVENT_BYTES * batch) for _ in range(clients)]
    took: list[float] = []
    try:
        begin = time.perf_counter()
        while (started := time.perf_counter()) < begin + seconds:
            store.commit(records, batch)
            took.append(time.perf_counter() - started)
        elapsed = time.perf_counter() - begin
    finally:
        store.close()
        shutil.rmtree(directory / "store")
    return len(took) * batch * clients / elapsed, sorted(took)


def rows(directory: Path, seconds: float, rounds: int) -> Iterator[str]:
    for batch in BATCHES:
        for clients in CLIENTS:
            for name, make in STORES.items():
                try:
                    runs = [
                        measure(make, directory, batch, clients, seconds) for _ in range(rounds)
                    ]
                except ImportError:
                    continue
                rate, took = sorted(runs, key=lambda run: run[0])[rounds // 2]
                p50, p99 = statistics.median(took) * 1e3, took[int(len(took) * 0.99)] * 1e3
                yield f"| {batch} | {clients} | {name} | {rate:,.0f} | {p50:.2f} | {p99:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dir", type=Path, default=None)
    args = parser.parse_args()
    print("| batch | clients | store | events/s | p50 ms | p99 ms |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=args.dir) as directory:
        for row in rows(Path(directory), args.seconds, args.rounds):
            print(row, flush=True)


if __name__ == "__main__":
    main()
