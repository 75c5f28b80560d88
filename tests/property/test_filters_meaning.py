"""The filter language against an evaluator written another way, and its three faces against each
other: text, tree, generated Python."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.property.meter_strategies import (
    events,
    expressions,
    filter_text,
    literal_text,
    paths,
    plain_literals,
)

from taximeter.errors import Rejected
from taximeter.events.envelope import Event
from taximeter.meters.filters import (
    And,
    Compare,
    Exists,
    In,
    Not,
    Or,
    evaluate,
    parse_filter,
    to_python,
)

ABSENT = ("null",)


def look(event: Event, path: str) -> Any:
    tree: Any = {"subject": event.subject, "source": event.source, "data": event.data}
    for name in path.split("."):
        tree = tree.get(name) if type(tree) is dict else None
    return tree


def tagged(value: Any) -> tuple[Any, ...]:
    """Type and value, so that plain Python equality is the language's."""
    if value is None:
        return ABSENT
    if value is True or value is False:
        return ("boolean", str(value))
    if isinstance(value, str):
        return ("string", [ord(character) for character in value])
    if isinstance(value, int | Decimal):
        return ("number", Fraction(value))
    return ("structure", id(value))


def oracle(tree: Any, event: Event) -> bool:
    if isinstance(tree, Not):
        return not oracle(tree.term, event)
    if isinstance(tree, And):
        return min(oracle(term, event) for term in tree.terms)
    if isinstance(tree, Or):
        return max(oracle(term, event) for term in tree.terms)
    value = tagged(look(event, tree.path))
    if isinstance(tree, Exists):
        return value != ABSENT
    if isinstance(tree, In):
        return value in [tagged(literal) for literal in tree.literals]
    literal = tagged(tree.literal)
    if tree.op in ("==", "!="):
        return (value == literal) is (tree.op == "==")
    if value[0] != literal[0] or value[0] not in ("number", "string"):
        return False
    sign = (value[1] > literal[1]) - (value[1] < literal[1])
    return {"<": sign < 0, "<=": sign <= 0, ">": sign > 0, ">=": sign >= 0}[tree.op]


@given(expressions, st.lists(events(), min_size=1, max_size=4))
def test_a_filter_means_what_the_rules_say(expression: Any, some: list[Event]) -> None:
    for event in some:
        assert evaluate(expression, event) is oracle(expression, event)


@given(expressions, events())
def test_a_filter_and_its_negation_split_all_events(expression: Any, event: Event) -> None:
    assert evaluate(Not(expression), event) is not evaluate(expression, event)


@given(paths, plain_literals, events())
def test_unequal_is_the_negation_of_equal(path: str, literal: Any, event: Event) -> None:
    equal, unequal = Compare(path, "==", literal), Compare(path, "!=", literal)
    assert evaluate(equal, event) is not evaluate(unequal, event)


@given(expressions)
def test_a_written_filter_reads_as_the_same_tree(expression: Any) -> None:
    assert parse_filter(filter_text(expression)) == expression


@given(expressions, events())
def test_generated_python_agrees_with_evaluate(expression: Any, event: Event) -> None:
    scope: dict[str, Any] = {"Decimal": Decimal}

    def local(path: str) -> str:
        name = f"v{len(scope)}"
        scope[name] = look(event, path)
        return name

    source = to_python(expression, local, repr)
    assert bool(eval(source, scope)) is evaluate(expression, event)


@given(st.text(max_size=60) | st.text("andort (data.x)=<>!&|[],'\"\\u1e.5-", max_size=60))
def test_any_text_is_read_or_rejected_with_a_column(text: str) -> None:
    refused = None
    try:
        parse_filter(text)
    except Rejected as error:
        refused = error
    if refused is not None:
        column = refused.details["column"]
        assert refused.code == "invalid_filter"
        assert isinstance(column, int)
        assert 1 <= column <= len(text) + 1


@given(st.text(max_size=20))
def test_a_json_string_literal_reads_as_its_text(text: str) -> None:
    tree = parse_filter(f"data.a == {literal_text(text)}")
    assert tree == Compare("data.a", "==", text)
