"""
The event store in a process of its own, as the engine sees it.

Queries use all cores for as long as they like there, and the engine's event loop never waits for
the GIL with them. The process dies with its parent; if it dies alone it is started again, and
questions that were open are asked once more. The engine's hot path does not depend on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from taximeter.adapters.store.wire import (
    LENGTH,
    SEAL_ROWS,
    Answer,
    Progress,
    Request,
    Setup,
    load_error,
    pack,
)
from taximeter.errors import TaximeterError, Unavailable
from taximeter.live.refold import Folded, FoldSpec
from taximeter.ports import (
    EventsQuery,
    LateQuery,
    LateRow,
    LineScope,
    Recount,
    Selection,
    StoredEvent,
    UsageQuery,
    UsageRow,
)
from taximeter.rules.trial import Trial, TrialSpec

MAX_PENDING: Final = 64
MAX_ATTEMPTS: Final = 2
QUICK_S: Final = 30.0
LONG_S: Final = 600.0

_RESTART_S: Final = (0.0, 0.1, 0.5, 2.0, 5.0)
_PARTS_AHEAD: Final = 4


class _Call:
    """One question: its parts arrive in `parts`, its end in `done`."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.attempts = 0
        self.done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.parts: asyncio.Queue[list[StoredEvent]] = asyncio.Queue(_PARTS_AHEAD)
        self.started = False  # parts have been handed out, so it cannot be asked again


