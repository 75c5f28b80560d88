"""
A real server for a test: a process of its own, a free port, its own data directory.

    with serve(tmp_path, "--dev") as server:
        server.post("/v1/events", {"id": "1", "type": "t", "subject": "acme"})
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

from benchmarks.processes import ROOT, Server
from tests import nursery
from tests.nursery import Born

READY = "taximeter ready on "
START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 60.0


Process = subprocess.Popen[str] | Born


class Reply(NamedTuple):
    """An HTTP answer of any status. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


class Served:
    """
    A running server.

    Attributes:
        url: Such as "http://127.0.0.1:41234", without a slash at the end.
        key: The owner's API key.
        data: Its data directory; another `serve` on it continues where this one stopped.
        process: The server; its children are in the same process group.
    """

    def __init__(self, url: str, data: Path, process: Process, errors: Path) -> None:
        self.url = url
        self.data = data
        self.process = process
        self.key = (data / "owner.key").read_text().strip()
        self._errors = errors

    @property
    def stderr(self) -> str:
        """What the server has logged so far."""
        return self._errors.read_text(errors="replace")

    def request(
        self,
        method: str,
        path: str,
        body: bytes | dict[str, Any] | list[Any] | None = None,
        headers: dict[str, str] | None = None,
        *,
        key: str | None = None,
        timeout_s: float = 60.0,
    ) -> Reply:
        """
        One request; redirects are not followed.

        Args:
            body: Bytes as they are, anything else as JSON.
            key: API key to send; None sends the owner's, "" sends none.
        """
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)
        if data is not None:
            request.add_header("Content-Type", "application/json")
        if key != "":
            request.add_header("Authorization", f"Bearer {key or self.key}")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        try:
            with _OPENER.open(request, timeout=timeout_s) as answer:
                return _reply(answer)
        except urllib.error.HTTPError as error:
            with error:
                return _reply(error)

    def get(self, path: str, **options: Any) -> Reply:
        return self.request("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> Reply:
        return self.request("POST", path, body, **options)

    def put(self, path: str, body: Any = None, **options: Any) -> Reply:
        return self.request("PUT", path, body, **options)


@contextmanager
def serve(
    tmp_path: Path,
    *flags: str,
    port: int = 0,
    env: dict[str, str] | None = None,
    from_nothing: bool = False,
) -> Iterator[Served]:
    """
    Run `taximeter serve FLAGS` on TMP_PATH/data until the block ends, then end its whole group.

    Args:
        port: 0 for any free one.
        env: Set for the server on top of this process's environment, without its TAXIMETER_*.
        from_nothing: By a new interpreter, as its users start it, instead of from the nursery.

    Raises:
        AssertionError: It did not become ready; the message has what it printed.
    """
    data, errors = tmp_path / "data", tmp_path / "stderr.txt"
    arguments = ["serve", "--data", str(data), "--port", str(port), *flags]
    environment = _clean_environment() | (env or {})
    with errors.open("a") as log:
        process: Process
        if nursery.AVAILABLE and not from_nothing:
            process = nursery.nursery().bear(arguments, str(tmp_path), environment, log)
        else:
            process = subprocess.Popen(
                [sys.executable, "-m", "taximeter", *arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=tmp_path,  # so that nobody's taximeter.toml is found
                env=environment,
                start_new_session=True,
            )
    try:
        yield Served(_ready_url(process, errors), data, process, errors)
    finally:
        _stop(process)


class Newborn(Server):
    """`taximeter serve FLAGS` from the nursery, for programmes that kill and restart by hand."""

    def _begin(self, command: Sequence[str], log: IO[bytes]) -> Any:
        if not nursery.AVAILABLE:
            return super()._begin([sys.executable, "-m", "taximeter", *command], log)
        return nursery.nursery().bear(list(command), str(ROOT), _clean_environment(), log)


def _clean_environment() -> dict[str, str]:
    return {name: v for name, v in os.environ.items() if not name.startswith("TAXIMETER_")}


def _ready_url(process: Process, errors: Path) -> str:
    """Read stdout until the ready line; a thread goes on reading, so that it never blocks."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    assert process.stdout is not None
    threading.Thread(target=_drain, args=(process.stdout, lines), daemon=True).start()
    deadline = time.monotonic() + START_TIMEOUT_S
    printed: list[str] = []
    while (left := deadline - time.monotonic()) > 0:
        try:
            line = lines.get(timeout=left)
        except queue.Empty:
            break
        if line is None:
            break
        printed.append(line)
        if line.startswith(READY):
            return line.removeprefix(READY).strip()
    raise AssertionError(f"not ready: {''.join(printed)}{errors.read_text(errors='replace')}")


def _drain(stdout: IO[str], lines: queue.SimpleQueue[str | None]) -> None:
    with stdout:
        for line in stdout:
            lines.put(line)
    lines.put(None)


def _stop(process: Process) -> None:
    """SIGTERM to the server, which ends its children; SIGKILL for whatever is left of them."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect(), urllib.request.ProxyHandler({}))


def _reply(answer: Any) -> Reply:
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return Reply(answer.status, headers, answer.read())
