"""
From a crossing to its webhook: `python -m benchmarks.notices [--crossings N] [--load EVENTS_S]`.

Each crossing is one event of a customer of its own, sent alone; its time runs from just before the
event is sent until the first byte of the webhook is here. Ingest under load goes on beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import shutil
import sys
import tempfile
import threading
import time
import urllib.request
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from benchmarks.processes import Server

GOAL_MS = 100.0
CATALOG: dict[str, Any] = {
    "meters": {"tokens": {"event_type": "t", "aggregation": "sum", "value": "data.n"}},
    "features": {"chat": {"type": "metered", "meter": "tokens"}},
    "plans": {
        "p": {"currency": "USD", "cadence": "month", "entitlements": {"chat": {"limit": 10}}}
    },
}
BATCH = 1000
PATIENCE_S = 30.0
WARM_UP_S = 3.0


class Receiver:
    """Answers 200 to everything; remembers when the first byte for each customer came."""

    def __init__(self) -> None:
        self.arrived: dict[str, float] = {}
        self.port = 0
        self._started = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True).start()
        self._started.wait()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await server.serve_forever()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                at = time.perf_counter()
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                data = json.loads(await reader.readexactly(length))["data"]
                self.arrived.setdefault(data["customer"], at)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


def load(url: str, events_s: int, ended: Event, sent: Synchronized[int]) -> None:
    """Batches of watched customers that cross nothing, at a steady rate; in its own process."""
    pause_s, due, number = BATCH / events_s, time.perf_counter(), 0
    line = '{"id":"l%d","type":"t","subject":"w%d","data":{"n":0}}'
    while not ended.is_set():
        body = "\n".join([line % (number + n, n) for n in range(BATCH)]).encode()
        post(url, body, "application/x-ndjson")
        number += BATCH
        sent.value = number
        due += pause_s
        ended.wait(max(0.0, due - time.perf_counter()))


def post(url: str, body: bytes, kind: str = "application/json") -> None:
    request = urllib.request.Request(url, body, {"Content-Type": kind})
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()


def set_up(server: Server, receiver: Receiver, customers: list[str]) -> None:
    server.request("PUT", "/v1/catalog", CATALOG)
    for customer in customers:
        server.request("PUT", f"/v1/customers/{customer}", {})
        server.request("POST", "/v1/subscriptions", {"customer": customer, "plan": "p"})
    hook = {"url": f"http://127.0.0.1:{receiver.port}/", "types": ["usage.*"]}
    server.request("PUT", "/v1/webhooks/bench", hook)
    alert = {"on": "usage", "feature": "chat", "thresholds": ["100%"]}
    server.request("PUT", "/v1/alerts/bench", alert)


def measure(url: str, receiver: Receiver, customers: list[str]) -> list[float]:
    """Seconds of each crossing, in order."""
    found = []
    for customer in customers:
        event = {"id": customer, "type": "t", "subject": customer, "data": {"n": 10}}
        began = time.perf_counter()
        post(url, json.dumps(event).encode())
        while customer not in receiver.arrived:
            if time.perf_counter() - began > PATIENCE_S:
                raise RuntimeError(f"the crossing of {customer} was not told")
            time.sleep(0.0005)
        found.append(receiver.arrived[customer] - began)
    return found


def from_noticing(url: str) -> float:
    """The bound, in ms, below which half of the node's own times from noticing to telling lie."""
    with urllib.request.urlopen(url, timeout=60) as answer:
        lines = [line.decode() for line in answer if line.startswith(b"taximeter_notice_seconds")]
    counts = [line.split() for line in lines if "_bucket" in line]
    half = float(counts[-1][1]) / 2
    bound = next(name for name, count in counts if float(count) >= half)
    return 1000 * float(bound.partition('le="')[2].partition('"')[0])


def quantile(values: list[float], q: float) -> float:
    return sorted(values)[min(len(values) - 1, int(q * len(values)))]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.notices", description=__doc__)
    parser.add_argument("--crossings", type=int, default=500)
    parser.add_argument("--load", type=int, default=0, metavar="EVENTS_S", help="beside it")
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="taximeter-notices-"))
    serve = [sys.executable, "-m", "taximeter", "serve", "--dev", "--webhook-allow-private"]
    server = Server([*serve, "--data", str(work / "data"), "--port", "0"], work / "log")
    try:
        receiver = Receiver()
        crossing = [f"c{n}" for n in range(options.crossings)]
        watched = [f"w{n}" for n in range(BATCH)] if options.load else []
        set_up(server, receiver, crossing + watched)
        host, port = server.address
        url = f"http://{host}:{port}/v1/events"
        context = multiprocessing.get_context("spawn")
        ended, sent = context.Event(), context.Value("q", 0)
        beside = context.Process(target=load, args=(url, options.load, ended, sent), daemon=True)
        if options.load:
            beside.start()
            time.sleep(WARM_UP_S)
        seconds = measure(url, receiver, crossing)
        ended.set()
        inside = from_noticing(f"http://{host}:{port}/metrics")
    finally:
        server.stop()
        shutil.rmtree(work, ignore_errors=True)
    p50, p99 = (1000 * quantile(seconds, q) for q in (0.5, 0.99))
    print(
        f"{len(seconds)} crossings, {sent.value} events beside: p50 {p50:.1f} ms, p99 {p99:.1f} ms"
    )
    print(f"of that, from noticing to the attempt: half within {inside:.1f} ms")
    print(f"goal p99 <= {GOAL_MS:.0f} ms: {'met' if p99 <= GOAL_MS else 'MISSED'}")
    return 0 if p99 <= GOAL_MS else 1


if __name__ == "__main__":
    raise SystemExit(main())
