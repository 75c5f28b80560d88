"""Seats as a bill folds them from the log against seats as the gate holds them."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.property.effort import patient

from taximeter.events.envelope import Event
from taximeter.gate.effects import Advance, LeaveSeat, TakeSeat
from taximeter.gate.state import GateState
from taximeter.ports import StoredEvent
from taximeter.services.billing.due.seats import SEAT_EVENT, SEAT_SOURCE, assigned_seats

steps = st.lists(
    st.tuples(
        st.integers(0, 5),  # how much later
        st.sampled_from(["ann", "bob", "eve"]),
        st.none() | st.booleans() | st.integers(1, 8),  # leave, take, take for so long
    ),
    max_size=25,
)


def stored(
    seq: int, at: int, effect: TakeSeat | LeaveSeat, source: str = SEAT_SOURCE
) -> StoredEvent:
    event = Event(
        id=str(seq),
        type=SEAT_EVENT,
        subject=effect.customer,
        source=source,
        data=msgspec.to_builtins(effect),
    )
    return StoredEvent(seq, at, at, event)


def seats_at(found: list[tuple[int, int]], at: int) -> int:
    return next((seats for instant, seats in reversed(found) if instant <= at), 0)


@patient
@given(steps=steps, after=st.integers(0, 12))
def test_the_bill_counts_at_every_instant_the_seats_the_gate_had(
    steps: list[tuple[int, str, bool | int | None]], after: int
) -> None:
    gate, now, log = GateState(), 100, []
    held: dict[int, int] = {}
    for seq, (later, holder, how) in enumerate(steps, start=1):
        now += later
        effect: TakeSeat | LeaveSeat = LeaveSeat("acme", feature="seats", holder=holder)
        if how is not None:
            until = None if isinstance(how, bool) else now + how
            effect = TakeSeat("acme", feature="seats", holder=holder, until=until)
        gate.apply(effect, now, seq)
        log.append(stored(seq, now, effect))
        held[now] = len(gate.purse("acme").seats.get("seats", {}))
    gate.apply(Advance("acme"), now + after, len(steps) + 1)
    held[now + after] = len(gate.purse("acme").seats.get("seats", {}))
    found = assigned_seats(reversed(log)).get(("acme", "seats"), [])
    assert {at: seats_at(found, at) for at in held} == held


def test_only_commands_received_before_an_instant_count() -> None:
    take = TakeSeat("acme", feature="seats", holder="ann")
    leave = LeaveSeat("acme", feature="seats", holder="ann")
    log = [stored(1, 100, take), stored(2, 200, leave)]
    assert assigned_seats(log, 200) == {("acme", "seats"): [(100, 1)]}
    assert assigned_seats(log, 201) == {("acme", "seats"): [(100, 1), (200, 0)]}


def test_what_does_not_come_from_the_gate_is_no_seat() -> None:
    take = TakeSeat("acme", feature="seats", holder="ann")
    forged = stored(1, 100, take, source="api")
    odd = msgspec.structs.replace(stored(2, 100, take).event, data={"do": "burn"})
    assert assigned_seats([forged, StoredEvent(2, 100, 100, odd)]) == {}
