"""The benchmark's instruments: what they send is what they say, what they count is right."""

from __future__ import annotations

import json
import socket
import threading
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from benchmarks import bodies, gate_bodies, load, report
from benchmarks.scenarios import Measurement, Plan


@pytest.mark.parametrize("batch", [1, 10])
def test_totals_after_any_number_of_requests_are_what_a_slow_count_gives(batch: int) -> None:
    traffic = bodies.events(2_000, batch, seed=5)
    seen: set[str] = set()
    tokens_in = tokens_out = 0
    for sent in range(len(traffic.requests)):
        decoded = json.loads(bytes(traffic.requests.body(sent)))
        for event in decoded if isinstance(decoded, list) else [decoded]:
            if event["id"] not in seen:
                seen.add(event["id"])
                tokens_in += event["data"]["input_tokens"]
                tokens_out += event["data"]["output_tokens"]
        if sent % 37 == 0 or sent + 1 == len(traffic.requests):
            expected = bodies.Counted(len(seen), tokens_in, tokens_out)
            assert traffic.counted(sent + 1) == expected
    assert 0.97 < len(seen) / 2_000 < 0.99, "about 2 % are duplicates"


def test_a_duplicate_is_the_same_event_byte_for_byte() -> None:
    requests = bodies.events(3_000, 1, seed=6).requests
    texts: dict[str, bytes] = {}
    for number in range(len(requests)):
        body = bytes(requests.body(number))
        assert len(body) == bodies.EVENT_BYTES == 215
        assert texts.setdefault(json.loads(body)["id"], body) == body
    assert len(texts) < 3_000


def test_the_length_a_request_announces_is_the_length_of_its_body() -> None:
    for requests in (
        bodies.events(100, 10, seed=1).requests,
        bodies.events(100, 1, seed=1).requests,
        bodies.checks(10, seed=1),
        bodies.customers(),
        bodies.subscriptions(),
        gate_bodies.grants(),
        gate_bodies.consumes(10, 1, seed=1),
        gate_bodies.reservations(10, 100, seed=1),
        gate_bodies.checks("nested", 10, seed=1),
    ):
        request = bytes(requests[len(requests) - 1])
        head, _, body = request.partition(b"\r\n\r\n")
        announced = head.partition(b"Content-Length: ")[2]
        assert int(announced) == len(body)
        assert request.endswith(bytes(requests.body(len(requests) - 1)))
        json.loads(body)


@contextmanager
def server(answer: Callable[[socket.socket, bytes], None], size: int) -> Iterator[load.Address]:
    """Answers each request of `size` bytes, connection by connection, until they are closed."""

    def serve(connection: socket.socket) -> None:
        with connection:
            while request := connection.recv(size, socket.MSG_WAITALL):
                answer(connection, request)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()
        listener.shutdown(socket.SHUT_RDWR)


def test_every_request_is_sent_once_and_every_answer_awaited() -> None:
    requests = bodies.events(500, 1, seed=2).requests
    received: list[bytes] = []

    def answer(connection: socket.socket, request: bytes) -> None:
        received.append(request)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    with server(answer, requests.size) as address:
        [result] = load.run(address, [load.Stream("all", requests, 7)], 30)
    assert sorted(received) == sorted(bytes(requests[n]) for n in range(500))
    assert result.sent == sum(result.statuses.values()) == 500
    # The run ends when the first connection has nothing left to send.
    assert 500 - 7 < result.completed <= 500
    assert len(result.latencies_ns) == result.completed


