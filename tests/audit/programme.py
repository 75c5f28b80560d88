"""
The whole audit: clients at work, SIGKILL in between, every answer judged, the books compared.

    python -m tests.audit.programme --operations 1000000 --wallets 100 --kills 10 --seed 7

The seed fixes what clients choose from and after how many answers the kills come; who gets there
first is the machine's own. After a finding the directory with journals, data and the server's log
is kept.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from benchmarks.processes import ROOT, Server, free_port
from tests.audit.books import Books, compare
from tests.audit.client import wallet
from tests.audit.judge import Verdict, judge
from tests.audit.record import Record, read_journal
from tests.audit.workload import CATALOG, CREDIT
from tests.serving import Newborn

PAGE = 1000
STUCK_S = 60.0
QUIET_S = 13.0
"""Until then all that clients made to expire or lapse soon has done so."""


@dataclass(frozen=True)
class Programme:
    """
    Attributes:
        operations: By all clients together, the repetitions of lost ones not counted.
        lanes: Connections of one client.
        kills: Ends of the server in between; each third is a polite stop.
        quiet: Wait before reading the books until time has nothing more to do: then accounts are
            the same whenever they are read, and can be compared across wallets. They are read
            again after a kill, and after a stop.
    """

    seed: int
    operations: int
    wallets: int = 10
    kills: int = 2
    clients: int = 2
    lanes: int = 16
    quiet: bool = True


@dataclass
class Outcome:
    """What happened. A verdict without findings: every number of every answer was right."""

    verdict: Verdict
    seconds: float
    operations: int
    ready_s: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        counts = ", ".join(f"{n} {what}" for what, n in sorted(self.verdict.counts.items()))
        rate = self.operations / self.seconds
        lines = [
            counts,
            (
                f"{self.operations} operations in {self.seconds:.0f} s, {rate:.0f}/s, "
                f"{len(self.ready_s)} starts, slowest {max(self.ready_s):.2f} s"
            ),
            str(self.verdict) or "no anomaly",
        ]
        if self.verdict.untold:
            lines.append(f"{self.verdict.untold} operations came after these and were not judged")
        return "\n".join(lines)


Start = Callable[[Path, int], Server]


def start(data: Path, port: int, fault: str | None = None) -> Server:
    """The product, or the product with one fault of `seeded`."""
    command = ["serve", "--dev", "--data", str(data), "--port", str(port)]
    if fault is None:
        return Newborn(command, data.with_suffix(".log"))
    seeded = [sys.executable, "-m", "tests.audit.seeded", fault]
    return Server([*seeded, *command], data.with_suffix(".log"))


def run(programme: Programme, directory: Path, start: Start = start) -> Outcome:
    """Run it below a directory that exists and is empty."""
    port, data, journals = free_port(), directory / "data", directory / "journals"
    journals.mkdir()
    server = start(data, port)
    ready_s = [server.ready_s]
    try:
        set_up(server, programme.wallets)
        began = time.monotonic()
        with _clients(programme, port, journals) as clients:
            progress = _Progress(journals, clients)
            for number, at in enumerate(_kill_points(programme), 1):
                progress.wait_for(at)
                # Every third end is a polite one: then the next start reads a snapshot.
                server.kill() if number % 3 else server.stop()
                server = _again(start, data, port)
                ready_s.append(server.ready_s)
            progress.wait_for_the_end()
        seconds = time.monotonic() - began
        time.sleep(QUIET_S if programme.quiet else 0.0)
        books = observe(server, programme)
        verdict = judge(_records(journals), books.instants())
        compare(books, verdict)
        for end in (Server.kill, Server.stop) if programme.quiet else ():
            end(server)
            server = _again(start, data, port)
            ready_s.append(server.ready_s)
            compare(observe(server, programme), verdict)
    except GaveUp as reason:
        verdict = Verdict()
        verdict.found("gave up", f"{reason}; see {data.with_suffix('.log')}")
        seconds = time.monotonic() - began
    finally:
        server.kill()
    return Outcome(verdict, seconds, programme.operations, ready_s)


def _again(start: Start, data: Path, port: int) -> Server:
    try:
        return start(data, port)
    except RuntimeError as error:
        raise GaveUp(f"it does not start again: {str(error)[-500:]}") from error


def set_up(server: Server, wallets: int) -> None:
    server.request("PUT", "/v1/catalog", CATALOG)
    for place in range(wallets):
        server.request("PUT", f"/v1/customers/{wallet(place)}", {})
        subscription = {"customer": wallet(place), "plan": "paygo"}
        server.request("POST", "/v1/subscriptions", subscription)


def _kill_points(programme: Programme) -> list[int]:
    """After how many operations: one in each equal part, anywhere in it."""
    draw = random.Random(programme.seed)
    share = programme.operations / (programme.kills + 1)
    return [int((n + draw.uniform(0.3, 1.2)) * share) for n in range(programme.kills)]


@contextmanager
def _clients(
    programme: Programme, port: int, journals: Path
) -> Iterator[list[subprocess.Popen[bytes]]]:
    clients = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.audit.client", str(programme.seed), str(number),
             str(port), str(programme.wallets), str(programme.lanes),
             str(programme.operations // programme.clients),
             str(journals / f"client-{number}.jsonl")],
            cwd=ROOT,
        )
        for number in range(programme.clients)
    ]  # fmt: skip
    try:
        yield clients
    finally:
        for client in clients:
            client.kill()
            client.wait()


class GaveUp(Exception):
    """Nobody could go on: the server stopped, hangs, or does not start."""


class _Progress:
    """Counts operations by reading the journals as they grow."""

    def __init__(self, journals: Path, clients: list[subprocess.Popen[bytes]]) -> None:
        self._journals = journals
        self._clients = clients
        self._read: Counter[Path] = Counter()
        self._lines = 0

    def wait_for(self, operations: int) -> None:
        deadline = time.monotonic() + STUCK_S
        while self._lines < operations:
            before = self._lines
            self._count()
            if self._lines > before:
                deadline = time.monotonic() + STUCK_S
            self._require(time.monotonic() < deadline)
            time.sleep(0.01)

    def wait_for_the_end(self) -> None:
        while any(client.poll() is None for client in self._clients):
            self._require(True)
            time.sleep(0.05)
        self._require(True)

    def _require(self, moving: bool) -> None:
        ended = [client.poll() for client in self._clients]
        if any(ended) or not moving:
            raise GaveUp(f"after {self._lines} operations, exit codes {ended}")

    def _count(self) -> None:
        for path in self._journals.iterdir():
            with path.open("rb") as journal:
                journal.seek(self._read[path])
                fresh = journal.read()
            self._read[path] += len(fresh)
            self._lines += fresh.count(b"\n")


def _records(journals: Path) -> Iterator[Record]:
    for path in sorted(journals.iterdir()):
        yield from read_journal(path)


def observe(server: Server, programme: Programme) -> Books:
    """The books as the public API shows them."""
    at = time.time_ns() // 1000
    names = [wallet(place) for place in range(programme.wallets)]
    ledgers = {name: _ledger(server, name) for name in names}
    return Books(
        ledgers=ledgers,
        balances={name: _balance(server, name) for name in names},
        past={name: _past(server, name, ledger) for name, ledger in ledgers.items() if ledger},
        trial=[
            (one["credit"], one["account"], one["amount"])
            for one in _pages(server, "/v1/ledger/trial-balance", {})
        ],
        at=at,
        quiet=programme.quiet,
    )


def _past(server: Server, name: str, ledger: list[Any]) -> tuple[str, str]:
    at = ledger[len(ledger) // 2]["at"]
    query = urlencode({"credit": CREDIT, "at": at})
    return at, server.request("GET", f"/v1/customers/{name}/balance?{query}")["balance"]


def _balance(server: Server, name: str) -> Any:
    return server.request("GET", f"/v1/customers/{name}/balance?credit={CREDIT}")


def _ledger(server: Server, name: str) -> list[Any]:
    query = {"credit": CREDIT, "limit": PAGE}
    return list(_pages(server, f"/v1/customers/{name}/ledger", query))


def _pages(server: Server, path: str, query: dict[str, Any]) -> Iterator[Any]:
    while True:
        page = server.request("GET", f"{path}?{urlencode(query)}")
        yield from page["items"]
        if page.get("next") is None:
            return
        query = query | {"cursor": page["next"]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations", type=int, default=100_000)
    parser.add_argument("--wallets", type=int, default=100)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--clients", type=int, default=2)
    parser.add_argument("--lanes", type=int, default=16)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--fault", help="seed one of the bugs of tests.audit.seeded")
    asked = parser.parse_args()
    programme = Programme(
        asked.seed, asked.operations, asked.wallets, asked.kills, asked.clients, asked.lanes
    )
    print(f"seed {asked.seed}", flush=True)
    directory = Path(tempfile.mkdtemp(prefix="taximeter-audit-"))
    outcome = run(programme, directory, lambda data, port: start(data, port, asked.fault))
    print(outcome)
    if outcome.verdict.findings:
        print(f"kept: {directory}")
        return 1
    shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
