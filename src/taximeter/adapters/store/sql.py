"""
Filters, dimensions and values as SQL over leaves (`adapters.store.leaves`).

Names and constants of callers never become SQL text: paths turn into column names of a closed
alphabet, every constant into a bound parameter. Each condition is true or false, never NULL, so
that NOT, AND and OR mean what they mean in `meters.filters`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from decimal import Context, Decimal, Inexact
from functools import lru_cache
from itertools import count, groupby
from typing import Any, Final, NamedTuple, TypeAlias

import duckdb
import msgspec

from taximeter.adapters.store.leaves import column_name, leaf
from taximeter.errors import Rejected
from taximeter.meters.aggregate import finish
from taximeter.meters.definition import Aggregation, Meter, check_dimension, is_estimate
from taximeter.meters.expression_code import Evaluate, evaluator
from taximeter.meters.filters import (
    And,
    Compare,
    Constant,
    Exists,
    Expression,
    In,
    Not,
    Or,
    parse_filter,
)
from taximeter.meters.kinds import SESSIONS
from taximeter.meters.paths import ATTRIBUTES, path_problem, segments
from taximeter.meters.rounding import half_up
from taximeter.meters.sketch import new_sketch, see
from taximeter.meters.values import canonical_text
from taximeter.quantities import E12, FRACTION_DIGITS, MAX_PICO, exact_pico, format_quantity

_WIDE: Final = Context(prec=60, traps=[Inexact])

Place: TypeAlias = tuple[Any, ...]
"""Where a total belongs, such as (window, *group) or (scope, *group)."""

_QUANTITY: Final = "DECIMAL(38, 12)"

# Leaves sort by kind: strings "..., outside numbers #..., numbers - or a digit, then the rest.
_IS_STRING: Final = "{0} < '#'"
_IS_NUMBER: Final = "({0} >= '-' AND {0} < ':')"
_IS_OUTSIDE: Final = "({0} >= '#' AND {0} < '$')"

# A numeric string in the spelling nearly all have; the few others go through Python.
_PLAIN_STRING: Final = r'"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,12})?'


class Relation(NamedTuple):
    """
    What a statement reads.

    Attributes:
        columns: Names of its columns; a path without one is NULL everywhere.
        holds_nested: Whether a column holds an object or an array anywhere. Only then the whole
            `data` has to be read for their text.
        holds_text: Whether a column holds a string anywhere. Only then a string may be a number.
        behind: What to read instead of `events` for those with a seq above a position.
    """

    columns: Collection[str]
    holds_nested: Callable[[str], bool]
    holds_text: Callable[[str], bool]
    behind: Callable[[int], str]


NO_LEAVES: Final = Relation((), lambda _: False, lambda _: False, lambda _: "events")


class Statement:
    """The parameters of one SQL statement, and the expressions over one relation's columns."""

    def __init__(self, relation: Relation) -> None:
        self._relation = relation
        self.parameters: dict[str, Any] = {}

    def bind(self, value: Any) -> str:
        """A placeholder for a constant."""
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return f"${name}"

    def leaf(self, path: str) -> str:
        """The leaf at a path."""
        assert path_problem(path) is None, path
        if path in ATTRIBUTES:
            return f"""('"' || "{path}")"""
        name = column_name(path)
        found = [f'"{name}"'] if name in self._relation.columns else []
        if "rest" in self._relation.columns:
            found.append(f"rest[{self.bind(name)}]")
        return f"coalesce({', '.join(found)})" if found else "NULL::VARCHAR"

    def dimension(self, path: str) -> str:
        """`values.dimension_value` at a path."""
        if path in ATTRIBUTES:
            return f'"{path}"'
        text = self.leaf(path)
        plain = f"CASE WHEN {text} < '$' THEN substr({text}, 2) ELSE {text} END"
        return self._or_nested(path, plain)

    def distinct(self, path: str) -> str:
        """Equal exactly where `values.canonical_text` is; NULL for nothing."""
        return self._or_nested(path, self.leaf(path))

    def _or_nested(self, path: str, otherwise: str) -> str:
        """The canonical text of an object or array, whose leaf is only a mark."""
        if path in ATTRIBUTES or not self._may_be_nested(path):
            return otherwise
        nested = f"canonical_at(data, {self.bind(path)})"
        return f"CASE WHEN {self.leaf(path)} IN ('{{', '[') THEN {nested} ELSE {otherwise} END"

    def _may_be_nested(self, path: str) -> bool:
        columns, name = self._relation.columns, column_name(path)
        return "rest" in columns or (name in columns and self._relation.holds_nested(name))

    def _may_be_text(self, path: str) -> bool:
        columns, name = self._relation.columns, column_name(path)
        is_column = path not in ATTRIBUTES and "rest" not in columns and name in columns
        return not is_column or self._relation.holds_text(name)

    def quantity(self, path: str) -> str:
        """The value at a path as a quantity (K18); NULL where there is none."""
        text = self.leaf(path)
        if not self._may_be_text(path):
            return f"TRY_CAST({text} AS {_QUANTITY})"
        return (
            f"CASE WHEN {_IS_NUMBER.format(text)} THEN TRY_CAST({text} AS {_QUANTITY}) "
            f"WHEN {_IS_STRING.format(text)} THEN CASE "
            f"WHEN regexp_full_match({text}, {self.bind(_PLAIN_STRING)}) "
            f"THEN TRY_CAST(substr({text}, 2) AS {_QUANTITY}) "
            f"ELSE numeric_text({text}) END END"
        )

    def condition(self, expression: Expression) -> str:
        """A filter: true exactly where `filters.evaluate` is, false elsewhere."""
        match expression:
            case Compare(path, "==", literal):
                return self._equal(path, literal)
            case Compare(path, "!=", literal):
                return f"(NOT {self._equal(path, literal)})"
            case Compare(path, op, literal):
                return self._ordered(path, op, literal)
            case In(path, literals):
                return f"({' OR '.join(self._equal(path, one) for one in literals)})"
            case Exists(path):
                return f"({self.leaf(path)} IS NOT NULL)"
            case Not(term):
                return f"(NOT {self.condition(term)})"
            case And(terms):
                return f"({' AND '.join(map(self.condition, terms))})"
            case Or(terms):
                return f"({' OR '.join(map(self.condition, terms))})"

    def _equal(self, path: str, literal: Constant) -> str:
        return f"({self.leaf(path)} IS NOT DISTINCT FROM {self.bind(leaf(literal))}::VARCHAR)"

    def _ordered(self, path: str, op: str, literal: Constant) -> str:
        if literal is None or isinstance(literal, bool):
            return "false"
        text = self.leaf(path)
        bound = self.bind(leaf(literal))
        if isinstance(literal, str):
            return f"coalesce({_IS_STRING.format(text)} AND {text} {op} {bound}, false)"
        slowly = f"compare_numbers({text}, {bound}) {op} 0"
        quickly = f"TRY_CAST({text} AS {_QUANTITY}) {op} TRY_CAST({bound} AS {_QUANTITY})"
        if exact_pico(literal) is None:
            quickly = slowly
        return (
            f"coalesce(CASE WHEN {_IS_NUMBER.format(text)} THEN {quickly} "
            f"WHEN {_IS_OUTSIDE.format(text)} THEN {slowly} END, false)"
        )


