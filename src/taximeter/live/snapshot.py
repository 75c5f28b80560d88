"""
Live state at a position, as bytes: what lets a restart fold only the tail of the log.

A snapshot is a cache of the log. It is used for exactly those accounts and counters whose
definition is still the same; everything else is folded again.
"""

from __future__ import annotations

from typing import Any

import msgspec

from taximeter.customers import Customer
from taximeter.live.account import EARLIER, Account
from taximeter.live.state import LiveState, moved
from taximeter.meters.cells import Layout
from taximeter.rules.memory import Memory

FORMAT = 2


class AccountSnapshot(msgspec.Struct, frozen=True):
    """`subjects` and `signature` are what the counters depend on beside the events; `lanes` has for
    each lane [start, end, dumped cells] in order. Without a signature they are not complete."""

    subjects: list[str]
    signature: str
    seen: bool
    lanes: list[list[tuple[int, int, list[Any]]]]


class StateSnapshot(msgspec.Struct, frozen=True):
    """One namespace. `counters` names the slots of all cells; `gate` is `GateState.dump`, and
    `rules` has a `Memory.dump` for each customer that rules remember."""

    counters: list[str]
    accounts: dict[str, AccountSnapshot]
    unmatched: dict[str, int]
    counts: dict[str, int]
    gate: dict[str, Any] = {}
    rules: dict[str, Any] = {}


class Snapshot(msgspec.Struct, frozen=True):
    """
    All namespaces at one position. `idle_entries` log entries without accepted events follow that
    position and are counted too.
    """

    format: int
    position: int
    idle_entries: int
    namespaces: dict[str, StateSnapshot]


def signature(account: Account) -> str:
    """Equal signatures: the same instants fall into the same periods of an account."""
    facts = [(lane.subscription, lane.schedule) for lane in account.lanes]
    return msgspec.json.encode(facts).decode()


def dump_state(
    state: LiveState, customers: dict[str, Customer], counts: dict[str, int]
) -> StateSnapshot:
    """
    Deterministic: equal states give equal snapshots, however they came about. Periods in which
    nothing was counted are left out: a question about them may have made one. An account whose
    history is on its way has no signature: it is folded again.
    """
    layout = state.layout
    order, fresh = sorted(layout.slots), layout.new_cells()
    dumped = {
        key: AccountSnapshot(
            sorted(customers[key].all_subjects),
            "" if account.rebuilding else signature(account),
            account.seen,
            [
                [
                    (start, end, _dump_cells(layout, order, cells))
                    for start, end, cells in lane.counted()
                    if any(cells[::2]) or (start == EARLIER and cells != fresh)
                ]
                for lane in account.lanes
            ],
        )
        for key, account in sorted(state.accounts.items())
    }
    unmatched = dict(sorted(state.unmatched.items()))
    memories = {key: one.dump() for key, one in sorted(state.memories.items())}
    remembered = {key: memory for key, memory in memories.items() if memory}
    return StateSnapshot(order, dumped, unmatched, counts, state.gate.dump(), remembered)


class Stale(msgspec.Struct):
    """
    What a snapshot could not vouch for.

    Attributes:
        customers: Keys of customers to be folded again.
        counters: Keys of counters to be folded again, for everybody.
        given_up: Subjects that customers had then and nobody claims now; how many events they have
            is to be counted.
    """

    customers: set[str]
    counters: set[str]
    given_up: set[str]


def load_state(state: LiveState, customers: dict[str, Customer], snapshot: StateSnapshot) -> Stale:
    """
    Fill an empty state that has its customers and counters.

    Returns:
        What the snapshot does not hold as it is needed now.
    """
    state.gate.load(snapshot.gate)
    state.memories = {key: Memory(dumped) for key, dumped in snapshot.rules.items()}
    held = set(snapshot.counters)
    missing = {key for key in state.layout.slots if key not in held}
    layout = Layout([c for c in state.layout.counters if c.key in held])
    places = [snapshot.counters.index(counter.key) for counter in layout.counters]
    stale = Stale(set(), missing, _given_up(state, snapshot))
    for key, account in state.accounts.items():
        saved = snapshot.accounts.get(key)
        if saved is None or not _is_same(saved, customers[key], account):
            stale.customers.add(key)
            continue
        account.seen = saved.seen
        for lane, periods in zip(account.lanes, saved.lanes, strict=True):
            for start, _, dumped in periods:
                cells = lane.cells_from(start, state.layout)
                assert cells is not None, "the signature says the period is the account's"
                loaded = layout.load_cells([dumped[place] for place in places])
                cells[:] = moved(loaded, layout, state.layout)
    state.unmatched = {
        subject: count
        for subject, count in snapshot.unmatched.items()
        if subject not in state.by_subject
    }
    return stale


def _is_same(saved: AccountSnapshot, customer: Customer, account: Account) -> bool:
    subjects = sorted(customer.all_subjects)
    return saved.subjects == subjects and saved.signature == signature(account)


def _given_up(state: LiveState, snapshot: StateSnapshot) -> set[str]:
    had = {subject for saved in snapshot.accounts.values() for subject in saved.subjects}
    return had - state.by_subject.keys()


def encode(snapshot: Snapshot) -> bytes:
    return msgspec.json.encode(snapshot)


def decode(data: bytes) -> Snapshot | None:
    """None if it is of another format: the log is then folded from its beginning."""
    try:
        snapshot = msgspec.json.decode(data, type=Snapshot)
    except (msgspec.ValidationError, msgspec.DecodeError):
        return None
    return snapshot if snapshot.format == FORMAT else None


def _dump_cells(layout: Layout, order: list[str], cells: list[Any]) -> list[Any]:
    dumped = layout.dump_cells(cells)
    return [dumped[layout.slots[key]] for key in order]
