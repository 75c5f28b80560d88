"""
Replay of a data directory: everything worked out again from its log, and compared byte for byte
with what the node has.

    live state   the newest snapshot     against   a fold of the log from zero to its position
    ledger       every transaction       against   what the wallets of that fold book
    invoices     every document          against   its events, counted from an event store made anew
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import msgspec

from taximeter.adapters.clock import SystemClock
from taximeter.adapters.offline import DataDirectory
from taximeter.adapters.store.process import StoreProcess
from taximeter.errors import Rejected
from taximeter.invoices.document import canonical_bytes
from taximeter.invoices.invoice import Status
from taximeter.live.snapshot import Snapshot, dump_state, load_state
from taximeter.ports import Books, LedgerRow, StoredInvoice
from taximeter.services.billing.evidence.recheck import recheck_all
from taximeter.services.core import BooksThread, Core
from taximeter.services.feed import Feed
from taximeter.services.gate import clockwork
from taximeter.services.rebuild import begin_rebuild, rebuild
from taximeter.services.recovery import load_tenants
from taximeter.services.replay import Replayed, replay_from_zero
from taximeter.services.telemetry import Telemetry
from taximeter.services.tenant import Tenant

LOG_READER = "taximeter.adapters.log:LogReader"
PAGE = 200


class Compared(msgspec.Struct):
    """
    One kind of thing.

    Attributes:
        position: Of the log, that both sides reflect.
        count: How many were compared.
        digest: SHA-256 of all of them as they were worked out again.
        differences: What is not the same, by name.
    """

    what: str
    position: str
    count: int
    digest: str
    differences: list[str]


async def replay_directory(data: Path, scratch: Path) -> list[Compared]:
    """
    Args:
        scratch: For everything that is worked out again; removed afterwards.

    Raises:
        Rejected: `invalid_file`.
        Damaged: The log, or a database, is not as it was written.
    """
    directory = DataDirectory(data, scratch)
    books = directory.books()
    store = StoreProcess(scratch / "events", directory.log_directory, LOG_READER)
    store.start(directory.position)
    try:
        snapshot = directory.snapshot()
        position = directory.position if snapshot is None else snapshot.position
        replayed = _replayed(directory, books, position, snapshot)
        core = _core(books, store, replayed.tenants, directory.new_tenant, position)
        await _fold_again(core, replayed)
        return [
            *([] if snapshot is None else [await _live(directory, books, replayed, snapshot)]),
            *_ledger(directory, replayed),
            await _invoices(core, books, directory.position),
        ]
    finally:
        await store.close()
        books.close()
        directory.forget()


def _replayed(
    directory: DataDirectory, books: Books, position: int, snapshot: Snapshot | None
) -> Replayed:
    idle = 0 if snapshot is None else snapshot.idle_entries
    tenants = load_tenants(books, directory.new_tenant)
    return replay_from_zero(
        tenants, directory.new_tenant, lambda _, upto: directory.entries(upto, idle), position
    )


def _core(
    books: Books,
    store: StoreProcess,
    tenants: dict[str, Tenant],
    make: Callable[[str], Tenant],
    position: int,
) -> Core:
    """As much of a node as reading takes: nothing arrives, and everything is durable."""
    still = cast(Any, _Still(position))
    return Core(
        SystemClock(), BooksThread(books), store, still, still, Feed(), Telemetry(), tenants, make
    )


class _Still:
    """The end of a log that does not grow."""

    def __init__(self, position: int) -> None:
        self.position = position

    async def durable(self, position: int) -> None:
        """It is."""

    async def settled(self, position: int) -> bool:
        return True


async def _fold_again(core: Core, replayed: Replayed) -> None:
    """Counters that a correction cannot undo are folded from what is left, as a node does."""
    for name, customers in replayed.again.items():
        tenant = replayed.tenants[name]
        for customer in sorted(customers):
            seen = tenant.live.accounts[customer].seen
            tenant.reset_account(customer).seen = seen
        missing = begin_rebuild(
            core, tenant, sorted(customers), tenant.live.layout.counters, upto=replayed.position
        )
        await rebuild(core, tenant, missing, "replay")


# --- live state -------------------------------------------------------------------------------


async def _live(
    directory: DataDirectory, books: Books, replayed: Replayed, snapshot: Snapshot
) -> Compared:
    """Both are dumped by the same code from memory, after what nobody needs was forgotten."""
    kept = load_tenants(books, directory.new_tenant)
    differences: list[str] = []
    count, digest = 0, sha256()
    for name, tenant in sorted(kept.items()):
        saved = snapshot.namespaces.get(name)
        if saved is None:
            continue
        stale = load_state(tenant.live, tenant.customers, saved)
        tenant.counts.load(saved.counts)
        ours, theirs = await _dumped(replayed.tenants[name]), await _dumped(tenant)
        digest.update(msgspec.json.encode(ours))
        count += len(ours["accounts"])
        # What was configured since the snapshot is folded again at the next start anyway.
        skipped = set(tenant.customers) if stale.counters else stale.customers
        differences += _differing(name, ours, theirs, skipped)
    return Compared("live state", f"0:{snapshot.position}", count, digest.hexdigest(), differences)


async def _dumped(tenant: Tenant) -> dict[str, Any]:
    await clockwork.prune_memories(tenant, SystemClock().now())
    found = dump_state(tenant.live, tenant.customers, tenant.counts.as_dict())
    dumped: dict[str, Any] = msgspec.to_builtins(found)
    return dumped


def _differing(
    name: str, ours: dict[str, Any], theirs: dict[str, Any], skipped: set[str]
) -> Iterator[str]:
    _only_common(ours, theirs)
    for member in ours:
        if member != "accounts" and ours[member] != theirs[member]:
            yield f"{name}: {member}"
    for customer in sorted(ours["accounts"].keys() | theirs["accounts"].keys()):
        if customer not in skipped and (
            ours["accounts"].get(customer) != theirs["accounts"].get(customer)
        ):
            yield f"{name}: counters of {customer}"


def _only_common(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """
    Leave out what limits and rules remember that only one side has. A node forgets windows that no
    later instant asks for, and what a catalogue asked for that is replaced by now was counted by
    the node and is not counted by a replay; neither is in the log.
    """
    for customer in ours["gate"]["purses"].keys() | theirs["gate"]["purses"].keys():
        _common(ours["gate"]["purses"], theirs["gate"]["purses"], customer, "gauges", 1)
    for customer in ours["rules"].keys() | theirs["rules"].keys():
        _common(ours["rules"], theirs["rules"], customer, "windows", 2)


def _common(
    ours: dict[str, Any], theirs: dict[str, Any], customer: str, member: str, names: int
) -> None:
    """Of rows whose first columns name them, those of both sides; nothing is no member."""
    sides = [side.get(customer) or {} for side in (ours, theirs)]
    rows = [{_name(row, names): row for row in side.pop(member, [])} for side in sides]
    shared = sorted(rows[0].keys() & rows[1].keys())
    if shared and member == "gauges":
        rows[0] = {key: [rows[0][key][0], _windows_of(rows[0][key][1], rows[1][key][1])]
                   for key in shared}  # fmt: skip
    for whole, side, own in zip((ours, theirs), sides, rows, strict=True):
        if shared:
            side[member] = [own[key] for key in shared]
        elif customer in whole and not side:
            del whole[customer]  # there was nothing else in it


def _name(row: list[Any], names: int) -> bytes:
    return msgspec.json.encode(row[:names])


def _windows_of(gauge: Any, held: Any) -> Any:
    """Those of a gauge's windows that the other one has, where it is made of windows."""
    pairs = all(isinstance(one, list) and len(one) == 2 for one in [*gauge, *held])
    starts = {one[0] for one in held} if pairs else set()
    return [one for one in gauge if one[0] in starts] if pairs else gauge


