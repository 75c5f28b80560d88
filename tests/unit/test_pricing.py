"""Who is in a rollout, what usage costs, and usage taken on: exact, stable, with their edges."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taximeter.catalog.document import Catalog, parse_catalog
from taximeter.customers import Segment, Subscription
from taximeter.errors import Rejected
from taximeter.instants import format_instant
from taximeter.periods import Anchor, Cadence, Period
from taximeter.pricing.cohorts import Cohort, Side, place_of
from taximeter.pricing.costs import (
    CostDocument,
    CostEntry,
    CostRates,
    cost_of,
    dump_costs,
    read_costs,
)
from taximeter.pricing.outcome import Outcome, by_difference, total_json, totals_of
from taximeter.pricing.profile import Group, Used, grown, mean_of
from taximeter.pricing.ratio import percent, read_ratio
from taximeter.quantities import E12
from taximeter.subscriptions.terms import PlanBook

TEN = Fraction(1, 10)
CUSTOMERS = [f"c{i}" for i in range(2_000)]

# --- cohorts ----------------------------------------------------------------------------------


def sides(rollout: str, share: Fraction, holdout: Fraction = Fraction(0)) -> dict[str, Side]:
    cohort = Cohort(share, holdout=holdout)
    return {one: cohort.side(rollout, one) for one in CUSTOMERS}


def test_a_larger_share_takes_in_whoever_was_in_a_smaller_one_and_never_the_holdout() -> None:
    seen: set[str] = set()
    held_out = {c for c, side in sides("r", TEN, TEN).items() if side is Side.HOLDOUT}
    for tenths in range(10):
        found = sides("r", tenths * TEN, TEN)
        treated = {c for c, side in found.items() if side is Side.TREATMENT}
        assert seen <= treated
        assert {c for c, side in found.items() if side is Side.HOLDOUT} == held_out
        seen = treated
    assert seen | held_out == set(CUSTOMERS)


def test_shares_are_met_and_rollouts_are_independent() -> None:
    one, other = sides("one", TEN * 3), sides("other", TEN * 3)
    treated = [c for c in CUSTOMERS if one[c] is Side.TREATMENT]
    assert 540 < len(treated) < 660
    both = sum(other[c] is Side.TREATMENT for c in treated)
    assert 0.2 < both / len(treated) < 0.4


def test_a_place_is_the_same_on_every_machine_and_in_every_year() -> None:
    assert place_of("r", "acme") == Fraction(5392893492257911306, 2**64)
    assert place_of("a", "bc") != place_of("ab", "c")


def test_a_segment_compares_metadata_as_dimensions_are() -> None:
    cohort = Cohort(segment={"tier": "1"})
    assert cohort.eligible("c", {"tier": 1})
    assert cohort.eligible("c", {"tier": "1"})
    assert not cohort.eligible("c", {})
    assert not Cohort(customers=("a",)).eligible("b", {})


# --- ratios -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "ratio"), [("10%", TEN), ("0.1", TEN), (1, Fraction(1)), ("12.5%", Fraction(1, 8))]
)
def test_a_ratio_is_read_exactly(text: str | int, ratio: Fraction) -> None:
    assert read_ratio(text, "share", 0, 1) == ratio
    assert read_ratio(percent(ratio), "share", 0, 1) == ratio


@pytest.mark.parametrize("text", ["110%", "-1%", "ten", "", "%", "1e999999999", "1/3", True, None])
def test_what_is_no_ratio_is_refused_by_name(text: object) -> None:
    with pytest.raises(Rejected, match="share"):
        read_ratio(text, "share", 0, 1)  # type: ignore[arg-type]


# --- costs ------------------------------------------------------------------------------------


def costs(*entries: CostEntry) -> CostDocument:
    return CostDocument(list(entries))


def test_of_the_rates_that_fit_the_most_exact_counts_then_the_latest() -> None:
    rates = read_costs(
        costs(
            CostEntry("t", "1", "USD"),
            CostEntry("t", "2", "USD", {"model": "opus"}),
            CostEntry("t", "3", "USD", {"model": "opus"}, format_instant(1_000)),
            CostEntry("t", "9", "USD", {}, format_instant(2_000)),
        )
    )
    opus, haiku = {"model": "opus"}, {"model": "haiku"}
    assert [_unit(rates, opus, at) for at in (999, 1_000, 5_000)] == [2, 3, 3]
    assert [_unit(rates, haiku, at) for at in (999, 1_999, 2_000)] == [1, 1, 9]
    assert _unit(rates, {"model": None}, 0) == 1
    assert rates.find("other", opus, 0) is None
    assert rates.dimensions("t") == ("model",)
    assert rates.parts("t", Period(0, 2_000)) == [Period(0, 1_000), Period(1_000, 2_000)]
    assert read_costs(dump_costs(rates)) == rates


def _unit(rates: CostRates, group: Mapping[str, str | None], at: int) -> Fraction:
    found = rates.find("t", group, at)
    assert found is not None
    return found.unit


def test_a_cost_is_exact_and_never_negative() -> None:
    (rate,) = read_costs(costs(CostEntry("t", "0.000000000001", "USD"))).table
    assert cost_of(rate, 3 * E12 + 1) == Fraction(3 * E12 + 1, E12) / 10**12
    assert cost_of(rate, -5) == 0


@pytest.mark.parametrize(
    "entries",
    [
        [CostEntry("t", "-1", "USD")],
        [CostEntry("t", "1.0000000000001", "USD")],
        [CostEntry("t", "1", "usd")],
        [CostEntry("t", "1", "USD", effective_at="2026-01-01")],
        [CostEntry("t", "1", "USD"), CostEntry("t", "2", "EUR")],
    ],
)
def test_rates_that_make_no_sense_are_refused(entries: list[CostEntry]) -> None:
    with pytest.raises(Rejected):
        read_costs(CostDocument(entries))


# --- outcomes ---------------------------------------------------------------------------------


def test_totals_are_sums_of_what_each_customer_pays() -> None:
    outcomes = [
        Outcome("a", "USD", 3, 1000, 1500, 200),
        Outcome("b", "USD", 1, 1000, 900),
        Outcome("c", "USD", 1, 500, 500, 0),
        Outcome("c", "JPY", 1, None, 7),
    ]
    jpy, usd = totals_of(outcomes)
    assert total_json(usd) == {
        "customers": 3, "periods": 5, "pay_less": 1, "pay_more": 1, "pay_the_same": 1,
        "currency": "USD", "before": "25.00", "after": "29.00", "difference": "4.00",
        "cost": "2.00", "margin_before": "23.00", "margin_after": "27.00",
    }  # fmt: skip
    assert (jpy.before_minor, jpy.after_minor, jpy.more) == (0, 7, 0)
    assert [one.customer for one in by_difference(outcomes)] == ["a", "b", "c", "c"]


# --- profiles ---------------------------------------------------------------------------------

used = st.builds(Used, st.integers(-(10**20), 10**20), st.integers(0, 10**6))
past = st.lists(st.dictionaries(st.sampled_from([("a",), ("b",), (None,)]), used), min_size=1)


@given(past)
def test_a_mean_counts_a_period_without_usage_as_zero(
    periods: list[dict[Group, Used]],
) -> None:
    means = mean_of(periods)
    assert set(means) == {group for one in periods for group in one}
    for group, (quantity, events) in means.items():
        found = [one.get(group, Used(0, 0)) for one in periods]
        assert quantity * len(periods) == sum(one.quantity_pico for one in found)
        assert events * len(periods) == sum(one.events for one in found)


def test_growth_compounds_and_is_rounded_half_up_once() -> None:
    mean = (Fraction(5), Fraction(5, 2))
    assert grown(mean, Fraction(0), 4) == Used(5, 3)
    assert grown(mean, TEN, 1) == Used(6, 3)  # 5.5 away from zero, 2.75
    assert grown(mean, TEN, 2) == Used(6, 3)  # 6.05, 3.025
    assert grown((Fraction(-5), Fraction(0)), TEN, 1) == Used(-6, 0)
    assert grown(mean, Fraction(-1), 1) == Used(0, 0)


# --- staged versions --------------------------------------------------------------------------


def catalog(unit: str) -> Catalog:
    return parse_catalog(
        {
            "meters": {"calls": {"event_type": "call", "aggregation": "count"}},
            "plans": {
                "pro": {
                    "currency": "USD",
                    "cadence": "month",
                    "prices": {"calls": {"type": "per_unit", "meter": "calls", "unit": unit}},
                }
            },
        }
    )


def subscription(version: int, *, pinned: bool = False) -> Subscription:
    segment = Segment(0, "pro", version, Cadence.MONTH, pinned)
    return Subscription("s", "c", Anchor.CALENDAR, "UTC", (segment,))


def test_a_staged_version_holds_for_nobody_who_does_not_name_it() -> None:
    plans = PlanBook()
    plans.add_catalog(1, catalog("1"), 10)
    plans.add_catalog(2, catalog("2"), 20, staged=True)
    plans.add_catalog(3, catalog("1"), 30)
    plans.add_catalog(4, catalog("4"), 40)

    def unit(one: Subscription, at: int) -> int:
        (part,) = plans.billed(one, at, at).parts
        assert part.version in (1, 2, 4)  # version 3 changed nothing of the plan
        return int(part.prices["calls"].unit)  # type: ignore[union-attr]

    assert [unit(subscription(1), at) for at in (15, 25, 35, 45)] == [1, 1, 1, 4]
    assert unit(subscription(3), 35) == 1
    assert unit(subscription(2, pinned=True), 45) == 2
    assert unit(subscription(3, pinned=True), 45) == 1
    assert plans.current(subscription(1).segments[0]).version == 4
    named = plans.plan("pro", 3)
    assert named is not None
    assert named.version == 1
