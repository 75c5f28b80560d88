"""
The whole programme: clients under load, SIGKILL at random moments, restart, judge.

    python -m tests.crash.oracle_programme --seed 7 --kills 30 [--fake FAULT]

The seed fixes what every client sends and when the kills come; how far the clients are by then is
the machine's own. After a failure the directory with journals, data and the server's log is kept.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.processes import ROOT, Server, free_port, tree
from tests.crash.oracle_compare import Difference, Expected, Observed, compare, expect, render
from tests.crash.oracle_journal import read_journal
from tests.crash.oracle_observe import identity_holds, observe, set_up
from tests.serving import Newborn

Start = Callable[[Path, int], Server]
"""Start a server on (data directory, port); it must be ready when this returns."""

_STUCK_S = 60.0


@dataclass(frozen=True)
class Programme:
    """
    What to do.

    Attributes:
        window_s: A kill comes this long after the last start, uniformly between the two,
        answers: and not before the clients have had this many answers since.
        workers: Share of kills that hit one process of the group instead of all of them.
        pause_ms: What each client waits between two requests.
    """

    seed: int
    kills: int
    clients: int = 4
    window_s: tuple[float, float] = (0.0, 3.0)
    answers: int = 4
    workers: float = 0.0
    pause_ms: float = 10.0


@dataclass
class Outcome:
    """What happened. No differences means: every event exactly once, every number right."""

    differences: list[Difference]
    expected: Expected
    ready_s: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {name}" for name, count in self.expected.counts.items())
        slowest = max(self.ready_s)
        verdict = render(self.differences) or "nothing lost, doubled or made up"
        return f"{counts}; {len(self.ready_s)} starts, slowest {slowest:.2f} s\n{verdict}"


def start_taximeter(data: Path, port: int) -> Server:
    command = ["serve", "--dev", "--data", str(data), "--port", str(port)]
    return Newborn(command, data.with_suffix(".log"))


def start_fake(fault: str) -> Start:
    """A stand-in that keeps every promise, but for one fault ("none" for no fault)."""

    def start(data: Path, port: int) -> Server:
        command = [sys.executable, "-m", "tests.crash.oracle_fake", str(data), str(port), fault]
        return Server(command, data.with_suffix(".log"))

    return start


def run(programme: Programme, start: Start, directory: Path) -> Outcome:
    """Run it below a directory that exists and is empty."""
    base = datetime.now(UTC)
    port = free_port()
    data = directory / "data"
    journals = directory / "journals"
    journals.mkdir()
    server = start(data, port)
    try:
        period = set_up(server, base)
        with _clients(programme, base, port, journals):
            progress = _Progress(journals)
            server, ready_s = _kill_and_restart(
                programme, server, lambda: start(data, port), progress
            )
            progress.wait_for(programme.answers)
        expected = expect(r for path in sorted(journals.iterdir()) for r in read_journal(path))
        observed = observe(server, base, period)
        differences = compare(expected, observed)
        differences += [Difference("status", text) for text in identity_holds(server)]
        for end in (Server.kill, Server.stop):
            end(server)
            server = start(data, port)
            ready_s.append(server.ready_s)
            differences += _changes(observed, observe(server, base, period))
    finally:
        server.kill()
    return Outcome(differences, expected, ready_s)


class _Progress:
    """Counts answers by reading the journals as they grow."""

    def __init__(self, journals: Path) -> None:
        self._journals = journals
        self._read: Counter[Path] = Counter()

    def wait_for(self, answers: int) -> None:
        """Return once there are so many more than at the last return."""
        give_up = time.monotonic() + _STUCK_S
        seen = self._new_answers()
        while seen < answers:
            assert time.monotonic() < give_up, f"no {answers} answers in {_STUCK_S:.0f} s"
            time.sleep(0.01)
            seen += self._new_answers()

    def _new_answers(self) -> int:
        seen = 0
        for path in self._journals.iterdir():
            with path.open("rb") as journal:
                journal.seek(self._read[path])
                whole, newline, _ = journal.read().rpartition(b"\n")
            self._read[path] += len(whole) + len(newline)
            seen += whole.count(b'"receipts":')
        return seen


def _kill_and_restart(
    programme: Programme, server: Server, start: Callable[[], Server], progress: _Progress
) -> tuple[Server, list[float]]:
    draw = random.Random(programme.seed)
    ready_s = [server.ready_s]
    for _ in range(programme.kills):
        wait_s, one_worker = draw.uniform(*programme.window_s), draw.random() < programme.workers
        time.sleep(wait_s)
        progress.wait_for(programme.answers)
        workers = [pid for pid in tree(server.pid) if pid != server.pid]
        if one_worker and workers:
            os.kill(draw.choice(workers), signal.SIGKILL)
            continue
        server.kill()
        server = start()
        ready_s.append(server.ready_s)
    return server, ready_s


@contextmanager
def _clients(programme: Programme, base: datetime, port: int, journals: Path) -> Iterator[None]:
    """Client processes at work; on leaving, each has an answer to everything it sent."""
    clients = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.crash.oracle_client", str(programme.seed), str(number),
             base.isoformat(), str(port), str(journals / f"client-{number}.jsonl"),
             str(programme.pause_ms)],
            cwd=ROOT,
        )
        for number in range(programme.clients)
    ]  # fmt: skip
    try:
        yield
        for client in clients:
            client.terminate()
        ended = [client.wait(120) for client in clients]
        # One that the signal ends had not come to its handler, so it has sent nothing.
        assert set(ended) <= {0, -signal.SIGTERM}, (
            f"clients ended with {ended}; their complaint is above"
        )
    finally:
        for client in clients:
            client.kill()
            client.wait()


def _changes(before: Observed, after: Observed) -> list[Difference]:
    """A restart is invisible."""
    found = []
    for name in ("events", "usage", "used"):
        if getattr(before, name) != getattr(after, name):
            found.append(Difference("changed by a restart", _first_change(before, after, name)))
    return found


def _first_change(before: Observed, after: Observed, name: str) -> str:
    old, new = getattr(before, name), getattr(after, name)
    if isinstance(old, dict):
        keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
        return f"{name} {keys[0]}: {old.get(keys[0])} became {new.get(keys[0])}"
    gone, come = Counter(old) - Counter(new), Counter(new) - Counter(old)
    if not gone and not come:
        return "events in another order"
    return f"events gone: {len(gone)} {list(gone)[:1]}, come: {len(come)} {list(come)[:1]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--pause-ms", type=float, default=10.0)
    parser.add_argument("--workers", type=float, default=0.2)
    parser.add_argument("--fake", metavar="FAULT", help="judge the stand-in, not the product")
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="crash-"))
    programme = Programme(
        options.seed,
        options.kills,
        options.clients,
        workers=options.workers,
        pause_ms=options.pause_ms,
    )
    start = start_fake(options.fake) if options.fake else start_taximeter
    outcome = run(programme, start, directory)
    print(outcome)
    if outcome.differences:
        print(f"kept: {directory}")
        return 1
    shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