# --- meters -----------------------------------------------------------------------------------


def meter_conditions(statement: Statement, meter: Meter, further: str | None) -> list[str]:
    """Conditions of the events a meter and a further filter select."""
    filters = [parse_filter(text) for text in (meter.filter, further) if text]
    return [
        f"type = {statement.bind(meter.event_type)}",
        *(statement.condition(expression) for expression in filters),
    ]


def dimension_columns(statement: Statement, meter: Meter, group_by: tuple[str, ...]) -> list[str]:
    """
    One expression for each name.

    Raises:
        Rejected: `invalid_parameter`, if the meter has no such dimension.
    """
    for name in group_by:
        check_dimension(meter, name)
    return [statement.dimension(meter.dimensions[name]) for name in group_by]


def value_column(statement: Statement, meter: Meter) -> str:
    """What the aggregation reads; NULL where an event does not count."""
    if meter.aggregation is Aggregation.COUNT:
        return "true"
    if meter.value is None:
        raise Rejected("invalid_parameter", f"meter {meter.key!r} has no value path")
    if meter.aggregation is Aggregation.UNIQUE or meter.aggregation in SESSIONS:
        return statement.distinct(meter.value)
    if path_problem(meter.value) is not None:
        return f"expression_at(data, {statement.bind(meter.value)})::{_QUANTITY}"
    return statement.quantity(meter.value)


