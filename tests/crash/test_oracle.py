"""The oracle must be able to fail: every fault it is there for is seeded here and found."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from tests.crash.oracle_compare import (
    Content,
    Difference,
    Identity,
    Observed,
    compare,
    exact_json,
    expect,
    parse_event,
    render,
    usage_of,
    used_of,
)
from tests.crash.oracle_fake import FAULTS
from tests.crash.oracle_journal import JournalWriter, Receipt, Request, read_journal
from tests.crash.oracle_programme import Programme, run, start_fake
from tests.crash.oracle_workload import Item, Kind, Workload, encode

BASE = datetime(2026, 11, 20, 10, tzinfo=UTC)
PERIOD = (datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
STATUS = {
    Kind.NEW: "accepted",
    Kind.REPEAT: "duplicate",
    Kind.CONFLICT: "conflict",
    Kind.TOO_OLD: "rejected",
}


def a_perfect_run(seed: int = 1, requests: int = 8) -> list[Request]:
    """Journals of one client that was answered at once and rightly, every time."""
    workload = Workload(seed, 0, BASE)
    made = []
    position = 0
    for number in range(1, requests + 1):
        items = workload.next_request()
        receipts = []
        for item in items:
            position += item.kind is Kind.NEW
            place = f"0:{position}" if item.kind is Kind.NEW else None
            receipts.append(Receipt(STATUS[item.kind], place))
        made.append(Request("client-0", number, items, receipts=receipts))
    return made


def seen(requests: Sequence[Request]) -> Observed:
    """What a server shows that kept exactly what it must."""
    stored = expect(requests).stored
    return show(list(stored.items()))


def show(events: Sequence[tuple[Identity, Content]]) -> Observed:
    contents = [content for _, content in events]
    return Observed(events, usage_of(contents), used_of(contents, PERIOD), PERIOD)


def judge(requests: Sequence[Request], observed: Observed) -> list[Difference]:
    return compare(expect(requests), observed)


def kinds(differences: Sequence[Difference]) -> list[str]:
    return [difference.kind for difference in differences]


def one_event(**changes: str | int) -> str:
    event = {
        "id": "e1", "source": "s", "subject": "customer-1", "time": "2026-11-20T09:00:00.000001Z",
        "model": "opus", "input_tokens": 10, "cost": "0.5", "user": "u1",
    }  # fmt: skip
    return encode(**(event | changes))  # type: ignore[arg-type]


def answered(kind: Kind, text: str, status: str, position: str | None = None) -> Request:
    return Request("client-0", 1, [Item(kind, text)], receipts=[Receipt(status, position)])


def test_a_server_that_kept_its_promises_shows_no_difference() -> None:
    requests = a_perfect_run()
    sent = {item.kind for request in requests for item in request.items}
    assert sent == set(Kind), "the run must hold every kind of item to mean anything"
    assert judge(requests, seen(requests)) == []


def test_an_acknowledged_event_that_is_gone_is_lost_and_its_history_is_told() -> None:
    requests = a_perfect_run()
    right = seen(requests)
    [(identity, _), *rest] = right.events
    found = judge(requests, show(rest))
    assert kinds(found) == ["lost", "totals"]
    assert identity[1] in found[0].text
    assert "as new: accepted at 0:1" in found[0].text


def test_an_event_stored_twice_is_found() -> None:
    requests = a_perfect_run()
    right = seen(requests)
    assert kinds(judge(requests, show([*right.events, right.events[3]]))) == [
        "stored twice",
        "totals",
    ]


def test_an_event_nobody_sent_is_a_phantom() -> None:
    requests = a_perfect_run()
    right = seen(requests)
    invented = (("client-0", "nobody"), right.events[0][1])
    found = judge(requests, show([*right.events, invented]))
    assert kinds(found) == ["phantom", "totals"]
    assert "never sent" in found[0].text


def test_a_rejected_event_that_is_stored_all_the_same_is_a_phantom() -> None:
    requests = a_perfect_run()
    rejected = next(i for r in requests for i in r.items if i.kind is Kind.TOO_OLD)
    stored = parse_event(exact_json(rejected.text))
    found = judge(requests, show([*seen(requests).events, stored]))
    assert kinds(found)[0] == "phantom"
    assert "as too_old: rejected" in found[0].text


def test_the_content_of_a_conflict_must_not_replace_the_first() -> None:
    requests = a_perfect_run()
    conflict = next(i for r in requests for i in r.items if i.kind is Kind.CONFLICT)
    identity, other = parse_event(exact_json(conflict.text))
    events = [
        (key, other if key == identity else content) for key, content in seen(requests).events
    ]
    found = judge(requests, show(events))
    assert kinds(found) == ["wrong content", "totals"]
    assert "input_tokens" in found[0].text


@pytest.mark.parametrize("meter", ["requests", "input_tokens", "cost", "peak", "users"])
def test_a_counter_off_by_the_smallest_unit_is_found_and_named(meter: str) -> None:
    requests = a_perfect_run()
    right = seen(requests)
    cell = (meter, "customer-1", "opus")
    wrong = {**right.usage, cell: right.usage[cell] + Decimal("0.000000001")}
    [found] = judge(requests, dataclasses.replace(right, usage=wrong))
    assert found.text.startswith(f"{meter} of customer-1, model opus: must be ")
    assert found.text.endswith("(+0.000000001)")


def test_a_total_that_is_not_shown_at_all_is_found() -> None:
    requests = a_perfect_run()
    right = seen(requests)
    usage = {cell: value for cell, value in right.usage.items() if cell != ("cost", None, None)}
    assert kinds(judge(requests, dataclasses.replace(right, usage=usage))) == ["wrong usage"]


def test_a_check_that_counted_something_twice_is_found() -> None:
    requests = a_perfect_run()
    right = seen(requests)
    used = {**right.used, "customer-2": right.used["customer-2"] + 1}
    [found] = judge(requests, dataclasses.replace(right, used=used))
    assert (found.kind, found.customer) == ("wrong check", "customer-2")


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("status", ["accepted", "duplicate", "conflict", "rejected"])
def test_each_kind_of_item_has_one_right_verdict(kind: Kind, status: str) -> None:
    found = expect([answered(kind, one_event(), status)]).faults
    assert kinds(found) == ([] if status == STATUS[kind] else ["wrong verdict"])


def test_an_event_without_an_answer_may_turn_out_to_be_a_duplicate_of_itself() -> None:
    request = answered(Kind.NEW, one_event(), "duplicate")
    request.unknown.append("ConnectionResetError")
    assert expect([request]).faults == []
    assert kinds(judge([request], show([]))) == ["lost", "totals"]


def test_a_request_that_was_never_answered_fails_the_run() -> None:
    request = Request("client-0", 1, [Item(Kind.NEW, one_event())], ["TimeoutError"])
    assert kinds(judge([request], show([]))) == ["unanswered"]


def test_a_position_given_to_two_events_is_found() -> None:
    requests = [
        answered(Kind.NEW, one_event(id="e1"), "accepted", "0:7"),
        answered(Kind.NEW, one_event(id="e2"), "accepted", "0:7"),
    ]
    assert kinds(expect(requests).faults) == ["position reused"]


def test_numbers_are_the_same_content_however_they_are_written() -> None:
    written = [parse_event(exact_json(one_event(cost=cost))) for cost in ("1.50", "1.5", "15e-1")]
    assert len(set(written)) == 1
    assert parse_event(exact_json(one_event(cost="1.500000001"))) not in written


def test_usage_by_brute_force_equals_what_a_person_adds_up() -> None:
    texts = [
        one_event(id="e1", input_tokens=10, cost="0.1"),
        one_event(id="e2", input_tokens=30, cost="0.2"),
        one_event(id="e3", input_tokens=20, cost="0.4", model="haiku", user="u2"),
        one_event(id="e4", input_tokens=5, cost="0.8", subject="user-of-customer-2"),
    ]
    usage = usage_of(parse_event(exact_json(text))[1] for text in texts)
    assert usage["requests", None, None] == 4
    assert usage["cost", "customer-1", None] == Decimal("0.7")
    assert usage["cost", "customer-1", "opus"] == Decimal("0.3")
    assert usage["peak", "customer-1", None] == 30
    assert usage["users", "customer-1", None] == 2
    assert usage["input_tokens", "customer-2", "opus"] == 5


def test_used_counts_from_the_start_of_the_period_until_but_not_at_its_end() -> None:
    edges = [PERIOD[0] - timedelta(microseconds=1), PERIOD[0], PERIOD[1]]
    contents = [
        parse_event(exact_json(one_event(time=edge.isoformat(), input_tokens=10**place)))[1]
        for place, edge in enumerate(edges)
    ]
    assert used_of(contents, PERIOD)["customer-1"] == 10


def test_the_same_seed_makes_the_same_requests_and_another_seed_does_not() -> None:
    def first(seed: int, client: int) -> list[Item]:
        workload = Workload(seed, client, BASE)
        return [item for _ in range(3) for item in workload.next_request()]

    assert first(5, 0) == first(5, 0)
    assert first(5, 0) != first(6, 0)
    assert first(5, 0) != first(5, 1)


def test_a_journal_reads_back_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "client-3.jsonl"
    journal = JournalWriter(path)
    items = [Item(Kind.NEW, one_event()), Item(Kind.REPEAT, one_event())]
    receipts = [Receipt("accepted", "0:1"), Receipt("duplicate", None)]
    journal.intend(1, 1, items)
    journal.unknown(1, 1, "BrokenPipeError")
    journal.intend(1, 2, items)
    journal.answered(1, 2, receipts)
    journal.intend(2, 1, items[:1])
    assert list(read_journal(path)) == [
        Request("client-3", 1, items, ["BrokenPipeError"], receipts),
        Request("client-3", 2, items[:1]),
    ]


def test_a_report_shows_a_few_of_each_kind_and_counts_the_rest() -> None:
    many = [Difference("lost", f"event {number}") for number in range(10)]
    text = render([*many, Difference("phantom", "event x")])
    assert text.splitlines() == [
        "lost: 10",
        "  event 0",
        "  event 1",
        "  event 2",
        "  ... and 7 more",
        "phantom: 1",
        "  event x",
    ]


FAKE = Programme(seed=3, kills=1, clients=2, window_s=(0.0, 0.1), answers=10, pause_ms=2)
FOUND_AS = {
    "early_ack": "lost",
    "forget_identities": "stored twice",
    "invent_event": "phantom",
    "last_content_wins": "wrong content",
    "count_repeats": "wrong check",
    "reuse_positions": "position reused",
}


@pytest.mark.slow
def test_the_whole_programme_finds_nothing_wrong_with_a_right_server(tmp_path: Path) -> None:
    outcome = run(FAKE, start_fake("none"), tmp_path)
    assert outcome.expected.counts["accepted"] > 0
    assert render(outcome.differences) == ""


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_the_whole_programme_finds_a_server_that_breaks_one_promise(
    fault: str, tmp_path: Path
) -> None:
    outcome = run(FAKE, start_fake(fault), tmp_path)
    assert FOUND_AS[fault] in kinds(outcome.differences), str(outcome)
