"""
What a client writes down of each operation: what it asked, when, and what it was answered.

The server never sees these files. One JSON array a line, written after the answer: a client is
never killed, only the server is, so an operation without an answer is still being tried.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

KEPT = frozenset((
    "seq", "allowed", "reason", "code", "balance_after", "available_after", "to_balance_after",
    "available", "balance", "reserved", "granted", "expires_at", "id", "status", "settled", "cost",
    "voided", "as_of", "overage", "credit",
))  # fmt: skip
"""Members of an answer that the judge looks at; the rest would only fill the disk."""


class Record(msgspec.Struct, array_like=True):
    """
    One operation and its answer.

    Attributes:
        op: Names the operation in reports.
        kind: consume, event, grant, top_up, void, refund, transfer, reserve, settle, release,
            extend, or balance, which only reads.
        ask: What was asked: identifiers, amounts as text, instants in microseconds.
        started: Before the first try, ended: after the answer; monotonic microseconds.
        wall: Microseconds since the epoch at `started`.
        tries: More than one means that answers were lost; each try sent the same bytes.
        repeat: "", or "again" for the bytes of an accepted operation sent once more, or "conflict"
            for its identifier with other content.
    """

    op: str
    kind: str
    wallet: str
    ask: dict[str, Any]
    started: int
    ended: int
    wall: int
    tries: int
    status: int
    answer: dict[str, Any]
    repeat: str = ""

    @property
    def seq(self) -> int | None:
        seq: int | None = self.answer.get("seq")
        return seq

    @property
    def done(self) -> bool:
        """Whether it had an effect, by its answer."""
        return 200 <= self.status < 300 and self.answer.get("seq") is not None

    def __str__(self) -> str:
        asked = ", ".join(f"{name} {value}" for name, value in self.ask.items())
        said = ", ".join(f"{n} {self.answer[n]}" for n in self.answer if n not in ("as_of", "id"))
        lost = f", try {self.tries}" if self.tries > 1 else ""
        repeat = f" ({self.repeat})" if self.repeat else ""
        what = f"{self.kind}{repeat} on {self.wallet} [{asked}{lost}]"
        return f"{self.op} {what} -> {self.status} [{said}]"


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Record).decode


FLUSH_EVERY = 100


class Journal:
    """Append-only; flushed now and then, so that the programme sees how far its clients are."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb", buffering=1 << 20)
        self._written = 0

    def write(self, record: Record) -> None:
        self._file.write(_encode(record) + b"\n")
        self._written += 1
        if self._written % FLUSH_EVERY == 0:
            self._file.flush()

    def close(self) -> None:
        self._file.close()


def read_journal(path: Path) -> Iterator[Record]:
    with path.open("rb") as lines:
        for line in lines:
            yield _decode(line)
