"""
The oracle's own record: what a client was about to send, on disk before it sends, and what it
was answered. The server never reads it. One JSON object a line:

    {"n": 7, "attempt": 1, "items": [["new", "{...}"], ...]}       about to send
    {"n": 7, "attempt": 1, "unknown": "ConnectionResetError"}      no answer: stored, or not
    {"n": 7, "attempt": 2, "receipts": [["accepted", "0:12"], ...]}
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.oracle_workload import Item, Kind


@dataclass(frozen=True)
class Receipt:
    """The server's verdict on one item, and where it says the event stands."""

    status: str
    position: str | None


@dataclass
class Request:
    """
    One request and its fate.

    Attributes:
        unknown: Why attempts before the answer had none, in order.
        receipts: One per item of the attempt that was answered; None if none was.
    """

    client: str
    number: int
    items: list[Item]
    unknown: list[str] = field(default_factory=list)
    receipts: list[Receipt] | None = None


class JournalWriter:
    """Append-only; `intend` returns once the record is on disk."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("x")

    def intend(self, number: int, attempt: int, items: Sequence[Item]) -> None:
        record: dict[str, object] = {"n": number, "attempt": attempt}
        if attempt == 1:
            record["items"] = [[item.kind, item.text] for item in items]
        self._write(record)
        os.fsync(self._file.fileno())

    def unknown(self, number: int, attempt: int, reason: str) -> None:
        self._write({"n": number, "attempt": attempt, "unknown": reason})

    def answered(self, number: int, attempt: int, receipts: Sequence[Receipt]) -> None:
        pairs = [[receipt.status, receipt.position] for receipt in receipts]
        self._write({"n": number, "attempt": attempt, "receipts": pairs})

    def _write(self, record: object) -> None:
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()


def read_journal(path: Path) -> Iterator[Request]:
    """The requests of one client, in the order they were sent."""
    current: Request | None = None
    with path.open() as lines:
        for line in lines:
            record = json.loads(line)
            if "items" in record:
                if current:
                    yield current
                items = [Item(Kind(kind), text) for kind, text in record["items"]]
                current = Request(path.stem, record["n"], items)
            elif "unknown" in record:
                assert current is not None
                current.unknown.append(record["unknown"])
            elif "receipts" in record:
                assert current is not None
                current.receipts = [Receipt(*pair) for pair in record["receipts"]]
    if current:
        yield current
