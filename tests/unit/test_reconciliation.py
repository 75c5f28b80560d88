"""Gaps: which cause a difference has, which of two counts is wrong, what a gap holds back."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from msgspec.structs import replace

from taximeter.periods import Period
from taximeter.reconciliation.compare import (
    Count,
    LineFacts,
    at_fault,
    cause_of_counts,
    cause_of_line,
)
from taximeter.reconciliation.gap import AUTOMATIC, Cause, Gap, Repair, Stage, dump_gap

PERIOD = Period(1_000, 2_000)
GAP = Gap(
    upstream=Stage.ACCEPTED,
    downstream=Stage.COUNTED,
    cause=Cause.MISSING,
    expected=Fraction(1000),
    found=Fraction(999),
    unit="token",
    detail="One is missing.",
    repair=Repair.REBUILD_ACCOUNT,
    customer="acme",
    meter="tokens",
    period=PERIOD,
)
LINE = LineFacts(3, "sha256:ab", Fraction(10), Fraction("1.00"), "explained")


@pytest.mark.parametrize(
    ("found", "cause"),
    [
        (Count(2, 10), Cause.MISSING),
        (Count(4, 10), Cause.DUPLICATE),
        (Count(3, 11), Cause.CODE),
    ],
)
def test_counts_differ_by_their_events_first(found: Count, cause: Cause) -> None:
    assert cause_of_counts(Count(3, 10), found) is cause


@pytest.mark.parametrize(
    ("change", "transformed", "cause"),
    [
        ({}, False, None),
        ({"events": 4}, False, Cause.MISSING),
        ({"events": 2}, False, Cause.DUPLICATE),
        ({"digest": "sha256:cd"}, False, Cause.CODE),
        ({"quantity": Fraction(11)}, False, Cause.CODE),
        ({"quantity": Fraction(11)}, True, Cause.UNIT),
        ({"amount": Fraction("1.01")}, False, Cause.RATE),
        ({"explained": "otherwise"}, False, Cause.RATE),
        ({"events": 4, "quantity": Fraction(11), "amount": Fraction(2)}, True, Cause.MISSING),
    ],
)
def test_the_cause_of_a_line_is_the_first_thing_that_differs_from_events_to_amount(
    change: dict[str, Any], transformed: bool, cause: Cause | None
) -> None:
    assert cause_of_line(LINE, replace(LINE, **change), transformed=transformed) is cause


def test_whoever_differs_from_the_log_is_at_fault_and_it_may_be_both() -> None:
    right, wrong, other = Count(3, 10), Count(2, 9), Count(1, 1)
    assert at_fault(live=wrong, store=right, log=right).live
    assert not at_fault(live=wrong, store=right, log=right).store
    assert at_fault(live=right, store=wrong, log=right).store
    both = at_fault(live=wrong, store=other, log=right)
    assert (both.live, both.store) == (True, True)


def test_the_same_gap_has_the_same_id_and_another_one_another() -> None:
    assert GAP.id == replace(GAP, detail="In other words.").id
    changes: list[dict[str, Any]] = [
        {"found": Fraction(998)}, {"customer": "bolt"}, {"period": Period(1_000, 2_001)},
        {"target": "model=opus"}, {"cause": Cause.CODE}, {"meter": None},
    ]  # fmt: skip
    ids = {GAP.id, *(replace(GAP, **change).id for change in changes)}
    assert len(ids) == len(changes) + 1


def test_a_gap_of_exactly_the_tolerance_passes_and_one_beyond_does_not() -> None:
    assert not GAP.exceeds(Fraction(1, 1000))
    assert GAP.exceeds(Fraction(1, 1001))
    assert GAP.exceeds(Fraction(0))
    more_than_nothing = replace(GAP, expected=Fraction(0), found=Fraction(1))
    assert more_than_nothing.exceeds(Fraction(1)), "no share of nothing is something"
    assert replace(GAP, found=GAP.expected).exceeds(Fraction(1)), "it differs in something else"


def test_it_holds_back_the_periods_of_its_customer_that_it_lies_in() -> None:
    nothing = Fraction(0)
    assert GAP.blocks(nothing, "acme", PERIOD)
    assert GAP.blocks(nothing, "acme", Period(1_999, 3_000))
    assert not GAP.blocks(nothing, "acme", Period(2_000, 3_000)), "half-open (K1)"
    assert not GAP.blocks(nothing, "bolt", PERIOD)
    assert not GAP.blocks(Fraction(1, 1000), "acme", PERIOD)
    assert not replace(GAP, period=None).blocks(nothing, "acme", PERIOD)
    for cause in (Cause.LATE, Cause.UNMATCHED, Cause.QUARANTINED, Cause.ALTERED):
        assert not replace(GAP, cause=cause).blocks(nothing, "acme", PERIOD), cause


def test_quantities_are_shown_exactly() -> None:
    shown = dump_gap(replace(GAP, found=Fraction("999.000000000001")), Fraction(0))
    assert (shown["expected"], shown["found"]) == ("1000", "999.000000000001")
    assert shown["difference"] == "-0.999999999999"
    assert (shown["automatic"], shown["blocks"]) == (True, True)


def test_what_takes_a_person_is_not_automatic() -> None:
    persons = set(Repair) - AUTOMATIC
    assert persons == {Repair.ADJUST, Repair.RESEND, Repair.CLAIM_SUBJECT, Repair.LOOK}
