"""
What is measured: each target starts fresh on its own directory and takes the same requests.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmarks import bodies, load, processes
from benchmarks.bodies import Counted, Requests
from benchmarks.processes import Server

METERS = ("requests", "input_tokens", "output_tokens")
_SETUP_S = 600.0


@dataclass(frozen=True)
class Session:
    """A target at work: its server, and every process its CPU is charged to."""

    server: Server
    pids: Sequence[int]
    totals_path: str | None = None

    def cpu_s(self) -> float:
        return processes.cpu_s(self.pids)

    def counted(self) -> Counted:
        """What the target says it counted, all customers together."""
        if self.totals_path:
            return Counted(**self.server.request("GET", self.totals_path))
        return Counted(**{meter: usage(self.server, meter) for meter in METERS})


class Target(Protocol):
    name: str
    title: str
    durability: str

    def session(self, directory: Path) -> Any:
        """A context manager over a fresh `Session` below this directory."""
        ...


class Taximeter:
    """
    This product, with its catalogue, customers and subscriptions in place.

    Those are set up once, on a template directory that each session starts from as a copy.

    Args:
        steps: Requests that make it what it is to be, after the catalogue.
    """

    name = "taximeter"
    title = "Taximeter"
    durability = "log synced (fdatasync) before each answer"

    def __init__(
        self, template: Path, catalog: Any, steps: Sequence[Callable[[], Requests]]
    ) -> None:
        self._template = template
        self._catalog = catalog
        self._steps = steps

    @contextmanager
    def session(self, directory: Path) -> Iterator[Session]:
        data = self.fresh(directory)
        server = processes.taximeter(data)
        try:
            yield Session(server, [server.pid])
        finally:
            server.kill()

    def fresh(self, directory: Path) -> Path:
        """A new data directory with the template's content; no server runs on it."""
        if not self._template.exists():
            self._make_template()
        data = directory / "taximeter"
        shutil.copytree(self._template, data)
        return data

    def _make_template(self) -> None:
        print(f"  setting up {bodies.CUSTOMERS} customers", flush=True)
        making = self._template.with_suffix(".making")
        making.mkdir(parents=True)
        server = processes.taximeter(making)
        try:
            server.request("PUT", "/v1/catalog", self._catalog)
            for requests in self._steps:
                stream = load.Stream("setup", requests(), connections=64)
                load.run(server.address, [stream], _SETUP_S)
        finally:
            server.stop()
        making.rename(self._template)


class Recipe:
    """FastAPI, pydantic, Redis and PostgreSQL: see `peers/recipe.py`."""

    name = "recipe"
    title = "FastAPI + Redis + PostgreSQL"
    durability = (
        "PostgreSQL fsync and synchronous_commit on; Valkey appendonly, synced every second"
    )

    @contextmanager
    def session(self, directory: Path) -> Iterator[Session]:
        from benchmarks.peers import servers

        with (
            servers.postgres(directory) as postgres,
            servers.valkey(directory / "valkey") as valkey,
        ):
            server = processes.module(
                "benchmarks.peers.recipe", postgres.url, valkey.url, log=directory / "recipe.log"
            )
            try:
                yield Session(server, [server.pid, postgres.pid, valkey.pid], "/counted")
            finally:
                server.kill()


class PostgresCopy:
    """COPY and merge behind a minimal HTTP endpoint: see `peers/postgres_copy.py`."""

    name = "postgres"
    title = "PostgreSQL COPY + merge, raw HTTP"
    durability = "fsync and synchronous_commit on"

    @contextmanager
    def session(self, directory: Path) -> Iterator[Session]:
        from benchmarks.peers import servers

        with servers.postgres(directory) as postgres:
            server = processes.module(
                "benchmarks.peers.postgres_copy", postgres.url, log=directory / "copy.log"
            )
            try:
                yield Session(server, [server.pid, postgres.pid], "/counted")
            finally:
                server.kill()


def usage(server: Server, meter: str) -> int:
    """One meter over all customers, from yesterday to tomorrow, as the server reports it."""
    start, end = (instant(time.time() + days * 86_400) for days in (-1, 1))
    path = f"/v1/meters/{meter}/usage?from={start}&to={end}&window=none"
    return sum(int(item["value"]) for item in server.request("GET", path)["items"])


def instant(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
