"""
One client process:
`python -m tests.audit.client SEED NUMBER PORT WALLETS LANES OPERATIONS JOURNAL`.

Its lanes are connections that each do one operation at a time. What is not answered is sent again,
byte for byte, through any number of restarts of the server, until it is.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from tests.audit.record import KEPT, Journal, Record
from tests.audit.workload import Request, Workload

ANSWER_S = 30.0
RETRY_S = 0.02
GIVE_UP_S = 120.0
NOT_NOW = frozenset({429, 503})
IN_FLIGHT = "idempotency_in_flight"
STOPPED = "storage_failed"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Lost(Exception):
    """No answer: done, or not."""


class Connection(asyncio.Protocol):
    """HTTP/1.1 for answers with a Content-Length, and nothing more."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(Lost("connection lost"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or self._answer is None:
            return
        head = self._buffer[:end].lower()
        start = head.find(b"content-length:")
        length = int(head[start + 15 :].split(b"\r\n", 1)[0]) if start >= 0 else 0
        if len(self._buffer) >= end + 4 + length:
            body, self._buffer = self._buffer[end + 4 : end + 4 + length], b""
            if not self._answer.done():
                self._answer.set_result((int(head[9:12]), body))

    @property
    def open(self) -> bool:
        return self._transport is not None

    async def send(self, request: bytes) -> tuple[int, bytes]:
        if self._transport is None:
            raise Lost("not connected")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await asyncio.wait_for(self._answer, ANSWER_S)
        except TimeoutError:
            self.close()
            raise Lost("no answer") from None

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None


class Lane:
    """One connection, one operation at a time."""

    def __init__(self, workload: Workload, port: int, journal: Journal) -> None:
        self._workload = workload
        self._port = port
        self._journal = journal
        self._connection = Connection()

    async def run(self, numbers: Any) -> None:
        for _ in numbers:
            request = self._workload.next()
            record = await self.perform(request)
            self._journal.write(record)
            self._workload.learn(request, record.status, record.answer)
        self._connection.close()

    async def perform(self, request: Request) -> Record:
        """Until it is answered."""
        wire = encode(request)
        wall, started = time.time_ns() // 1000, time.monotonic_ns() // 1000
        give_up = time.monotonic() + GIVE_UP_S
        tries = 0
        while time.monotonic() < give_up:
            await self._connect(give_up)
            tries += 1
            try:
                status, body = await self._connection.send(wire)
            except Lost:
                await asyncio.sleep(RETRY_S)
                continue
            answer = _decode(body) if body else {}
            if answer.get("code") == STOPPED:
                raise SystemExit(f"the server acknowledges nothing any more: {answer['detail']}")
            if status in NOT_NOW or answer.get("code") == IN_FLIGHT:
                await asyncio.sleep(RETRY_S)
                continue
            ended = time.monotonic_ns() // 1000
            return Record(
                request.op, request.kind, request.wallet, request.ask, started, ended, wall, tries,
                status, kept(request, answer), request.repeat,
            )  # fmt: skip
        raise SystemExit(f"{request} was not answered in {GIVE_UP_S:.0f} s")

    async def _connect(self, give_up: float) -> None:
        loop = asyncio.get_running_loop()
        while not self._connection.open and time.monotonic() < give_up:
            try:
                _, self._connection = await loop.create_connection(
                    Connection, "127.0.0.1", self._port
                )
            except OSError:
                await asyncio.sleep(RETRY_S)


def encode(request: Request) -> bytes:
    body = b"" if request.body is None else _encode(request.body)
    head = f"{request.method} {request.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    if request.key:
        head += f"Idempotency-Key: {request.op}\r\n"
    if request.body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}\r\n".encode() + body


def kept(request: Request, answer: dict[str, Any]) -> dict[str, Any]:
    if request.kind == "event" and "receipts" in answer:
        (receipt,) = answer["receipts"]
        position = receipt.get("position")
        seq = int(position.split(":")[1]) if position else None
        return {"seq": seq, "status": receipt["status"]}
    return {name: value for name, value in answer.items() if name in KEPT}


async def run(
    seed: int, number: int, port: int, wallets: int, lanes: int, operations: int, path: Path
) -> None:
    names = [wallet(place) for place in range(wallets)]
    workload = Workload(seed, number, names, lambda: time.time_ns() // 1000)
    journal = Journal(path)
    numbers = iter(range(operations))
    await asyncio.gather(*(Lane(workload, port, journal).run(numbers) for _ in range(lanes)))
    journal.close()


def wallet(place: int) -> str:
    return f"w{place}"


def main() -> None:
    seed, number, port, wallets, lanes, operations = map(int, sys.argv[1:7])
    uvloop.run(run(seed, number, port, wallets, lanes, operations, Path(sys.argv[7])))


if __name__ == "__main__":
    main()
