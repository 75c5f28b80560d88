"""How values look on a page: numbers, days, shares, and what a schema is called."""

from __future__ import annotations

import shlex

import pytest

from taximeter.adapters.console.happenings import happening
from taximeter.adapters.console.pulse import p99
from taximeter.adapters.console.reference import kind_of, operations
from taximeter.adapters.console.rendering import (
    customer_path,
    day,
    digits,
    last_day,
    percent,
    query,
    short,
)
from taximeter.adapters.console.rows import Gauge, gauge
from taximeter.catalog.features import Cost, Enforcement, Limit, MeteredEntitlement, Reset
from taximeter.entitlements.decide import decide
from taximeter.entitlements.readings import Funds, Reading
from taximeter.events.envelope import Event
from taximeter.quantities import E12
from taximeter.services.feed import Seen
from taximeter.services.telemetry import LATENCY_BOUNDS


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("0", "0"),
        ("999", "999"),
        ("1000", "1,000"),
        ("-1234567.5", "-1,234,567.5"),
        ("0.000003", "0.000003"),
        (
            "12345678901234567890123456.123456789012",
            "12,345,678,901,234,567,890,123,456.123456789012",
        ),
        (81234, "81,234"),
    ],
)
def test_numbers_are_grouped_and_keep_every_digit(number: str | int, shown: str) -> None:
    assert digits(number) == shown


def test_a_period_is_shown_by_its_first_and_last_local_day() -> None:
    start, end = "2026-11-01T04:00:00Z", "2026-12-01T05:00:00Z"  # New York, across the change
    assert day(start, "America/New_York") == "1 Nov 2026"
    assert last_day(end, "America/New_York") == "30 Nov 2026"


def test_long_text_ends_in_an_ellipsis_within_its_length() -> None:
    assert short("a" * 64) == "a" * 64
    assert short("a" * 65) == "a" * 63 + "…"


def test_a_customer_key_is_one_segment_of_a_path() -> None:
    assert customer_path("a/b?c#d é") == "/customers/a%2Fb%3Fc%23d%20%C3%A9"


@pytest.mark.parametrize(
    ("used", "limit", "enforcement", "state", "percent"),
    [
        (0, 100, Enforcement.HARD, "ok", "0%"),
        (79, 100, Enforcement.HARD, "ok", "79%"),
        (80, 100, Enforcement.HARD, "near", "80%"),
        (100, 100, Enforcement.HARD, "full", "100%"),
        (100, 100, Enforcement.SOFT, "near", "100%"),
        (101, 100, Enforcement.SOFT, "over", "101%"),
        (1999, 1000, Enforcement.HARD, "full", "199%"),
        (0, 0, Enforcement.HARD, "full", "100%"),
        (5, None, Enforcement.SOFT, "open", ""),
    ],
)
def test_a_gauge_names_how_near_the_limit_is(
    used: int, limit: int | None, enforcement: Enforcement, state: str, percent: str
) -> None:
    limits = () if limit is None else (Limit(limit * E12, enforcement=enforcement),)
    entitlement = MeteredEntitlement("chat", limits)
    reading = Reading(None if limit is None else limit * E12, used * E12, enforcement=enforcement)
    shown = gauge("chat", entitlement, decide("chat", (reading,), 0))
    assert (shown.state, shown.percent, shown.used) == (state, percent, str(used))
    assert shown.permille is None or 0 <= shown.permille <= 1000


def test_a_gauge_shows_the_window_that_is_about_to_close() -> None:
    limits = (Limit(1000 * E12), Limit(100 * E12, Reset.WEEK))
    entitlement = MeteredEntitlement("chat", limits)

    def shown(week: int) -> Gauge:
        readings = (
            Reading(1000 * E12, 500 * E12),
            Reading(100 * E12, week * E12, key="week"),
            Reading(5 * E12, 5 * E12, key="user:day", level="user"),
        )
        return gauge("chat", entitlement, decide("chat", readings, 0))

    assert (shown(79).feature, shown(79).percent) == ("chat", "50%")
    assert (shown(80).feature, shown(80).percent, shown(80).state) == ("chat (week)", "80%", "near")
    assert shown(100).state == "full"


