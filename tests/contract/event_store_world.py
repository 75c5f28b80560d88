"""
A small log to ask the event store about, and the slow answers it is held against.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from tests.property.meter_oracle import group_of, seen, selects, totals

from taximeter.adapters.log import SegmentLog
from taximeter.adapters.store.columnar import ColumnarStore
from taximeter.adapters.store.process import StoreProcess
from taximeter.events.entry import Entry
from taximeter.events.envelope import Event, Format
from taximeter.events.numbers import read_number
from taximeter.instants import parse_instant
from taximeter.invoices.lineage import leaf_bytes, merkle_digest
from taximeter.meters.values import canonical_text
from taximeter.ports import LineScope, LoggedEntry, Recount, StoredEvent, UsageQuery, UsageRow

RECEIVED_AT = parse_instant("2026-11-20T12:00:00Z")
READER = "taximeter.adapters.log:LogReader"


def entry(items: Sequence[dict[str, Any] | str], **fields: Any) -> Entry:
    """All accepted unless `verdicts` says otherwise. Text items are taken as they are."""
    form = fields.pop("format", Format.ARRAY)
    texts = [item if isinstance(item, str) else dumps(item) for item in items]
    joined = {Format.ARRAY: f"[{','.join(texts)}]", Format.LINES: "\n".join(texts)}
    return Entry(
        namespace=fields.pop("namespace", "default"),
        received_at=fields.pop("received_at", RECEIVED_AT),
        format=form,
        verdicts=fields.pop("verdicts", bytes(len(items))),
        body=joined.get(form, texts[0]).encode(),
        **fields,
    )


def dumps(value: Any) -> str:
    """JSON with exact decimals, in the spelling they have."""
    match value:
        case Decimal():
            return str(value)
        case dict():
            return "{" + ",".join(f"{dumps(k)}:{dumps(v)}" for k, v in value.items()) + "}"
        case list() | tuple():
            return "[" + ",".join(map(dumps, value)) + "]"
    return msgspec.json.encode(value).decode()


class MemoryLog:
    """Entries in a list, read like a log."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.logged: list[LoggedEntry] = []
        self.position = 0
        self.reads: list[tuple[int, int]] = []
        for one in entries:
            self.add(one)

    def add(self, one: Entry) -> int:
        self.logged.append(LoggedEntry(self.position + 1, one))
        self.position += one.accepted
        return self.position

    def read(self, after: int, upto: int) -> Iterator[LoggedEntry]:
        self.reads.append((after, upto))
        for one in self.logged:
            if one.first_seq + max(0, one.entry.accepted - 1) > after and one.first_seq <= upto:
                yield one


# --- slow answers -----------------------------------------------------------------------------

_data = msgspec.json.Decoder(float_hook=read_number)


def stored(entries: Iterable[Entry]) -> list[tuple[str, StoredEvent]]:
    """Namespace and event of everything accepted, read item by item."""
    found: list[tuple[str, StoredEvent]] = []
    for one in entries:
        if not one.accepted:
            continue
        raw = _data.decode(one.body) if one.format is not Format.LINES else None
        items = [_data.decode(line) for line in one.body.split(b"\n")] if raw is None else raw
        items = items if isinstance(items, list) else [items]
        for item, verdict in zip(items, one.verdicts, strict=True):
            if verdict == 0:
                event = Event(**{k: v for k, v in item.items() if v is not None})
                time = one.received_at if event.time is None else parse_instant(event.time)
                found.append(
                    (one.namespace, StoredEvent(len(found) + 1, time, one.received_at, event))
                )
    return found


def slow_usage(entries: Iterable[Entry], query: UsageQuery) -> set[UsageRow]:
    events = [
        (one.event, one.time)
        for namespace, one in stored(entries)
        if namespace == query.namespace
        and one.seq <= query.upto
        and (query.subjects is None or one.event.subject in query.subjects)
    ]
    return {
        UsageRow(window, group, *total)
        for window, period in enumerate(query.windows)
        for group, total in totals(
            query.meter, query.filter, query.group_by, events, period
        ).items()
    }


def slow_recount(entries: Iterable[Entry], scope: LineScope) -> set[Recount]:
    own = [
        one
        for namespace, one in stored(entries)
        if namespace == scope.namespace
        and one.seq <= scope.upto
        and one.event.subject in scope.subjects
    ]
    meter, further = scope.meter, scope.filter
    events = [(one.event, one.time) for one in own]
    found = totals(meter, further, scope.group_by, events, scope.period)
    leaves: dict[Any, list[bytes]] = {}
    for one in own:
        selected = selects(meter, further, one.event) and scope.period.contains(one.time)
        if selected and seen(meter, one.event, one.time) is not None:
            leaves.setdefault(group_of(meter, scope.group_by, one.event), []).append(leaf(one))
    return {
        Recount(group, *found.get(group, (0, 0)), merkle_digest(leaves.get(group, ())))
        for group in (found if scope.group_by else {(): None})
    }


def leaf(one: StoredEvent) -> bytes:
    event = one.event
    data = canonical_text(event.data)
    return leaf_bytes(one.seq, event.id, event.source, event.type, event.subject, one.time, data)


# --- the process-hosted store, for callers that do not wait -----------------------------------


class Hosted:
    """A `StoreProcess` on an event loop of its own, with the plain methods of the port."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        self._log = SegmentLog.open(directory / "log", now=lambda: RECEIVED_AT)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.process = StoreProcess(
            directory / "events", directory / "log", READER, threads=1, **settings
        )
        self._loop.call_soon_threadsafe(self.process.start, self._log.position)

    def append(self, one: Entry) -> int:
        return self._log.append([one])

    def wait(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.wait(getattr(self.process, name)(*arguments))

    def scan(self, *arguments: Any) -> Iterator[StoredEvent]:
        async def collect() -> list[StoredEvent]:
            return [event async for event in self.process.scan(*arguments)]

        return iter(self.wait(collect()))

    def close(self) -> None:
        self.wait(self.process.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._log.close()


class InProcess:
    """A `ColumnarStore` over a log in memory."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        self.log = MemoryLog()
        self.store = ColumnarStore(directory / "events", self.log.read, threads=1, **settings)

    def append(self, one: Entry) -> int:
        return self.log.add(one)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)
