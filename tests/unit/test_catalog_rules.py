"""Rules in the catalogue: read, refused with every mistake named, written again, compared."""

from __future__ import annotations

from typing import Any

import pytest

from taximeter.catalog.diff import diff
from taximeter.catalog.document import Catalog, canonical_document, dump_catalog, parse_catalog
from taximeter.catalog.features import Rate
from taximeter.catalog.rules import Blocking, Mode, PlanChange, Rule, Throttling
from taximeter.catalog.yaml_reader import read_document
from taximeter.errors import Rejected
from taximeter.instants import HOUR, MINUTE

E12 = 10**12
BASE: dict[str, Any] = {
    "meters": {
        "tokens": {"event_type": "llm.request", "aggregation": "sum", "value": "data.tokens"},
        "peak": {"event_type": "llm.request", "aggregation": "max", "value": "data.tokens"},
    },
    "features": {
        "chat": {"type": "metered", "meter": "tokens"},
        "size": {"type": "metered", "meter": "peak"},
        "export": {"type": "boolean"},
    },
    "plans": {"free": {"currency": "USD"}, "pro": {"currency": "USD"}},
}
RUNAWAY = """
rules:
  runaway:
    on: llm.request
    when: data.cached != true
    over: {sum: data.tokens, window: 10m, more_than: 500.5, by: user}
    plans: [free]
    features: [chat]
    do:
      - notify
      - block: {for: 1h}
      - throttle: {limit: 5, per: 1m}
      - change_plan: {to: pro, at: period_end}
    mode: on
    cooldown: 5m
    reason: far more than a person makes
"""


def catalog(rule: Any) -> Catalog:
    return parse_catalog(BASE | {"rules": {"r": rule}})


def rule(**members: Any) -> Rule:
    return catalog({"on": "llm.request", "do": "flag"} | members).rules["r"]


def problems(document: Any) -> list[str]:
    with pytest.raises(Rejected) as caught:
        catalog(document)
    assert caught.value.code == "catalog_invalid"
    return [line.removeprefix("rules.r").lstrip(".") for line in caught.value.message.split("\n")]


def test_a_rule_is_read_as_it_is_written() -> None:
    found = parse_catalog(BASE | read_document(RUNAWAY, "yaml")).rules["runaway"]
    assert found.on == ("llm.request",)
    assert found.when == "data.cached != true"
    assert found.over is not None
    assert (found.over.value, found.over.by) == ("data.tokens", "user")
    assert (found.over.window_us, found.over.more_than_pico) == (10 * MINUTE, 500 * E12 + E12 // 2)
    assert (found.plans, found.features) == (("free",), ("chat",))
    assert found.actions.names == ("notify", "block", "throttle", "change_plan")
    assert found.actions.block == Blocking(HOUR)
    assert found.actions.throttle == Throttling(Rate(5 * E12, MINUTE, 5 * E12))
    assert found.actions.change_plan == PlanChange("pro", "period_end")
    assert (found.mode, found.cooldown_us) == (Mode.ON, 5 * MINUTE)


def test_a_rule_that_does_not_say_so_does_nothing_but_try_out() -> None:
    assert rule().mode is Mode.DRY_RUN
    assert rule().cooldown_us == 10 * MINUTE


def test_a_block_without_a_length_holds_until_somebody_lifts_it() -> None:
    assert rule(do=["block"]).actions.block == Blocking(None)
    assert rule(do=[{"block": {}}]).actions.block == Blocking(None)


def test_a_list_of_types_is_kept_without_repetition() -> None:
    assert rule(on=["b", "a", "b"]).on == ("b", "a")


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"do": ["flag", "notify", "review", "block"]},
        {"do": [{"throttle": {"limit": "0.5", "per": "1h", "burst": 3, "for": "2d"}}]},
        {"over": {"count": "events", "window": "10s", "more_than": 0}},
        {"on": ["a", "b"], "mode": "off", "features": ["chat", "export"], "reason": "x"},
    ],
)
def test_what_is_written_out_reads_as_the_same_rule(members: dict[str, Any]) -> None:
    before = catalog({"on": "t", "do": ["flag"]} | members)
    after = parse_catalog(dump_catalog(before))
    assert after == before
    assert canonical_document(after) == canonical_document(before)


def test_a_catalogue_without_rules_has_the_bytes_it_had_before_there_were_any() -> None:
    assert b"rules" not in canonical_document(parse_catalog(BASE))


