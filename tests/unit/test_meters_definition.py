"""Meter definitions: what is read, what is refused and in which words."""

from __future__ import annotations

from typing import Any

import pytest

from taximeter.errors import Rejected
from taximeter.meters.counter import Counter
from taximeter.meters.definition import Aggregation, Meter, check_dimension, dump_meter, parse_meter
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


@pytest.mark.parametrize("aggregation", ["weighted_sum", "percentile"])
def test_aggregations_of_later_versions_are_refused_by_name(aggregation: str) -> None:
    document = {"event_type": "t", "aggregation": aggregation, "value": "data.x"}
    assert problems(document) == [
        (
            f"aggregation: '{aggregation}' is not supported by this version, "
            "which has count, sum, max, min, avg, unique, last"
        )
    ]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"aggregation": "summ"}, ("aggregation: expected one of count, sum, max, min, avg, "
         "unique, last, found the string 'summ', did you mean 'sum'?")),
        ({"aggregation": None}, "aggregation: is required: one of count, sum, max"),
        ({"event_type": None}, "event_type: is required"),
        ({"event_type": ""}, "event_type: expected text of 1 to 256 characters, found the string"),
        ({"eventType": "x"}, "eventType: unknown member, did you mean 'event_type'?"),
        ({"percentile": 95}, "percentile: not supported by this version"),
        ({"value": "input_tokens"}, ("value: a path begins with 'data.' or is one of subject, "
         "source, type, did you mean 'data.input_tokens'?")),
        ({"value": "data.items[0]"}, "value: segment 'items[0]' is not made of letters, digits"),
        ({"value": 5}, "value: expected text of 1 to 256 characters, found the number 5"),
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
