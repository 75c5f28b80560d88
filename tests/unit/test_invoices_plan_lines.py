"""What a plan adds to its lines: commitment, then minimum or maximum; all rounded (K4, K10)."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taximeter.catalog.plan_terms import Commitment, CommitmentMode, Per
from taximeter.instants import DAY, parse_instant
from taximeter.invoices.invoice import Kind, Line
from taximeter.invoices.plan_lines import PlanTerms, TermPlace, drawn_minor, plan_lines
from taximeter.periods import Period
from taximeter.quantities import E12
from taximeter.rating import Proration

NOVEMBER = Period(parse_instant("2026-11-01T00:00:00Z"), parse_instant("2026-12-01T00:00:00Z"))
MIDDLE = parse_instant("2026-11-16T00:00:00Z")
PREPAID = CommitmentMode.PREPAID


def line(
    amount: int, price: str = "pro/tokens@1", kind: Kind = Kind.USAGE, start: int = NOVEMBER.start
) -> Line:
    return Line(
        id="line_1",
        kind=kind,
        description="",
        price=price,
        period=Period(start, NOVEMBER.end),
        quantity_pico=E12,
        amount_minor=amount,
    )


def terms(**members: object) -> PlanTerms:
    whole = {"name": "pro", "version": 1, "period": NOVEMBER, "days": Proration(30, 30)}
    return PlanTerms(**(whole | members))  # type: ignore[arg-type]


def added(lines: list[Line], *plans: PlanTerms, currency: str = "USD") -> list[tuple[Kind, int]]:
    found = plan_lines(plans, lines, currency)
    assert list(found[: len(lines)]) == lines
    return [(one.kind, one.amount_minor) for one in found[len(lines) :]]


def test_a_minimum_counts_every_line_of_the_plan_and_its_addons() -> None:
    fee = line(3000, "pro/base@1", Kind.FLAT)
    boost = line(1000, "pro+boost/calls@1")
    assert added([fee, line(500), boost], terms(minimum=Fraction(50))) == [(Kind.MINIMUM, 500)]


def test_a_line_of_another_plan_or_of_another_period_does_not_count() -> None:
    other = line(9000, "max/tokens@1")
    ahead = line(9000, "pro/base@1", Kind.FLAT, start=NOVEMBER.end)
    assert added([other, ahead], terms(minimum=Fraction(50))) == [(Kind.MINIMUM, 5000)]


def test_each_plan_of_a_period_has_its_days_and_its_lines() -> None:
    """K4: a minimum is for a whole period."""
    plans = (
        terms(name="pro", period=Period(NOVEMBER.start, MIDDLE), days=Proration(15, 30),
              minimum=Fraction(50)),
        terms(name="max", period=Period(MIDDLE, NOVEMBER.end), days=Proration(15, 30),
              minimum=Fraction(100)),
    )  # fmt: skip
    lines = [line(2000), line(6000, "max/tokens@1", start=MIDDLE)]
    assert added(lines, *plans) == [(Kind.MINIMUM, 500)]


def test_a_prorated_bound_is_rounded_once_and_says_its_days() -> None:
    """K4, K5"""
    plan = terms(minimum=Fraction(100), days=Proration(7, 30))
    (found,) = plan_lines([plan], [], "USD")
    assert (found.amount_minor, found.proration) == (2333, Proration(7, 30))
    assert found.description == "minimum of 23.33 USD (7 of 30 days)"
    assert found.price == "pro/minimum@1"


@pytest.mark.parametrize(("used", "expected"), [(9999, []), (10000, []), (10001, [-1])])
def test_a_maximum_is_not_passed_and_may_be_reached(used: int, expected: list[int]) -> None:
    assert added([line(used)], terms(maximum=Fraction(100))) == [
        (Kind.MAXIMUM, amount) for amount in expected
    ]


def test_only_the_prices_that_are_named_draw_from_a_commitment() -> None:
    commitment = Commitment(Fraction(50), prices=("tokens",))
    lines = [line(2000), line(9000, "pro/images@1"), line(9000, "pro/base@1", Kind.FLAT)]
    assert drawn_minor(commitment, "pro", lines) == 2000
    assert added(lines, terms(commitment=commitment)) == [(Kind.COMMITMENT, 3000)]


def test_fees_do_not_draw_from_a_commitment_but_seats_do() -> None:
    commitment = Commitment(Fraction(50))
    lines = [line(2000, "pro/base@1", Kind.FLAT), line(1000, "pro/seats@1", Kind.SEAT)]
    assert added(lines, terms(commitment=commitment)) == [(Kind.COMMITMENT, 4000)]


def test_a_prepaid_commitment_counts_towards_the_minimum() -> None:
    """K10: the commitment comes before the minimum."""
    plan = terms(minimum=Fraction(60), commitment=Commitment(Fraction(50), mode=PREPAID))
    assert added([line(1000)], plan) == [
        (Kind.COMMITMENT, 5000),
        (Kind.COMMITMENT, -1000),
        (Kind.MINIMUM, 1000),
    ]


@pytest.mark.parametrize(
    ("place", "before", "expected"),
    [
        (TermPlace.FIRST, 0, [10000, -4000]),
        (TermPlace.INSIDE, 4000, [-4000]),
        (TermPlace.INSIDE, 9000, [-1000]),
        (TermPlace.LAST, 12000, []),
        (TermPlace.ONLY, 0, [10000, -4000]),
    ],
)
def test_a_prepaid_term_is_paid_once_and_drawn_until_it_is_used_up(
    place: TermPlace, before: int, expected: list[int]
) -> None:
    commitment = Commitment(Fraction(100), Per.TERM, PREPAID)
    plan = terms(commitment=commitment, place=place, drawn_before_minor=before)
    assert [amount for _, amount in added([line(4000)], plan)] == expected


@pytest.mark.parametrize(
    ("place", "before", "expected"),
    [
        (TermPlace.FIRST, 0, []),
        (TermPlace.INSIDE, 100, []),
        (TermPlace.LAST, 3000, [3000]),
        (TermPlace.LAST, 6000, []),
        (TermPlace.ONLY, 0, [6000]),
    ],
)
def test_what_is_missing_of_a_term_is_charged_at_its_end(
    place: TermPlace, before: int, expected: list[int]
) -> None:
    commitment = Commitment(Fraction(100), Per.TERM)
    plan = terms(commitment=commitment, place=place, drawn_before_minor=before)
    assert [amount for _, amount in added([line(4000)], plan)] == expected


def test_a_commitment_for_a_term_is_not_prorated() -> None:
    commitment = Commitment(Fraction(100), Per.TERM)
    assert added([], terms(commitment=commitment, days=Proration(1, 30))) == [
        (Kind.COMMITMENT, 10000)
    ]


@given(
    used=st.lists(st.integers(0, 5000), min_size=1, max_size=6),
    amount=st.integers(1, 150),
    mode=st.sampled_from(CommitmentMode),
)
def test_over_a_term_either_mode_comes_to_the_larger_of_usage_and_commitment(
    used: list[int], amount: int, mode: CommitmentMode
) -> None:
    """Prepaid or trued up, nothing is charged twice and nothing is missing."""
    commitment = Commitment(Fraction(amount), Per.TERM, mode)
    total = before = 0
    for number, minor in enumerate(used):
        first, last = number == 0, number == len(used) - 1
        place = {
            (True, True): TermPlace.ONLY,
            (True, False): TermPlace.FIRST,
            (False, True): TermPlace.LAST,
        }.get((first, last), TermPlace.INSIDE)
        plan = terms(commitment=commitment, place=place, drawn_before_minor=before)
        total += sum(one.amount_minor for one in plan_lines([plan], [line(minor)], "USD"))
        before += minor
    assert total == max(sum(used), amount * 100)


@given(
    amounts=st.lists(st.integers(0, 10**6), max_size=5),
    minimum=st.integers(0, 9000),
    span=st.integers(0, 9000),
    days=st.integers(1, 30),
)
def test_a_plan_comes_to_no_less_than_its_minimum_and_no_more_than_its_maximum(
    amounts: list[int], minimum: int, span: int, days: int
) -> None:
    plan = terms(
        minimum=Fraction(minimum), maximum=Fraction(minimum + span), days=Proration(days, 30)
    )
    total = sum(one.amount_minor for one in plan_lines([plan], [line(a) for a in amounts], "JPY"))
    half = Fraction(1, 2)
    assert minimum * plan.days.share - half <= total <= (minimum + span) * plan.days.share + half


def test_what_says_nothing_adds_nothing() -> None:
    lines = [line(0)]
    assert plan_lines([], lines, "USD") == tuple(lines)


def test_lines_that_are_added_are_numbered_behind_the_others() -> None:
    lines = plan_lines([terms(minimum=Fraction(1))], [line(0)], "USD")
    assert [one.id for one in lines] == ["line_1", "line_2"]
    assert NOVEMBER.end - NOVEMBER.start == 30 * DAY
