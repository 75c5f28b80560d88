"""
What is asked of the gate: requests made before the clock starts, all of one size.

Ids are fresh and stand in the path or the body; shorter requests are filled up with blanks, which
JSON allows at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks import bodies
from benchmarks.bodies import Requests

PRICE_CENTS = 1  # of one image
RESERVED, USED = 8, 5
GRANT = 1_000_000_000
LEVELS = ("workspace", "user", "key", "run")

_ID = b"I" * 16
_CUSTOMER = b"C" * 5


def consumes(count: int, customers: int, seed: int) -> Requests:
    """`POST /v1/consume` of one image, paid with credit, from random ones of so many customers."""
    body = (
        b'{"customer":"customer-%s","feature":"image","amount":1,"id":"%s",'
        b'"data":{"model":"opus"}}' % (_CUSTOMER, _ID)
    )
    return rows([post("/v1/consume", body)], count, customers, seed)


def reservations(count: int, customers: int, seed: int) -> Requests:
    """Pairs: a reservation of 8 images, then its settlement with 5."""
    reserve = b'{"customer":"customer-%s","feature":"image","amount":%d,"ttl_s":120,"id":"%s"}'
    return rows(
        [
            post("/v1/reservations", reserve % (_CUSTOMER, RESERVED, _ID)),
            post(f"/v1/reservations/{_ID.decode()}/settle", b'{"amount":%d}' % USED),
        ],
        count,
        customers,
        seed,
    )


def checks(feature: str, count: int, seed: int) -> Requests:
    """`POST /v1/check` for random customers, by a user with a key in a run of a workspace."""
    scope = b",".join(b'"%s":"%s-1"' % (level.encode(), level.encode()) for level in LEVELS)
    body = b'{"customer":"customer-%s","feature":"%s","amount":5,"scope":{%s}}'
    return rows(
        [post("/v1/check", body % (_CUSTOMER, feature.encode(), scope))],
        count,
        bodies.CUSTOMERS,
        seed,
    )


def grants() -> Requests:
    """`POST /v1/customers/{key}/grants`: more than any run can spend, for every customer."""
    requests = []
    for number in range(bodies.CUSTOMERS):
        body = f'{{"id":"grant-{number:05d}","credit":"usd","amount":"{GRANT}"}}'.encode()
        requests.append(post(f"/v1/customers/{bodies.customer(number)}/grants", body))
    return Requests(memoryview(b"".join(requests)), len(requests[0]), 0)


def catalog() -> dict[str, Any]:
    """An image paid with credit, a chat with one limit, and one with a limit at five levels."""
    chat = {"limit": 10**15, "enforcement": "hard", "reset": "period"}
    each = {level: {"limit": 10**12, "reset": "day"} for level in LEVELS}
    image = {"credit": "usd", "cost": f"0.{PRICE_CENTS:02d}"}
    tokens = {"event_type": "llm.request", "aggregation": "sum", "value": "data.tokens"}
    images = {"event_type": "image.made", "aggregation": "sum", "value": "data.images"}
    metered = {"type": "metered", "meter": "tokens"}
    return {
        "scopes": [{level: f"data.{level}"} for level in LEVELS],
        "meters": {"tokens": tokens, "images": images},
        "features": {
            "chat": metered,
            "nested": metered,
            "image": {"type": "metered", "meter": "images"},
        },
        "plans": {
            "bench": {
                "currency": "USD",
                "cadence": "month",
                "entitlements": {"chat": chat, "nested": {**chat, "per": each}, "image": image},
                "prices": {},
            }
        },
    }


def rows(templates: Sequence[bytes], count: int, customers: int, seed: int) -> Requests:
    """
    Requests that repeat the templates in turn, each round with an id and a customer of its own.

    Args:
        count: Rounds.
        customers: How many take part.
    """
    rng = np.random.default_rng(seed)
    ids = bodies.hexadecimal(rng.integers(0, 2**63, count, dtype=np.int64))
    who = bodies.decimal(rng.integers(0, customers, count), len(_CUSTOMER))
    size = max(map(len, templates))
    out = np.empty((count, len(templates), size), np.uint8)
    for place, template in enumerate(templates):
        filled = _filled_up(template, size)
        out[:, place] = np.frombuffer(filled, np.uint8)
        for mark, values in ((_ID, ids), (_CUSTOMER, who)):
            at = filled.find(mark)
            while at >= 0:
                out[:, place, at : at + len(mark)] = values
                at = filled.find(mark, at + len(mark))
    return Requests(out.data.cast("B"), size, 0)


def post(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return head.encode() + b"Content-Length: %04d\r\n\r\n" % len(body) + body


def _filled_up(request: bytes, size: int) -> bytes:
    """A request of this size: blanks behind its body, and a length that says so."""
    missing = size - len(request)
    if not missing:
        return request
    head, _, body = request.partition(b"\r\n\r\n")
    return head[:-4] + b"%04d\r\n\r\n" % (len(body) + missing) + body + b" " * missing
