"""
Meters as Python functions: a definition is read once, not once an event.

All counters of one event type become two functions, written as source and executed, the way
`dataclasses` does it: `measure` validates and extracts, `add` folds into the cells of one customer
and period. Each distinct path is read once, whichever counters use it. Only `repr`s of checked
constants reach the source; `tests/property/test_meters_compile.py` holds the functions against the
slow reading of the same definitions.

Cells are one flat list for all event types of a namespace: the counter with slot number i owns
`cells[2 * i]`, how many events it counted, and `cells[2 * i + 1]`, its state (see `aggregate`), or
for a grouped counter a dict from group to `[n, state]`. `cells.Layout` makes, reads and merges
them.
"""

from __future__ import annotations

import hashlib
import linecache
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final, TypeAlias

import msgspec

from taximeter.errors import Rejected
from taximeter.events.envelope import Event
from taximeter.meters.counter import Counter
from taximeter.meters.definition import Aggregation, Meter, is_estimate
from taximeter.meters.expression_code import Evaluate, evaluator
from taximeter.meters.filters import Constant, parse_filter, to_python
from taximeter.meters.kinds import SESSIONS, Mode
from taximeter.meters.levels import END, OPEN, Levels
from taximeter.meters.paths import ATTRIBUTES, path_problem
from taximeter.meters.running import Running
from taximeter.meters.sketch import new_sketch, see
from taximeter.meters.values import canonical_text, dimension_value, quantity_pico
from taximeter.quantities import E12, exact_pico

Measure: TypeAlias = Callable[[Event], tuple[Any, ...] | None]
Add: TypeAlias = Callable[[list[Any], tuple[Any, ...], int, str], None]

_INTEGER_BOUND: Final = 10**26  # K18


class Program(msgspec.Struct, frozen=True):
    """
    The compiled counters of one event type.

    Attributes:
        slots: Slot number of each counter, in the order of the measured values.
        measure: One value per counter, None where it does not count the event; or None if no
            counter does. A value is 1 for count, the distinct text for unique, (series, tie, level)
            for what has `levels`, otherwise int pico; for a grouped counter the pair (group,
            value). Raises Rejected `invalid_quantity` when a counted value is there but is no
            quantity. Touches no state.
        measure_stored: The same for events that were accepted before: a meter that came after them
            may find no quantity there, and then does not count them. Never raises.
        add: `add(cells, values, time, event_id)` folds measured values; never fails. Time in
            microseconds.
        source: What was generated, for the curious.
    """

    event_type: str
    slots: tuple[int, ...]
    measure: Measure
    measure_stored: Measure
    add: Add
    source: str


def compile_counters(slotted: Sequence[tuple[int, Counter]]) -> Program:
    """
    Compile (slot number, counter) pairs, at least one, all of the same event type.
    """
    event_type = slotted[0][1].meter.event_type
    assert all(counter.meter.event_type == event_type for _, counter in slotted), "one event type"
    measure = _MeasureSource()
    add = ["def add(cells, values, time, event_id):", _unpack(len(slotted))]
    for index, (slot, counter) in enumerate(slotted):
        measure.count(index, counter)
        add += _indent(_add_lines(index, slot, counter, always=index in measure.always))
    source = "\n".join([*measure.lines(), "", "", *add, ""])
    functions = _execute(source, {**measure.constants, **measure.functions}, event_type)
    leniently = {name: _if_any(function) for name, function in measure.functions.items()}
    lenient = _execute(
        source,
        {**measure.constants, **leniently, "quantity_pico": _quantity_if_any},
        event_type,
    )
    return Program(
        event_type=event_type,
        slots=tuple(slot for slot, _ in slotted),
        measure=functions["measure"],
        measure_stored=lenient["measure"],
        add=functions["add"],
        source=source,
    )


