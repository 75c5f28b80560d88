"""
A load generator that is not the bottleneck.

Closed loop: each connection sends a request that lies ready in memory, waits for its answer, and
sends the next. One thread, one epoll, no framework; of an answer only the status and the length
are read. The report shows what it reaches against `null_server`, which does nothing: a result near
that ceiling would measure the generator.
"""

from __future__ import annotations

import gc
import math
import select
import socket
import time
from array import array
from collections import Counter
from dataclasses import dataclass, field

from benchmarks.bodies import Requests

Address = tuple[str, int]
_SOCKET_BUFFER = 1 << 20
_DRAIN_S = 60.0


@dataclass
class Stream:
    """
    One kind of traffic over its own connections.

    Attributes:
        repeat: Start over when all are sent.
        steps: So many requests in a row belong together: one connection sends them one by one.
        redis: Speaks RESP: every answer is one bulk string.
    """

    name: str
    requests: Requests
    connections: int
    repeat: bool = False
    steps: int = 1
    redis: bool = False


@dataclass
class Result:
    """
    What one stream saw.

    Attributes:
        sent: Requests sent, all of them answered, including those answered after the end.
        begun: Groups of requests that belong together whose first was sent.
        completed: Answers with a 2xx status inside the `seconds` measured.
        latencies_ns: Of the completed ones; exact, one value each, in order of completion.
        cpu_share: CPU the generator used, as a share of one core (of all streams together).
        statuses: Every status seen, with its count.
    """

    name: str
    sent: int = 0
    begun: int = 0
    completed: int = 0
    seconds: float = 0.0
    cpu_share: float = 0.0
    latencies_ns: array[int] = field(default_factory=lambda: array("q"))
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def per_second(self) -> float:
        return self.completed / self.seconds

    def percentile_ms(self, share: float) -> float:
        """The smallest latency that at least `share` of the answers did not exceed."""
        ordered = sorted(self.latencies_ns)
        # The little less keeps 0.07 * 100 from being 7.000000000000001, hence 8.
        rank = math.ceil(share * len(ordered) - 1e-9)
        return ordered[rank - 1] / 1e6


class Failed(Exception):
    """The server answered with an error, closed a connection, or did not answer."""


class _Connection:
    __slots__ = ("head", "left", "next", "receive", "rest", "result", "sent_at", "socket", "stream")

    def __init__(self, address: Address, stream: Stream, result: Result) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)
        self.socket.setblocking(False)
        self.stream = stream
        self.result = result
        self.rest: memoryview | None = None  # of a request the kernel did not take whole
        self.head = b""  # of an answer that arrived in pieces
        self.left = 0  # bytes of the answer's body still to come
        self.sent_at = 0
        self.next = 0  # the request to send
        self.receive = _receive_bulk if stream.redis else _receive


def run(address: Address, streams: list[Stream], seconds: float) -> list[Result]:
    """
    Send until `seconds` have passed or a stream that does not repeat has sent everything.

    Returns:
        One result per stream.

    Raises:
        Failed: A connection was lost, or an answer was not 2xx.
    """
    results = [Result(stream.name) for stream in streams]
    connections = [
        _Connection(address, stream, result)
        for stream, result in zip(streams, results, strict=True)
        for _ in range(min(stream.connections, len(stream.requests)))
    ]
    gc.collect()
    gc.disable()
    try:
        _drive(connections, seconds)
    finally:
        gc.enable()
        for connection in connections:
            connection.socket.close()
    for result in results:
        bad = {status: n for status, n in result.statuses.items() if not 200 <= status < 300}
        if bad:
            raise Failed(f"{result.name}: answers with status {bad}")
    return results


