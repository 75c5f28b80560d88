"""Value expressions against fractions: exact inside, rounded once at the end."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.property.meter_oracle import E12, Invalid, half_up, number

from taximeter.errors import Rejected
from taximeter.events.envelope import Event
from taximeter.meters.expression_code import evaluator
from taximeter.meters.expressions import (
    Arithmetic,
    Default,
    Elements,
    Extreme,
    Negative,
    Number,
    Path,
    Value,
    Whole,
    parse_value,
)
from taximeter.meters.paths import read
from taximeter.quantities import MAX_PICO, format_quantity

paths = st.sampled_from(["data.a", "data.b", "data.a.b", "data.x-y"]).map(Path)
lists = st.builds(
    Elements, st.sampled_from(["data.items", "data.a"]), st.sampled_from([(), ("n",), ("n", "m")])
)
picos = st.sampled_from([0, 1, E12 // 2, E12, 4 * E12, 1_234_567_890_123, 10**26 - 1])
values: st.SearchStrategy[Value] = st.recursive(
    st.one_of(
        paths,
        paths,
        lists,
        st.builds(Number, picos),
        st.builds(Default, paths | lists, st.one_of(picos, picos.map(lambda p: -p))),
    ),
    lambda inner: st.one_of(
        st.builds(Negative, inner),
        st.builds(Arithmetic, st.sampled_from(["+", "-", "*"]), inner, inner),
        st.builds(
            Extreme,
            st.sampled_from(["min", "max"]),
            st.lists(inner, min_size=2, max_size=3).map(tuple),
        ),
        st.builds(Whole, st.sampled_from(["ceil", "floor"]), inner),
    ),
    max_leaves=8,
)

quantities = st.one_of(
    st.integers(-5, 5),
    st.sampled_from(["0.5", "-1.25", "1e2"]),
    st.sampled_from([Decimal("0.000000000001"), Decimal("-2.5"), 10**26 - 1, -(10**25)]),
)
odd = st.one_of(st.none(), st.sampled_from(["many", True, 10**26, {}, Decimal("1e-13")]))
leaves = st.one_of(quantities, quantities, quantities, odd)
elements = st.one_of(
    leaves, st.dictionaries(st.sampled_from(["n", "o"]), leaves), st.just({"n": {"m": 2}})
)
datas = st.dictionaries(
    st.sampled_from(["a", "b", "x-y", "items"]),
    st.one_of(
        leaves,
        leaves,
        st.dictionaries(st.sampled_from(["b"]), leaves),
        st.lists(elements, max_size=4),
    ),
)


def written(value: Value) -> str:
    """As somebody might write it, every term in parentheses."""
    match value:
        case Path(path):
            return path
        case Elements(path, member):
            return ".".join([f"{path}[]", *member])
        case Default(operand, otherwise):
            return f"default({written(operand)}, {format_quantity(otherwise)})"
        case Number(pico):
            return format_quantity(pico)
        case Negative(term):
            return f"(-{written(term)})"
        case Arithmetic(op, left, right):
            return f"({written(left)} {op} {written(right)})"
        case Extreme(name, terms):
            return f"{name}({', '.join(map(written, terms))})"
        case Whole(name, term):
            return f"{name}({written(term)})"


class Missing(Exception):
    """Some path has no value, and nothing stands in for it."""


def slow(value: Value, event: Event) -> Fraction:
    match value:
        case Path(path):
            found = read(event, path)
            if found is None:
                raise Missing
            return number(found)
        case Elements(path, member):
            found = read(event, path)
            if found is None:
                raise Missing
            if not isinstance(found, list):
                raise Invalid
            return sum((of_element(one, member) for one in found), Fraction(0))
        case Default(operand, otherwise):
            if read(event, operand.path) is None:
                return Fraction(otherwise, E12)
            return slow(operand, event)
        case Number(pico):
            return Fraction(pico, E12)
        case Negative(term):
            return -slow(term, event)
        case Arithmetic(op, left, right):
            a, b = slow(left, event), slow(right, event)
            return {"+": a + b, "-": a - b, "*": a * b}[op]
        case Extreme(name, terms):
            return (min if name == "min" else max)(slow(term, event) for term in terms)
        case Whole("floor", term):
            return Fraction(slow(term, event) // 1)
        case Whole(_, term):
            return -Fraction(-slow(term, event) // 1)


def of_element(element: Any, member: tuple[str, ...]) -> Fraction:
    for name in member:
        element = element.get(name) if isinstance(element, dict) else None
    return Fraction(0) if element is None else number(element)


def any_missing(value: Value, event: Event) -> bool:
    match value:
        case Path(path) | Elements(path):
            return read(event, path) is None
        case Arithmetic(_, left, right):
            return any_missing(left, event) or any_missing(right, event)
        case Extreme(_, terms):
            return any(any_missing(term, event) for term in terms)
        case Negative(term) | Whole(_, term):
            return any_missing(term, event)
    return False


@given(values, datas)
def test_an_expression_is_what_fractions_give(value: Value, data: dict[str, Any]) -> None:
    event = Event("e", "t", "s", data=data)
    text = f"{written(value)} + 0 * default(data.nothing, 0)"  # so that it reads something
    reads, evaluate = evaluator(text)
    arguments = [read(event, path) for path in reads]
    if any_missing(value, event):
        assert evaluate(*arguments) is None
        return
    try:
        expected = half_up(slow(value, event) * E12)
    except Invalid:
        expected = MAX_PICO + 1
    if abs(expected) > MAX_PICO:
        with pytest.raises(Rejected) as refused:
            evaluate(*arguments)
        assert refused.value.code == "invalid_quantity"
    else:
        assert evaluate(*arguments) == expected


@given(values)
def test_what_is_written_is_read_as_it_was_meant(value: Value) -> None:
    text = f"default(data.nothing, 0) + {written(value)}"
    assert parse_value(text) == Arithmetic("+", Default(Path("data.nothing"), 0), value)
