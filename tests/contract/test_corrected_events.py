"""The contract of `ports.EventStore` about events that were taken back or replaced."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.contract.event_store_world import RECEIVED_AT, Hosted, InProcess, entry

from taximeter.corrections.entry import entry_of
from taximeter.corrections.facts import SOURCE, Change, Why, replacement_id, retraction_id
from taximeter.customers import Customer
from taximeter.errors import Rejected
from taximeter.events.envelope import Event
from taximeter.instants import DAY, format_instant, parse_instant
from taximeter.live.refold import FoldAccount, FoldSpec
from taximeter.meters.counter import Counter
from taximeter.meters.definition import Aggregation, Meter
from taximeter.periods import Period
from taximeter.ports import EventsQuery, LateQuery, LateRow, LineScope, Selection, UsageQuery
from taximeter.quantities import E12

START = parse_instant("2026-11-20T00:00:00Z")
TODAY = Period(START, START + DAY)
TOKENS = Meter("tokens", "llm", Aggregation.SUM, "data.tokens")
PEAK = Meter("peak", "llm", Aggregation.MAX, "data.tokens")
WHY = Why("cor_1", "key_owner", "sent twice")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Any]:
    opened = InProcess(tmp_path, seal_rows=3)
    yield opened
    opened.close()


@pytest.fixture
def hosted(tmp_path: Path) -> Iterator[Any]:
    opened = Hosted(tmp_path, seal_rows=3)
    yield opened
    opened.close()


def item(event_id: str, tokens: Any, subject: str = "acme", **data: Any) -> dict[str, Any]:
    return {
        "id": event_id,
        "type": "llm",
        "subject": subject,
        "time": format_instant(START),
        "data": {"tokens": tokens, **data},
    }


def change(seq: int, tokens: int, new: int | None = None, *, retract: bool = True) -> Change:
    event = Event(f"e{seq}", "llm", "acme", data={"tokens": tokens})
    data = msgspec.UNSET if new is None else {"tokens": new}
    return Change(seq, event, START, retract=retract, data=data)


def correct(store: Any, *changes: Change) -> int:
    facts = [fact for one in changes for fact in one.facts(WHY)]
    position: int = store.append(entry_of("default", RECEIVED_AT, facts))
    return position


def used(store: Any, upto: int, meter: Meter = TOKENS) -> int:
    rows = store.usage(UsageQuery("default", meter, (TODAY,), upto))
    total: int = sum(row.value_pico for row in rows) // E12
    return total


def recounted(store: Any, upto: int) -> Any:
    ((counted,),) = store.recount([LineScope("default", TOKENS, ("acme",), TODAY, upto)])
    return counted


def line(store: Any, upto: int) -> list[str]:
    scope = LineScope("default", TOKENS, ("acme",), TODAY, upto)
    return [one.event.id for one in store.line_events(scope, (), 0, 100)]


def test_a_retracted_event_is_left_out_from_its_retraction_on_and_not_before(store: Any) -> None:
    before = store.append(entry([item("e1", 1), item("e2", 2), item("e3", 4)]))
    first = recounted(store, before)
    after = correct(store, change(2, 2))
    assert (used(store, before), used(store, after)) == (7, 5)
    assert recounted(store, before) == first
    assert (recounted(store, after).value_pico, recounted(store, after).events) == (5 * E12, 2)
    assert (line(store, before), line(store, after)) == (["e1", "e2", "e3"], ["e1", "e3"])
    assert store.count_by_subject("default", after, ("acme",)) == {"acme": 2}
    assert sorted(e.event.id for e in store.scan("default", after, ("llm",))) == ["e1", "e3"]


def test_what_was_ever_accepted_can_be_asked_for(store: Any) -> None:
    store.append(entry([item("e1", 1), item("e2", 2)]))
    upto = correct(store, change(2, 2))
    query = UsageQuery("default", TOKENS, (TODAY,), upto, corrected=False)
    assert [row.events for row in store.usage(query)] == [2]


def test_an_amended_event_counts_with_its_new_data_at_its_own_time(store: Any) -> None:
    before = store.append(entry([item("e1", 1), item("e2", 2)]))
    after = correct(store, change(2, 2, new=30))
    assert (used(store, before), used(store, after)) == (3, 31)
    (first, second) = store.select(Selection("default", after, 10, standing=True))
    assert (first.event.id, first.retracted_by, first.replaced_by) == ("e1", None, None)
    assert (second.event.source, second.event.id) == (SOURCE, replacement_id(2))
    assert (second.time, second.event.data) == (START, {"tokens": 30})


def test_what_became_of_an_event_is_told_as_of_a_position(store: Any) -> None:
    before = store.append(entry([item("e1", 1), item("e2", 2)]))
    after = correct(store, change(1, 1, new=5), change(2, 2))
    shown = {one.event.id: one for one in store.events(EventsQuery("default", after))}
    assert (shown["e1"].retracted_by, shown["e1"].replaced_by) == (3, 4)
    assert (shown["e2"].retracted_by, shown["e2"].replaced_by) == (5, None)
    assert retraction_id(1) not in shown  # a fact about usage, and no usage
    (earlier, _) = store.select(Selection("default", before, 10, seqs=(1, 2)))
    assert (earlier.retracted_by, earlier.replaced_by) == (None, None)


def test_an_event_that_was_taken_back_can_come_back(store: Any) -> None:
    store.append(entry([item("e1", 1), item("e2", 2)]))
    gone = correct(store, change(2, 2))
    back = correct(store, change(2, 2, new=2, retract=False))
    assert (used(store, gone), used(store, back)) == (1, 3)
    (shown,) = store.select(Selection("default", back, 10, seqs=(2,)))
    assert (shown.retracted_by, shown.replaced_by) == (gone, back)


def test_only_entries_of_corrections_take_anything_back(store: Any) -> None:
    """Whoever could send such an event in former times has corrected nothing by it."""
    store.append(entry([item("e1", 1)]))
    forged = {**item(retraction_id(1), 0), "source": SOURCE, "type": "taximeter.retraction"}
    upto = store.append(entry([forged]))
    assert used(store, upto) == 1


def test_a_process_of_its_own_answers_alike(hosted: Any) -> None:
    """What it is asked goes over a pipe."""
    test_what_became_of_an_event_is_told_as_of_a_position(hosted)


def test_a_fold_of_a_process_of_its_own_waits_for_the_corrections(hosted: Any) -> None:
    test_a_fold_of_slices_is_corrected_as_a_whole(hosted)


def test_corrections_survive_sealed_files_and_a_new_start(tmp_path: Path) -> None:
    store = InProcess(tmp_path, seal_rows=2)
    store.append(entry([item("e1", 1), item("e2", 2), item("e3", 4)]))
    upto = correct(store, change(2, 2), change(3, 4, new=8))
    assert used(store, upto) == 9
    while store.store.compact():
        pass
    store.store.seal()
    store.close()
    again = InProcess(tmp_path, seal_rows=2)
    again.log = store.log
    again.store._read_log = store.log.read
    assert (used(again, 3), used(again, upto), recounted(again, upto).events) == (7, 9, 2)
    again.close()


def test_a_selection_is_bounded_and_filtered(store: Any) -> None:
    items = [item(f"e{n}", n, subject="a" if n % 2 else "b", model="m") for n in range(1, 7)]
    upto = store.append(entry(items))

    def ids(**wanted: Any) -> list[str]:
        found = store.select(Selection("default", upto, wanted.pop("limit", 10), **wanted))
        return [one.event.id for one in found]

    assert ids(filter="data.tokens > 4") == ["e5", "e6"]
    assert ids(subjects=("a",), limit=2) == ["e1", "e3"]
    assert ids(first=2, last=3) == ["e2", "e3"]
    assert ids(seqs=(6, 1)) == ["e1", "e6"]
    assert ids(start=START + 1) == [] == ids(type="other")
    with pytest.raises(Rejected, match="expected a literal"):
        ids(filter="data.tokens >")


def test_a_fold_of_slices_is_corrected_as_a_whole(store: Any) -> None:
    """A later slice holds the retraction of an event in an earlier one."""
    store.append(entry([item("e1", 1), item("e2", 50), item("e3", 4)]))
    upto = correct(store, change(2, 50, new=9))
    counters = (Counter(TOKENS), Counter(PEAK))
    accounts = (FoldAccount(Customer("acme")),)

    def fold(after: int, end: int, **fields: Any) -> Any:
        spec = FoldSpec("default", after, end, counters, accounts, corrected=upto, **fields)
        return next(iter(store.fold(spec)["acme"][0].values()))

    def pico(tokens: int) -> str:
        return str(tokens * E12)

    assert fold(0, 3) == [[2, pico(5)], [2, pico(4)]]
    assert fold(0, 3, without=frozenset({3})) == [[1, pico(1)], [1, pico(1)]]
    assert fold(3, upto) == [[1, pico(9)], [1, pico(9)]]


def test_news_about_the_past_is_told_by_subject_type_and_day(store: Any) -> None:
    """What arrived, or was taken back, in a span of the log with a time before an instant."""
    store.append(entry([item("a", 1), item("b", 2, subject="beta")]))
    late = [item("c", 3), item("d", 4) | {"time": format_instant(START - DAY)}]
    store.append(entry([*late, item("e", 5) | {"time": format_instant(START + DAY)}]))
    store.append(entry_of("default", RECEIVED_AT, change(1, 1, 9).facts(WHY)))
    query = LateQuery("default", 2, 7, START + DAY)
    assert store.late(query) == [
        LateRow("acme", "llm", START - DAY, START - DAY, 1, 0, 4),
        LateRow("acme", "llm", START, START, 2, 1, 7),
    ]
    assert store.late(msgspec.structs.replace(query, subjects=("beta",))) == []
    assert store.late(msgspec.structs.replace(query, after=7)) == []
    (beta,) = store.late(msgspec.structs.replace(query, after=0, subjects=("beta",)))
    assert (beta.events, beta.position) == (1, 2)