# --- ledger -----------------------------------------------------------------------------------


def _ledger(directory: DataDirectory, replayed: Replayed) -> list[Compared]:
    ledger = directory.ledger()
    if ledger is None:
        return []
    try:
        differences: list[str] = []
        count, digest = 0, sha256()
        for name in sorted(replayed.tenants):
            ours = {_key(row): row.transaction for row in replayed.booked(name)}
            theirs = {
                _key(row): row.transaction
                for customer in {key[0] for key in ledger.wallets(name)}
                for _, row in ledger.transactions(
                    name, customer, credit=None, start=None, end=None, after=0, limit=-1
                )
                if row.seq <= replayed.position
            }
            for key in sorted(ours.keys() | theirs.keys()):
                if ours.get(key) != theirs.get(key):
                    differences.append(f"{name}: transaction {key[2]} of {key[0]} in {key[1]}")
            digest.update(msgspec.json.encode([ours[key] for key in sorted(ours)]))
            count += len(ours)
        where = f"0:{replayed.position}"
        return [Compared("ledger", where, count, digest.hexdigest(), differences)]
    finally:
        ledger.close()


def _key(row: LedgerRow) -> tuple[str, str, int]:
    return (row.customer, row.credit, row.transaction.ordinal)


# --- invoices ---------------------------------------------------------------------------------


async def _invoices(core: Core, books: Books, position: int) -> Compared:
    """Each line is counted up to its own position, whatever came later."""
    differences: list[str] = []
    count, digest = 0, sha256()
    for name, tenant in sorted(core.tenants.items()):
        for page in _every_invoice(books, name):
            alive = [stored for stored in page if stored.status != Status.VOID]
            for checked in await recheck_all(core, tenant, alive):
                again, stored = canonical_bytes(checked.as_it_should_be), checked.stored
                digest.update(again)
                count += 1
                if again != stored.document:
                    differences.append(f"{name}: {stored.number or stored.id}")
    return Compared("invoices", f"0:{position}", count, digest.hexdigest(), differences)


def _every_invoice(books: Books, name: str) -> Iterator[list[StoredInvoice]]:
    after: str | None = None
    while True:
        page = books.invoices(name, customer=None, status=None, after=after, limit=PAGE)
        yield page
        if len(page) < PAGE:
            return
        after = page[-1].id


def check_scratch(scratch: Path) -> None:
    """
    Raises:
        Rejected: `invalid_file`: there is something in it.
    """
    if scratch.exists() and any(scratch.iterdir()):
        raise Rejected("invalid_file", f"{scratch} is not empty; name another directory.")
