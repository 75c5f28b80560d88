"""
The HTTP stack alone: Taximeter's server against uvicorn with a raw ASGI application, its fastest
form. Both run on uvloop and httptools, on one core; wrk has another. Rounds alternate between the
servers, so that a busy machine is unfair to neither.

    python -m benchmarks.http_stacks            # needs wrk and uvicorn; about a minute

The handlers do nothing: this is the ceiling of anything built on the stack, and a lower bound of
it where wrk itself is busy. Requests per second of the server's CPU time is the figure to compare:
unlike requests per second of the clock it hardly suffers from other work on the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

EVENT = (
    '{"specversion":"1.0","id":"req_1","source":"api","type":"llm.request","subject":"acme",'
    '"time":"2026-11-20T10:00:00.123456Z","data":{"model":"opus","input_tokens":812}}'
)
ANSWER = b'{"received":1,"accepted":1,"duplicates":0,"conflicts":0,"rejected":0,"position":"0:1"}'
STACKS = ("taximeter", "taximeter-future", "uvicorn")
SCENARIOS = {
    "GET": "",
    "POST 1 event": f"wrk.method='POST' wrk.body='{EVENT}'",
    "POST 1000 events": f"wrk.method='POST' wrk.body='['..string.rep('{EVENT},', 999)..'{EVENT}]'",
}
LUA_HEADERS = (
    " wrk.headers['Content-Type']='application/json'"
    " wrk.headers['Authorization']='Bearer tm_00000000000000000000000000000000000'"
)


# --- servers (run in a child process) -----------------------------------------------------------


def serve_taximeter(*, with_future: bool) -> None:
    from taximeter.adapters.http import Principal, Request, Response, Route, Server

    who = Principal("default", "bench", frozenset({"ingest"}))

    def answer(_request: Request) -> Response:
        return Response(200, ANSWER)

    def answer_later(_request: Request) -> asyncio.Future[Response]:
        """As an acknowledgement after a group commit does."""
        future = asyncio.get_running_loop().create_future()
        future.set_result(Response(200, ANSWER))
        return future

    handler = answer_later if with_future else answer
    routes = [Route(m, "/v1/events", handler, "ingest") for m in ("GET", "POST")]

    async def main() -> None:
        port = await Server(routes, lambda request: who).start("127.0.0.1", 0)
        print(port, flush=True)
        await asyncio.Event().wait()

    uvloop.run(main())


def serve_uvicorn() -> None:
    import uvicorn

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        parts = []
        more = True
        while more:
            message = await receive()
            parts.append(message.get("body", b""))
            more = message.get("more_body", False)
        b"".join(parts)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": ANSWER})

    config = uvicorn.Config(
        app, port=0, loop="uvloop", http="httptools", log_level="error", access_log=False,
        lifespan="off",
    )  # fmt: skip
    server = uvicorn.Server(config)

    async def main() -> None:
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        print(server.servers[0].sockets[0].getsockname()[1], flush=True)
        await serving

    uvloop.run(main())


# --- measuring ----------------------------------------------------------------------------------


class Sample(NamedTuple):
    """One run. `per_cpu_s`: requests for each second of CPU the server used."""

    per_s: float
    per_cpu_s: float
    p50: str
    p99: str


@contextmanager
def running(stack: str, core: int) -> Iterator[tuple[int, int]]:
    """A server in its own process on one core; gives its process id and port."""
    command = [sys.executable, "-m", "benchmarks.http_stacks", "--serve", stack]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            os.sched_setaffinity(process.pid, {core})
            yield process.pid, port
        finally:
            process.terminate()


def measure(pid: int, port: int, script: Path, seconds: int, core: int) -> Sample:
    command = [
        "taskset", "-c", str(core), "wrk", "-t1", "-c64", f"-d{seconds}s", "--latency",
        "-s", str(script), f"http://127.0.0.1:{port}/v1/events",
    ]  # fmt: skip
    cpu_s = cpu_seconds(pid)
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    cpu_s = cpu_seconds(pid) - cpu_s
    assert "Non-2xx" not in text, text
    return Sample(
        per_s=float(find(r"Requests/sec:\s+(\S+)", text)),
        per_cpu_s=int(find(r"(\d+) requests in", text)) / cpu_s,
        p50=find(r"^ +50% +(\S+)", text),
        p99=find(r"^ +99% +(\S+)", text),
    )


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far; to 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def find(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    assert found, text
    return found[1]


def compare(rounds: int, seconds: int) -> None:
    cores = sorted(os.sched_getaffinity(0))
    print("| request | stack | requests per CPU second (runs) | requests/s | p50 | p99 |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, lua in SCENARIOS.items():
            script = Path(folder, "wrk.lua")
            script.write_text(lua + LUA_HEADERS)
            samples: dict[str, list[Sample]] = {stack: [] for stack in STACKS}
            for _ in range(rounds):
                for stack in STACKS:
                    with running(stack, cores[0]) as (pid, port):
                        measure(pid, port, script, 1, cores[-1])  # warm
                        samples[stack].append(measure(pid, port, script, seconds, cores[-1]))
            for stack, found in samples.items():
                report(name, stack, found)


def report(name: str, stack: str, samples: list[Sample]) -> None:
    middle = sorted(samples, key=lambda sample: sample.per_cpu_s)[len(samples) // 2]
    every = ", ".join(f"{sample.per_cpu_s:,.0f}" for sample in samples)
    print(
        f"| {name} | {stack} | {middle.per_cpu_s:,.0f} ({every}) | {middle.per_s:,.0f} "
        f"| {middle.p50} | {middle.p99} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", choices=STACKS, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.serve == "uvicorn":
        serve_uvicorn()
    elif arguments.serve:
        serve_taximeter(with_future=arguments.serve.endswith("future"))
    elif shutil.which("wrk") is None:
        sys.exit("wrk is needed (apt install wrk)")
    else:
        compare(arguments.rounds, arguments.seconds)


if __name__ == "__main__":
    main()