def test_requests_that_belong_together_go_out_one_by_one_over_one_connection() -> None:
    requests = gate_bodies.reservations(60, 10, seed=4)
    received: dict[socket.socket, list[bytes]] = {}

    def answer(connection: socket.socket, request: bytes) -> None:
        received.setdefault(connection, []).append(request)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    with server(answer, requests.size) as address:
        [result] = load.run(address, [load.Stream("pairs", requests, 5, steps=2)], 30)
    pairs = [(bytes(requests[n]), bytes(requests[n + 1])) for n in range(0, len(requests), 2)]
    assert result.begun == 60
    got = [(one[n], one[n + 1]) for one in received.values() for n in range(0, len(one) - 1, 2)]
    assert set(got) <= set(pairs)
    assert sum(map(len, received.values())) == result.sent


def test_an_answer_of_redis_is_one_bulk_string() -> None:
    requests = bodies.checks(20, seed=3)

    def answer(connection: socket.socket, request: bytes) -> None:
        for piece in (b"$1", b"1\r\n01234", b"567\r\n", b"9\r\n"):
            connection.sendall(piece)

    with server(answer, requests.size) as address:
        [result] = load.run(address, [load.Stream("redis", requests, 2, redis=True)], 30)
    assert result.statuses == {200: 20}


def test_an_answer_that_arrives_in_pieces_is_one_answer() -> None:
    requests = bodies.checks(20, seed=3)

    def answer(connection: socket.socket, request: bytes) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in (b"HTTP/1.1 200 O", b"K\r\nContent-Length: 10\r\n\r\n01", b"234567", b"89"):
            connection.sendall(piece)

    with server(answer, requests.size) as address:
        [result] = load.run(address, [load.Stream("pieces", requests, 2)], 30)
    assert result.statuses == {200: 20}


def test_an_answer_that_is_an_error_ends_the_measurement() -> None:
    requests = bodies.checks(5, seed=3)

    def answer(connection: socket.socket, request: bytes) -> None:
        connection.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")

    with (
        server(answer, requests.size) as address,
        pytest.raises(load.Failed, match=r"status \{503: 5\}"),
    ):
        load.run(address, [load.Stream("errors", requests, 1)], 30)


def test_a_connection_closed_without_an_answer_ends_the_measurement() -> None:
    requests = bodies.checks(5, seed=3)

    def answer(connection: socket.socket, request: bytes) -> None:
        connection.shutdown(socket.SHUT_RDWR)

    with server(answer, requests.size) as address, pytest.raises(load.Failed, match="closed"):
        load.run(address, [load.Stream("closed", requests, 1)], 30)


@pytest.mark.parametrize(
    ("share", "expected_ms"),
    [(0.5, 50.0), (0.99, 99.0), (0.999, 100.0), (0.001, 1.0), (1.0, 100.0)],
)
def test_a_percentile_is_the_smallest_latency_that_so_many_did_not_exceed(
    share: float, expected_ms: float
) -> None:
    latencies = array("q", (n * 1_000_000 for n in range(100, 0, -1)))
    assert load.Result("r", latencies_ns=latencies).percentile_ms(share) == expected_ms


def a_measurement(scenario: str, target: str, *values: float) -> Measurement:
    samples = [{"value": value} for value in values]
    return Measurement(scenario, target, "events/s", samples)


def test_a_goal_compares_medians_and_says_so_when_it_is_missed() -> None:
    ours = a_measurement("ingest 1000", "taximeter", 1, 600_000, 650_000)
    theirs = a_measurement("ingest 1000", "recipe", 30_000)
    table = report.as_markdown(
        {(m.scenario, m.target): m for m in (ours, theirs)}, {"CPU": "one"}, Plan()
    )
    assert "| ingest, batches of 1,000: >= 500,000 events/s | 600,000 | met |" in table
    assert "| batches of 1,000: >= 25 x the recipe | 20 | **not met** |" in table
    assert "| 20.0 x |" in table


def test_figures_are_published_between_the_markers_and_nowhere_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.publish(page, "new\n")
    assert page.read_text() == f"before\n{report.BEGIN}\n\nnew\n\n{report.END}\nafter\n"
    page.write_text("no markers")
    with pytest.raises(ValueError, match="markers"):
        report.publish(page, "new")
