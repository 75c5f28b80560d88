"""Any rule that is read is written as the same rule; anything else is refused in words."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.property.effort import FULL, patient, thorough

from taximeter.catalog.document import canonical_document, dump_catalog, parse_catalog
from taximeter.events.envelope import Event
from taximeter.meters.reading import DocumentInvalid, Problem
from taximeter.rules.memory import Memory
from taximeter.rules.watcher import Watcher

effort = thorough if FULL else patient

BASE: dict[str, Any] = {
    "meters": {"tokens": {"event_type": "t", "aggregation": "sum", "value": "data.n"}},
    "features": {"chat": {"type": "metered", "meter": "tokens"}, "export": {"type": "boolean"}},
    "plans": {"free": {"currency": "USD"}, "pro": {"currency": "USD"}},
}

durations = st.builds(lambda n, unit: f"{n}{unit}", st.integers(1, 50), st.sampled_from("smhdw"))
windows = st.builds(lambda n, unit: f"{n}{unit}", st.integers(10, 80), st.sampled_from("smhd"))
amounts = st.one_of(st.integers(0, 10**9), st.decimals(0, 10**6, places=6).map(str))
above_zero = st.integers(1, 10**6)
rates = st.fixed_dictionaries(
    {"limit": above_zero, "per": durations}, optional={"burst": above_zero, "for": durations}
)
actions = st.tuples(
    st.sampled_from([None, "flag"]),
    st.sampled_from([None, "notify"]),
    st.sampled_from([None, "review"]),
    st.one_of(st.sampled_from([None, "block", {"block": {}}]), st.builds(
        lambda for_: {"block": {"for": for_}}, durations
    )),
    st.one_of(st.none(), st.builds(lambda rate: {"throttle": rate}, rates)),
    st.sampled_from(
        [None, {"change_plan": {"to": "pro"}}, {"change_plan": {"to": "free", "at": "period_end"}}]
    ),
).map(lambda found: [one for one in found if one is not None]).filter(bool)  # fmt: skip
overs = st.fixed_dictionaries(
    {"window": windows, "more_than": amounts},
    optional={"by": st.sampled_from(["customer", "user", "key"])},
).flatmap(
    lambda over: st.sampled_from(
        [
            {"count": "events"} | over,
            {"sum": "data.n"} | over,
            {"sum": "2 * data.n - data.m"} | over,
        ]
    )
)
types = st.text(min_size=1, max_size=20)
rules = st.fixed_dictionaries(
    {
        "on": st.one_of(types, st.lists(types, min_size=1, max_size=5)),
        "do": actions,
    },
    optional={
        "when": st.sampled_from(["data.n > 5", "not exists(data.x) or data.y in ['a', 1]"]),
        "over": overs,
        "plans": st.lists(st.sampled_from(["free", "pro"]), min_size=1),
        "features": st.sampled_from(["chat", ["chat"]]),
        "mode": st.sampled_from(["off", "dry_run", "on"]),
        "cooldown": durations,
        "reason": st.text(min_size=1, max_size=50),
    },
)  # fmt: skip
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=10), st.decimals()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)  # fmt: skip


@effort
@given(rule=rules)
def test_what_is_read_is_written_as_the_same_rule(rule: dict[str, Any]) -> None:
    catalog = parse_catalog(BASE | {"rules": {"r": rule}})
    again = parse_catalog(dump_catalog(catalog))
    assert again == catalog
    assert canonical_document(again) == canonical_document(catalog)


@effort
@given(rule=rules, member=st.sampled_from(["on", "do", "when", "over", "plans", "features", "mode",
                                           "cooldown", "reason"]), value=anything)  # fmt: skip
def test_whatever_stands_there_is_a_rule_or_refused_in_words(
    rule: dict[str, Any], member: str, value: Any
) -> None:
    for problem in problems(rule | {member: value}):
        assert problem.path.startswith("rules.r")
        assert problem.text


def problems(rule: dict[str, Any]) -> tuple[Problem, ...]:
    try:
        parse_catalog(BASE | {"rules": {"r": rule}})
    except DocumentInvalid as error:
        return error.problems
    return ()


@effort
@given(rule=rules, data=st.one_of(st.none(), st.dictionaries(st.sampled_from("nmxy"), anything)))
def test_no_event_makes_a_rule_fail(rule: dict[str, Any], data: Any) -> None:
    found = parse_catalog(BASE | {"rules": {"r": rule}}).rules["r"]
    by_path = None if found.over is None or found.over.by == "customer" else "data.x"
    watcher, memory = Watcher(found, 1, by_path), Memory()
    event = Event(id="1", type=found.on[0], subject="acme", data=data)
    seen = watcher.see(lambda: memory, event, 10**15, 10**15)
    if seen is not None:
        fire = watcher.fire(memory, seen, "acme", event, 10**15, 10**15, 1)
        assert fire is not None
        assert watcher.fire(memory, seen, "acme", event, 10**15, 10**15, 2) is None, "it rests"
