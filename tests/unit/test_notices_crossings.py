"""Which lines were crossed that nobody was told of yet; and forecasts."""

from __future__ import annotations

from typing import Any

import pytest

from taximeter.instants import DAY, HOUR
from taximeter.notices.alert import Alert, read_alert
from taximeter.notices.crossings import Change, Mark, Place, changes
from taximeter.notices.forecast import expected_at
from taximeter.notices.readings import BudgetReading, CreditReading, FeatureReading, Readings
from taximeter.quantities import E12

START = 1_795_000_000_000_000
END = START + 30 * DAY
NOW = START + 10 * DAY


def usage(
    used: int, limit: int | None = 1000, start: int = START, end: int | None = END, **more: Any
) -> Readings:
    limit_pico = None if limit is None else limit * E12
    return Readings(usage={"chat": FeatureReading(used * E12, limit_pico, start, end, **more)})


def balance(amount: int, available: int | None = None) -> Readings:
    left = amount if available is None else available
    return Readings(credits={"usd": CreditReading(amount * E12, left * E12)})


def on_usage(*thresholds: Any) -> Alert:
    return read_alert("a", {"on": "usage", "feature": "chat", "thresholds": list(thresholds)})


def on_balance(*thresholds: Any) -> Alert:
    return read_alert("a", {"on": "balance", "credit": "usd", "thresholds": list(thresholds)})


class Customer:
    """Remembers marks as the watch does."""

    def __init__(self) -> None:
        self.marks: dict[Place, Mark] = {}

    def look(self, alert: Alert, readings: Readings, now: int = NOW) -> list[Change]:
        found = changes(alert, "acme", readings, now, self.marks)
        self.marks.update({change.place: change.mark for change in found})
        return found

    def told(self, alert: Alert, readings: Readings, now: int = NOW) -> list[str]:
        found = self.look(alert, readings, now)
        return [change.place.threshold for change in found if change.crossing is not None]


# --- windows ------------------------------------------------------------------------------------


def test_a_line_is_crossed_by_reaching_it() -> None:
    assert Customer().told(on_usage("80%"), usage(799)) == []
    assert Customer().told(on_usage("80%"), usage(800)) == ["80%"]


def test_a_jump_over_several_lines_crosses_each_in_order() -> None:
    assert Customer().told(on_usage("100%", "80%", 50), usage(1200)) == ["50", "80%", "100%"]


def test_a_line_is_told_once_in_a_window_even_if_usage_falls_and_rises() -> None:
    acme, alert = Customer(), on_usage("80%")
    assert acme.told(alert, usage(900)) == ["80%"]
    assert acme.told(alert, usage(900)) == []
    assert acme.told(alert, usage(100)) == []
    assert acme.told(alert, usage(950)) == []


def test_the_next_window_tells_again() -> None:
    acme, alert = Customer(), on_usage("80%")
    first = acme.look(alert, usage(900))[0].crossing
    assert acme.told(alert, usage(0, start=END, end=END + DAY)) == []
    second = acme.look(alert, usage(900, start=END, end=END + DAY))[0].crossing
    assert first is not None
    assert second is not None
    assert first.key != second.key


def test_after_a_restart_the_same_crossing_has_the_same_key() -> None:
    keys = {Customer().look(on_usage("80%"), usage(used))[0].crossing.key for used in (850, 990)}
    assert len(keys) == 1, "the books then refuse it"


def test_a_share_of_a_changed_limit_is_another_line_and_an_amount_is_not() -> None:
    acme, alert = Customer(), on_usage("80%", 700)
    assert acme.told(alert, usage(800)) == ["700", "80%"]
    assert acme.told(alert, usage(800, limit=2000)) == []
    assert acme.told(alert, usage(1600, limit=2000)) == ["80%"]
    keys = {
        change.crossing.key
        for limit in (1000, 2000)
        for change in Customer().look(on_usage("80%"), usage(1600, limit))
        if change.crossing is not None
    }
    assert len(keys) == 2, "also after a restart"


def test_shares_of_no_limit_are_never_reached_and_amounts_are() -> None:
    assert Customer().told(on_usage("80%", 500), usage(10**6, limit=None)) == ["500"]


def test_nothing_used_of_a_limit_of_nothing_is_not_all_of_it() -> None:
    assert Customer().told(on_usage("100%"), usage(0, limit=0)) == []
    assert Customer().told(on_usage("100%"), usage(1, limit=0)) == ["100%"]


def test_a_customer_without_the_feature_is_passed_over() -> None:
    assert Customer().told(on_usage("80%"), Readings()) == []
    assert Customer().told(on_balance(10), Readings()) == []


def test_what_is_told_has_the_numbers_as_text() -> None:
    (change,) = Customer().look(on_usage("80%"), usage(850))
    assert change.crossing is not None
    assert change.crossing.type == "usage.threshold_crossed"
    assert change.crossing.data == {
        "alert": "a", "customer": "acme", "feature": "chat", "threshold": "80%", "line": "800",
        "used": "850", "limit": "1000", "window_start": "2026-11-18T11:06:40Z",
        "resets_at": "2026-12-18T11:06:40Z",
    }  # fmt: skip


