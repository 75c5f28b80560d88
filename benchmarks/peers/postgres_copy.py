"""
A well-built PostgreSQL: COPY into a temporary table, then one statement that keeps what is new
(unique on namespace, source, id) and adds it to the counters of each customer.

    python -m benchmarks.peers.postgres_copy POSTGRES_URL     behind a minimal HTTP endpoint
    drive(url, bodies, seconds)                               without HTTP, from this process

Like ours, it commits many requests together: each of three connections takes whatever is waiting
when it gets free. Like ours, it is exact: an event and its counters commit in one transaction.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import asyncpg
import httptools
import msgspec

CONNECTIONS = 3
MAX_GROUP = 10_000
SCHEMA = """
CREATE TABLE events (
    namespace text NOT NULL, source text NOT NULL, id text NOT NULL, type text NOT NULL,
    subject text NOT NULL, time timestamptz NOT NULL, model text,
    input_tokens bigint NOT NULL, output_tokens bigint NOT NULL,
    PRIMARY KEY (namespace, source, id)
);
CREATE TABLE usage (
    namespace text NOT NULL, customer text NOT NULL, period date NOT NULL,
    requests bigint NOT NULL, input_tokens bigint NOT NULL, output_tokens bigint NOT NULL,
    PRIMARY KEY (namespace, customer, period)
) WITH (fillfactor = 50);
"""
STAGING = "CREATE TEMP TABLE staging (LIKE events) ON COMMIT DELETE ROWS"
# Both inserts go in key order, so that concurrent groups wait for each other and never deadlock.
MERGE = """
WITH fresh AS (
    INSERT INTO events SELECT * FROM staging ORDER BY namespace, source, id
    ON CONFLICT DO NOTHING
    RETURNING namespace, subject, time, input_tokens, output_tokens
), added AS (
    INSERT INTO usage
    SELECT namespace, subject, date_trunc('month', time AT TIME ZONE 'UTC')::date,
           count(*), sum(input_tokens), sum(output_tokens)
    FROM fresh GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (namespace, customer, period) DO UPDATE SET
        requests = usage.requests + excluded.requests,
        input_tokens = usage.input_tokens + excluded.input_tokens,
        output_tokens = usage.output_tokens + excluded.output_tokens
)
SELECT count(*) FROM fresh
"""
TOTALS = """
SELECT coalesce(sum(requests), 0)::bigint AS requests,
       coalesce(sum(input_tokens), 0)::bigint AS input_tokens,
       coalesce(sum(output_tokens), 0)::bigint AS output_tokens FROM usage
"""


class Data(msgspec.Struct, gc=False):
    model: str
    input_tokens: int
    output_tokens: int


class Event(msgspec.Struct, gc=False):
    id: str
    source: str
    type: str
    subject: str
    time: datetime
    data: Data


_decode_many = msgspec.json.Decoder(list[Event]).decode
_decode_one = msgspec.json.Decoder(Event).decode

Row = tuple[Any, ...]


def rows(body: bytes | memoryview) -> list[Row]:
    events = _decode_many(body) if body[0] == ord("[") else [_decode_one(body)]
    return [
        (
            "default",
            e.source,
            e.id,
            e.type,
            e.subject,
            e.time,
            e.data.model,
            e.data.input_tokens,
            e.data.output_tokens,
        )
        for e in events
    ]


async def connect(url: str) -> asyncpg.Connection:
    connection = await asyncpg.connect(url)
    await connection.execute(STAGING)
    return connection


async def create(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(SCHEMA)
    await connection.close()


async def store(connection: asyncpg.Connection, group: Sequence[Row]) -> int:
    """Store a group in one durable transaction; how many were new."""
    async with connection.transaction():
        await connection.copy_records_to_table("staging", records=group)
        return int(await connection.fetchval(MERGE))


async def totals(url: str) -> dict[str, int]:
    connection = await asyncpg.connect(url)
    try:
        return dict(await connection.fetchrow(TOTALS))
    finally:
        await connection.close()


async def drive(url: str, bodies: Iterable[memoryview], seconds: float) -> tuple[int, int, float]:
    """
    Store bodies over three connections until the time is up, as if all of them were waiting: a
    transaction takes as many as `MAX_GROUP` allows.

    Returns:
        (bodies stored, events stored or recognised, seconds taken).
    """
    await create(url)
    waiting = iter(bodies)
    started = time.perf_counter()
    deadline = started + seconds

    async def work() -> tuple[int, int]:
        connection = await connect(url)
        done = events = 0
        while time.perf_counter() < deadline and (taken := _up_to_a_group(waiting)):
            group = [row for body in taken for row in body]
            await store(connection, group)
            done += len(taken)
            events += len(group)
        await connection.close()
        return done, events

    finished = await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
    took = time.perf_counter() - started
    return sum(d for d, _ in finished), sum(e for _, e in finished), took


def _up_to_a_group(waiting: Iterator[memoryview]) -> list[list[Row]]:
    """The rows of the next equally large bodies that fit into one transaction."""
    taken: list[list[Row]] = []
    for body in waiting:
        taken.append(rows(body))
        if (len(taken) + 1) * len(taken[0]) > MAX_GROUP:
            break
    return taken


class Collector:
    """Requests waiting for a free connection, stored together when there is one."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._waiting: deque[tuple[list[Row], asyncio.Future[None]]] = deque()
        self._some = asyncio.Event()

    async def run(self) -> None:
        await asyncio.gather(*(self._work() for _ in range(CONNECTIONS)))

    def add(self, group: list[Row]) -> asyncio.Future[None]:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((group, done))
        self._some.set()
        return done

    async def _work(self) -> None:
        connection = await connect(self._url)
        while True:
            await self._some.wait()
            group, answers = self._take()
            if not group:
                self._some.clear()
                continue
            await store(connection, group)
            for done in answers:
                done.set_result(None)

    def _take(self) -> tuple[list[Row], list[asyncio.Future[None]]]:
        group: list[Row] = []
        answers = []
        while self._waiting and len(group) + len(self._waiting[0][0]) <= MAX_GROUP:
            more, done = self._waiting.popleft()
            group += more
            answers.append(done)
        return group, answers


class Endpoint(asyncio.Protocol):
    """Just enough HTTP/1.1 for the benchmark: one request at a time per connection."""

    def __init__(self, collector: Collector, url: str) -> None:
        self._collector = collector
        self._database = url
        self._parser = httptools.HttpRequestParser(self)
        self._body: list[bytes] = []
        self._path = b""
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._path = url

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        body = b"".join(self._body)
        self._body = []
        if self._path == b"/counted":
            task = asyncio.create_task(self._counted())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        group = rows(body)
        self._collector.add(group).add_done_callback(
            lambda _: self._answer(b'{"received":%d}' % len(group))
        )

    async def _counted(self) -> None:
        self._answer(msgspec.json.encode(await totals(self._database)))

    def _answer(self, body: bytes) -> None:
        if not self._transport.is_closing():
            head = (
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            )
            self._transport.write(head % len(body) + body)


async def _serve(url: str) -> None:
    await create(url)
    collector = Collector(url)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Endpoint(collector, url), "127.0.0.1", 0, backlog=512)
    host, port = server.sockets[0].getsockname()
    print(f"postgres ready on http://{host}:{port}", flush=True)
    await collector.run()


if __name__ == "__main__":
    import uvloop

    uvloop.run(_serve(sys.argv[1]))