def test_a_diff_shows_what_changes_about_a_rule() -> None:
    old, new = catalog({"on": "t", "do": "flag"}), catalog({"on": "t", "do": "flag", "mode": "on"})
    assert [str(one) for one in diff(old, new)] == ['~ rules.r.mode: "dry_run" -> "on"']
    (added,) = diff(parse_catalog(BASE), old)
    assert (added.kind, added.path) == ("added", "rules.r")
    assert diff(old, old) == []


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"on": None}, "on: is required: an event type"),
        ({"on": []}, "on: expected 1 to 20 names, found 0"),
        ({"on": [""]}, "on: expected text of 1 to 256 characters"),
        ({"on": 7}, "on: expected text"),
        ({"do": []}, "do: is required: one or more of flag, notify"),
        ({"do": ["flagg"]}, "do[0]: there is no action 'flagg', did you mean 'flag'?"),
        ({"do": ["flag", "flag"]}, "do[1]: flag is named twice"),
        ({"do": ["throttle"]}, "do[0]: throttle needs its settings"),
        ({"do": ["change_plan"]}, "do[0]: change_plan needs its settings"),
        ({"do": [{}]}, "do[0]: expected an action like notify"),
        ({"do": [{"block": 7}]}, "do[0].block: expected an object"),
        ({"do": [{"block": {"for": 60}}]}, "do[0].block.for: expected a whole number with s, m, h"),
        ({"do": [{"change_plan": {"to": "por"}}]}, "do[0].change_plan.to: there is no plan 'por'"),
        ({"do": [{"change_plan": {"to": "pro", "at": "x"}}]}, "do[0].change_plan.at: expected one"),
        ({"do": [{"throttle": {"limit": 0, "per": "1m"}}]}, "do[0].throttle.limit: expected a"),
        (
            {"do": [{"throttle": {"limit": 1, "per": "1m", "level": "user"}}]},
            "do[0].throttle.level: a throttle concerns the customer as a whole",
        ),
        (
            {"do": [{"throttle": {"limit": 1, "per": "1m"}}], "features": ["size"]},
            "features: 'size' cannot be throttled: its usage does not add up",
        ),
        ({"features": ["chta"]}, "features: there is no feature 'chta', did you mean 'chat'?"),
        ({"plans": ["fre"]}, "plans: there is no plan 'fre', did you mean 'free'?"),
        ({"mode": "yes"}, "mode: expected one of off, dry_run, on"),
        ({"cooldown": "0s"}, "cooldown: expected a whole number"),
        ({"when": "data.tokens >"}, "when: column 14"),
        ({"when": True}, "when: expected a filter, found the boolean true"),
        ({"over": {"window": "10m", "more_than": 1}}, "over: expected one of {count: events}"),
        (
            {"over": {"count": "all", "window": "10m", "more_than": 1}},
            "over.count: expected 'events'",
        ),
        (
            {"over": {"count": "events", "window": "9s", "more_than": 1}},
            "over.window: expected 10s to 90d",
        ),
        (
            {"over": {"count": "events", "window": "91d", "more_than": 1}},
            "over.window: expected 10s to 90d",
        ),
        ({"over": {"count": "events", "window": "1m"}}, "over.more_than: is required"),
        (
            {"over": {"count": "events", "window": "1m", "more_than": -1}},
            "over.more_than: expected a quantity from 0",
        ),
        (
            {"over": {"count": "events", "window": "1m", "more_than": 1, "by": "parent"}},
            "over.by: 'parent' is no level",
        ),
        ({"wen": "x"}, "wen: unknown member, did you mean 'when'?"),
    ],
)
def test_a_mistake_is_named_with_its_place(members: dict[str, Any], expected: str) -> None:
    found = problems({"on": "llm.request", "do": ["flag"]} | members)
    assert len(found) == 1, found
    assert found[0].startswith(expected), found


def test_what_is_no_rule_at_all_is_one_mistake() -> None:
    with pytest.raises(Rejected) as caught:
        catalog({})
    assert caught.value.message == "rules.r: a rule has at least 'on' and 'do'"


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "data.__class__.__mro__ == 1 or (lambda: 1)()",
        "(" * 500,
        "data.a == 1 " + "or data.a == 1 " * 500,
        "data.x == '\\\"); import os #",
        "\x00",
    ],
)
def test_what_is_no_filter_is_not_taken_for_a_program(text: str) -> None:
    assert problems({"on": "t", "do": "flag", "when": text})[0].startswith("when: ")


@pytest.mark.parametrize("text", ["().__class__", "data.a ** 999", "open('x')", "1+1", "x" * 501])
def test_what_is_no_value_is_not_taken_for_a_program(text: str) -> None:
    over = {"sum": text, "window": "1m", "more_than": 1}
    assert problems({"on": "t", "do": "flag", "over": over})[0].startswith("over.sum: ")


def test_there_are_no_more_rules_than_every_event_can_bear() -> None:
    rules = {f"r{number}": {"on": "t", "do": "flag"} for number in range(101)}
    with pytest.raises(Rejected, match="at most 100"):
        parse_catalog(BASE | {"rules": rules})
