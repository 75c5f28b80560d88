"""
The usual recipe: FastAPI and pydantic, a Redis key per event id against duplicates, Redis counters
per customer and meter, and a PostgreSQL table of events.

    python -m benchmarks.peers.recipe POSTGRES_URL REDIS_URL

Written as a careful team would: one pipeline per step and one transaction per request, uvloop,
httptools and hiredis. What it cannot have is atomicity: a crash between the Redis key and the
insert loses the event, because its retry is then taken for a duplicate.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import asyncpg
import redis.asyncio as redis
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

IDENTITY_TTL_S = 35 * 86_400
LIMIT = 10**15
SCHEMA = """
CREATE TABLE events (
    namespace text NOT NULL, source text NOT NULL, id text NOT NULL, type text NOT NULL,
    subject text NOT NULL, time timestamptz NOT NULL, model text,
    input_tokens bigint NOT NULL, output_tokens bigint NOT NULL,
    PRIMARY KEY (namespace, source, id)
)
"""
INSERT = "INSERT INTO events VALUES ('default', $1, $2, $3, $4, $5, $6, $7, $8)"
TOTALS = """
SELECT count(*) AS requests, coalesce(sum(input_tokens), 0)::bigint AS input_tokens,
       coalesce(sum(output_tokens), 0)::bigint AS output_tokens FROM events
"""


class Data(BaseModel):
    model: str
    input_tokens: int
    output_tokens: int


class Event(BaseModel):
    specversion: str = "1.0"
    id: str
    source: str
    type: str
    subject: str
    time: datetime
    data: Data


class Check(BaseModel):
    customer: str
    feature: str
    amount: int = 1


def application(postgres_url: str, redis_url: str) -> FastAPI:
    @asynccontextmanager
    async def connected(app: FastAPI) -> AsyncIterator[None]:
        pool = await asyncpg.create_pool(postgres_url, min_size=8, max_size=8)
        await pool.execute(SCHEMA)
        app.state.pool = pool
        app.state.redis = redis.from_url(redis_url)
        yield
        await app.state.redis.aclose()
        await pool.close()

    app = FastAPI(lifespan=connected)

    @app.post("/v1/events")
    async def ingest(body: Event | list[Event]) -> dict[str, int]:
        events = body if isinstance(body, list) else [body]
        fresh = await _first_seen(app.state.redis, events)
        if fresh:
            await _count(app.state.redis, fresh)
            async with app.state.pool.acquire() as connection, connection.transaction():
                await connection.executemany(INSERT, [_row(event) for event in fresh])
        return {
            "received": len(events),
            "accepted": len(fresh),
            "duplicates": len(events) - len(fresh),
        }

    @app.post("/v1/check")
    async def check(body: Check) -> dict[str, Any]:
        used = int(await app.state.redis.get(f"usage:{body.customer}:input_tokens") or 0)
        return {"allowed": used + body.amount <= LIMIT, "used": str(used)}

    @app.get("/counted")
    async def counted() -> dict[str, int]:
        return dict(await app.state.pool.fetchrow(TOTALS))

    return app


async def _first_seen(client: redis.Redis, events: list[Event]) -> list[Event]:
    async with client.pipeline(transaction=False) as pipe:
        for event in events:
            pipe.set(f"seen:{event.source}:{event.id}", 1, nx=True, ex=IDENTITY_TTL_S)
        answers = await pipe.execute()
    return [event for event, first in zip(events, answers, strict=True) if first]


async def _count(client: redis.Redis, events: list[Event]) -> None:
    async with client.pipeline(transaction=False) as pipe:
        for event in events:
            key = f"usage:{event.subject}"
            pipe.incrby(f"{key}:requests", 1)
            pipe.incrby(f"{key}:input_tokens", event.data.input_tokens)
            pipe.incrby(f"{key}:output_tokens", event.data.output_tokens)
        await pipe.execute()


def _row(event: Event) -> tuple[Any, ...]:
    data = event.data
    return (
        event.source,
        event.id,
        event.type,
        event.subject,
        event.time,
        data.model,
        data.input_tokens,
        data.output_tokens,
    )


async def _main(postgres_url: str, redis_url: str) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    host, port = listener.getsockname()
    config = uvicorn.Config(
        application(postgres_url, redis_url), loop="uvloop", http="httptools", access_log=False,
        log_level="warning",
    )  # fmt: skip
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    print(f"recipe ready on http://{host}:{port}", flush=True)
    await serving


if __name__ == "__main__":
    import uvloop

    uvloop.run(_main(*sys.argv[1:3]))
