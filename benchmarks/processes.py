"""
Servers under test: started in their own session, watched through /proc, killed as a group.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

from benchmarks.load import Address

ROOT = Path(__file__).resolve().parent.parent
_TICKS = os.sysconf("SC_CLK_TCK")
_READY_S = 120.0
_PATIENCE_S = 60.0


class Server:
    """
    A process group that prints `... ready on http://HOST:PORT`.

    Attributes:
        address: Where it listens.
        ready_s: From its start to the ready line.
    """

    def __init__(self, command: Sequence[str], log: Path) -> None:
        started = time.perf_counter()
        self._log = log.open("ab")
        self._command = command
        self._process = self._begin(command, self._log)
        self.address = self._await_ready(started + _READY_S)
        self.ready_s = time.perf_counter() - started

    def _begin(self, command: Sequence[str], log: IO[bytes]) -> Any:
        """A process that leads a group of its own, as `subprocess.Popen` has it."""
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=ROOT,
            start_new_session=True,
        )

    def _await_ready(self, deadline: float) -> Address:
        assert self._process.stdout is not None
        alarm = threading.Timer(deadline - time.perf_counter(), self.kill)
        alarm.start()
        try:
            for line in self._process.stdout:
                if " ready on http://" in line:
                    host, _, port = line.strip().rpartition("/")[2].rpartition(":")
                    threading.Thread(target=self._drain, daemon=True).start()
                    return host, int(port)
        finally:
            alarm.cancel()
        self.kill()
        said = Path(self._log.name).read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{self._command!r} did not get ready:\n{said}")

    def _drain(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError):
            for _ in self._process.stdout:
                pass

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """kill -9 for the whole group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._close()

    def stop(self) -> None:
        """Ask politely, so that it writes its snapshot; then insist."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(30)
        self.kill()

    def _close(self) -> None:
        self._log.close()

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """
        One JSON request outside any measurement; the decoded answer, decimals exact.

        A 503 is repeated as its Retry-After asks, for a minute, and said on stderr: it is no error
        of the benchmark's, and nothing to be silent about.
        """
        give_up = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return self._request(method, path, body)
            except urllib.error.HTTPError as error:
                error.add_note(f"{method} {path}: {error.read().decode(errors='replace')}")
                if error.code != 503 or time.monotonic() > give_up:
                    raise
                print(*error.__notes__, file=sys.stderr)
                time.sleep(int(error.headers.get("Retry-After", "1")))

    def _request(self, method: str, path: str, body: Any) -> Any:
        host, port = self.address
        request = urllib.request.Request(
            f"http://{host}:{port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            data = answer.read()
        return json.loads(data, parse_float=Decimal) if data else None


def taximeter(data: Path, port: int | None = None) -> Server:
    """A node of this product on its own data directory, on a free port unless one is given."""
    program = Path(sys.executable).with_name("taximeter")
    wanted = str(port or free_port())
    command = [str(program), "serve", "--data", str(data), "--port", wanted, "--dev"]
    return Server(command, data.with_suffix(".log"))


def module(name: str, *args: str, log: Path) -> Server:
    """One of our own small servers."""
    return Server([sys.executable, "-m", name, *args], log)


def free_port() -> int:
    """
    A port nobody listens on, below those the kernel gives to outgoing connections.

    From that range, a client that keeps trying to connect while the server is down can be given
    the very port it connects to: it then talks to itself and the server cannot bind any more.
    """
    while True:
        port = random.randrange(15_000, 30_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def tree(pid: int) -> Iterator[int]:
    """A process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                children.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
    waiting = [pid]
    while waiting:
        current = waiting.pop()
        yield current
        waiting.extend(children.get(current, []))


def cpu_s(pids: Sequence[int]) -> float:
    """CPU seconds, user and system, of these processes and what they started, ended or not."""
    total = 0
    for pid in pids:
        for member in tree(pid):
            with contextlib.suppress(OSError):
                fields = _stat(member)
                total += sum(int(ticks) for ticks in fields[11:15])  # own, and of ended children
    return total / _TICKS


def memory_mib(pid: int) -> tuple[float, float]:
    """(sum of RSS, sum of PSS) of a process and its descendants; PSS counts shared pages once."""
    rss = pss = 0
    for member in tree(pid):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{member}/smaps_rollup").read_text().splitlines():
                name, _, value = line.partition(":")
                if name == "Rss":
                    rss += int(value.split()[0])
                elif name == "Pss":
                    pss += int(value.split()[0])
    return rss / 1024, pss / 1024


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on; the name before may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
