"""
A stand-in for the server, to try the oracle on: `python -m tests.crash.oracle_fake DIR PORT FAULT`.

As slow and as simple as can be, and right, except for one fault, if asked:

    none               keeps every promise
    early_ack          now and then answers before the batch is written
    forget_identities  after a restart, takes a repeated event for a new one
    invent_event       after a restart, shows an event nobody sent
    last_content_wins  a conflict replaces what was stored first
    count_repeats      adds a duplicate to the counters a check reads
    reuse_positions    numbers events from 1 again after a restart
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.crash.oracle_compare import Content, Identity, exact_json, parse_event, usage_of, used_of

FAULTS = (
    "early_ack",
    "forget_identities",
    "invent_event",
    "last_content_wins",
    "count_repeats",
    "reuse_positions",
)
_LOST_EVERY = 5


class Fake:
    """The whole state: a file of accepted events as they were sent, one a line."""

    def __init__(self, directory: Path, fault: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.fault = fault
        self.lock = threading.Lock()
        path = directory / "events.jsonl"
        self.texts: list[str] = []
        self.by_identity: dict[Any, int] = {}
        self.extra: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        restarted = path.exists()
        for line in path.read_text().splitlines(keepends=True) if restarted else ():
            if line.endswith("\n"):
                self._remember(line.strip())
        self.first_position = 0
        if restarted and fault == "forget_identities":
            self.by_identity.clear()
        if restarted and fault == "invent_event" and self.texts:
            self._remember(re.sub(r'"id":"[^"]*"', '"id":"nobody-sent-this"', self.texts[0]))
        if restarted and fault == "reuse_positions":
            self.first_position = len(self.texts)
        self._file = path.open("a")
        self._batches = 0

    def _remember(self, text: str) -> None:
        self.by_identity.setdefault(_parse(text)[0], len(self.texts))
        self.texts.append(text)

    def ingest(self, body: bytes) -> dict[str, Any]:
        known = len(self.texts)
        receipts = [self._decide(text) for text in _split(body.decode())]
        self._batches += 1
        if self.fault != "early_ack" or self._batches % _LOST_EVERY:
            self._file.write("".join(f"{text}\n" for text in self.texts[known:]))
            self._file.flush()
            os.fsync(self._file.fileno())
        statuses = Counter(receipt["status"] for receipt in receipts)
        answer = {
            "received": len(receipts),
            "accepted": statuses["accepted"],
            "duplicates": statuses["duplicate"],
            "conflicts": statuses["conflict"],
            "rejected": statuses["rejected"],
        }
        self.counts.update(answer)
        return answer | {"receipts": receipts}

    def _decide(self, text: str) -> dict[str, Any]:
        identity, content = _parse(text)
        if content.time < datetime.now(UTC) - timedelta(days=90):
            return {"status": "rejected"}
        at = self.by_identity.get(identity)
        if at is None:
            self._remember(text)
            return {"status": "accepted", "position": f"0:{len(self.texts) - self.first_position}"}
        if _parse(self.texts[at])[1] == content:
            if self.fault == "count_repeats":
                self.extra[content.customer] += 1
            return {"status": "duplicate", "position": f"0:{at + 1}"}
        if self.fault == "last_content_wins":
            self.texts[at] = text
        return {"status": "conflict", "position": f"0:{at + 1}"}

    def get(self, path: str, query: dict[str, str]) -> Any:
        if path == "/v1/status":
            return {"events": self.counts}
        if path == "/v1/events":
            start = int(query.get("cursor", 0))
            end = start + int(query["limit"])
            items = ",".join(f'{{"event":{text}}}' for text in self.texts[start:end])
            following = json.dumps(str(end)) if end < len(self.texts) else "null"
            return f'{{"items":[{items}],"next":{following}}}'
        meter = path.split("/")[3]
        customer = query.get("customer")
        grouped = "group_by" in query
        return {
            "items": [
                {"group": {"model": model}, "value": f"{value:f}"}
                for (name, key, model), value in self._usage().items()
                if name == meter and key == customer and (model is not None) == grouped
            ]
        }

    def _usage(self) -> dict[Any, Decimal]:
        if getattr(self, "_cached_at", None) != len(self.texts):
            self._cached = usage_of(_parse(text)[1] for text in self.texts)
            self._cached_at = len(self.texts)
        return self._cached

    def used(self, customer: str) -> str:
        start, end = (datetime.fromisoformat(text) for text in month().values())
        contents = (_parse(text)[1] for text in self.texts)
        used = used_of((c for c in contents if c.customer == customer), (start, end))
        return f"{used[customer] + self.extra[customer]:f}"


@cache
def _parse(text: str) -> tuple[Identity, Content]:
    return parse_event(exact_json(text))


def month() -> dict[str, str]:
    """The calendar month that is running, UTC."""
    first = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = (first + timedelta(days=32)).replace(day=1)
    return {"start": first.isoformat(), "end": following.isoformat()}


def _split(body: str) -> list[str]:
    """The items of an array as they were written: none holds a brace outside its own two."""
    return re.findall(r"\{[^{}]*\{[^{}]*\}\}", body)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    fake: Fake

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        with self.fake.lock:
            self._answer(self.fake.get(url.path, query))

    def do_PUT(self) -> None:
        self._body()
        self._answer({})

    def do_POST(self) -> None:
        body = self._body()
        with self.fake.lock:
            if self.path.startswith("/v1/events"):
                self._answer(self.fake.ingest(body))
            elif self.path == "/v1/check":
                self._answer({"used": self.fake.used(json.loads(body)["customer"])})
            else:
                self._answer({"period": month()})

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def _answer(self, document: Any) -> None:
        text = document if isinstance(document, str) else json.dumps(document)
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(text.encode())}\r\n\r\n"
        self.wfile.write((head + text).encode())

    def log_message(self, *args: object) -> None:
        """Nothing: the journals say it all."""


def main() -> None:
    directory, port, fault = sys.argv[1:]
    assert fault in ("none", *FAULTS), f"no fault {fault!r}"
    _Handler.fake = Fake(Path(directory), fault)
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), _Handler)
    print(f"fake ready on http://127.0.0.1:{port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