class _MeasureSource:
    """
    Source of `measure`, counter by counter.

    Attributes:
        constants: Values the source refers to by name: decimals, which have no literal.
        functions: Value expressions by name.
        always: Indices of counters that count every event of the type.
    """

    def __init__(self) -> None:
        self.constants: dict[str, Decimal] = {}
        self.functions: dict[str, Evaluate] = {}
        self.always: set[int] = set()
        self._reads: list[str] = []
        self._body: list[str] = []
        self._locals: dict[str, str] = {}
        self._results: list[str] = []

    def count(self, index: int, counter: Counter) -> None:
        result = f"x{index}"
        value = self._value(result, counter)
        expression = counter.expression
        if expression is not None:
            condition = to_python(expression, self._local, self._constant)
            value = [f"if {condition}:", *_indent(value), "else:", f"    {result} = None"]
        elif counter.meter.aggregation is Aggregation.COUNT:
            self.always.add(index)
        self._body += value
        self._results.append(result)

    def lines(self) -> list[str]:
        needs_data = any(path not in ATTRIBUTES for path in self._locals)
        prologue = ["data = event.data", "if data is None:", "    data = EMPTY"]
        nothing = " and ".join(f"{result} is None" for result in self._results)
        return [
            "def measure(event):",
            *_indent(prologue if needs_data else []),
            *_indent(self._reads),
            *_indent(self._body),
            *_indent([] if self.always else [f"if {nothing}:", "    return None"]),
            f"    return ({', '.join(self._results)},)",
        ]

    def _value(self, result: str, counter: Counter) -> list[str]:
        lines = self._plain_value(result, counter.meter)
        if not counter.group_by:
            return lines
        paths = [counter.meter.dimensions[name] for name in counter.group_by]
        group = "".join(f"{_dimension(self._local(path))}, " for path in paths)
        pair = f"{result} = (({group}), {result})"
        if counter.meter.aggregation is Aggregation.COUNT:
            return [*lines, pair]
        return [*lines, f"if {result} is not None:", f"    {pair}"]

    def _plain_value(self, result: str, meter: Meter) -> list[str]:
        if meter.aggregation is Aggregation.COUNT:
            return [f"{result} = 1"]
        assert meter.value is not None, "parse_meter requires it"
        if meter.aggregation is Aggregation.UNIQUE:
            return [f"{result} = {self._canonical(meter.value)}"]
        if meter.aggregation in SESSIONS:
            return self._session(result, meter)
        lines = self._quantity(result, meter.value)
        if meter.aggregation is not Aggregation.WEIGHTED_SUM or meter.mode is Mode.DELTA:
            return lines
        name = "None" if meter.series is None else self._canonical(meter.series)
        return [
            *lines,
            f"if {result} is not None:",
            f"    {result} = ((event.subject, {name}), event.id, {result})",
        ]

    def _session(self, result: str, meter: Meter) -> list[str]:
        assert meter.value is not None, "parse_meter requires it"
        goes_on, ends = f"({OPEN!r}, 1)", f"({END!r}, 0)"
        if meter.stop is None:
            state = f"*{goes_on}"
        else:
            ended = to_python(parse_filter(meter.stop), self._local, self._constant)
            state = f"*({ends} if {ended} else {goes_on})"
        return [
            f"{result} = {self._canonical(meter.value)}",
            f"if {result} is not None:",
            f"    {result} = ((event.subject, {result}), {state})",
        ]

    def _canonical(self, path: str) -> str:
        value = self._local(path)
        return f"None if {value} is None else canonical_text({value})"

    def _quantity(self, result: str, text: str) -> list[str]:
        if path_problem(text) is not None:
            paths, evaluate = evaluator(text)
            name = f"value{len(self.functions)}"
            self.functions[name] = evaluate
            return [f"{result} = {name}({', '.join(map(self._local, paths))})"]
        value = self._local(text)
        in_bounds = f"{-_INTEGER_BOUND!r} < {value} < {_INTEGER_BOUND!r}"
        return [
            f"if {value}.__class__ is int and {in_bounds}:",
            f"    {result} = {value} * {E12!r}",
            f"elif {value} is None:",
            f"    {result} = None",
            "else:",
            f"    {result} = quantity_pico({value}, {text!r})",
        ]

    def _local(self, path: str) -> str:
        """The variable that holds the value at a path, read once at the top."""
        if path == "data":
            return "data"
        name = self._locals.get(path)
        if name is None:
            if path in ATTRIBUTES:
                read = f"event.{path}"
            else:
                parent, _, member = path.rpartition(".")
                holder = self._local(parent)
                read = f"{holder}.get({member!r})"
                if parent != "data":
                    read += f" if {holder}.__class__ is dict else None"
            name = self._locals[path] = f"v{len(self._locals)}"
            self._reads.append(f"{name} = {read}")
        return name

    def _constant(self, literal: Constant) -> str:
        if not isinstance(literal, Decimal):
            return repr(literal)
        name = f"d{len(self.constants)}"
        self.constants[name] = literal
        return name