class StoreProcess:
    """
    An `EventStore` whose methods are coroutines.

    Args:
        events_directory: Of the Parquet files.
        log_directory: What `reader` is opened with.
        reader: "module:name" of the log's reader, see `wire.Setup`.
        max_pending: Questions open at once; more are refused as `overloaded`.
    """

    def __init__(
        self,
        events_directory: Path,
        log_directory: Path,
        reader: str,
        *,
        seal_rows: int = SEAL_ROWS,
        threads: int = 2,
        memory_limit: str = "2GB",
        idle_seal_s: float = 300.0,
        max_pending: int = MAX_PENDING,
    ) -> None:
        self._setup = Setup(
            events_directory=str(events_directory),
            log_directory=str(log_directory),
            reader=reader,
            durable=None,
            seal_rows=seal_rows,
            threads=threads,
            memory_limit=memory_limit,
            idle_seal_s=idle_seal_s,
        )
        self._max_pending = max_pending
        self._calls: dict[int, _Call] = {}
        self._next_call = 1
        self._position = 0
        self._process: Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._closing = False
        self.progress = Progress(0, 0, 0, 0, 0)
        self.restarts = 0

    def start(self, position: int) -> None:
        """
        Begin, without waiting for the process to be up.

        Args:
            position: The log's durable position; files beyond it are deleted.
        """
        assert self._supervisor is None, "started twice"
        self._position = position
        self._supervisor = asyncio.create_task(self._supervise(position), name="store")

    def notify(self, position: int) -> None:
        """The log is durable up to here, so it can be taken in when there is time."""
        if position > self._position:
            self._position = position
            self._write(Request(0, "notify", (position,)))

    async def close(self) -> None:
        """End the process; open questions fail as `shutting_down`. Nothing is lost."""
        self._closing = True
        self._fail_all(Unavailable("shutting_down", "the event store is stopping"))
        process = self._process
        if process is not None and process.returncode is None:
            assert process.stdin is not None
            process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), 2.0)
            except TimeoutError:
                process.kill()
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor

    # --- the port -----------------------------------------------------------------------------

    async def usage(self, query: UsageQuery) -> list[UsageRow]:
        found: list[UsageRow] = await self.call("usage", query)
        return found

    async def recount(
        self, scopes: Sequence[LineScope], *, proofs: bool = True, anew: bool = False
    ) -> list[list[Recount]]:
        found: list[list[Recount]] = await self.call(
            "recount", list(scopes), proofs, anew, timeout_s=LONG_S
        )
        return found

    async def events(self, query: EventsQuery) -> list[StoredEvent]:
        found: list[StoredEvent] = await self.call("events", query)
        return found

    async def line_events(
        self, scope: LineScope, group: tuple[str | None, ...], after: int, limit: int
    ) -> list[StoredEvent]:
        found: list[StoredEvent] = await self.call("line_events", scope, group, after, limit)
        return found

    async def late(self, query: LateQuery) -> list[LateRow]:
        rows: list[LateRow] = await self.call("late", query, timeout_s=LONG_S)
        return rows

    async def select(self, selection: Selection) -> list[StoredEvent]:
        selected: list[StoredEvent] = await self.call("select", selection)
        return selected

    async def find(self, namespace: str, seq: int) -> StoredEvent | None:
        found: StoredEvent | None = await self.call("find", namespace, seq)
        return found

    async def count_by_subject(
        self, namespace: str, upto: int, subjects: Sequence[str]
    ) -> dict[str, int]:
        counts: dict[str, int] = await self.call(
            "count_by_subject", namespace, upto, tuple(subjects), timeout_s=LONG_S
        )
        return counts

    async def fold(self, spec: FoldSpec) -> Folded:
        folded: Folded = await self.call("fold", spec, timeout_s=LONG_S)
        return folded

    async def trial(self, spec: TrialSpec) -> Trial:
        tried: Trial = await self.call("trial", spec, timeout_s=LONG_S)
        return tried

    async def scan(
        self,
        namespace: str,
        upto: int,
        types: Iterable[str],
        subjects: Iterable[str] | None = None,
    ) -> AsyncIterator[StoredEvent]:
        wanted = (tuple(types), None if subjects is None else tuple(subjects))
        call = self._ask("scan", (namespace, upto, *wanted))
        try:
            async with asyncio.timeout(LONG_S):
                while (part := await _next_part(call)) is not None:
                    call.started = True
                    for event in part:
                        yield event
        except TimeoutError:
            raise self._timed_out("scan") from None
        finally:
            self._forget(call)

    async def call(self, method: str, *arguments: Any, timeout_s: float = QUICK_S) -> Any:
        """
        Ask one question.

        Raises:
            Unavailable: `overloaded` (too many open questions), `rebuilding` (the store is far
                behind, or failed twice on this question or took too long), `shutting_down`.
            TaximeterError: What the store itself raised.
        """
        call = self._ask(method, arguments)
        try:
            async with asyncio.timeout(timeout_s):
                return await call.done
        except TimeoutError:
            raise self._timed_out(method) from None
        finally:
            self._forget(call)

    # --- questions ----------------------------------------------------------------------------

    def _ask(self, method: str, arguments: tuple[Any, ...]) -> _Call:
        if self._closing:
            raise Unavailable("shutting_down", "the event store is stopping")
        if len(self._calls) >= self._max_pending:
            raise Unavailable("overloaded", "too many questions to the event store are waiting")
        call = _Call(Request(self._next_call, method, arguments))
        self._next_call += 1
        self._calls[call.request.call] = call
        self._send(call)
        return call

    def _send(self, call: _Call) -> None:
        if self._write(call.request):
            call.attempts += 1

    def _write(self, request: Request) -> bool:
        process = self._process
        if process is None or process.stdin is None or process.stdin.is_closing():
            return False  # sent as soon as the process is up
        process.stdin.write(pack(request))
        return True

    def _forget(self, call: _Call) -> None:
        self._calls.pop(call.request.call, None)
        while not call.parts.empty():  # frees a reader that waits to add one
            call.parts.get_nowait()
        if call.done.done() and not call.done.cancelled():
            call.done.exception()  # seen

    def _timed_out(self, method: str) -> Unavailable:
        """The process may be stuck, and no query can be stopped from outside for certain."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
        return Unavailable("rebuilding", f"the event store did not answer {method} in time")

    def _fail_all(self, error: TaximeterError) -> None:
        for call in self._calls.values():
            if not call.done.done():
                call.done.set_exception(error)
        self._calls.clear()

    # --- the process --------------------------------------------------------------------------

    async def _supervise(self, durable: int | None) -> None:
        failures = 0
        while not self._closing:
            await asyncio.sleep(_RESTART_S[min(failures, len(_RESTART_S) - 1)])
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "taximeter.adapters.store.worker", stdin=PIPE, stdout=PIPE
            )
            try:
                self._greet(process, durable)
                answered = await self._receive(process)
            finally:
                self._process = None
                if process.returncode is None:
                    process.kill()
                await process.wait()
            failures = 0 if answered else failures + 1
            durable = None
            self.restarts += 1
            self._give_up_on_repeated()

    def _greet(self, process: Process, durable: int | None) -> None:
        self._process = process
        assert process.stdin is not None
        process.stdin.write(pack((msgspec.structs.replace(self._setup, durable=durable),)))
        self._write(Request(0, "notify", (self._position,)))
        for call in list(self._calls.values()):
            self._send(call)

    async def _receive(self, process: Process) -> bool:
        """Hand out answers until the process ends; whether there was any."""
        assert process.stdout is not None
        answered = False
        try:
            while True:
                head = await process.stdout.readexactly(LENGTH.size)
                body = await process.stdout.readexactly(LENGTH.unpack(head)[0])
                answer = Answer(*pickle.loads(body))
                answered = True
                if answer.kind == "progress":
                    self.progress = answer.payload
                else:
                    await self._deliver(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return answered

    async def _deliver(self, answer: Answer) -> None:
        call = self._calls.get(answer.call)
        if call is None or call.done.done():
            return  # nobody waits any more
        if answer.kind == "part":
            # A slow reader slows the store down instead of filling the memory.
            await call.parts.put(answer.payload)
        elif answer.kind == "error":
            call.done.set_exception(load_error(answer.payload))
        else:
            call.done.set_result(answer.payload)

    def _give_up_on_repeated(self) -> None:
        """What was open when the process died is asked again, but not for ever."""
        for call in list(self._calls.values()):
            if (call.attempts >= MAX_ATTEMPTS or call.started) and not call.done.done():
                error = Unavailable("rebuilding", "the event store stopped and is starting again")
                call.done.set_exception(error)


async def _next_part(call: _Call) -> list[StoredEvent] | None:
    """The next part of a stream; None at its end."""
    part = asyncio.ensure_future(call.parts.get())
    try:
        await asyncio.wait((part, call.done), return_when=asyncio.FIRST_COMPLETED)
        if part.done():
            return part.result()
        if not call.parts.empty():
            return call.parts.get_nowait()
        call.done.result()
        return None
    finally:
        part.cancel()