def test_an_alert_on_any_budget_tells_of_each_by_name() -> None:
    alert = read_alert("a", {"on": "budget", "thresholds": ["50%"]})
    spent = {name: BudgetReading(7 * E12, 10 * E12, START, END) for name in ("one", "two")}
    spent["three"] = BudgetReading(4 * E12, 10 * E12, START, END)
    found = Customer().look(alert, Readings(budgets=spent))
    assert [change.crossing.data["budget"] for change in found if change.crossing] == ["one", "two"]
    named = read_alert("a", {"on": "budget", "budget": "two", "thresholds": ["50%"]})
    assert len(Customer().look(named, Readings(budgets=spent))) == 1


# --- lines that rearm ---------------------------------------------------------------------------


def test_a_balance_crosses_by_falling_to_the_line() -> None:
    assert Customer().told(on_balance(10), balance(11)) == []
    assert Customer().told(on_balance(10), balance(10)) == ["10"]
    assert Customer().told(on_balance(0), balance(0)) == ["0"], "empty is empty"


def test_a_fall_past_several_lines_tells_the_highest_first() -> None:
    assert Customer().told(on_balance(0, 10, 5), balance(0)) == ["10", "5", "0"]


def test_a_balance_tells_again_only_after_it_was_above_the_line() -> None:
    acme, alert = Customer(), on_balance(10)
    keys = []
    for amount in (10, 9, 3, 10, 11, 12, 10, 11, 2):
        keys += [c.crossing.key for c in acme.look(alert, balance(amount)) if c.crossing]
    assert len(keys) == len(set(keys)) == 3, "at 10, after 12, after the second 11"


def test_what_is_reserved_does_not_lower_the_balance() -> None:
    (change,) = Customer().look(on_balance(10), balance(8, available=1))
    assert change.crossing is not None
    assert (change.crossing.data["balance"], change.crossing.data["available"]) == ("8", "1")
    assert Customer().look(on_balance(10), balance(20, available=1)) == []


def test_a_kept_mark_prevents_a_second_notice_after_a_restart() -> None:
    acme, alert = Customer(), on_balance(10)
    acme.look(alert, balance(5))
    restarted = Customer()
    restarted.marks = dict(acme.marks)
    assert restarted.told(alert, balance(4)) == []
    assert restarted.look(alert, balance(40))[0].crossing is None, "only rearmed"
    assert restarted.told(alert, balance(4)) == ["10"]


def test_usage_of_a_rolling_window_rearms_below_the_line() -> None:
    acme, alert = Customer(), on_usage("80%")
    told = [
        bool(acme.told(alert, usage(used, start=START + i, end=None, rolling=True)))
        for i, used in enumerate((700, 800, 900, 799, 700, 801))
    ]
    assert told == [False, True, False, False, False, True]


# --- forecast -----------------------------------------------------------------------------------


def reading(
    used: int, limit: int | None = 1000, end: int | None = END, **more: Any
) -> FeatureReading:
    return usage(used, limit, end=end, **more).usage["chat"]


def test_a_forecast_is_a_straight_line_through_now() -> None:
    # 800 in ten days: the last 200 take two and a half.
    assert expected_at(reading(800), NOW, 3 * DAY) == NOW + 2 * DAY + 12 * HOUR


@pytest.mark.parametrize(
    ("why", "number", "now", "within"),
    [
        ("further away than asked", reading(800), NOW, 2 * DAY),
        ("the window ends before", reading(300), NOW, 60 * DAY),
        ("nothing was used", reading(0), NOW, 60 * DAY),
        ("the limit is reached", reading(1000), NOW, 60 * DAY),
        ("there is no limit", reading(800, None), NOW, 60 * DAY),
        ("less than a twentieth of the window", reading(990), START + 36 * HOUR - 1, 60 * DAY),
        ("too early without an end", reading(800, end=None), NOW, 10 * DAY + 1),
        ("a rolling window has no start", reading(800, rolling=True), NOW, 3 * DAY),
        ("the window has not begun", reading(800), START, 3 * DAY),
    ],
)
def test_no_forecast_when(why: str, number: FeatureReading, now: int, within: int) -> None:
    assert expected_at(number, now, within) is None, why


def test_a_twentieth_of_the_window_is_enough() -> None:
    assert expected_at(reading(990), START + 36 * HOUR, 3 * DAY) is not None
    assert expected_at(reading(800, end=None), NOW, 10 * DAY) is not None


def test_reaching_the_limit_exactly_when_the_window_ends_is_no_forecast() -> None:
    half = START + 15 * DAY
    assert expected_at(reading(500), half, 60 * DAY) is None
    assert expected_at(reading(501), half, 60 * DAY) is not None


def test_a_forecast_is_told_once_in_a_window() -> None:
    alert = read_alert("a", {"on": "forecast", "feature": "chat", "within": "3d"})
    acme = Customer()
    (change,) = acme.look(alert, usage(800))
    assert change.crossing is not None
    assert change.crossing.type == "forecast.limit_ahead"
    assert change.crossing.data["expected_at"] == "2026-11-30T23:06:40Z"
    assert acme.told(alert, usage(850)) == []
    assert acme.told(alert, usage(800, start=END, end=END + 30 * DAY), END + 10 * DAY)