def quantity_bound(statement: Statement, pico: int) -> str:
    """What a quantity can be compared with; no quantity lies beyond the largest there is."""
    bound = max(-MAX_PICO, min(MAX_PICO, pico))
    return f"{statement.bind(format_quantity(bound))}::{_QUANTITY}"


class Total(NamedTuple):
    """The quantity of some events, and how many they were."""

    value_pico: int
    events: int


def totals(
    db: duckdb.DuckDBPyConnection,
    meter: Meter,
    place: str,
    events: str,
    parameters: dict[str, Any],
) -> dict[Place, Total]:
    """
    Aggregate events at each place, in the order of the places (NULL last).

    Args:
        meter: One that does not weigh time.
        place: Columns, separated by commas; at least one.
        events: A statement that gives them and `value`, `time`, `id`.
    """
    (found,) = totals_together(db, {"value": meter}, place, events, parameters)
    return found


def totals_together(
    db: duckdb.DuckDBPyConnection,
    meters: Mapping[str, Meter],
    place: str,
    events: str,
    parameters: dict[str, Any],
) -> list[dict[Place, Total]]:
    """
    The same for several meters in one pass, one answer each.

    Args:
        meters: By the column that has its values. One with a histogram has to be alone.
    """
    if any(map(needs_histogram, meters.values())):
        ((column, meter),) = meters.items()
        return [_from_histograms(db, meter, column, place, events, parameters)]
    rows = _aggregated(db, meters, place, events, parameters)
    width = len(rows[0]) - 2 * len(meters) if rows else 0  # of the place
    return [
        {
            row[:width]: Total(_finished(meter.aggregation, row[at + 1], row[at]), row[at])
            for row in rows
            if row[at]
        }
        for at, meter in zip(count(width, 2), meters.values(), strict=False)
    ]


def needs_histogram(meter: Meter) -> bool:
    """Whether SQL has no exact aggregate for it."""
    return meter.aggregation is Aggregation.PERCENTILE or is_estimate(meter)


def _from_histograms(
    db: duckdb.DuckDBPyConnection,
    meter: Meter,
    column: str,
    place: str,
    events: str,
    parameters: dict[str, Any],
) -> dict[Place, Total]:
    """Finished here, from each value and its frequency."""
    rows = db.execute(
        f"SELECT {place}, {column}, count(*) FROM ({events}) WHERE {column} IS NOT NULL "
        f"GROUP BY {place}, {column} ORDER BY {place}",
        parameters,
    ).fetchall()
    found: dict[Place, Total] = {}
    for at, alike in groupby(rows, key=lambda row: row[:-2]):
        seen = {value: times for *_, value, times in alike}
        total = sum(seen.values())
        state: Any
        if is_estimate(meter):
            state = new_sketch()
            for text in seen:
                see(state, text)
        else:
            state = {pico_of(value): times for value, times in seen.items()}
        found[at] = Total(finish(meter, total, state), total)
    return found


def _aggregate(aggregation: Aggregation, column: str, *, wide: bool = False) -> str:
    """
    The aggregate of a column, beside `time` and `id`.

    Args:
        wide: Sum whole units and the rest apart, which is slower and cannot overflow.
    """
    match aggregation:
        case Aggregation.COUNT:
            return "0"
        case Aggregation.SUM | Aggregation.AVG if wide:
            return f"row(sum(trunc({column})::HUGEINT), sum({column} - trunc({column})))"
        case Aggregation.SUM | Aggregation.AVG:
            return f"sum({column})"
        case Aggregation.UNIQUE:
            return f"count(DISTINCT {column})"
        case Aggregation.LAST:
            return f"max(row(time, id, {column})) FILTER (WHERE {column} IS NOT NULL)"
        case Aggregation.MIN:
            return f"min({column})"
        case Aggregation.MAX:
            return f"max({column})"
    raise AssertionError(f"{aggregation} has no aggregate in SQL")


