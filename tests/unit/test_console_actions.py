"""Forms into operations: what is typed, what is left out, and what cannot leave its place."""

from __future__ import annotations

import pytest

from taximeter.adapters.console.actions import ACTIONS, Action, address, undo_address, variables
from taximeter.errors import Rejected

GRANT, BUDGET = ACTIONS["grant"], ACTIONS["budget"]


def test_fields_left_empty_are_left_out_and_the_customer_is_in_the_path() -> None:
    form = {"customer": "acme", "credit": "usd", "amount": " 5 ", "priority": "", "reason": " "}
    assert GRANT.body(form) == {"credit": "usd", "amount": "5"}
    assert GRANT.target(form) == "/v1/customers/acme/grants"


def test_each_kind_of_field_becomes_the_json_it_stands_for() -> None:
    form = {"credit": "usd", "amount": "0.10", "priority": "-1", "features": "chat, image,"}
    assert GRANT.body(form) == {
        "credit": "usd", "amount": "0.10", "priority": -1, "features": ["chat", "image"],
    }  # fmt: skip
    scope = {"limit": "5", "feature": "chat", "scope": "team=red, user=a=b"}
    assert BUDGET.body(scope) == {
        "limit": "5", "feature": "chat", "scope": {"team": "red", "user": "a=b"},
    }  # fmt: skip


def test_lists_of_invoices_and_lines_are_written_by_commas() -> None:
    paid = {"customer": "a", "amount": "5", "currency": "EUR", "invoices": "INV-1, INV-2,"}
    assert ACTIONS["pay"].body(paid) == {
        "customer": "a", "amount": "5", "currency": "EUR",
        "invoices": [{"invoice": "INV-1"}, {"invoice": "INV-2"}],
    }  # fmt: skip
    noted = {"id": "inv", "lines": "line_1 = 5.00, line_2", "reason": "an outage"}
    assert ACTIONS["credit"].body(noted) == {
        "lines": [{"line": "line_1", "amount": "5.00"}, {"line": "line_2"}],
        "reason": "an outage",
    }


@pytest.mark.parametrize(
    ("typed", "duration"), [("once", "once"), ("forever", "forever"), ("3", {"periods": 3})]
)
def test_how_long_a_discount_is_for_is_a_word_or_a_number(typed: str, duration: object) -> None:
    form = {"customer": "acme", "percent": "10", "duration": typed}
    assert ACTIONS["discount"].body(form) == {"percent": "10", "duration": duration}


def test_what_is_given_goes_along_without_being_typed() -> None:
    correct = ACTIONS["correct"]
    form = {"action": "amend", "patch": '{"n": 1}', "reason": "r", "preview": "cor_1_ff"}
    assert correct.hidden == ["preview"]
    assert correct.body(form) == {**form, "patch": {"n": 1}}
    with pytest.raises(Rejected, match="New data: is not JSON"):
        correct.body({**form, "patch": "{"})


@pytest.mark.parametrize("action", ACTIONS.values(), ids=lambda one: one.key)
def test_what_a_preview_asks_for_and_fixes_is_in_the_form(action: Action) -> None:
    if action.preview is not None:
        known = {*action.hidden, *(one.name for one in action.fields)}
        # Fields of several changes of a subscription are fixed together.
        assert set(variables(action.preview.path)) <= known
        assert {name for _, name in action.preview.asks} <= known
        assert not (action.preview.at_once and action.preview.fixed)


@pytest.mark.parametrize(
    ("action", "form"),
    [
        (GRANT, {"priority": "1.5"}),
        (GRANT, {"priority": "\N{ARABIC-INDIC DIGIT ONE}"}),
        (GRANT, {"priority": "--1"}),
        (BUDGET, {"scope": "red"}),
        (BUDGET, {"scope": "=red"}),
        (BUDGET, {"scope": "team="}),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(action: Action, form: dict[str, str]) -> None:
    with pytest.raises(Rejected, match=r"Priority|Of"):
        action.body(form)


@pytest.mark.parametrize("name", ["a/b", "..", "a?b#c", "{customer}", "ü", "%2F"])
def test_a_name_stays_one_segment_of_the_path(name: str) -> None:
    release = ACTIONS["release"]
    path = release.target({"id": name})
    assert path.count("/") == 4
    assert "?" not in path
    assert "#" not in path
    assert release.return_path({"customer": name}).count("/") == 2


def test_a_form_without_what_its_path_needs_says_what_is_missing() -> None:
    with pytest.raises(Rejected, match="customer, id: is missing"):
        BUDGET.target({"limit": "5"})


def test_only_what_nobody_types_is_hidden() -> None:
    assert GRANT.hidden == ["customer"]
    assert ACTIONS["release"].hidden == ["id", "customer"]
    assert BUDGET.hidden == ["customer"]


def test_undo_leads_to_the_form_that_takes_it_back() -> None:
    known = {"customer": "a b", "id": "g&1"}
    assert undo_address("grant", known) == "/do/void-grant?id=g%261&customer=a+b"


def test_there_is_no_undo_without_all_it_needs_or_where_nothing_takes_it_back() -> None:
    assert undo_address("grant", {"customer": "acme"}) is None
    assert undo_address("void-grant", {"customer": "acme", "id": "g1"}) is None
    assert undo_address("nonsense", {"customer": "acme"}) is None


def test_an_address_leaves_out_what_is_not_known() -> None:
    assert address("grant", customer="acme", credit=None, amount="") == "/do/grant?customer=acme"


@pytest.mark.parametrize("action", ACTIONS.values(), ids=lambda one: one.key)
def test_every_undo_finds_what_it_needs_in_what_its_action_knew(action: Action) -> None:
    if action.undo is not None:
        back = ACTIONS[action.undo]
        known = {*variables(action.path, action.back), *(one.name for one in action.fields)}
        # An answer brings the id of what was made, and when a change is scheduled for.
        assert set(variables(back.path, back.back)) <= known | {"id", "at"}
        assert back.scope == action.scope
