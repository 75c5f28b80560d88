"""Random events, filters and meters that often have something to do with each other."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from tests.property.meter_oracle import EXPRESSIONS

from taximeter.events.envelope import Event
from taximeter.meters.definition import Meter
from taximeter.meters.filters import And, Compare, Exists, Expression, In, Not, Or
from taximeter.meters.kinds import Aggregation, Mode, Per, Precision
from taximeter.quantities import E12

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


SETTINGS: dict[Aggregation, tuple[dict[str, Any], ...]] = {
    Aggregation.UNIQUE: ({}, {"precision": Precision.SKETCH}),
    Aggregation.PERCENTILE: tuple(
        {"percentile_pico": p} for p in (1, 50 * E12, 95 * E12, 99_900_000_000_000, 100 * E12)
    ),
    Aggregation.WEIGHTED_SUM: (
        {"mode": Mode.SET, "per": Per.HOUR},
        {"mode": Mode.SET, "per": Per.DAY, "series": "data.b"},
        {"mode": Mode.SET, "per": Per.MINUTE, "series": "data.b", "timeout_s": 2},
        {"mode": Mode.DELTA, "per": Per.SECOND},
    ),
    Aggregation.SESSION: (
        {"per": Per.SECOND, "timeout_s": 1},
        {"per": Per.MINUTE, "timeout_s": 2, "stop": 'data.b == "b"'},
    ),
    Aggregation.CONCURRENCY: ({"timeout_s": 1}, {"timeout_s": 3, "stop": "not exists(data.b)"}),
}


def every_kind(event_type: str, value: str, dimensions: dict[str, str]) -> list[Meter]:
    """One meter for each aggregation and each of its settings."""
    return [
        Meter("m", event_type, kind, value, dimensions, **settings)
        for kind in Aggregation
        for settings in SETTINGS.get(kind, ({},))
    ]


@st.composite
def any_meters(
    draw: Any, types: tuple[str, ...], places: tuple[str, ...], dimensions: dict[str, str]
) -> Meter:
    """Meters of every kind; `places` are where their values stand, the usual one first."""
    kind = draw(st.sampled_from(Aggregation))
    value = mostly(st.just(places[0]), st.sampled_from(places))
    if kind not in (Aggregation.UNIQUE, Aggregation.SESSION, Aggregation.CONCURRENCY):
        value = mostly(value, st.sampled_from(list(EXPRESSIONS)))
    return Meter(
        key=draw(st.sampled_from(["m1", "m2", "m3"])),
        event_type=draw(st.sampled_from(types)),
        aggregation=kind,
        value=draw(value),
        dimensions=dimensions,
        filter=draw(filters),
        **draw(st.sampled_from(SETTINGS.get(kind, ({},)))),
    )


def meters(types: tuple[str, ...] = ("t",)) -> st.SearchStrategy[Meter]:
    return any_meters(
        types,
        ("data.tokens", "data.a", "data.a.tokens"),
        {"model": "data.b", "who": "subject", "deep": "data.a.b"},
    )
