"""
Requests, made before the clock starts.

Every event is a row of equal width, so a million of them are one byte matrix that numpy fills
column by column. Nothing repeats except on purpose: ids are fresh, customers come in random order
and 2 % of the rows are exact copies of an earlier one, as retries are.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

CUSTOMERS = 10_000
DUPLICATES = 0.02

_Bytes = npt.NDArray[np.uint8]
_Ints = npt.NDArray[np.int64]

# Members may be followed by blanks in JSON: that keeps rows with shorter model names equally wide.
_MODELS = [b'"opus"  ', b'"sonnet"', b'"haiku" ']
_TEMPLATE = (
    b'{"specversion":"1.0","id":"req_IIIIIIIIIIIIIIII","source":"api","type":"llm.request",'
    b'"subject":"customer-CCCCC","time":"TTTTTTTTTTTTTTTTTTT.UUUUUUZ",'
    b'"data":{"model":MMMMMMMM,"input_tokens":NNNN,"output_tokens":OOO}}'
)
EVENT_BYTES = len(_TEMPLATE)


@dataclass(frozen=True)
class Requests:
    """Whole HTTP requests of equal size, end to end in one buffer."""

    buffer: memoryview
    size: int
    body_offset: int

    def __len__(self) -> int:
        return len(self.buffer) // self.size

    def __getitem__(self, index: int) -> memoryview:
        return self.buffer[index * self.size : (index + 1) * self.size]

    def body(self, index: int) -> memoryview:
        return self[index][self.body_offset :]


@dataclass(frozen=True)
class Counted:
    """What a correct server must show: events counted once, and the sums of their values."""

    requests: int
    input_tokens: int
    output_tokens: int

    def __add__(self, other: Counted) -> Counted:
        return Counted(
            self.requests + other.requests,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
        )


@dataclass(frozen=True)
class Traffic:
    """Requests of `batch` events each, and what they add up to."""

    requests: Requests
    batch: int
    _fresh: npt.NDArray[np.bool_]
    _input: _Ints
    _output: _Ints

    def counted(self, sent: int) -> Counted:
        """Totals after the first `sent` requests, duplicates counted once."""
        upto = sent * self.batch
        fresh = self._fresh[:upto]
        return Counted(
            requests=int(fresh.sum()),
            input_tokens=int(self._input[:upto][fresh].sum()),
            output_tokens=int(self._output[:upto][fresh].sum()),
        )


def events(count: int, batch: int, seed: int, path: str = "/v1/events") -> Traffic:
    """
    Usage events of 215 bytes in requests of `batch`: one JSON object if it is 1, else an array.

    Args:
        count: Events wanted; rounded down to whole requests.
        seed: Different seeds give different ids, so runs on one server never collide.
    """
    count -= count % batch
    rng = np.random.default_rng(seed)
    rows = np.tile(np.frombuffer(_TEMPLATE, np.uint8), (count, 1))
    customers = rng.integers(0, CUSTOMERS, count)
    tokens_in = rng.integers(1000, 10_000, count)
    tokens_out = rng.integers(100, 1000, count)
    _fill(rows, b"I", hexadecimal(rng.integers(0, 2**63, count, dtype=np.int64)))
    _fill(rows, b"C", decimal(customers, 5))
    _fill(rows, b"T", np.frombuffer(_a_moment_ago(), np.uint8))
    _fill(rows, b"U", decimal(rng.integers(0, 1_000_000, count), 6))
    models = np.frombuffer(b"".join(_MODELS), np.uint8).reshape(len(_MODELS), -1)
    _fill(rows, b"M", models[rng.integers(0, len(_MODELS), count)])
    _fill(rows, b"N", decimal(tokens_in, 4))
    _fill(rows, b"O", decimal(tokens_out, 3))

    fresh = rng.random(count) >= DUPLICATES
    fresh[0] = True
    originals = np.flatnonzero(fresh)
    copies = np.flatnonzero(~fresh)
    earlier = np.searchsorted(originals, copies)
    rows[copies] = rows[originals[rng.integers(0, earlier)]]
    requests = _single(rows, path) if batch == 1 else _batches(rows, batch, path)
    return Traffic(requests, batch, fresh, tokens_in, tokens_out)


def checks(count: int, seed: int, path: str = "/v1/check") -> Requests:
    """`POST /v1/check` for random customers."""
    template = b'{"customer":"customer-CCCCC","feature":"chat","amount":500}'
    rows = np.tile(np.frombuffer(template, np.uint8), (count, 1))
    customers = np.random.default_rng(seed).integers(0, CUSTOMERS, count)
    at = template.index(b"CCCCC")
    rows[:, at : at + 5] = decimal(customers, 5)
    return _single(rows, path)


def customers() -> Requests:
    """`PUT /v1/customers/{key}` for every customer."""
    return _texts(
        f"PUT /v1/customers/{customer(number)} HTTP/1.1\r\nHost: localhost\r\n"
        "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
        for number in range(CUSTOMERS)
    )


def subscriptions() -> Requests:
    """`POST /v1/subscriptions` for every customer, since yesterday."""
    start = time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(time.time() - 86_400))
    template = (
        '{"customer":"CUSTOMER","plan":"bench","start":"START","anchor":"calendar"}'
    ).replace("START", start)
    bodies = [template.replace("CUSTOMER", customer(number)) for number in range(CUSTOMERS)]
    head = bytes(_head("/v1/subscriptions", len(bodies[0]))).decode()
    return _texts(head + body for body in bodies)


def customer(number: int) -> str:
    return f"customer-{number:05d}"


def catalog(meters: int = 3) -> dict[str, Any]:
    """
    Three meters of LLM traffic, more of the same if asked. The plan prices each of them, so the
    running fare needs every one of them live, and one limit is checked.
    """
    wanted: dict[str, Any] = {
        "requests": {"event_type": "llm.request", "aggregation": "count"},
        "input_tokens": _sum_of("input_tokens"),
        "output_tokens": _sum_of("output_tokens"),
    }
    for number in range(3, meters):
        value = ("input_tokens", "output_tokens")[number % 2]
        wanted[f"meter_{number}"] = _sum_of(value)
    chat = {"limit": 10**15, "enforcement": "hard", "reset": "period"}
    return {
        "meters": wanted,
        "features": {"chat": {"type": "metered", "meter": "input_tokens"}},
        "plans": {
            "bench": {
                "currency": "USD",
                "cadence": "month",
                "entitlements": {"chat": chat},
                "prices": {
                    name: {"type": "per_unit", "meter": name, "unit": "0.000001"} for name in wanted
                },
            }
        },
    }


def _texts(texts: Iterable[str]) -> Requests:
    encoded = [text.encode() for text in texts]
    size = len(encoded[0])
    assert all(len(request) == size for request in encoded), "requests must be equally long"
    return Requests(memoryview(b"".join(encoded)), size, encoded[0].index(b"\r\n\r\n") + 4)


def _sum_of(value: str) -> dict[str, str]:
    return {"event_type": "llm.request", "aggregation": "sum", "value": f"data.{value}"}


def _a_moment_ago() -> bytes:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() - 60)).encode()


def _fill(rows: _Bytes, letter: bytes, values: _Bytes) -> None:
    """Write values over the runs of a letter in the template that are at least three long."""
    places = [
        at
        for at in range(EVENT_BYTES)
        if _TEMPLATE[at : at + 1] == letter and (letter * 3 in _TEMPLATE[max(0, at - 2) : at + 3])
    ]
    rows[:, places] = values


def decimal(values: _Ints, width: int) -> _Bytes:
    """Digits of each, with leading zeros."""
    powers = 10 ** np.arange(width - 1, -1, -1)
    return (values[:, None] // powers % 10 + ord("0")).astype(np.uint8)


def hexadecimal(values: _Ints) -> _Bytes:
    """Sixteen digits of each."""
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    nibbles: _Ints = values[:, None] >> np.arange(60, -4, -4) & 15
    return digits.take(nibbles)


def _head(path: str, length: int) -> _Bytes:
    text = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {length}\r\n\r\n"
    )
    return np.frombuffer(text.encode(), np.uint8)


def _single(rows: _Bytes, path: str) -> Requests:
    head = _head(path, rows.shape[1])
    out = np.empty((len(rows), len(head) + rows.shape[1]), np.uint8)
    out[:, : len(head)] = head
    out[:, len(head) :] = rows
    return Requests(out.data.cast("B"), out.shape[1], len(head))


def _batches(rows: _Bytes, batch: int, path: str) -> Requests:
    body = batch * (EVENT_BYTES + 1) + 1  # "[" and after each event a "," or the "]"
    head = _head(path, body)
    out = np.empty((len(rows) // batch, len(head) + body), np.uint8)
    out[:, : len(head)] = head
    out[:, len(head)] = ord("[")
    cells = out[:, len(head) + 1 :].reshape(-1, batch, EVENT_BYTES + 1)
    cells[:, :, :EVENT_BYTES] = rows.reshape(-1, batch, EVENT_BYTES)
    cells[:, :, EVENT_BYTES] = ord(",")
    cells[:, -1, EVENT_BYTES] = ord("]")
    return Requests(out.data.cast("B"), out.shape[1], len(head))
