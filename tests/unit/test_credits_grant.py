"""Grants as people write them, and every mistake named."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from taximeter.credits.grant import Grant, Rollover, dump_grant, load_grant, parse_grant
from taximeter.errors import Rejected
from taximeter.instants import format_instant, parse_instant
from taximeter.quantities import E12, MAX_PICO

NOW = parse_instant("2026-11-20T10:00:00Z")


def parse(**members: Any) -> Grant:
    document = {"id": "g1", "credit": "usd", "amount": "100"} | members
    return parse_grant(document, at=NOW, cause="key k1")


def test_the_least_that_makes_a_grant() -> None:
    assert parse() == Grant("g1", "usd", 100 * E12, effective_at=NOW, cause="key k1")


def test_the_documented_example() -> None:
    grant = parse(
        priority=1,
        effective_at="2026-12-01T00:00:00+01:00",
        expires_at="2027-12-01T00:00:00Z",
        features=["chat", "audio", "chat"],
        recurrence="P1M",
        rollover={"max": "300"},
        timezone="Europe/Berlin",
        kind="promotional",
        cost_basis="0.80",
        metadata={"order": "4711"},
    )
    assert grant == Grant(
        "g1",
        "usd",
        100 * E12,
        effective_at=parse_instant("2026-11-30T23:00:00Z"),
        priority=1,
        expires_at=parse_instant("2027-12-01T00:00:00Z"),
        features=("audio", "chat"),
        recurrence="P1M",
        rollover=Rollover(300 * E12),
        timezone="Europe/Berlin",
        kind="promotional",
        cost_basis="0.8",
        cause="key k1",
        metadata={"order": "4711"},
    )
    assert load_grant(json.loads(json.dumps(dump_grant(grant)))) == grant


def test_null_is_the_same_as_absent() -> None:
    absent = ("priority", "effective_at", "expires_at", "features", "recurrence", "rollover")
    assert parse(**dict.fromkeys(absent), metadata=None, kind=None, timezone=None) == parse()


def test_a_rollover_without_a_maximum_is_unlimited() -> None:
    assert parse(recurrence="P1M", rollover={}).rollover == Rollover(None)
    assert parse(recurrence="P1M", rollover={"max": 0}).rollover == Rollover(0)


def test_a_grant_without_an_id_gets_the_callers() -> None:
    document = {"credit": "usd", "amount": 1}
    assert parse_grant(document, at=NOW, cause="", new_id="n1").id == "n1"
    with pytest.raises(Rejected, match="id: is required"):
        parse_grant(document, at=NOW, cause="")


def test_a_grant_follows_the_clock_of_its_customer_unless_it_names_one() -> None:
    document = {"id": "g", "credit": "usd", "amount": 1}
    for named, zone in ((None, "Asia/Tokyo"), ("Europe/Berlin", "Europe/Berlin")):
        grant = parse_grant(document | {"timezone": named}, at=NOW, cause="", timezone="Asia/Tokyo")
        assert grant.timezone == zone


@pytest.mark.parametrize("amount", ["0.000000000001", 1, Decimal("1E+25"), "1e3"])
def test_an_amount_is_read_exactly(amount: object) -> None:
    assert 0 < parse(amount=amount).amount_pico <= MAX_PICO


@pytest.mark.parametrize(
    ("members", "code", "says"),
    [
        ({"amount": "0"}, "invalid_amount", "amount: expected a decimal number above 0"),
        ({"amount": "-1"}, "invalid_amount", "above 0"),
        ({"amount": None}, "invalid_amount", "amount"),
        ({"amount": True}, "invalid_amount", "amount"),
        ({"amount": 1.5}, "invalid_amount", "amount"),
        ({"amount": "0.0000000000001"}, "invalid_amount", "12 fractional"),
        ({"amount": "1e26"}, "invalid_amount", "26 integer"),
        ({"amount": "lots"}, "invalid_amount", "amount"),
        ({"cost_basis": "-1"}, "invalid_amount", "cost_basis: .* not negative"),
        ({"recurrence": "P1M", "rollover": {"max": -1}}, "invalid_amount", "rollover.max"),
        ({"id": ""}, "invalid_request", "id: expected text of 1 to 256"),
        ({"id": 7}, "invalid_request", "id: expected text"),
        ({"id": "x" * 257}, "invalid_request", "id"),
        ({"id": "g#2"}, "invalid_request", "id: may have neither # nor ~"),
        ({"id": "g~t"}, "invalid_request", "id: may have neither # nor ~"),
        ({"credit": None}, "invalid_request", "credit: is required"),
        ({"priority": "1"}, "invalid_request", "priority: expected a whole number"),
        ({"priority": True}, "invalid_request", "priority"),
        ({"priority": 10**7}, "invalid_request", "priority"),
        ({"features": "chat"}, "invalid_request", "features: expected a list"),
        ({"features": [1]}, "invalid_request", "features: expected text"),
        ({"features": ["f"] * 101}, "invalid_request", "at most 100"),
        ({"recurrence": "1 month"}, "invalid_request", "recurrence: '1 month' is not"),
        ({"recurrence": 1}, "invalid_request", "recurrence"),
        ({"rollover": {"max": 1}}, "invalid_request", "rollover: only a grant with a recurrence"),
        ({"rollover": 300}, "invalid_request", "rollover: expected a JSON object"),
        ({"rollover": {"maximum": 1}}, "invalid_request", "rollover.maximum: unknown member"),
        ({"kind": "free"}, "invalid_request", "kind: expected paid or promotional"),
        ({"kind": ["paid"]}, "invalid_request", "kind: expected paid or promotional"),
        ({"metadata": []}, "invalid_request", "metadata: expected a JSON object"),
        ({"expire_at": "x"}, "invalid_request", "expire_at: unknown member; known are id,"),
        ({"expires_at": "2026-11-20T10:00:00Z"}, "invalid_request", "is not after effective_at"),
        ({"expires_at": 5}, "invalid_request", "expires_at: expected text"),
        ({"expires_at": "tomorrow"}, "invalid_timestamp", "tomorrow"),
        ({"effective_at": "2026-11-20T10:00:00"}, "invalid_timestamp", "offset"),
        ({"timezone": "Berlin"}, "unknown_timezone", "Berlin"),
    ],
)
def test_a_mistake_is_refused_by_its_name(members: dict[str, Any], code: str, says: str) -> None:
    with pytest.raises(Rejected, match=says) as caught:
        parse(**members)
    assert caught.value.code == code


@pytest.mark.parametrize("document", [None, [], "grant", 1])
def test_a_body_that_is_no_object_is_refused(document: object) -> None:
    with pytest.raises(Rejected, match="the body: expected a JSON object"):
        parse_grant(document, at=NOW, cause="")


# --- occurrences ------------------------------------------------------------------------------


def monthly(**members: Any) -> Grant:
    return parse(effective_at="2027-01-31T00:00:00Z", recurrence="P1M", **members)


def ends(grant: Grant, number: int) -> str | None:
    end = grant.end(number)
    return None if end is None else format_instant(end)


def test_an_occurrence_ends_where_the_next_begins() -> None:
    assert ends(monthly(), 0) == "2027-02-28T00:00:00Z"
    assert ends(monthly(), 1) == "2027-03-31T00:00:00Z"


def test_expiry_ends_the_series() -> None:
    grant = monthly(expires_at="2027-03-15T00:00:00Z")
    assert ends(grant, 1) == "2027-03-15T00:00:00Z"
    assert grant.occurrence(2) is None


def test_an_occurrence_at_the_very_expiry_never_is() -> None:
    grant = monthly(expires_at="2027-02-28T00:00:00Z")
    assert grant.occurrence(1) is None
    assert ends(grant, 0) == "2027-02-28T00:00:00Z"


def test_a_grant_without_recurrence_has_one_occurrence() -> None:
    assert parse().occurrence(0) == NOW
    assert parse().occurrence(1) is None
    assert parse().end(0) is None
    assert parse().number_at(NOW * 2) == 0


def test_the_running_occurrence_is_within_the_series() -> None:
    grant = monthly(expires_at="2027-03-31T00:00:00Z")
    for at, number in (
        ("2026-01-01T00:00:00Z", 0),
        ("2027-02-27T23:59:59.999999Z", 0),
        ("2027-02-28T00:00:00Z", 1),
        ("2027-03-31T00:00:00Z", 1),
        ("2030-01-01T00:00:00Z", 1),
    ):
        assert grant.number_at(parse_instant(at)) == number
