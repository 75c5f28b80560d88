"""Whatever is sent and corrected, in any order: everything is as if only what is left had been
sent."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.contract.event_store_world import InProcess, entry
from tests.property.effort import FULL, thorough

from taximeter.corrections.entry import entry_of
from taximeter.corrections.facts import Change, Why
from taximeter.corrections.query import patched, same_data
from taximeter.customers import Customer, Segment, Subscription
from taximeter.events.envelope import Event
from taximeter.events.replay import accepted_events
from taximeter.instants import DAY, HOUR, format_instant, parse_instant
from taximeter.live.account import Lane
from taximeter.live.corrected import fold_correction
from taximeter.live.gating import Hooks
from taximeter.live.refold import FoldAccount, FoldSpec, refold
from taximeter.live.snapshot import dump_state
from taximeter.live.state import LiveState
from taximeter.meters.counter import Counter
from taximeter.meters.definition import Aggregation, Meter
from taximeter.meters.kinds import Mode
from taximeter.periods import Anchor, Cadence, Period
from taximeter.ports import LineScope, UsageQuery
from taximeter.subscriptions.timeline import timeline_of

effort = thorough if FULL else settings(thorough, max_examples=12)

START = parse_instant("2026-10-30T00:00:00Z")
WHOLE = Period(START - DAY, START + 10 * DAY)
DIMENSIONS = {"model": "data.model"}
SUM = Meter("sum", "llm", Aggregation.SUM, "data.n", DIMENSIONS)
COUNT = Meter("count", "llm", Aggregation.COUNT, None, DIMENSIONS)
ADDITIVE = [
    Counter(SUM),
    Counter(COUNT),
    Counter(SUM, group_by=("model",)),
    Counter(COUNT, 'data.model == "a"', ("model",)),
    Counter(Meter("avg", "llm", Aggregation.AVG, "data.n")),
]
OTHERS = [
    Counter(Meter("max", "llm", Aggregation.MAX, "data.n", DIMENSIONS), group_by=("model",)),
    Counter(Meter("last", "llm", Aggregation.LAST, "data.n")),
    Counter(Meter("unique", "llm", Aggregation.UNIQUE, "data.model")),
    Counter(Meter("level", "llm", Aggregation.WEIGHTED_SUM, "data.n", mode=Mode.DELTA)),
]
CUSTOMERS = {
    "acme": Customer("acme", subjects=("acme-2",)),
    "blue": Customer("blue", timezone="Europe/Berlin"),
}
# Blue is subscribed from the third day on: what was before has a part in levels, and in no period.
BLUE = Subscription(
    "sub",
    "blue",
    Anchor.CALENDAR,
    "Europe/Berlin",
    (Segment(START + 2 * DAY, "p", 1, Cadence.WEEK),),
)
LANES = {"acme": (), "blue": (Lane("sub", timeline_of(BLUE)),)}
SUBJECTS = ("acme", "acme-2", "blue", "nobody")


class Sent(NamedTuple):
    """What happens: an event comes, or the one that came as number `of` is corrected."""

    what: str
    of: int
    n: int
    model: str
    subject: str
    day: int


happenings = st.lists(
    st.builds(
        Sent,
        st.sampled_from(("event", "event", "retract", "amend", "come back")),
        st.integers(0, 7),
        st.integers(-2, 3),
        st.sampled_from("ab"),
        st.sampled_from(SUBJECTS),
        st.integers(0, 4),
    ),
    max_size=16,
)


class World:
    """
    Live state and log of a namespace, as a node would have them, and what counts by brute force.

    Attributes:
        standing: Seq -> event and instant of what counts.
        gone: Seq -> the same of what was taken back and has not come back.
    """

    def __init__(self, counters: list[Counter], store: InProcess) -> None:
        self.live = fresh(counters)
        self.counters = counters
        self.store = store
        self.position = 0
        self.sent: list[int] = []
        self.standing: dict[int, tuple[Event, int]] = {}
        self.gone: dict[int, tuple[Event, int]] = {}

    def run(self, one: Sent) -> None:
        match one.what:
            case "event":
                self.send(one)
            case "retract" if (seq := self.one_of(self.standing, one.of)) is not None:
                event, at = self.standing[seq]
                self.correct(Change(seq, event, at))
            case "amend" if (seq := self.one_of(self.standing, one.of)) is not None:
                event, at = self.standing[seq]
                data = patched(event.data, {"n": one.n, "model": one.model})
                if not same_data(data, event.data):
                    self.correct(Change(seq, event, at, data=data))
            case "come back" if (seq := self.one_of(self.gone, one.of)) is not None:
                event, at = self.gone[seq]
                self.correct(Change(seq, event, at, retract=False, data=event.data))

    @staticmethod
    def one_of(held: dict[int, Any], number: int) -> int | None:
        return sorted(held)[number % len(held)] if held else None

    def send(self, one: Sent) -> None:
        at = START + one.day * DAY + len(self.sent) * HOUR // 7
        data = {"n": one.n, "model": one.model}
        event = Event(f"e{at}", "llm", one.subject, time=format_instant(at), data=data)
        members = {name: value for name, value in msgspec.structs.asdict(event).items() if value}
        self.position = self.store.append(entry([members]))
        self.sent.append(self.position)
        self.standing[self.position] = event, at
        self.live.fold_stored([(event, at)])

    def correct(self, change: Change) -> None:
        made = entry_of("default", START, change.facts(Why("cor", "key", "why")))
        facts = accepted_events(made)
        self.position = self.store.append(made)
        again = fold_correction(self.live, facts, [], START).again
        if change.retract:
            self.gone[change.seq] = self.standing.pop(change.seq)
        else:
            del self.gone[change.seq]
        if change.replacement is not None:
            self.gone.pop(change.seq, None)
            self.standing[self.position] = facts[-1], change.at
        for customer in again:
            self.fold_again(customer)

    def fold_again(self, customer: str) -> None:
        """What `services.rebuild` does, from what the store says."""
        spec = FoldSpec(
            "default",
            0,
            self.position,
            tuple(self.counters),
            (FoldAccount(CUSTOMERS[customer], LANES[customer]),),
            corrected=self.position,
        )
        self.live.put_customer(CUSTOMERS[customer], LANES[customer]).seen = True
        for key, lanes in self.store.fold(spec).items():
            history = [
                {start: self.live.layout.load_cells(cells) for start, cells in lane.items()}
                for lane in lanes
            ]
            self.live.merge(key, history, self.live.layout, self.live.layout.slots)


def fresh(counters: list[Counter]) -> LiveState:
    live = LiveState(counters)
    live.hooks_of = lambda _account, now: Hooks({}, now + DAY)
    for key, customer in CUSTOMERS.items():
        live.put_customer(customer, LANES[key])
    return live


def essence(live: LiveState) -> Any:
    dumped = dump_state(live, CUSTOMERS, {})
    accounts = {key: one.lanes for key, one in dumped.accounts.items()}
    return msgspec.json.encode((accounts, dumped.unmatched))


BEFORE_THE_FIRST_PERIOD = [
    Sent("event", 0, 3, "a", "blue", 0),
    Sent("event", 0, 2, "a", "blue", 3),
    Sent("retract", 0, 0, "a", "blue", 0),
]


@effort
@example(BEFORE_THE_FIRST_PERIOD, True)
@given(happenings, st.booleans())
def test_live_state_and_store_are_as_if_only_what_is_left_had_been_sent(
    story: list[Sent], with_others: bool
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = InProcess(Path(directory), seal_rows=5)
        world = World(ADDITIVE + OTHERS if with_others else ADDITIVE, store)
        for one in story:
            world.run(one)
        left = list(world.standing.values())

        expected = fresh(world.counters)
        expected.fold_stored(left)
        assert essence(world.live) == essence(expected)

        accounts = tuple(FoldAccount(one, LANES[key]) for key, one in CUSTOMERS.items())
        spec = FoldSpec("default", 0, world.position, tuple(world.counters), accounts)
        assert store.fold(spec) == refold(spec, left)
        for meter in (SUM, COUNT):
            rows = store.usage(UsageQuery("default", meter, (WHOLE,), world.position))
            numbers = [event.data["n"] if meter is SUM else 1 for event, _ in left if event.data]
            assert sum(row.value_pico for row in rows) == sum(numbers) * 10**12
            scope = LineScope("default", meter, SUBJECTS, WHOLE, world.position)
            ((counted,),) = store.recount([scope])
            assert (counted.value_pico, counted.events) == (sum(numbers) * 10**12, len(left))
        store.close()


@effort
@given(happenings, st.integers(0, 16))
def test_what_was_counted_at_an_earlier_position_is_counted_the_same_ever_after(
    story: list[Sent], cut: int
) -> None:
    """An invoice that was made then still verifies, whatever was corrected since."""
    with tempfile.TemporaryDirectory() as directory:
        store = InProcess(Path(directory), seal_rows=4)
        world = World(ADDITIVE, store)
        for one in story[:cut]:
            world.run(one)
        scopes = [
            LineScope("default", meter, SUBJECTS, WHOLE, world.position, group_by=("model",))
            for meter in (SUM, COUNT)
        ]
        then = store.recount(scopes)
        for one in story[cut:]:
            world.run(one)
        assert store.recount(scopes) == then
        store.close()
