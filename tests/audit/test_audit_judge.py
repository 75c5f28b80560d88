"""The judge believes a right history, and finds whatever is changed in one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.audit.amounts import E12, pico, plain
from tests.audit.judge import Finding, judge, render
from tests.audit.record import Journal, Record, read_journal
from tests.audit.stand_in import history

OPERATIONS = 3_000
Change = Callable[[list[Record]], None]


def kinds(records: list[Record], booked_at: dict[int, int]) -> set[str]:
    return {finding.kind for finding in judge(records, booked_at).findings}


@pytest.fixture(scope="module")
def right() -> tuple[list[Record], dict[int, int]]:
    return history(OPERATIONS)


def test_a_right_history_has_no_finding_and_has_everything_in_it(right: Any) -> None:
    verdict = judge(*right)
    assert str(verdict) == ""
    done = {what.removesuffix(" done") for what in verdict.counts if what.endswith("done")}
    assert done >= {
        "consume", "event", "grant", "top_up", "void", "refund", "transfer", "reserve", "settle",
        "release", "extend",
    }  # fmt: skip
    refused = {what for what in verdict.counts if what.endswith("refused")}
    assert {"consume refused", "reserve refused", "settle refused", "refund refused"} <= refused
    fates = {fate for wallet in verdict.wallets.values() for fate in wallet.resolved.values()}
    assert fates == {"settled", "released", "lapsed"}


@pytest.mark.parametrize("seed", range(2, 6))
def test_overlapping_operations_near_an_expiry_are_no_finding(seed: int) -> None:
    assert str(judge(*history(OPERATIONS, seed))) == ""


def nth(records: list[Record], kind: str, n: int = 20, **ask: Any) -> Record:
    """The nth accepted operation of a kind."""
    found = [
        r
        for r in records
        if r.kind == kind and r.done and not r.repeat and ask.items() <= r.ask.items()
    ]
    return found[min(n, len(found) - 1)]


def balance_off_by_the_smallest_unit(records: list[Record]) -> None:
    answer = nth(records, "consume", 150).answer
    answer["balance_after"] = plain(pico(answer["balance_after"]) + 1)


def available_that_ignores_a_hold(records: list[Record]) -> None:
    answer = nth(records, "reserve", 50).answer
    answer["available_after"] = answer["balance_after"]


def a_seq_given_twice(records: list[Record]) -> None:
    nth(records, "grant", 3).answer["seq"] = nth(records, "grant", 9).seq


def two_answers_swapped(records: list[Record]) -> None:
    """Far apart in time, so neither place can be right."""
    first, other = nth(records, "event", 5), nth(records, "event", 60)
    first.answer["seq"], other.answer["seq"] = other.seq, first.seq


def a_debit_that_never_was(records: list[Record]) -> None:
    records.remove(nth(records, "consume", 100))


def an_event_that_was_not_burned(records: list[Record]) -> None:
    records.remove(nth(records, "event", 10, feature="chat"))


def a_refusal_where_there_was_enough(records: list[Record]) -> None:
    record = nth(records, "consume", 120)
    position = {"position": f"0:{(record.seq or 0) - 1}"}
    record.answer = {"allowed": False, "reason": "insufficient_credit", "as_of": position}


def a_hold_settled_twice(records: list[Record]) -> None:
    later = nth(records, "release", 40)
    settled = [r for r in records if r.kind == "settle" and r.done and r.wallet == later.wallet]
    later.ask["hold"] = settled[0].ask["hold"]


def another_answer_to_a_repetition(records: list[Record]) -> None:
    repeated = [r for r in records if r.repeat == "again" and r.kind == "consume"]
    repeated[3].answer = repeated[3].answer | {"seq": 99_999}


def a_conflict_that_was_taken(records: list[Record]) -> None:
    conflict = next(r for r in records if r.repeat == "conflict" and r.kind != "event")
    conflict.status, conflict.answer = 200, {"seq": 99_999}


def a_hold_that_lives_too_long(records: list[Record]) -> None:
    nth(records, "reserve", 30, ttl=3).ask["ttl"] = 4


def a_refund_of_more_than_was_free(records: list[Record]) -> None:
    record = nth(records, "refund", 3)
    record.ask["amount"] = plain(pico(record.ask["amount"]) + 1_000_000 * E12)


def grants_that_ended_too_early(records: list[Record]) -> None:
    """Each was to live 50 ms longer than the server let it."""
    for record in records:
        if record.kind == "grant" and record.ask["expires_at"]:
            record.ask["expires_at"] += 50_000


CHANGES: list[tuple[Change, str]] = [
    (balance_off_by_the_smallest_unit, "wrong balance_after"),
    (available_that_ignores_a_hold, "wrong available_after"),
    (a_seq_given_twice, "seq given twice"),
    (two_answers_swapped, "order against real time"),
    (a_debit_that_never_was, "wrong balance_after"),
    (an_event_that_was_not_burned, "wrong balance_after"),
    (a_refusal_where_there_was_enough, "refused, but there was enough"),
    (a_hold_settled_twice, "resolved twice"),
    (another_answer_to_a_repetition, "repeated, another answer"),
    (a_conflict_that_was_taken, "conflict not refused"),
    (a_hold_that_lives_too_long, "holds for another time"),
    (a_refund_of_more_than_was_free, "refunded what was not there"),
    (grants_that_ended_too_early, "wrong balance_after"),
]


@pytest.mark.parametrize(("change", "kind"), CHANGES, ids=[c.__name__ for c, _ in CHANGES])
def test_one_changed_answer_is_found(change: Change, kind: str, right: Any) -> None:
    records = msgspec.convert(msgspec.to_builtins(right[0]), list[Record])
    change(records)
    found = kinds(records, right[1])
    assert kind in found, found


def test_an_event_booked_outside_of_its_span_is_found(right: Any) -> None:
    records, booked_at = right
    seq = nth(records, "event", 30).seq
    assert seq is not None
    moved = booked_at | {seq: booked_at[seq] - 1_000_000}
    assert "booked at another time" in kinds(records, moved)


def test_a_wallet_that_went_wrong_is_not_judged_further(right: Any) -> None:
    records = msgspec.convert(msgspec.to_builtins(right[0]), list[Record])
    balance_off_by_the_smallest_unit(records)
    verdict = judge(records, right[1])
    assert len(verdict.findings) == 1
    assert verdict.untold > 0


def test_a_journal_reads_back_what_was_written(tmp_path: Any, right: Any) -> None:
    journal = Journal(tmp_path / "j")
    for record in right[0][:250]:
        journal.write(record)
    journal.close()
    encode = msgspec.json.encode
    assert encode(list(read_journal(tmp_path / "j"))) == encode(right[0][:250])


def test_a_report_tells_a_few_of_each_kind_and_counts_the_rest() -> None:
    findings = [Finding("a", str(n)) for n in range(5)] + [Finding("b", "x")]
    assert render(findings).splitlines() == [
        "a: 5", "  0", "  1", "  2", "  ... and 2 more", "b: 1", "  x",
    ]  # fmt: skip
