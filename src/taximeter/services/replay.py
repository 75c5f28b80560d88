"""
Replay: everything that follows from the log, worked out again from its first entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import msgspec

from taximeter.live.snapshot import FORMAT, Snapshot
from taximeter.ports import LedgerRow, LoggedEntry
from taximeter.services import recovery
from taximeter.services.tenant import Tenant

ReadLog = Callable[[int, int], Iterable[LoggedEntry]]
"""`read(after, upto)` of the log's entries, as of a reader of its directory. Called once, from 0;
it may go on to entries without accepted events that stand behind `upto`."""

_NOBODY: Final = 2**62  # no identity is remembered: every event in the log was new once


class Replayed(msgspec.Struct, frozen=True):
    """
    Attributes:
        tenants: With their live state at `position`.
        again: By namespace: customers that corrections touched whose counters cannot be undone
            in place; their history is to be folded from the event store.
    """

    tenants: dict[str, Tenant]
    position: int
    idle_entries: int
    again: dict[str, set[str]]

    def booked(self, namespace: str) -> list[LedgerRow]:
        """Every transaction its wallets made, in order."""
        tenant = self.tenants.get(namespace)
        return [] if tenant is None else [
            LedgerRow(namespace, one.customer, one.credit, one.seq, one.transaction)
            for one in tenant.live.gate.booked
        ]  # fmt: skip


def replay_from_zero(
    tenants: dict[str, Tenant], make: Callable[[str], Tenant], read: ReadLog, upto: int
) -> Replayed:
    """
    Args:
        tenants: What is configured, with empty live state (`recovery.load_tenants`); filled here.
        make: For namespaces that only the log knows.
        upto: Position to stop at.
    """
    _, idle, again = recovery.replay(
        _Part(read, upto), tenants, make, _Forgetful(), Snapshot(FORMAT, 0, 0, {}), _NOBODY
    )
    return Replayed(tenants, upto, idle, again)


class _Part:
    """The log up to a position, to be read."""

    def __init__(self, read: ReadLog, upto: int) -> None:
        self._read = read
        self.position = upto

    def read(self, after: int, upto: int | None = None) -> Iterator[LoggedEntry]:
        yield from self._read(after, self.position if upto is None else upto)

    def append(self, entries: Any) -> int:
        raise AssertionError("a replay writes nothing")


class _Forgetful:
    def load(self, keys: Any, fingerprints: Any, first_seq: int) -> None:
        raise AssertionError("no identity is asked for")
