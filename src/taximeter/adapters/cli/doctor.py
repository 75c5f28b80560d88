"""`doctor`: is it well? Of a running server, or of a data directory without one."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from taximeter import __version__
from taximeter.adapters.cli.common import Server, console, print_json
from taximeter.adapters.cli.failures import DIFFERENCE, OK
from taximeter.errors import TaximeterError

if TYPE_CHECKING:
    from taximeter.adapters.client import Client

HERE = Server()
CLOCK_SKEW_S = 5
FREE_BYTES = 2 * 2**30
FREE_SHARE = 0.05
VERDICTS = ("accepted", "duplicates", "conflicts", "rejected")

_MARKS = {"ok": "[green]ok[/]  ", "warning": "[yellow]warn[/]", "failed": "[red]FAIL[/]"}


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at."""

    check: str
    state: Literal["ok", "warning", "failed"]
    detail: str


def doctor(*, server: Server = HERE) -> int:
    """
    Check a server; with --data, a data directory (offline: its log and books are read in full).
    Exits 1 on findings.
    """
    found = list(_offline(server.data) if server.data else _online(server.client()))
    if server.json:
        print_json(
            {"ok": all(f.state == "ok" for f in found), "version": __version__, "checks": found}
        )
    else:
        out = console()
        for finding in found:
            out.print(_MARKS[finding.state], finding.check, "-", finding.detail, markup=True)
    return OK if all(finding.state == "ok" for finding in found) else DIFFERENCE


def _online(client: Client) -> Iterator[Finding]:
    try:
        answer = client.request("GET", "/healthz")
    except TaximeterError as error:
        yield Finding("server", "failed", f"{error.message} Is one running?")
        return
    yield Finding("server", "ok", f"answers at {client.url}")
    yield _clock(answer.headers.get("date"))
    yield _look("ready", lambda: _ready(client))
    yield _look("version", lambda: _version(client))
    yield _look("accounting", lambda: _accounting(client))


def _look(check: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except TaximeterError as error:
        return Finding(check, "failed", f"{error.message} [{error.code}]")


def _ready(client: Client) -> Finding:
    client.request("GET", "/readyz")
    return Finding("ready", "ok", "takes and answers everything")


def _version(client: Client) -> Finding:
    version = str(client.get("/v1/status")["version"])
    if version != __version__:
        return Finding("version", "warning", f"server {version}, this command line {__version__}")
    return Finding("version", "ok", version)


def _accounting(client: Client) -> Finding:
    """The identity that must always hold: nothing received is unaccounted for."""
    events = client.get("/v1/status")["events"]
    parts = [f"{events[name]} {name}" for name in VERDICTS]
    total = sum(events[name] for name in VERDICTS)
    if total == events["received"]:
        return Finding("accounting", "ok", f"{' + '.join(parts)} = {total} received")
    return Finding(
        "accounting", "failed", f"{' + '.join(parts)} is not {events['received']} received"
    )


def _clock(date: str | None) -> Finding:
    """Compares whole seconds, as the header has them."""
    if date is None:
        return Finding("clock", "ok", "the server does not send its time")
    skew = parsedate_to_datetime(date).timestamp() - time.time()
    if abs(skew) > CLOCK_SKEW_S:
        return Finding("clock", "warning", f"the server's clock differs by {skew:+.0f} s from here")
    return Finding("clock", "ok", "agrees with the server's")


def _offline(data: Path) -> Iterator[Finding]:
    yield Finding("versions", "ok", f"taximeter {__version__}, Python {sys.version.split()[0]}")
    if not data.is_dir():
        yield Finding("data", "failed", f"there is no directory {data}")
        return
    yield _disk(data)
    yield _owner_key(data / "owner.key")
    yield _look("books", lambda: _books(data / "books.db"))
    yield _look("log", lambda: _log(data / "log"))


def _disk(data: Path) -> Finding:
    total, _, free = shutil.disk_usage(data)
    text = f"{free / 2**30:.1f} GiB free of {total / 2**30:.1f} GiB"
    scarce = free < FREE_BYTES or free < total * FREE_SHARE
    return Finding("disk", "warning" if scarce else "ok", text)


def _owner_key(path: Path) -> Finding:
    try:
        mode = path.stat().st_mode & 0o777
    except OSError:
        return Finding("owner key", "warning", f"there is no {path}")
    if mode & 0o077:
        return Finding("owner key", "warning", f"{path} can be read by others (mode {mode:o})")
    return Finding("owner key", "ok", "readable by its owner only")


def _books(path: Path) -> Finding:
    from taximeter.adapters.books import SqliteBooks

    if not path.exists():
        return Finding("books", "failed", f"there is no {path}")
    books = SqliteBooks(path)
    try:
        wrong = books.integrity_findings()
    finally:
        books.close()
    if wrong:
        return Finding("books", "failed", "; ".join(wrong[:3]))
    return Finding("books", "ok", "sound, and every reference leads somewhere")


def _log(directory: Path) -> Finding:
    from taximeter.adapters.log import verify

    segments, size, last_seq = 0, 0, 0
    for segment in verify(directory):  # raises Damaged at the first wrong byte
        segments, size, last_seq = segments + 1, size + segment.bytes, segment.last_seq
    return Finding(
        "log",
        "ok",
        f"{last_seq} events in {segments} files, {size / 2**20:.1f} MiB, every byte read",
    )