def test_a_limit_beyond_which_credit_pays_is_passed_and_not_full() -> None:
    entitlement = MeteredEntitlement("chat", (Limit(100 * E12),), credit="usd", cost=Cost(1))
    funds = Funds("usd", Cost(1), E12)
    shown = [
        gauge("chat", entitlement, decide("chat", (Reading(100 * E12, n * E12),), 0, funds)).state
        for n in (99, 100, 101)
    ]
    assert shown == ["near", "credit", "credit"]


def test_the_99th_percentile_is_the_bound_that_so_many_stay_below() -> None:
    counts = [0] * (len(LATENCY_BOUNDS) + 1)
    assert p99(counts) == "–"
    counts[LATENCY_BOUNDS.index(0.0025)] = 99
    counts[LATENCY_BOUNDS.index(0.5)] = 1
    assert p99(counts) == "≤ 2.5 ms"
    counts[LATENCY_BOUNDS.index(0.5)] = 2
    assert p99(counts) == "≤ 500 ms"
    counts[-1] = 100
    assert p99(counts) == "> 10 s"


def test_what_goes_to_a_browser_has_a_bound_whatever_was_sent() -> None:
    huge = "x" * 100_000
    event = Event(id=huge, type=huge, subject=huge, data={huge: huge, "n": [huge]})
    shown = happening(Seen(7, "accepted", event, None))
    assert shown.verdict == "unmatched"
    assert len(shown.id) == len(shown.type) == len(shown.subject) == 64
    assert len(shown.text) == 120


def test_data_is_shown_as_its_members() -> None:
    event = Event(id="1", type="t", subject="s", data={"model": "opus", "n": 3, "x": {"y": None}})
    assert happening(Seen(7, "duplicate", event, "s")).text == 'model=opus n=3 x={"y":null}'


@pytest.mark.parametrize(
    ("schema", "shown"),
    [
        ({"type": "string"}, "string"),
        ({"type": ["number", "string"]}, "number | string"),
        ({"type": "array", "items": {"$ref": "#/components/schemas/Thing"}}, "Thing[]"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "integer | null"),
        ({"$ref": "#/components/schemas/Size"}, "day | week"),
        ({}, "any"),
    ],
)
def test_a_schema_is_called_in_a_few_words(schema: dict[str, object], shown: str) -> None:
    schemas = {"Thing": {"type": "object"}, "Size": {"enum": ["day", "week"]}}
    assert kind_of(schema, schemas) == shown


def test_an_example_is_one_command_with_its_body_as_one_word() -> None:
    document = {
        "components": {"schemas": {}},
        "tags": [{"name": "a"}],
        "paths": {
            "/v1/things/{key}": {
                "put": {
                    "operationId": "put",
                    "tags": ["a"],
                    "security": [{"apiKey": ["write"]}],
                    "requestBody": {
                        "content": {"application/json": {"example": {"name": "it's"}, "schema": {}}}
                    },
                    "responses": {"200": {"description": "Done."}},
                }
            }
        },
    }
    ((operation,),) = operations(document, "http://h:1", keyless=False).values()
    words = shlex.split(operation.curl)
    assert words[:4] == ["curl", "-X", "PUT", "http://h:1/v1/things/acme"]
    assert words[-1] == '{"name":"it\'s"}'
    assert "Authorization: Bearer $TAXIMETER_KEY" in words
    ((keyless,),) = operations(document, "http://h:1", keyless=True).values()
    assert "Authorization" not in keyless.curl


@pytest.mark.parametrize(
    ("rate", "shown"),
    [("0.19", "19%"), ("0.2", "20%"), ("0.0725", "7.25%"), ("0", "0%"), ("1/3", "1/3")],
)
def test_a_rate_is_said_in_percent_if_its_decimals_end(rate: str, shown: str) -> None:
    assert percent(rate) == shown


def test_an_address_leaves_out_what_says_nothing() -> None:
    assert query({"status": None, "customer": "a&b c", "cursor": ""}) == "customer=a%26b+c"
