"""The contract of `ports.EventStore`, run against every way to host it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.contract.event_store_world import (
    RECEIVED_AT,
    Hosted,
    InProcess,
    entry,
    leaf,
    slow_recount,
    slow_usage,
)
from tests.property.meter_strategies import every_kind

from taximeter.errors import Rejected, TaximeterError, Unavailable
from taximeter.events.entry import KIND_CONSUME, Entry
from taximeter.events.envelope import Format
from taximeter.instants import DAY, HOUR, format_instant, parse_instant
from taximeter.invoices.lineage import merkle_digest
from taximeter.live.refold import FoldSpec
from taximeter.meters.counter import Counter
from taximeter.meters.definition import Aggregation, Meter
from taximeter.meters.kinds import Mode, Per
from taximeter.periods import Period
from taximeter.ports import EventsQuery, LineScope, Recount, UsageQuery, UsageRow
from taximeter.quantities import E12

START = parse_instant("2026-11-20T00:00:00Z")
TODAY = Period(START, START + DAY)
HOSTILE = """x'); DROP TABLE tail; --" ' ` ; $p0 ? {0} 🚕"""

TOKENS = Meter(
    "tokens", "llm", Aggregation.SUM, "data.tokens", {"model": "data.model", "who": "subject"}
)
CALLS = Meter("calls", "llm", Aggregation.COUNT, None, {"model": "data.model"})


@pytest.fixture(params=[InProcess, Hosted])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    opened = request.param(tmp_path, seal_rows=8)
    yield opened
    opened.close()


def event(event_id: str, subject: str = "acme", at: int = START, **data: Any) -> dict[str, Any]:
    return {
        "id": event_id,
        "type": "llm",
        "subject": subject,
        "time": format_instant(at),
        "data": data,
    }


def usage_query(meter: Meter, upto: int, **fields: Any) -> UsageQuery:
    windows = fields.pop("windows", (TODAY,))
    return UsageQuery("default", meter, windows, upto, **fields)


def test_an_empty_store_has_no_usage_and_counts_nothing(store: Any) -> None:
    assert store.usage(usage_query(TOKENS, 0)) == []
    scopes = [LineScope("default", TOKENS, ("acme",), TODAY, 0)]
    assert store.recount(scopes) == [[Recount((), 0, 0, merkle_digest(()))]]
    assert store.events(EventsQuery("default", 0)) == []
    assert store.find("default", 0) is None


def test_usage_sees_everything_up_to_the_position_asked_for_and_nothing_behind(store: Any) -> None:
    first = store.append(entry([event("a", tokens=1), event("b", tokens=2)]))
    second = store.append(entry([event("c", tokens=4)]))
    assert store.usage(usage_query(TOKENS, first)) == [UsageRow(0, (), 3 * E12, 2)]
    assert store.usage(usage_query(TOKENS, second)) == [UsageRow(0, (), 7 * E12, 3)]
    assert store.usage(usage_query(TOKENS, first)) == [UsageRow(0, (), 3 * E12, 2)]


def test_only_accepted_items_are_stored_and_numbered_in_order(store: Any) -> None:
    items = [event("a", tokens=1), "null", event("c", tokens=2), event("d", tokens=4)]
    store.append(entry(items, format=Format.LINES, verdicts=b"\0\3\1\0"))
    upto = store.append(entry([event("a"), '"junk"', event("e", tokens=8)], verdicts=b"\2\3\0"))
    assert [(e.seq, e.event.id) for e in store.events(EventsQuery("default", upto))] == [
        (3, "e"),
        (2, "d"),
        (1, "a"),
    ]


def test_entries_without_accepted_events_take_no_place(store: Any) -> None:
    store.append(entry([event("a")]))
    store.append(Entry("default", RECEIVED_AT, Format.LINES, b"\1\1", b""))
    upto = store.append(entry([event("b")], format=Format.OBJECT))
    assert upto == 2
    assert store.find("default", 2).event.id == "b"


def test_consumed_events_are_events(store: Any) -> None:
    item = '{"id":"k","type":"llm","subject":"acme","data":{"tokens":3}}'
    body = f'{{"event":{item},"answer":{{"allowed":true}}}}'.encode()
    upto = store.append(
        Entry("default", RECEIVED_AT, Format.OBJECT, b"\0", body, kind=KIND_CONSUME)
    )
    assert store.usage(usage_query(TOKENS, upto)) == [UsageRow(0, (), 3 * E12, 1)]


def test_an_event_without_time_happened_when_it_was_received(store: Any) -> None:
    item = '{"id":"a","type":"llm","subject":"acme","source":null,"time":null}'
    store.append(entry([item]))
    found = store.find("default", 1)
    assert (found.time, found.event.time, found.event.source) == (RECEIVED_AT, None, "")
    assert found.event.data is None


def test_a_window_holds_its_start_but_not_its_end(store: Any) -> None:
    times = (START - 1, START, START + DAY - 1, START + DAY)
    upto = store.append(entry([event(str(i), at=t, tokens=1) for i, t in enumerate(times)]))
    assert store.usage(usage_query(TOKENS, upto)) == [UsageRow(0, (), 2 * E12, 2)]


def test_windows_may_be_of_any_length_and_leave_gaps(store: Any) -> None:
    times = (0, 5, 7, 100, DAY - 1)
    upto = store.append(entry([event(str(t), at=START + t, tokens=1) for t in times]))
    bounds = ((0, 5), (5, 6), (8, 90), (100, DAY - 1), (DAY - 1, 3 * DAY))
    windows = tuple(Period(START + a, START + b) for a, b in bounds)
    rows = store.usage(usage_query(TOKENS, upto, windows=windows))
    assert [(row.window, row.events) for row in rows] == [(0, 1), (1, 1), (3, 1), (4, 1)]


def test_usage_of_some_subjects_leaves_out_the_others(store: Any) -> None:
    items = [event(name, subject=name, tokens=1) for name in ("a", "b", "c")]
    upto = store.append(entry(items))
    rows = store.usage(usage_query(TOKENS, upto, subjects=("a", "c"), group_by=("who",)))
    assert [row.group for row in rows] == [("a",), ("c",)]
    assert store.usage(usage_query(TOKENS, upto, subjects=())) == []


def test_another_namespace_is_another_world(store: Any) -> None:
    store.append(entry([event("a", tokens=1)], namespace="other"))
    upto = store.append(entry([event("a", tokens=2)]))
    assert store.usage(usage_query(TOKENS, upto)) == [UsageRow(0, (), 2 * E12, 1)]
    assert store.find("default", 1) is None
    assert store.find("other", 1).event.data == {"tokens": 1}


def test_every_aggregation_answers_like_the_definition(store: Any) -> None:
    values = [3, "2.5", Decimal("-1.25"), "x", True, None, [], {"a": 1}, 3, "1e2", "3", 0]
    entries = [
        entry([event(str(i), at=START + (i - 3) * 10**6, tokens=value, b="ab"[i % 2])])
        for i, value in enumerate(values)
    ]
    upto = [store.append(one) for one in entries][-1]
    for meter in every_kind("llm", "data.tokens", {"model": "data.b"}):
        for group_by in ((), ("model",)):
            query = usage_query(meter, upto, group_by=group_by)
            assert set(store.usage(query)) == slow_usage(entries, query)
            scope = LineScope("default", meter, ("acme",), TODAY, upto, group_by=group_by)
            assert set(store.recount([scope])[0]) == slow_recount(entries, scope)


def test_rolling_windows_overlap(store: Any) -> None:
    entries = [entry([event(str(i), at=START + i * 700_000, tokens=i)]) for i in range(20)]
    upto = [store.append(one) for one in entries][-1]
    ends = range(START + 10**6, START + 12 * 10**6, 10**6)
    windows = tuple(Period(end - 3 * 10**6, end) for end in ends)
    for meter in every_kind("llm", "data.tokens", {"model": "data.b"}):
        query = usage_query(meter, upto, windows=windows)
        assert set(store.usage(query)) == slow_usage(entries, query)


def test_a_level_from_long_before_weighs_in_every_window_without_events(store: Any) -> None:
    gauge = Meter("m", "llm", Aggregation.WEIGHTED_SUM, "data.gb", mode=Mode.SET, per=Per.HOUR)
    upto = store.append(entry([event("a", at=START - 300 * DAY, gb=2)]))
    hours = tuple(Period(START + i * HOUR, START + (i + 1) * HOUR) for i in range(3))
    assert store.usage(usage_query(gauge, upto, windows=hours)) == [
        UsageRow(i, (), 2 * E12, 0) for i in range(3)
    ]
    scope = LineScope("default", gauge, ("acme",), hours[1], upto)
    assert store.recount([scope]) == [[Recount((), 2 * E12, 0, merkle_digest(()))]]


def test_sums_beyond_38_digits_stay_exact(store: Any) -> None:
    largest = "9" * 26 + "." + "9" * 12
    upto = store.append(entry([event(str(i), tokens=largest) for i in range(20)]))
    exact = 20 * (10**38 - 1)
    assert store.usage(usage_query(TOKENS, upto)) == [UsageRow(0, (), exact, 20)]
    average = Meter("m", "llm", Aggregation.AVG, "data.tokens")
    assert store.usage(usage_query(average, upto)) == [UsageRow(0, (), 10**38 - 1, 20)]


def test_member_names_differ_by_case(store: Any) -> None:
    upto = store.append(entry([event("1", tokens=1, Tokens=10, TOKENS=100)]))
    for path, expected in (("data.tokens", 1), ("data.Tokens", 10), ("data.TOKENS", 100)):
        meter = Meter("m", "llm", Aggregation.SUM, path)
        assert store.usage(usage_query(meter, upto)) == [UsageRow(0, (), expected * E12, 1)]


def test_hostile_text_is_only_text(store: Any) -> None:
    data = {"tokens": 1, "model": HOSTILE, HOSTILE: 1, "a.b": 2, "": 3}
    items = [event(HOSTILE, subject=HOSTILE, **data), event("b", tokens=2)]
    upto = store.append(entry(items, namespace=HOSTILE))
    query = UsageQuery(HOSTILE, TOKENS, (TODAY,), upto, (HOSTILE,), ("model",))
    assert store.usage(query) == [UsageRow(0, (HOSTILE,), E12, 1)]
    scope = LineScope(HOSTILE, TOKENS, (HOSTILE,), TODAY, upto, group_by=("model",))
    (found,) = store.line_events(scope, (HOSTILE,), 0, 10)
    assert (found.event.id, found.event.data) == (HOSTILE, data)
    assert store.recount([scope]) == [[Recount((HOSTILE,), E12, 1, merkle_digest([leaf(found)]))]]


def test_more_members_than_columns_are_all_counted(store: Any) -> None:
    items = [event(str(i), **{f"k{i}-{j}": i for j in range(30)}) for i in range(5)]
    upto = store.append(entry(items))
    for i in range(1, 5):
        meter = Meter("m", "llm", Aggregation.SUM, f"data.k{i}-29")
        assert store.usage(usage_query(meter, upto)) == [UsageRow(0, (), i * E12, 1)]


def test_an_unknown_dimension_is_refused_by_name(store: Any) -> None:
    with pytest.raises(Rejected, match="modle") as caught:
        store.usage(usage_query(TOKENS, 0, group_by=("modle",)))
    assert caught.value.code == "invalid_parameter"


def test_a_broken_filter_is_refused(store: Any) -> None:
    with pytest.raises(Rejected) as caught:
        store.usage(usage_query(TOKENS, 0, filter="data.model ="))
    assert caught.value.code == "invalid_filter"


def test_recounts_of_many_scopes_equal_each_counted_alone(store: Any) -> None:
    entries = [
        entry(
            [
                event(f"{i}", f"c{i % 7}", START + i * DAY // 40, tokens=i, model="ab"[i % 2])
                for i in range(first, first + 10)
            ]
        )
        for first in range(0, 60, 10)
    ]
    upto = [store.append(one) for one in entries][-1]
    scopes = [
        LineScope("default", meter, subjects, period, upto - i % 3, extra, group_by)
        for i, subjects in enumerate((("c0",), ("c1", "c2"), ("c0", "c6", "nobody"), ()))
        for meter, group_by in ((TOKENS, ("model", "who")), (TOKENS, ()), (CALLS, ("model",)))
        for extra in (None, "data.tokens >= 7")
        for period in (TODAY, Period(START + DAY, START + DAY), Period(START, START + 2 * DAY))
    ]
    counted = store.recount(scopes)
    for scope, groups in zip(scopes, counted, strict=True):
        assert set(groups) == slow_recount(entries, scope)
        assert [g.group for g in groups] == sorted(g.group for g in groups)


def test_line_events_are_exactly_the_leaves_of_the_digest(store: Any) -> None:
    items = [event(f"{i}", tokens=i if i % 3 else "?", model="ab"[i % 2]) for i in range(30)]
    upto = store.append(entry(items))
    scope = LineScope("default", TOKENS, ("acme",), TODAY, upto, group_by=("model",))
    for counted in store.recount([scope])[0]:
        found, after = [], 0
        while page := store.line_events(scope, counted.group, after, 4):
            found += page
            after = page[-1].seq
        assert len(found) == counted.events
        assert merkle_digest(map(leaf, found)) == counted.digest


def test_events_come_newest_first_in_pages(store: Any) -> None:
    upto = store.append(entry([event(f"{i}", "ab"[i % 2], START + i) for i in range(25)]))
    seen, before = [], None
    while page := store.events(EventsQuery("default", upto, ("a",), before=before, limit=4)):
        seen += [one.event.id for one in page]
        before = page[-1].seq
    assert seen == [str(i) for i in range(24, -1, -2)]
    within = EventsQuery("default", upto, None, "llm", START + 3, START + 5)
    assert [one.event.id for one in store.events(within)] == ["4", "3"]
    assert store.events(EventsQuery("default", upto, type="other")) == []


def test_scan_gives_each_event_of_the_types_once(store: Any) -> None:
    others = [event(f"x{i}") | {"type": "other"} for i in range(5)]
    store.append(entry([event(f"{i}", "ab"[i % 2], n=i) for i in range(20)] + others))
    upto = store.append(entry([event("later")])) - 1
    found = sorted((e.seq, e.event.data["n"]) for e in store.scan("default", upto, ["llm"]))
    assert found == [(i + 1, i) for i in range(20)]
    assert len(list(store.scan("default", upto, ["llm", "other"], ["a", "acme"]))) == 15
    assert list(store.scan("default", upto, [])) == []


def test_events_are_counted_by_subject_whatever_their_type(store: Any) -> None:
    first = [event("1"), event("2", "b"), event("3", "b") | {"type": "other"}]
    store.append(entry([*first, *(event(f"{i}", "c") for i in range(4, 14))]))
    upto = store.append(entry([event("x", "b")], namespace="elsewhere"))
    store.append(entry([event("later", "b")]))
    assert store.count_by_subject("default", upto, ["acme", "b", "nobody"]) == {"acme": 1, "b": 2}
    assert store.count_by_subject("default", 2, ["b"]) == {"b": 1}
    assert store.count_by_subject("default", upto, []) == {}


def test_fold_counts_the_events_between_two_positions(store: Any) -> None:
    upto = store.append(entry([event(f"{i}", tokens=i) for i in range(10)]))
    spec = FoldSpec("default", 2, upto, (Counter(TOKENS),), ())
    assert store.fold(spec) == {}


def test_answers_do_not_disturb_each_other(store: Any) -> None:
    upto = store.append(entry([event(f"{i}", tokens=1, model="m") for i in range(20)]))
    scope = LineScope("default", TOKENS, ("acme",), TODAY, upto, group_by=("model",))
    next(iter(store.scan("default", upto, ["llm"])))
    assert store.find("default", upto) is not None
    assert store.recount([scope])[0][0].events == 20
    assert store.find("default", 1) is not None
    assert store.usage(usage_query(TOKENS, upto, windows=(TODAY, Period(2**59, 2**60))))
    store.append(entry([event("more", tokens=1)]))
    assert store.find("default", upto + 1) is not None


def test_data_comes_back_as_it_was_decoded(store: Any) -> None:
    data = {"n": Decimal("1.25"), "big": 10**30, "deep": {"x": [1, {"y": None}]}, "t": "é😀\n"}
    upto = store.append(entry([event("a", **data)]))
    assert store.find("default", upto).event.data == data


def test_a_position_the_log_does_not_have_is_not_pretended(store: Any) -> None:
    store.append(entry([event("a")]))
    if isinstance(store, InProcess):  # a real log takes an unknown position for damage
        with pytest.raises(Unavailable) as caught:
            store.usage(usage_query(TOKENS, 2))
        assert caught.value.code == "position_not_reached"


# --- the process ------------------------------------------------------------------------------


@pytest.fixture
def hosted(tmp_path: Path) -> Iterator[Hosted]:
    opened = Hosted(tmp_path, seal_rows=8)
    yield opened
    opened.close()


def process_id(hosted: Hosted) -> int:
    process = hosted.process._process
    assert process is not None
    return int(process.pid)


def test_a_killed_store_is_started_again_and_open_questions_are_answered(hosted: Hosted) -> None:
    upto = hosted.append(entry([event(f"{i}", tokens=1) for i in range(20)]))
    assert hosted.usage(usage_query(TOKENS, upto)) == [UsageRow(0, (), 20 * E12, 20)]
    for _ in range(3):
        os.kill(process_id(hosted), signal.SIGKILL)
        assert hosted.usage(usage_query(TOKENS, upto)) == [UsageRow(0, (), 20 * E12, 20)]
    assert hosted.process.restarts == 3


def test_a_question_that_takes_too_long_does_not_block_the_next(hosted: Hosted) -> None:
    upto = hosted.append(entry([event("a", tokens=1)]))
    hosted.usage(usage_query(TOKENS, upto))
    os.kill(process_id(hosted), signal.SIGSTOP)
    with pytest.raises(Unavailable) as caught:
        hosted.wait(hosted.process.call("find", "default", 1, timeout_s=0.1))
    assert caught.value.code == "rebuilding"
    assert hosted.find("default", 1).event.id == "a"


def test_questions_beyond_the_bound_are_refused(tmp_path: Path) -> None:
    hosted = Hosted(tmp_path, max_pending=0)
    try:
        with pytest.raises(Unavailable) as caught:
            hosted.find("default", 1)
        assert caught.value.code == "overloaded"
    finally:
        hosted.close()


def test_a_defect_in_the_store_reaches_the_caller_as_internal(hosted: Hosted) -> None:
    with pytest.raises(TaximeterError) as caught:
        hosted.wait(hosted.process.call("find", "default", "no number"))
    assert caught.value.code == "internal"


def test_new_events_are_taken_in_without_being_asked_for(hosted: Hosted) -> None:
    upto = hosted.append(entry([event(f"{i}") for i in range(20)]))
    hosted.wait(_notified(hosted, upto))
    progress = hosted.process.progress
    assert (progress.sealed_position, progress.tail_rows, progress.files) == (20, 0, 1)
    assert progress.bytes > 0


async def _notified(hosted: Hosted, position: int) -> None:
    hosted.process.notify(position)
    while hosted.process.progress.position < position:
        await asyncio.sleep(0.01)


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    hosted = Hosted(tmp_path)
    hosted.close()
    with pytest.raises(Unavailable) as caught:
        asyncio.run(hosted.process.find("default", 1))
    assert caught.value.code == "shutting_down"


def test_the_store_process_ends_when_the_engine_does_not_close_it(tmp_path: Path) -> None:
    hosted = Hosted(tmp_path)
    upto = hosted.append(entry([event("a")]))
    assert hosted.find("default", upto) is not None
    process = hosted.process._process
    assert process is not None
    assert process.stdin is not None
    hosted.process._closing = True
    hosted._loop.call_soon_threadsafe(process.stdin.close)
    # 255 is what asyncio says when the supervisor's own look at the process was first.
    assert hosted.wait(process.wait()) in (0, 255)
    hosted.close()
