"""Alert documents and their thresholds: what is read, and how a mistake is told."""

from __future__ import annotations

from typing import Any

import pytest

from taximeter.errors import Rejected
from taximeter.instants import DAY
from taximeter.notices.alert import Alert, read_alert
from taximeter.notices.thresholds import read_threshold
from taximeter.quantities import E12

USAGE: dict[str, Any] = {"on": "usage", "feature": "chat", "thresholds": ["80%", 5000]}


def refusal(document: Any) -> str:
    with pytest.raises(Rejected) as caught:
        read_alert("a", document)
    assert caught.value.code == "alert_invalid"
    return caught.value.message


# --- thresholds ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("80%", "80%"),
        ("80.0 %", "80%"),
        ("82.5%", "82.5%"),
        ("120%", "120%"),
        (5000, "5000"),
        ("5000", "5000"),
        ("0.50", "0.5"),
    ],
)
def test_a_threshold_has_one_spelling(written: object, text: str) -> None:
    assert read_threshold(written).text == text


@pytest.mark.parametrize(
    "wrong", ["", "%", "80 percent", "-5%", "0%", "1000.1%", "1e999", "x", None, True, [], "8_0%"]
)
def test_what_is_neither_an_amount_nor_a_share_is_refused(wrong: object) -> None:
    with pytest.raises(Rejected) as caught:
        read_threshold(wrong)
    assert caught.value.code == "alert_invalid"


def test_a_share_is_reached_not_nearly_reached() -> None:
    share = read_threshold("33.3%")
    assert share.line_pico(10 * E12) == 3_330_000_000_000
    assert share.line_pico(1) == 1, "a third of one pico rounds up to all of it"
    assert share.line_pico(0) == 0


def test_a_share_of_no_limit_is_no_line() -> None:
    assert read_threshold("80%").line_pico(None) is None
    assert read_threshold(7).line_pico(None) == 7 * E12


# --- documents ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "document",
    [
        USAGE | {"customer": "acme", "email": ["ops@example.com"]},
        {"on": "balance", "credit": "usd", "thresholds": ["10", "-5"]},
        {"on": "budget", "budget": "team", "thresholds": ["90%"]},
        {"on": "budget", "thresholds": ["90%"]},
        {"on": "forecast", "feature": "chat", "within": "3d"},
    ],
)
def test_an_alert_is_read_again_from_what_it_shows(document: dict[str, Any]) -> None:
    alert = read_alert("a", document)
    assert read_alert("a", alert.to_json()) == alert


def test_thresholds_are_sorted_and_each_is_there_once() -> None:
    alert = read_alert("a", USAGE | {"thresholds": ["100%", 20, "80%", "20.0", 3]})
    assert [one.text for one in alert.thresholds] == ["3", "20", "80%", "100%"]


def test_a_forecast_looks_ahead_for_exact_days() -> None:
    alert = read_alert("a", {"on": "forecast", "feature": "chat", "within": "3d"})
    assert (alert.within, alert.thresholds) == (3 * DAY, ())


def test_an_alert_without_a_customer_watches_everybody() -> None:
    assert read_alert("a", USAGE).watches("anybody")
    assert not read_alert("a", USAGE | {"customer": "acme"}).watches("beta")


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"on": "usge"}, "on: one of usage, balance, budget, forecast"),
        ({"on": ["usage"]}, "on: one of"),
        ({"treshold": []}, "treshold: not a member of an alert on usage"),
        ({"credit": "usd"}, "credit: not a member"),
        ({"within": "3d"}, "within: not a member"),
        ({"feature": None}, "feature: a name"),
        ({"feature": "a\nb"}, "feature: a name"),
        ({"customer": 5}, "customer: a name"),
        ({"thresholds": []}, "thresholds: a list"),
        ({"thresholds": "80%"}, "thresholds: a list"),
        ({"thresholds": [0]}, "usage begins at 0"),
        ({"thresholds": list(range(1, 22))}, "a list of 1 to 20"),
        ({"email": "ops@example.com"}, "email: a list"),
        ({"email": ["ops"]}, "'ops' is not an address"),
    ],
)
def test_a_mistake_is_named_with_what_would_be_right(change: dict[str, Any], hint: str) -> None:
    assert hint in refusal(USAGE | change)


@pytest.mark.parametrize("document", [None, [], "usage", 5])
def test_an_alert_is_an_object(document: Any) -> None:
    assert "object" in refusal(document)


def test_a_balance_has_no_limit_to_be_a_share_of() -> None:
    document = {"on": "balance", "credit": "usd", "thresholds": ["10%"]}
    assert "no limit" in refusal(document)


@pytest.mark.parametrize("within", [None, 3, "3", "0d", "3 days", "9999d"])
def test_a_forecast_needs_a_duration(within: object) -> None:
    assert "within:" in refusal({"on": "forecast", "feature": "chat", "within": within})


@pytest.mark.parametrize(
    "address",
    [
        "a@example.com\r\nBcc: b@example.com",
        "a@example.com, b@example.com",
        "<a@example.com>",
        "a@[127.0.0.1]",
        "a@localhost",
        "a b@example.com",
        "ä@example.com",
        f"{'a' * 65}@example.com",
        f"a@{'b' * 250}.com",
    ],
)
def test_nothing_but_one_plain_address_is_taken(address: str) -> None:
    assert "email" in refusal(USAGE | {"email": [address]})


def test_an_alert_is_a_value() -> None:
    assert isinstance(hash(read_alert("a", USAGE)), int)
    assert isinstance(read_alert("a", USAGE), Alert)
