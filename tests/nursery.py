"""
Where servers are born quickly: one process has imported everything, and forks.

A start of `taximeter serve` from nothing spends two seconds of a core on imports. The tests start
hundreds, so each worker of the suite keeps one process that has paid for that and copies itself.
What is born is a process like any other: its own pid, group, directory and files, killed alike.

This file is both sides: imported it is the tests', run as a program it is the nursery.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from functools import cache
from typing import IO, Any, Final

AVAILABLE: Final = sys.platform == "linux"
_BIGGEST: Final = 1 << 20


class Born:
    """The part of `subprocess.Popen` that tests of servers use."""

    def __init__(self, nursery: Nursery, pid: int, stdout: IO[str]) -> None:
        self.pid = pid
        self.stdout = stdout
        self.returncode: int | None = None
        self._nursery = nursery
        self._ended = os.pidfd_open(pid)

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._ended], [], [], 0)[0]:
            self._collect()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """
        Raises:
            subprocess.TimeoutExpired
        """
        if self.returncode is None:
            if not select.select([self._ended], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("taximeter", timeout or 0.0)
            self._collect()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:  # until it is collected its pid is nobody else's
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _collect(self) -> None:
        self.returncode = self._nursery.ask({"collect": self.pid})
        os.close(self._ended)


class Nursery:
    """The tests' end of the conversation: a question, a number for an answer."""

    def __init__(self) -> None:
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with there:
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__, str(there.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[there.fileno()],
                start_new_session=True,
            )
        self._socket = here
        self._turn = threading.Lock()
        atexit.register(self.close)

    def bear(self, arguments: list[str], cwd: str, env: dict[str, str], stderr: IO[Any]) -> Born:
        """A process that runs `taximeter ARGUMENTS`."""
        reader, writer = os.pipe()
        try:
            wanted = {"arguments": arguments, "cwd": cwd, "env": env}
            pid = self.ask(wanted, [writer, stderr.fileno()])
        finally:
            os.close(writer)
        return Born(self, pid, os.fdopen(reader))

    def ask(self, question: dict[str, Any], files: list[int] | None = None) -> int:
        with self._turn:
            socket.send_fds(self._socket, [json.dumps(question).encode()], files or [])
            answer = self._socket.recv(_BIGGEST)
        assert answer, "the nursery is gone"
        return int(answer)

    def close(self) -> None:
        self._socket.close()
        self._process.wait()


@cache
def nursery() -> Nursery:
    """The one of this process, begun when it is first wanted."""
    return Nursery()


# --- the nursery itself ---------------------------------------------------------------------------


def _prepare() -> None:
    """Whatever a server does the same way each time before it looks at its data."""
    import taximeter.adapters.node  # noqa: F401
    from taximeter.adapters.cli import app, node  # noqa: F401
    from taximeter.adapters.console import rendering
    from taximeter.adapters.identity import index
    from taximeter.events import decode

    rendering.warm_up()
    index.warm_up()
    decode.warm_up()


def _serve_the_tests(channel: socket.socket) -> None:
    _prepare()
    while True:
        message, files, _, _ = socket.recv_fds(channel, _BIGGEST, 2)
        if not message:
            return
        question = json.loads(message)
        if "collect" in question:
            _, status = os.waitpid(question["collect"], 0)
            channel.send(str(os.waitstatus_to_exitcode(status)).encode())
            continue
        pid = os.fork()
        if not pid:
            channel.close()
            _live(question, *files)
        for file in files:
            os.close(file)
        channel.send(str(pid).encode())


def _live(question: dict[str, Any], stdout: int, stderr: int) -> None:
    """Become a server; never returns."""
    code = 1
    try:
        os.setsid()
        os.chdir(question["cwd"])
        os.environ.clear()
        os.environ.update(question["env"])
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        os.close(stdout)
        os.close(stderr)
        from taximeter.adapters.cli import main

        sys.argv = ["taximeter", *question["arguments"]]
        code = main(question["arguments"])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve_the_tests(socket.socket(fileno=int(sys.argv[1])))
