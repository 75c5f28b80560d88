"""Random events, filters and meters that often have something to do with each other."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from taximeter.events.envelope import Event
from taximeter.meters.definition import Aggregation, Meter
from taximeter.meters.filters import And, Compare, Exists, Expression, In, Not, Or

NAMES = ("a", "b", "tokens", "x-y", "_0")
PATHS = (*(f"data.{name}" for name in NAMES), "data.a.b", "data.a.tokens", "subject", "source")
TEXTS = ("", "a", "b", "eu", "10", "1", "true", "é", "😀", "\uffff", "'", '"', "\\", "a\nb", "s1")

numbers = st.one_of(
    st.integers(-3, 12),
    st.sampled_from(["1.0", "1.5", "-0.0", "10.00", "0.000000000001", "9e2"]).map(Decimal),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, st.sampled_from(TEXTS))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)
    ),
    max_leaves=4,
)


def mostly(usual: st.SearchStrategy[Any], odd: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Three times in four the usual, so that there is something to count."""
    return st.integers(0, 3).flatmap(lambda n: odd if n == 3 else usual)


metered = mostly(
    numbers | st.sampled_from(["2", "0.5"]),
    st.sampled_from([10**26 - 1, 10**26, -(10**26), Decimal("1E-13")]) | values,
)
texts = st.sampled_from(TEXTS)
data = mostly(
    st.fixed_dictionaries(
        {"tokens": metered, "b": mostly(texts, values)},
        optional={
            "a": mostly(st.fixed_dictionaries({"tokens": metered}, optional={"b": texts}), values)
        },
    ),
    st.none() | st.dictionaries(st.sampled_from(NAMES), values, max_size=5),
)


def events(types: tuple[str, ...] = ("t",)) -> st.SearchStrategy[Event]:
    return st.builds(
        Event,
        id=st.sampled_from(["1", "2", "10", "a", "é", "\uffff", "😀"]),
        type=st.sampled_from(types),
        subject=st.sampled_from(["s1", "s2"]),
        source=st.sampled_from(["", "eu"]),
        data=data,
    )


paths = st.sampled_from(PATHS)
plain_literals = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 12),
    st.sampled_from(["1.5", "-0.5", "0.000000000001"]).map(Decimal),
    st.sampled_from(TEXTS),
)
comparisons = st.one_of(
    st.builds(Compare, paths, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), plain_literals),
    st.builds(In, paths, st.lists(plain_literals, min_size=1, max_size=3).map(tuple)),
    st.builds(Exists, paths),
)
expressions: st.SearchStrategy[Expression] = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)


def literal_text(literal: Any) -> str:
    return format(literal, "f") if isinstance(literal, Decimal) else json.dumps(literal)


def filter_text(expression: Expression) -> str:
    """An expression as somebody might write it; every nested one in parentheses."""
    match expression:
        case Compare(path, op, literal):
            return f"{path} {op} {literal_text(literal)}"
        case In(path, literals):
            return f"{path} in [{', '.join(map(literal_text, literals))}]"
        case Exists(path):
            return f"exists({path})"
        case Not(term):
            return f"not ({filter_text(term)})"
        case And(terms):
            return " and ".join(f"({filter_text(term)})" for term in terms)
        case Or(terms):
            return " or ".join(f"({filter_text(term)})" for term in terms)


filters = mostly(st.none(), expressions.map(filter_text))


def meters(types: tuple[str, ...] = ("t",)) -> st.SearchStrategy[Meter]:
    return st.builds(
        Meter,
        key=st.sampled_from(["m1", "m2", "m3"]),
        event_type=st.sampled_from(types),
        aggregation=st.sampled_from(Aggregation),
        value=mostly(st.just("data.tokens"), st.sampled_from(["data.a", "data.a.tokens"])),
        dimensions=st.just({"model": "data.b", "who": "subject", "deep": "data.a.b"}),
        filter=filters,
    )
