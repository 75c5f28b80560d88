"""Meter definitions: what is read, what is refused and in which words."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from taximeter.errors import Rejected
from taximeter.meters.counter import Counter
from taximeter.meters.definition import (
    Aggregation,
    Meter,
    amount_path,
    check_dimension,
    dump_meter,
    is_estimate,
    parse_meter,
    weighs_time,
)
from taximeter.meters.reading import DocumentInvalid

TOKENS = {
    "event_type": "llm.request",
    "aggregation": "sum",
    "value": "data.usage.input_tokens",
    "dimensions": {"model": "data.model", "who": "subject"},
    "filter": "data.cached != true",
    "unit": "token",
}


def problems(document: Any, key: str = "tokens") -> list[str]:
    with pytest.raises(DocumentInvalid) as refused:
        parse_meter(key, document)
    assert refused.value.code == "catalog_invalid"
    assert refused.value.message.splitlines() == [str(p) for p in refused.value.problems]
    return [str(problem) for problem in refused.value.problems]


def test_a_full_definition_is_read_and_dumped_unchanged() -> None:
    meter = parse_meter("tokens", TOKENS)
    assert meter == Meter(
        "tokens",
        "llm.request",
        Aggregation.SUM,
        "data.usage.input_tokens",
        {"model": "data.model", "who": "subject"},
        "data.cached != true",
        "token",
    )
    assert dump_meter(meter) == TOKENS


def test_count_needs_no_value() -> None:
    document = {"event_type": "image.created", "aggregation": "count"}
    assert dump_meter(parse_meter("images", document)) == document


@pytest.mark.parametrize("aggregation", ["sum", "max", "min", "avg", "unique", "last"])
def test_every_other_aggregation_needs_a_value(aggregation: str) -> None:
    document = {"event_type": "t", "aggregation": aggregation}
    assert problems(document) == [
        f"value: {aggregation} needs the path of a value, like data.tokens"
    ]


SETTINGS: dict[str, dict[str, Any]] = {
    "percentile": {"percentile": 95},
    "weighted_sum": {"mode": "set", "series": "data.disk", "timeout_s": 3600, "per": "day"},
    "session": {"timeout_s": 60, "per": "minute", "stop": "data.ended == true"},
    "concurrency": {"timeout_s": 60, "stop": "data.ended == true"},
    "unique": {"precision": "sketch"},
}


@pytest.mark.parametrize("aggregation", SETTINGS)
def test_settings_of_an_aggregation_are_read_and_dumped_unchanged(aggregation: str) -> None:
    document = {"event_type": "t", "aggregation": aggregation, "value": "data.x"}
    document |= SETTINGS[aggregation]
    assert dump_meter(parse_meter("m", document)) == document


def test_defaults_of_settings_are_written_out_where_they_change_a_number() -> None:
    document = {"event_type": "t", "aggregation": "weighted_sum", "value": "data.x"}
    assert dump_meter(parse_meter("m", document)) == document | {"mode": "set", "per": "hour"}
    document = {"event_type": "t", "aggregation": "session", "value": "data.x", "timeout_s": 9}
    assert dump_meter(parse_meter("m", document)) == document | {"per": "second"}
    document = {"event_type": "t", "aggregation": "unique", "value": "data.x"}
    assert dump_meter(parse_meter("m", document | {"precision": "exact"})) == document


@pytest.mark.parametrize("given", ["99.9", Decimal("99.90"), "0.000000000001", "100"])
def test_a_percentile_may_have_decimals(given: Any) -> None:
    document = {"event_type": "t", "aggregation": "percentile", "value": "data.x"}
    dumped = dump_meter(parse_meter("m", document | {"percentile": given}))
    assert Decimal(dumped["percentile"]) == Decimal(given)
    assert parse_meter("m", dumped) == parse_meter("m", document | {"percentile": given})


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"aggregation": "percentile"}, "percentile: is required: which one, like 95 or 99.9"),
        ({"aggregation": "percentile", "percentile": 0}, "percentile: expected a decimal above 0"),
        ({"aggregation": "percentile", "percentile": 101}, "percentile: expected a decimal above"),
        ({"aggregation": "percentile", "percentile": "p95"}, "percentile: expected a decimal abo"),
        ({"aggregation": "percentile", "percentile": True}, "percentile: expected a decimal above"),
        ({"aggregation": "sum", "percentile": 95}, "percentile: sum has none; it is a setting"),
        ({"aggregation": "session"}, "timeout_s: is required: after how many silent seconds"),
        ({"aggregation": "session", "timeout_s": 0}, "timeout_s: expected whole seconds from 1 to"),
        ({"aggregation": "session", "timeout_s": True}, "timeout_s: expected whole seconds from 1"),
        ({"aggregation": "session", "timeout_s": 9, "stop": "x"}, "stop: column 1: a path begins"),
        ({"aggregation": "concurrency", "timeout_s": 9, "per": "hour"}, "per: concurrency has"),
        ({"aggregation": "session", "timeout_s": 9, "value": "data.a + 1"}, "value: segment"),
        ({"aggregation": "weighted_sum", "per": "week"}, "per: expected one of second, min"),
        ({"aggregation": "weighted_sum", "mode": "add"}, "mode: expected one of set, delta, found"),
        ({"aggregation": "weighted_sum", "mode": "delta", "series": "data.d"},
         "series: belongs to mode set; differences add up whatever they are of"),
        ({"aggregation": "unique", "precision": "rough"}, "precision: expected one of exact"),
        ({"aggregation": "sum", "value": "data.a / 2"}, (
         "value: column 8: unexpected character '/'; there is no division, multiply by a decimal")),
        ({"aggregation": "sum", "value": "data.a +"}, "value: column 9: expected a path like data"),
    ],
)  # fmt: skip
def test_a_setting_that_makes_no_sense_is_refused(document: dict[str, Any], problem: str) -> None:
    (found,) = problems({"event_type": "t", "value": "data.x"} | document)
    assert found.startswith(problem)


def test_who_asks_is_told_what_a_meter_is_like() -> None:
    def meter(**members: Any) -> Meter:
        return parse_meter("m", {"event_type": "t", "value": "data.x"} | members)

    assert is_estimate(meter(aggregation="unique", precision="sketch"))
    assert not is_estimate(meter(aggregation="unique"))
    assert weighs_time(meter(aggregation="weighted_sum"))
    assert not weighs_time(meter(aggregation="last"))
    assert amount_path(meter(aggregation="sum")) == "data.x"
    assert amount_path(meter(aggregation="sum", value="data.x + 1")) is None
    assert amount_path(meter(aggregation="count")) is None


def test_settings_and_values_make_another_counter_and_plain_ones_keep_their_key() -> None:
    def key(**members: Any) -> str:
        return Counter(parse_meter("m", {"event_type": "t", "value": "data.x"} | members)).key

    assert key(aggregation="sum") == "m:84f4d08fcf5405a2"
    different = [
        key(aggregation="percentile", percentile=95),
        key(aggregation="percentile", percentile="95.1"),
        key(aggregation="weighted_sum"),
        key(aggregation="weighted_sum", per="day"),
        key(aggregation="weighted_sum", mode="delta"),
        key(aggregation="weighted_sum", series="data.s"),
        key(aggregation="weighted_sum", timeout_s=5),
        key(aggregation="unique"),
        key(aggregation="unique", precision="sketch"),
        key(aggregation="session", timeout_s=5),
        key(aggregation="session", timeout_s=5, stop="data.e == 1"),
    ]
    assert len(set(different)) == len(different)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"aggregation": "summ"}, ("aggregation: expected one of count, sum, max, min, avg, "
         "unique, last, percentile, weighted_sum, session, concurrency, found the string 'summ', "
         "did you mean 'sum'?")),
        ({"aggregation": None}, "aggregation: is required: one of count, sum, max"),
        ({"event_type": None}, "event_type: is required"),
        ({"event_type": ""}, "event_type: expected text of 1 to 256 characters, found the string"),
        ({"eventType": "x"}, "eventType: unknown member, did you mean 'event_type'?"),
        ({"value": "input_tokens"}, ("value: a path begins with 'data.' or is one of subject, "
         "source, type, did you mean 'data.input_tokens'?")),
        ({"value": "data.items[0]"}, "value: column 1: segment 'items[0]' is not made of"),
        ({"value": ["data.a", "data.b"]}, "value: is one path or expression; add several up: data"),
        ({"value": 5}, "value: expected a path or an expression, found the number 5"),
        ({"value": "data" + ".a" * 33}, "value: a path enters at most 32 objects"),
        ({"dimensions": ["model"]}, "dimensions: expected an object, found a list"),
        ({"dimensions": {"model": 3}}, "dimensions.model: expected a path, found the number 3"),
        ({"dimensions": {"mo del": "data.m"}}, "dimensions: 'mo del' is not a key: a key is 1"),
        ({"filter": "data.cached = true"}, "filter: column 13: '=' is not an operator"),
        ({"filter": True}, "filter: expected a filter expression, found the boolean true"),
        ({"dimensions": {f"d{n}": "data.x" for n in range(17)}}, "dimensions: a meter has at most"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_member(change: dict[str, Any], problem: str) -> None:
    (only,) = problems({**TOKENS, **change})
    assert only.startswith(problem)


def test_all_mistakes_are_named_at_once() -> None:
    found = problems({"aggregation": "sum", "valu": "data.x", "filter": "x"}, key="a b")
    assert [line.partition(":")[0] for line in found] == [
        "'a b' is not a key",
        "valu",
        "event_type",
        "value",
        "filter",
    ]


@pytest.mark.parametrize("document", [None, [], "sum", 3])
def test_a_meter_is_an_object(document: Any) -> None:
    assert problems(document)[0].startswith("expected an object, found ")


def test_grouping_by_an_unknown_dimension_lists_the_known_ones() -> None:
    meter = parse_meter("tokens", TOKENS)
    check_dimension(meter, "model")
    with pytest.raises(Rejected, match=r"no dimension 'modell', did you mean 'model'\?") as refused:
        check_dimension(meter, "modell")
    assert refused.value.code == "invalid_parameter"


def test_counters_are_equal_exactly_when_they_count_the_same() -> None:
    meter = parse_meter("tokens", TOKENS)
    counter = Counter(meter, "data.a == 1", ("model",))
    renamed = parse_meter("tokens", {**TOKENS, "unit": "tok"})
    wider = parse_meter(
        "tokens",
        {**TOKENS, "dimensions": {**TOKENS["dimensions"], "x": "data.x"}},  # type: ignore[dict-item]
    )
    assert counter == Counter(renamed, "data.a == 1", ("model",))
    assert counter == Counter(wider, "data.a == 1", ("model",))
    others = [
        Counter(meter),
        Counter(meter, "data.a == 1"),
        Counter(meter, None, ("model",)),
        Counter(meter, "data.a == 1", ("who",)),
        Counter(parse_meter("tokens2", TOKENS), "data.a == 1", ("model",)),
        *(
            Counter(parse_meter("tokens", {**TOKENS, **change}), "data.a == 1", ("model",))
            for change in (
                {"event_type": "other"},
                {"aggregation": "max"},
                {"value": "data.x"},
                {"filter": None},
                {"dimensions": {"model": "data.model_name"}},
            )
        ),
    ]
    assert counter not in others
    assert len({counter.key, *(other.key for other in others)}) == 1 + len(others)


def test_the_value_of_a_count_meter_does_not_change_what_it_counts() -> None:
    document = {"event_type": "t", "aggregation": "count"}
    with_value = {**document, "value": "data.x"}
    assert Counter(parse_meter("m", document)) == Counter(parse_meter("m", with_value))


def test_a_counter_key_is_stable_across_versions_of_the_code() -> None:
    """Snapshots name counters by it: a change here makes every node fold its history again."""
    assert Counter(parse_meter("tokens", TOKENS)).key == "tokens:a3f20b22629724a4"