def _aggregated(
    db: duckdb.DuckDBPyConnection,
    meters: Mapping[str, Meter],
    place: str,
    events: str,
    parameters: dict[str, Any],
) -> list[tuple[Any, ...]]:
    """The place, then of each meter how many events it counted there and their aggregate."""
    counted = " OR ".join(f"{column} IS NOT NULL" for column in meters)

    def rows(*, wide: bool) -> list[tuple[Any, ...]]:
        states = ", ".join(
            f"count({column}), {_aggregate(meter.aggregation, column, wide=wide)}"
            for column, meter in meters.items()
        )
        text = (
            f"SELECT {place}, {states} FROM ({events}) WHERE {counted} "
            f"GROUP BY {place} ORDER BY {place}"
        )
        return db.execute(text, parameters).fetchall()

    try:
        return rows(wide=False)
    except duckdb.OutOfRangeException:  # a sum of more than 38 digits
        return rows(wide=True)


def _finished(aggregation: Aggregation, state: Any, events: int) -> int:
    """The quantity in pico of what an aggregate gave."""
    match aggregation:
        case Aggregation.COUNT:
            return events * E12
        case Aggregation.UNIQUE:
            return int(state) * E12
        case Aggregation.SUM:
            return _total(state)
        case Aggregation.AVG:
            return half_up(_total(state), events)
        case Aggregation.LAST:
            return pico_of(_members(state)[2])
        case _:
            return pico_of(state)


def _total(state: Any) -> int:
    if isinstance(state, Decimal):
        return pico_of(state)
    whole, rest = _members(state)
    return int(whole) * E12 + pico_of(rest)


def _members(row: Any) -> tuple[Any, ...]:
    """Of a DuckDB row, which comes as a tuple or, if its members have names, as a dict."""
    return tuple(row.values()) if isinstance(row, dict) else tuple(row)


def pico_of(quantity: Decimal) -> int:
    """A DECIMAL(38, 12) as pico."""
    return int(_WIDE.to_integral_exact(_WIDE.scaleb(quantity, FRACTION_DIGITS)))


# --- functions the statements call ------------------------------------------------------------

_json = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)


def compare_numbers(text: str | None, other: str | None) -> int | None:
    """-1, 0 or 1: two numeric leaves by exact value."""
    if text is None or other is None:
        return None
    a, b = Decimal(text.removeprefix("#")), Decimal(other.removeprefix("#"))
    return -1 if a < b else int(a > b)


def numeric_text(text: str | None) -> Decimal | None:
    """The quantity of a string's leaf, however it is spelled; None if it is none."""
    pico = None if text is None else exact_pico(text[1:])
    return None if pico is None else Decimal(f"{pico}E-12")


def canonical_at(data: str | None, path: str) -> str | None:
    """The canonical JSON text of what stands at a path, which is there."""
    if data is None:
        return None
    value: Any = _json.decode(data)
    for name in segments(path):
        value = value[name]
    return canonical_text(value)


def expression_at(data: str | None, text: str) -> str | None:
    """The value of an event by an expression; None if it is missing or no quantity."""
    places, evaluate = _reading(text)
    members = {} if data is None else _json.decode(data)
    values = []
    for names in places:
        value: Any = members
        for name in names:
            value = value.get(name) if value.__class__ is dict else None
        values.append(value)
    try:
        pico = evaluate(*values)
    except Rejected:
        return None
    return None if pico is None else format_quantity(pico)


@lru_cache(maxsize=256)
def _reading(text: str) -> tuple[tuple[tuple[str, ...], ...], Evaluate]:
    """Where an expression reads, and its function."""
    paths, evaluate = evaluator(text)
    return tuple(map(segments, paths)), evaluate


FUNCTIONS: Final[tuple[tuple[Callable[..., Any], list[Any], str], ...]] = (
    (compare_numbers, ["VARCHAR", "VARCHAR"], "INTEGER"),
    (numeric_text, ["VARCHAR"], "DECIMAL(38, 12)"),
    (canonical_at, ["VARCHAR", "VARCHAR"], "VARCHAR"),
    (expression_at, ["VARCHAR", "VARCHAR"], "VARCHAR"),
)
"""Python for the rare cases that SQL cannot do exactly: function, types it takes, type it gives."""