def _dimension(name: str) -> str:
    return f"{name} if {name} is None or {name}.__class__ is str else dimension_value({name})"


def _unpack(count: int) -> str:
    return f"    {''.join(f'x{index}, ' for index in range(count))}= values"


def _add_lines(index: int, slot: int, counter: Counter, *, always: bool) -> list[str]:
    count, state = f"cells[{2 * slot}]", f"cells[{2 * slot + 1}]"
    lines = [f"{count} += 1"]
    if counter.group_by:
        lines += [
            f"group, value = x{index}",
            f"cell = {state}.get(group)",
            "if cell is None:",
            f"    cell = {state}[group] = [0, {_empty_source(counter.meter)}]",
            "cell[0] += 1",
            *_fold_lines(counter.meter, "cell[1]", "value"),
        ]
    else:
        lines += _fold_lines(counter.meter, state, f"x{index}")
    return lines if always else [f"if x{index} is not None:", *_indent(lines)]


def _empty_source(meter: Meter) -> str:
    """`aggregate.empty(meter)`."""
    match meter.aggregation:
        case Aggregation.COUNT | Aggregation.SUM | Aggregation.AVG:
            return "0"
        case Aggregation.MIN | Aggregation.MAX | Aggregation.LAST:
            return "None"
        case Aggregation.UNIQUE:
            return "new_sketch()" if is_estimate(meter) else "set()"
        case Aggregation.PERCENTILE:
            return "{}"
        case Aggregation.WEIGHTED_SUM | Aggregation.SESSION | Aggregation.CONCURRENCY:
            return "Running()" if meter.mode is Mode.DELTA else "Levels()"


def _fold_lines(meter: Meter, state: str, value: str) -> list[str]:
    """`aggregate.merge(state, single(value))` in place."""
    match meter.aggregation:
        case Aggregation.COUNT:
            return []
        case Aggregation.SUM | Aggregation.AVG:
            return [f"{state} += {value}"]
        case Aggregation.UNIQUE if is_estimate(meter):
            return [f"see({state}, {value})"]
        case Aggregation.UNIQUE:
            return [f"{state}.add({value})"]
        case Aggregation.LAST:
            return [f"last = (time, event_id, {value})", *_replace_lines(">", state, "last")]
        case Aggregation.MIN:
            return _replace_lines("<", state, value)
        case Aggregation.MAX:
            return _replace_lines(">", state, value)
        case Aggregation.PERCENTILE:
            return [f"held = {state}", f"held[{value}] = held.get({value}, 0) + 1"]
        case Aggregation.WEIGHTED_SUM if meter.mode is Mode.DELTA:
            return [f"{state}.change({value}, time)"]
        case Aggregation.WEIGHTED_SUM | Aggregation.SESSION | Aggregation.CONCURRENCY:
            return [f"series, tie, level = {value}", f"{state}.put(series, (time, tie, level))"]


def _replace_lines(sign: str, state: str, value: str) -> list[str]:
    return [
        f"held = {state}",
        f"if held is None or {value} {sign} held:",
        f"    {state} = {value}",
    ]


def _indent(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _quantity_if_any(value: Any, _path: str) -> int | None:
    return exact_pico(value)


def _if_any(evaluate: Evaluate) -> Evaluate:
    def evaluate_if_any(*values: Any) -> int | None:
        try:
            return evaluate(*values)
        except Rejected:
            return None

    return evaluate_if_any


def _execute(source: str, constants: dict[str, Any], event_type: str) -> dict[str, Any]:
    scope: dict[str, Any] = {
        "EMPTY": {},
        "Running": Running,
        "Levels": Levels,
        "new_sketch": new_sketch,
        "see": see,
        "Decimal": Decimal,
        "dimension_value": dimension_value,
        "canonical_text": canonical_text,
        "quantity_pico": quantity_pico,
        **constants,
    }
    digest = hashlib.sha256(source.encode()).hexdigest()[:8]
    file_name = f"<meters of {event_type!r} {digest}>"
    exec(compile(source, file_name, "exec"), scope)
    # Tracebacks then show the generated line.
    linecache.cache[file_name] = (len(source), None, source.splitlines(keepends=True), file_name)
    return scope
