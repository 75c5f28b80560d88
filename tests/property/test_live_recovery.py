"""Any number of lives, each ended anyhow, count what one life would have."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.property.effort import FULL, thorough

from taximeter.adapters.log import SegmentLog
from taximeter.corrections.entry import entry_of
from taximeter.corrections.facts import Change, Why, retracts
from taximeter.customers import Customer
from taximeter.events.acceptance import AcceptanceWindow
from taximeter.events.entry import KIND_EVENTS, Entry
from taximeter.events.envelope import Event, Format, Verdict
from taximeter.events.replay import accepted_events, stored_times
from taximeter.live.corrected import fold_correction
from taximeter.live.snapshot import FORMAT, Snapshot, decode, dump_state, encode
from taximeter.meters.counter import Counter
from taximeter.meters.definition import Aggregation, Meter
from taximeter.services import recovery
from taximeter.services.tenant import Tenant

effort = thorough if FULL else settings(thorough, max_examples=15)
START = 1_767_225_600_000_000
COUNTER = Counter(Meter("n", "t", Aggregation.SUM, "data.n"))

# What happens in a node's life, one after the other.
SEND, REPEAT, WRITE, RESTART = "send", "repeat", "write a snapshot", "restart"
RETRACT, AMEND = "retract", "amend"
stories = st.lists(
    st.sampled_from([SEND, SEND, REPEAT, REPEAT, RETRACT, AMEND, WRITE, RESTART]), max_size=25
)


class Nobody:
    """Identities are not what is looked at here."""

    def load(self, keys: Any, fingerprints: Any, first_seq: int) -> None: ...


class Life(NamedTuple):
    log: SegmentLog
    tenants: dict[str, Tenant]
    idle_entries: int


def make(name: str) -> Tenant:
    tenant = Tenant(name, bytes(32), AcceptanceWindow())
    tenant.live.set_counters([COUNTER])
    tenant.put_customer(Customer("acme"))
    return tenant


@contextmanager
def life(directory: Path, written: list[bytes]) -> Iterator[Life]:
    """From the log and the snapshots to a node's state, as `adapters.node` does it."""
    log = SegmentLog.open(directory, now=lambda: 0)
    tenants = {"x": make("x")}
    snapshot, stale = recovery.load_snapshot(reversed(written), tenants, log.position)
    if snapshot.position:
        assert not stale["x"].customers
    _, idle, _ = recovery.replay(log, tenants, make, Nobody(), snapshot, log.position)
    try:
        yield Life(log, tenants, idle)
    finally:
        log.close()


def entry(number: int, verdict: Verdict) -> Entry:
    body = b'{"id":"%d","type":"t","subject":"acme","data":{"n":%d}}' % (number, number)
    accepted = verdict is Verdict.ACCEPTED
    return Entry(
        "x",
        START + number,
        Format.OBJECT if accepted else Format.LINES,
        bytes([verdict]),
        body if accepted else b"",
    )


def essence(tenants: dict[str, Tenant]) -> bytes:
    tenant = tenants["x"]
    dumped = dump_state(tenant.live, tenant.customers, tenant.counts.as_dict())
    return encode(Snapshot(FORMAT, 0, 0, {"x": dumped}))


@effort
@given(story=stories)
def test_every_way_through_several_lives_ends_in_the_same_state(story: list[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        written: list[bytes] = []
        done: list[Entry] = []
        lives: list[list[str]] = [[]]
        for event in story:
            lives[-1].append(event)
            if event == RESTART:
                lives.append([])
        for events in lives:
            with life(Path(directory), written) as now:
                live_on(now, events, done, written)
        with life(Path(directory), written) as last, life_from_zero(done) as expected:
            assert essence(last.tenants) == essence(expected)
            counts = last.tenants["x"].counts
            assert counts.balanced
            assert counts.received == sum(one.kind == KIND_EVENTS for one in done)
            idle = 0
            for one in done:
                idle = 0 if one.accepted else idle + 1
            if last.log.position:
                assert last.idle_entries == idle


def live_on(now: Life, events: list[str], done: list[Entry], written: list[bytes]) -> None:
    """What the sequencer does, request by request."""
    tenant, idle = now.tenants["x"], now.idle_entries
    for event in events:
        if event in (SEND, REPEAT):
            verdict = Verdict.ACCEPTED if event == SEND else Verdict.DUPLICATE
            one = entry(len(done), verdict)
            now.log.append([one])
            recovery._count(tenant, one)
            if one.accepted:
                tenant.live.fold_stored(zip(*accepted(one), strict=True))
            idle = 0 if one.accepted else idle + 1
            done.append(one)
        elif event in (RETRACT, AMEND) and (change := newest(done, amend=event == AMEND)):
            one = entry_of("x", START + len(done), change.facts(Why("cor", "key", "why")))
            now.log.append([one])
            fold_correction(tenant.live, accepted(one)[0], [], one.received_at)
            idle = 0
            done.append(one)
        elif event == WRITE:
            taken = recovery.take_snapshot(now.tenants, now.log.position, idle)
            written.append(encode(taken))
            assert decode(written[-1]) == taken


def newest(done: list[Entry], *, amend: bool) -> Change | None:
    """What corrects the newest event that counts; None without any."""
    standing: dict[int, tuple[Event, int]] = {}
    seq = 0
    for one in done:
        for event, at in zip(*accepted(one), strict=True):
            seq += 1
            standing.pop(retracts(event.id), None)
            if event.type == "t":
                standing[seq] = event, at
    if not standing:
        return None
    seq, (event, at) = standing.popitem()
    return Change(seq, event, at, data={"n": 1000 + seq} if amend else msgspec.UNSET)


def accepted(one: Entry) -> tuple[list[Any], list[int]]:
    events = accepted_events(one)
    return events, stored_times(events, one.received_at)


@contextmanager
def life_from_zero(done: list[Entry]) -> Iterator[dict[str, Tenant]]:
    with tempfile.TemporaryDirectory() as directory:
        log = SegmentLog.open(Path(directory), now=lambda: 0)
        for one in done:
            log.append([one])
        log.close()
        with life(Path(directory), []) as found:
            yield found.tenants
