"""Corrections as facts: what the log holds of them, and what it is read back as."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from taximeter.corrections.entry import entry_of
from taximeter.corrections.facts import SOURCE, Change, Why, facts_of, replaces, retracts, why_of
from taximeter.corrections.query import Query, correction_id, patched, position_of, same_data
from taximeter.errors import Rejected
from taximeter.events.entry import decode_entry, encode_entry
from taximeter.events.envelope import Event
from taximeter.events.replay import accepted_events
from taximeter.instants import parse_instant

AT = parse_instant("2026-11-20T10:00:00.123456Z")
WHY = Why("cor_1", "key_owner", "sent twice")
DATA = {"n": Decimal("0.000000000001"), "text": "a\nb", "deep": {"list": [1, None, True]}}
EVENT = Event("e1", "llm", "acme", source="api", data=DATA)


def read_back(*changes: Change) -> list[Event]:
    facts = [fact for change in changes for fact in change.facts(WHY)]
    entry = entry_of("ns", AT, facts)
    assert entry.accepted == len(facts)
    return accepted_events(decode_entry(encode_entry(entry)))


def test_a_retraction_names_the_event_and_holds_what_it_takes_back() -> None:
    (fact,) = read_back(Change(7, EVENT, AT))
    assert (fact.source, fact.subject, retracts(fact.id), replaces(fact.id)) == (
        SOURCE,
        "acme",
        7,
        0,
    )
    assert why_of(fact) == WHY
    (folded,) = facts_of([fact])
    assert (folded.seq, folded.at, folded.taken_back) == (7, AT, True)
    assert (folded.event.type, folded.event.data, folded.event.source) == ("llm", DATA, "api")


def test_an_amendment_is_a_retraction_and_a_replacement_side_by_side() -> None:
    gone, new = read_back(Change(7, EVENT, AT, data={"n": 2}))
    assert (retracts(gone.id), replaces(new.id)) == (7, 7)
    assert (new.type, new.subject, new.source, new.data) == ("llm", "acme", SOURCE, {"n": 2})
    assert [fact.taken_back for fact in facts_of([gone, new])] == [True, False]
    assert {fact.at for fact in facts_of([gone, new])} == {AT}


def test_what_comes_back_is_a_replacement_alone() -> None:
    (new,) = read_back(Change(7, EVENT, AT, retract=False, data=None))
    assert (replaces(new.id), new.data) == (7, None)


def test_an_event_as_large_and_as_deep_as_allowed_can_be_taken_back() -> None:
    """What a retraction says about it comes on top."""
    deep: Any = "x" * 250_000
    for _ in range(30):
        deep = {"d": deep}
    (fact,) = read_back(Change(7, Event("e", "llm", "acme", data=deep), AT))
    (folded,) = facts_of([fact])
    assert folded.event.data == deep


def test_a_patch_sets_members_and_null_removes_them() -> None:
    """RFC 7396, as its own examples have it."""
    assert patched({"a": "b", "c": {"d": "e", "f": "g"}}, {"a": "z", "c": {"f": None}}) == {
        "a": "z",
        "c": {"d": "e"},
    }
    assert patched(None, {"a": {"b": {"c": None}}}) == {"a": {"b": {}}}
    assert patched({"a": [1, 2]}, {"a": {"b": "c"}}) == {"a": {"b": "c"}}
    assert patched({"a": {"b": 1}}, {"a": [1]}) == {"a": [1]}


def test_contents_are_equal_as_content() -> None:
    assert same_data({"a": 1, "b": [Decimal("1.5")]}, {"b": [Decimal("1.5")], "a": 1})
    assert not same_data({"a": True}, {"a": 1})
    assert not same_data(None, {})


def test_the_id_of_a_correction_follows_from_what_it_does() -> None:
    change = Change(7, EVENT, AT)
    ids = {
        correction_id(9, [change]),
        correction_id(10, [change]),
        correction_id(9, [change, Change(8, EVENT, AT)]),
        correction_id(9, [Change(7, EVENT, AT, data=None)]),
        correction_id(9, [Change(7, EVENT, AT, data={"n": 1})]),
        correction_id(9, [Change(7, EVENT, AT, retract=False, data=None)]),
    }
    assert len(ids) == 6
    assert correction_id(9, [Change(7, EVENT, AT)]) in ids
    assert {position_of(one) for one in ids} == {9, 10}


@pytest.mark.parametrize("text", ["", "cor", "cor_9", "cor_x_1", "cor_-1_a", "cor_9_", "9_a"])
def test_what_no_preview_gave_is_no_preview(text: str) -> None:
    with pytest.raises(Rejected, match="preview"):
        position_of(text)


def test_a_query_says_whose_or_which_events_and_what_becomes_of_them() -> None:
    for wrong in (
        Query("retract"),
        Query("retract", type="t", patch={"a": 1}),
        Query("amend", type="t"),
    ):
        with pytest.raises(Rejected):
            wrong.check()
    Query("amend", customer="acme", patch={}).check()
