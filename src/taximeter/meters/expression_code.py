"""
Value expressions as Python functions over whole numbers.

Where the decimal point stands is known before any event is: a quantity has 12 places, a product has
the places of both factors together. So a function computes with plain integers, aligns them where
they are added or compared, and rounds once at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, TypeAlias

from taximeter.errors import Rejected
from taximeter.meters.expressions import (
    MAX_ELEMENTS,
    Arithmetic,
    Default,
    Elements,
    Extreme,
    Negative,
    Number,
    Path,
    Value,
    Whole,
    operands,
    parse_value,
)
from taximeter.meters.reading import kind_of
from taximeter.meters.rounding import half_up
from taximeter.meters.values import quantity_pico
from taximeter.quantities import E12, FRACTION_DIGITS, MAX_PICO

Evaluate: TypeAlias = Callable[..., int | None]
"""
Takes the decoded values at `reads(value)`, in that order, each None if it is missing or null; gives
the value in pico, or None if it is missing.

Raises Rejected `invalid_quantity` for what is there and is no quantity, for a list of more than
`MAX_ELEMENTS`, and for a result beyond K18.
"""


def reads(value: Value) -> tuple[str, ...]:
    """The distinct paths it reads, in the order of the function's arguments."""
    return tuple(dict.fromkeys(_place(operand) for operand in operands(value)))


@lru_cache(maxsize=1024)
def evaluator(text: str) -> tuple[tuple[str, ...], Evaluate]:
    """What a value expression reads, and its function."""
    value = parse_value(text)
    paths = reads(value)
    scope: dict[str, Any] = {
        "quantity_pico": quantity_pico,
        "elements_pico": elements_pico,
        "settled": settled,
    }
    # Paths and numbers reach the source as `repr`s of what was checked, and nothing else does.
    exec(compile(_source(value, text, paths), f"<value {text!r}>", "exec"), scope)
    evaluate: Evaluate = scope["evaluate"]
    return paths, evaluate


def elements_pico(elements: Any, member: tuple[str, ...], text: str) -> int:
    """
    The sum over a list.

    Args:
        elements: What stands at the list's path; neither missing nor null.
        member: The path below each element, () for the elements themselves. What is missing or
            null there counts nothing.
        text: How it is written, for the message.
    """
    if not isinstance(elements, list):
        raise Rejected(
            "invalid_quantity", f"{text}: expected a list, found {kind_of(elements)}", path=text
        )
    if len(elements) > MAX_ELEMENTS:
        raise Rejected(
            "invalid_quantity",
            f"{text}: a list has at most {MAX_ELEMENTS} elements to count, this one has "
            f"{len(elements)}",
            path=text,
        )
    total = 0
    for element in elements:
        value = element
        for name in member:
            value = value.get(name) if isinstance(value, dict) else None
        if value is not None:
            total += quantity_pico(value, text)
    return total


def settled(number: int, places: int, text: str) -> int:
    """number x 10^-places as pico, rounded half-up if it has more than 12 places."""
    if places <= FRACTION_DIGITS:
        pico: int = number * 10 ** (FRACTION_DIGITS - places)
    else:
        pico = half_up(number, 10 ** (places - FRACTION_DIGITS))
    if not -MAX_PICO <= pico <= MAX_PICO:
        raise Rejected(
            "invalid_quantity", f"{text}: the result has more than 26 integer digits", path=text
        )
    return pico


def _place(operand: Path | Elements | Default) -> str:
    return operand.operand.path if isinstance(operand, Default) else operand.path


def _source(value: Value, text: str, paths: tuple[str, ...]) -> str:
    arguments = {path: f"v{index}" for index, path in enumerate(paths)}
    needed = dict.fromkeys(
        arguments[one.path] for one in operands(value) if not isinstance(one, Default)
    )
    terms = _Terms(arguments)
    term, places = terms.of(value)
    missing = " or ".join(f"{name} is None" for name in needed)
    lines = [
        *([f"if {missing}:", "    return None"] if missing else []),
        *terms.lines,
        f"return settled({term}, {places}, {text!r})",
    ]
    return "\n".join([f"def evaluate({', '.join(arguments.values())}):", *_indented(lines), ""])


_BOUND: Final = 10**26  # K18


class _Terms:
    """
    Terms as (source, decimal places).

    Attributes:
        lines: What has to run before, an assignment for each operand.
    """

    def __init__(self, arguments: dict[str, str]) -> None:
        self._arguments = arguments
        self.lines: list[str] = []
        self._operands: dict[Value, str] = {}

    def of(self, value: Value) -> tuple[str, int]:
        match value:
            case Path() | Elements() | Default():
                return self._operand(value), FRACTION_DIGITS
            case Number(pico):
                # A whole number needs no places, and so the product with it has no more of them.
                return (repr(pico), FRACTION_DIGITS) if pico % E12 else (repr(pico // E12), 0)
            case Negative(term):
                source, places = self.of(term)
                return f"(-{source})", places
            case Arithmetic("*", left, right):
                (a, places), (b, further) = self.of(left), self.of(right)
                return self._held(f"{a} * {b}"), places + further
            case Arithmetic(op, left, right):
                (a, b), places = self._aligned(left, right)
                return self._held(f"{a} {op} {b}"), places
            case Extreme(name, terms):
                sources, places = self._aligned(*terms)
                return f"{name}({', '.join(sources)})", places
            case Whole(name, term):
                source, places = self.of(term)
                down = f"({source} // {10**places})"
                return (down if name == "floor" else f"(-(-{source} // {10**places}))"), 0

    def _held(self, source: str) -> str:
        """A variable for a term: a long sum would nest more parentheses than Python reads."""
        name = f"t{len(self.lines)}"
        self.lines.append(f"{name} = {source}")
        return name

    def _aligned(self, *values: Value) -> tuple[list[str], int]:
        terms = [self.of(value) for value in values]
        most = max(places for _, places in terms)
        return [
            source if places == most else f"{source} * {10 ** (most - places)}"
            for source, places in terms
        ], most

    def _operand(self, operand: Path | Elements | Default) -> str:
        name = self._operands.get(operand)
        if name is None:
            name = self._operands[operand] = f"q{len(self._operands)}"
            self.lines += self._reading(name, operand)
        return name

    def _reading(self, name: str, operand: Path | Elements | Default) -> list[str]:
        match operand:
            case Path(path):
                value = self._arguments[path]
                whole = f"{value}.__class__ is int and {-_BOUND} < {value} < {_BOUND}"
                slow = f"quantity_pico({value}, {path!r})"
                return [f"{name} = {value} * {E12} if {whole} else {slow}"]
            case Elements(path, member):
                text = ".".join([f"{path}[]", *member])
                return [f"{name} = elements_pico({self._arguments[path]}, {member!r}, {text!r})"]
            case Default(inner, otherwise):
                return [
                    f"if {self._arguments[inner.path]} is None:",
                    f"    {name} = {otherwise}",
                    "else:",
                    *_indented(self._reading(name, inner)),
                ]


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]