def _drive(connections: list[_Connection], seconds: float) -> None:
    poller = select.epoll()
    by_fd = {c.socket.fileno(): c for c in connections}
    for fd in by_fd:
        poller.register(fd, select.EPOLLIN)
    clock = time.perf_counter_ns
    cpu = time.process_time()
    start = clock()
    end = start + int(seconds * 1e9)
    now = start
    waiting = 0  # requests without an answer yet
    for connection in connections:
        waiting += _send_next(connection, poller, clock())
    while now < end:
        for fd, event in poller.poll(0.1):
            connection = by_fd[fd]
            if event & select.EPOLLOUT:
                _send_rest(connection, poller)
            elif connection.receive(connection):
                now = clock()
                result = connection.result
                result.completed += 1
                result.latencies_ns.append(now - connection.sent_at)
                waiting -= 1
                if not _send_next(connection, poller, now):
                    # Past this point fewer connections would be at work than asked for.
                    end = now
                    break
                waiting += 1
        now = clock()
    elapsed_s = (end - start) / 1e9
    used = time.process_time() - cpu
    for connection in connections:
        connection.result.seconds = elapsed_s
        connection.result.cpu_share = used / elapsed_s
    _drain(poller, by_fd, waiting)
    poller.close()


def _drain(poller: select.epoll, by_fd: dict[int, _Connection], waiting: int) -> None:
    """Wait for what is still on its way: it is stored, so it has to be in the books."""
    end = time.monotonic() + _DRAIN_S
    while waiting:
        if time.monotonic() > end:
            raise Failed(f"{waiting} requests were not answered within {_DRAIN_S:.0f} s")
        for fd, event in poller.poll(0.1):
            if event & select.EPOLLOUT:
                _send_rest(by_fd[fd], poller)
            elif by_fd[fd].receive(by_fd[fd]):
                waiting -= 1


def _send_next(connection: _Connection, poller: select.epoll, now: int) -> int:
    """Send the stream's next request; 1 if there was one."""
    result, requests = connection.result, connection.stream.requests
    steps = connection.stream.steps
    number = connection.next
    if number % steps == 0:
        number = result.begun * steps
        if number >= len(requests):
            if not connection.stream.repeat:
                return 0
            number %= len(requests)
        result.begun += 1
    connection.next = number + 1
    result.sent += 1
    connection.sent_at = now
    request = requests[number]
    try:
        taken = connection.socket.send(request)
    except BlockingIOError:
        taken = 0
    if taken < len(request):
        connection.rest = request[taken:]
        poller.modify(connection.socket.fileno(), select.EPOLLOUT)
    return 1


def _send_rest(connection: _Connection, poller: select.epoll) -> None:
    assert connection.rest is not None
    taken = connection.socket.send(connection.rest)
    connection.rest = connection.rest[taken:]
    if not connection.rest:
        connection.rest = None
        poller.modify(connection.socket.fileno(), select.EPOLLIN)


# Heads repeat, so each distinct one is parsed once. A `Date` adds one a second.
_heads: dict[bytes, tuple[int, int]] = {}


def _receive(connection: _Connection) -> bool:
    """Read what is there; True once the answer is complete."""
    data = connection.socket.recv(65536)
    if not data:
        raise Failed(f"{connection.result.name}: the server closed a connection")
    if connection.left:
        connection.left -= len(data)
        return connection.left == 0
    if connection.head:
        data = connection.head + data
        connection.head = b""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        connection.head = data
        return False
    head = data[:end]
    parsed = _heads.get(head)
    if parsed is None:
        parsed = _heads[head] = _parse(head)
    status, length = parsed
    connection.result.statuses[status] += 1
    connection.left = end + 4 + length - len(data)
    return connection.left == 0


def _receive_bulk(connection: _Connection) -> bool:
    """Read what is there of one bulk string; short enough to come in one piece nearly always."""
    data = connection.head + connection.socket.recv(65536)
    length, found, rest = data.partition(b"\r\n")
    if length[:1] not in (b"", b"$"):
        raise Failed(f"{connection.result.name}: {data!r}")
    if not found or len(rest) < int(length[1:]) + 2:
        connection.head = data
        return False
    connection.head = b""
    connection.result.statuses[200] += 1
    return True


def _parse(head: bytes) -> tuple[int, int]:
    """Status and body length of an answer's head."""
    lines = head.split(b"\r\n")
    status = int(lines[0].split()[1])
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return status, int(value)
    if status == 204:
        return status, 0
    raise Failed(f"an answer without a length: {head!r}")
