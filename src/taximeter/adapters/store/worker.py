"""
The store process: one thread that answers, one that listens.

    python -m taximeter.adapters.store.worker      (started by `adapters.store.process`)

It reads requests from stdin and writes answers to stdout, and ends when stdin does: with its
parent. It can be killed at any time.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, BinaryIO, Final

from taximeter.adapters.store.columnar import ColumnarStore
from taximeter.adapters.store.wire import Answer, Request, Setup, dump_error, pack, read_message
from taximeter.errors import TaximeterError, Unavailable
from taximeter.live.refold import FoldSpec
from taximeter.ports import EventsQuery, LateQuery, LineScope, Selection, UsageQuery
from taximeter.rules.trial import TrialSpec

TICK_S: Final = 0.25
PART_EVENTS: Final = 5_000

SLICE_EVENTS: Final = 100_000
"""How much is read from the log at once when nobody waits."""

MAX_LAG: Final = 1_000_000
"""Further behind than this, a question is refused as `rebuilding` rather than kept waiting."""


class Worker:
    """
    Answers requests in order, one at a time, and keeps the store up to date in between.

    Attributes:
        position: What the engine last reported as durable; set by the listening thread.
    """

    def __init__(self, store: ColumnarStore, answers: BinaryIO, idle_seal_s: float) -> None:
        self.position = 0
        self._store = store
        self._answers = answers
        self._idle_seal_s = idle_seal_s
        self._sealed_at = time.monotonic()
        self._reported: Any = None

    def run(self, requests: SimpleQueue[Request | None]) -> None:
        """Until None arrives."""
        while True:
            try:
                request = requests.get(timeout=0.0 if self._keep_up() else TICK_S)
            except Empty:
                continue
            if request is None:
                return
            self._handle(request)

    def _handle(self, request: Request) -> None:
        try:
            self._check_lag(request)
            result = getattr(self._store, request.method)(*request.arguments)
            if isinstance(result, Iterator):
                while part := list(islice(result, PART_EVENTS)):
                    self._send(Answer(request.call, "part", part))
                result = None
            self._send(Answer(request.call, "value", result))
        except BrokenPipeError:
            raise
        except Exception as error:
            self._send(Answer(request.call, "error", dump_error(error)))

    def _check_lag(self, request: Request) -> None:
        lag = _upto(request) - self._store.position
        if lag > MAX_LAG:
            raise Unavailable(
                "rebuilding",
                f"the event store is {lag} events behind and catching up",
                retry_after_s=1 + lag // 500_000,
                position=self._store.position,
            )

    def _keep_up(self) -> bool:
        """One small step of housekeeping; whether there is more to do."""
        try:
            busy = self._step()
        except TaximeterError as error:
            print(f"taximeter store: {error.code}: {error.message}", file=sys.stderr)
            time.sleep(TICK_S)
            busy = False
        self._report()
        return busy

    def _step(self) -> bool:
        store = self._store
        if store.position < self.position:
            store.refresh(min(self.position, store.position + SLICE_EVENTS))
            return store.position < self.position
        if not store.progress.tail_rows:
            self._sealed_at = time.monotonic()
        elif time.monotonic() - self._sealed_at > self._idle_seal_s:
            store.seal()
            self._sealed_at = time.monotonic()
        return store.compact()

    def _report(self) -> None:
        progress = self._store.progress
        if progress != self._reported:
            self._send(Answer(0, "progress", progress))
            self._reported = progress

    def _send(self, answer: Answer) -> None:
        self._answers.write(pack(answer))
        self._answers.flush()


def _upto(request: Request) -> int:
    """The position a request needs."""
    match request.arguments:
        case (FoldSpec() as spec,):
            return max(spec.upto, spec.corrected or 0)
        case (
            (
                UsageQuery() | EventsQuery() | LateQuery() | LineScope() | Selection() | TrialSpec()
            ) as query,
            *_,
        ):
            return query.upto
        case (str(), int() as upto, *_):  # find, scan, count_by_subject
            return upto
        case (list() as scopes, *_):  # recount
            return max((scope.upto for scope in scopes), default=0)
    raise AssertionError(f"unknown request {request.method}")


def _listen(pipe: BinaryIO, requests: SimpleQueue[Request | None], worker: Worker) -> None:
    while (message := read_message(pipe)) is not None:
        request = Request(*message)
        if request.method == "notify":
            (worker.position,) = request.arguments
        else:
            requests.put(request)
    requests.put(None)
    # A question that is being worked on has nobody left to answer to.
    time.sleep(5.0)
    os._exit(0)


def open_reader(setup: Setup) -> Any:
    """Import and open what the log is read with."""
    module, _, name = setup.reader.partition(":")
    return getattr(importlib.import_module(module), name)(Path(setup.log_directory))


def _die_with_parent() -> None:
    """On Linux even in the middle of a long query; elsewhere the end of stdin has to do."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def main() -> None:
    _die_with_parent()
    # Ctrl-C reaches the whole process group; the engine decides when this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(19)  # the engine comes first
    pipe = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints does not print into the answers
    first = read_message(pipe)
    if first is None:
        return
    setup: Setup = first[0]
    gc.set_threshold(100_000, 20, 100)  # bulk decoding makes objects by the million, no cycles
    store = ColumnarStore(
        Path(setup.events_directory),
        open_reader(setup).read,
        durable=setup.durable,
        seal_rows=setup.seal_rows,
        threads=setup.threads,
        memory_limit=setup.memory_limit,
    )
    worker = Worker(store, answers, setup.idle_seal_s)
    requests: SimpleQueue[Request | None] = SimpleQueue()
    threading.Thread(target=_listen, args=(pipe, requests, worker), daemon=True).start()
    try:
        worker.run(requests)
    except BrokenPipeError:
        pass  # the engine is gone
    finally:
        store.close()


if __name__ == "__main__":
    main()
    # At interpreter shutdown DuckDB 2.0 prints a long, harmless list of its own leaks.
    os._exit(0)
