"""
The identity index against what one would use instead: `python -m benchmarks.identity_index`.

Each candidate is filled in a process of its own (so that its memory is its own), then decides fresh
batches of 1,000 with 2 % repeats. Keys are random, as hashes are: the worst case for a cache.
Times are CPU time of the one thread that works, memory is the resident set of the process.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 1000
REPEATS = 20
STEP = 500_000

Batch = tuple[Any, Any]
Decide = Callable[[Any, Any, int], object]
Build = Callable[[int], tuple[Decide, Decide]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ids", type=float, nargs="+", default=[1, 10], help="millions, e.g. 1 50")
    parser.add_argument("--only", nargs="+", default=list(CANDIDATES), choices=list(CANDIDATES))
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        name, count = options.child
        print(json.dumps(measure(CANDIDATES[name], int(count))))
        return
    print("| candidate | ids | resident MB | bytes/id | fill M/s | decide M/s | worst batch ms |")
    print("|---|---|---|---|---|---|---|")
    for count in (int(millions * 1e6) for millions in options.ids):
        for name in options.only:
            if count > LIMITS.get(name, count):
                continue
            command = [sys.executable, "-m", "benchmarks.identity_index", "--child", name]
            child = subprocess.run([*command, str(count)], check=True, capture_output=True)
            print(row(name, count, json.loads(child.stdout)), flush=True)


def row(name: str, count: int, m: dict[str, float]) -> str:
    return (
        f"| {name} | {count / 1e6:g} M | {m['resident'] / 1e6:.0f} | {m['bytes_per_id']:.0f} "
        f"| {m['fill'] / 1e6:.2f} | {m['decide'] / 1e6:.2f} | {m['worst_ms']:.2f} |"
    )


def measure(build: Build, count: int) -> dict[str, float]:
    """Fill, then decide 500 batches. A rate is ids per second of CPU."""
    fill, decide = build(count)
    before = resident()
    filling, worst, batches = 0.0, 0.0, []
    for first in range(0, count, STEP):
        keys, fingerprints = random_ids(first, min(STEP, count - first))
        started = time.thread_time()
        fill(keys, fingerprints, first + 1)
        filling += time.thread_time() - started
    held = resident()
    seq = count + 1
    for keys, fingerprints in mixed_batches(count, 500):
        started = time.thread_time()
        decide(keys, fingerprints, seq)
        spent = time.thread_time() - started
        seq += BATCH - REPEATS
        batches.append(spent)
        worst = max(worst, spent)
    return {
        "resident": held,
        "bytes_per_id": (held - before) / count,
        "fill": count / filling,
        "decide": BATCH * len(batches) / sum(batches),
        "worst_ms": worst * 1e3,
    }


def random_ids(seed: int, count: int) -> Batch:
    rng = np.random.default_rng(seed)
    keys = rng.integers(0, 2**64, (count, 2), dtype=np.uint64)
    return keys, rng.integers(0, 2**48, count, dtype=np.uint64)


def mixed_batches(filled: int, count: int) -> Iterator[Batch]:
    old_keys, old_fingerprints = random_ids(0, min(STEP, filled))
    for number in range(count):
        keys, fingerprints = random_ids(10**12 + number, BATCH)
        places = np.arange(0, BATCH, BATCH // REPEATS)
        again = (number * REPEATS + np.arange(REPEATS)) % len(old_keys)
        keys[places], fingerprints[places] = old_keys[again], old_fingerprints[again]
        yield keys, fingerprints


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def identity_index(_: int) -> tuple[Decide, Decide]:
    from taximeter.adapters.identity.index import IdentityIndex, warm_up

    warm_up()
    index = IdentityIndex()
    return index.decide, index.decide


def identity_index_loaded(count: int) -> tuple[Decide, Decide]:
    from taximeter.adapters.identity.index import IdentityIndex, warm_up

    warm_up()
    index = IdentityIndex()
    index.expect(count)

    def load(keys: Any, fingerprints: Any, first: int) -> None:
        index.load(keys, fingerprints, np.arange(first, first + len(keys), dtype=np.uint64))

    return load, index.decide


def python_dict(_: int) -> tuple[Decide, Decide]:
    """A dict of 16-byte keys to (seq, fingerprint): the same answers."""
    known: dict[bytes, tuple[int, int]] = {}

    def decide(keys: Any, fingerprints: Any, seq: int) -> None:
        blob = keys.tobytes()
        for place, fingerprint in enumerate(fingerprints.tolist()):
            key = blob[16 * place : 16 * place + 16]
            if key not in known:
                known[key] = (seq, fingerprint)
                seq += 1

    return decide, decide


def python_set(_: int) -> tuple[Decide, Decide]:
    """A set of 16-byte keys: no seq, and a conflict looks like a duplicate."""
    known: set[bytes] = set()

    def decide(keys: Any, fingerprints: Any, seq: int) -> None:
        blob = keys.tobytes()
        for place in range(0, len(blob), 16):
            known.add(blob[place : place + 16])

    return decide, decide


def sqlite(_: int) -> tuple[Decide, Decide]:
    """A table in a file with synchronous=OFF: durable it would be slower still."""
    directory = tempfile.mkdtemp(prefix="identity-bench-")
    base = sqlite3.connect(Path(directory) / "ids.db", isolation_level=None)
    base.executescript(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA cache_size=-262144;"
        "CREATE TABLE ids (key BLOB PRIMARY KEY, seq INTEGER, fingerprint INTEGER) WITHOUT ROWID;"
    )

    def decide(keys: Any, fingerprints: Any, seq: int) -> None:
        blob = keys.tobytes()
        rows = (
            (blob[16 * place : 16 * place + 16], seq + place, fingerprint)
            for place, fingerprint in enumerate(fingerprints.tolist())
        )
        base.execute("BEGIN")
        base.executemany("INSERT OR IGNORE INTO ids VALUES (?, ?, ?)", rows)
        base.execute("COMMIT")

    return decide, decide


CANDIDATES: dict[str, Build] = {
    "identity index": identity_index,
    "identity index, bulk load": identity_index_loaded,
    "dict": python_dict,
    "set (no seq, no conflict)": python_set,
    "SQLite": sqlite,
}
LIMITS = {"dict": 10_000_000, "set (no seq, no conflict)": 10_000_000, "SQLite": 2_000_000}


if __name__ == "__main__":
    main()
