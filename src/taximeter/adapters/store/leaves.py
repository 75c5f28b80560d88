"""
Leaves: what an event's `data` holds, taken apart into one column a path.

A JSON function of a database would read numbers as floats. Here every value that a path of a meter
can reach (`meters.paths`) is written down once, on the way in, as the text of a leaf:

    string opus              "opus       a quote, then the text itself
    number 812, 1.50, 8E2    812 1.5 800 its one spelling (`values.number_text`)
    number outside K18       #1e30       the same behind a mark: it can be compared, not summed
    true, false              true false
    an object, an array      { [         there, but no value; its members have leaves of their own
    null, or missing         NULL

Equal values have equal leaves and the first character tells the kind, so comparing is comparing
text, and only arithmetic has to read numbers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, TypeAlias

from msgspec import Raw

from taximeter.meters.paths import path_problem
from taximeter.meters.values import number_text
from taximeter.quantities import MAX_INTEGER_DIGITS, exact_pico

STRING: Final = '"'
OUTSIDE: Final = "#"
OBJECT: Final = "{"
ARRAY: Final = "["

Leaf: TypeAlias = str | None

_INTEGER_BOUND: Final = 10**MAX_INTEGER_DIGITS
_UPPER: Final = re.compile(r"[A-Z]")


@lru_cache(maxsize=65_536)
def spelled(number: str) -> Raw:
    """
    A JSON number that is no integer, in its one spelling, for a decoder's `float_hook`.

    Encoding writes a `Raw` as it is, so what was decoded with this hook is encoded canonically.
    """
    return Raw(number_text(Decimal(number)).encode())


def leaf(value: Any) -> Leaf:
    """The leaf of one JSON value, decoded with `spelled`."""
    if value is None:
        return None
    if isinstance(value, str):
        return STRING + value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return OBJECT
    if isinstance(value, list):
        return ARRAY
    if isinstance(value, Raw):
        return _number_leaf(Decimal(bytes(value).decode()))
    return _number_leaf(value)


def _number_leaf(number: int | Decimal) -> str:
    text = number_text(number)
    return text if exact_pico(number) is not None else OUTSIDE + text


def column_name(path: str) -> str:
    """
    The column of a path. DuckDB ignores case in names and JSON does not, hence the `^` before
    capitals, which no path contains.
    """
    return _UPPER.sub(lambda found: "^" + found[0].lower(), path)


class Leaves:
    """
    The leaves of a run of events.

    Attributes:
        columns: Path -> two equally long lists, rows and their leaves; rows without are absent.
    """

    def __init__(self, datas: Sequence[dict[str, Any] | None]) -> None:
        self.columns: dict[str, tuple[list[int], list[Leaf]]] = {}
        rows = [row for row, data in enumerate(datas) if data]
        self._enter("data", rows, [data for data in datas if data])

    def _enter(self, prefix: str, rows: list[int], objects: Sequence[dict[str, Any]]) -> None:
        """Objects with equal members make a rectangle, which `zip` turns at the speed of C."""
        shapes: dict[tuple[str, ...], list[int]] = {}
        for index, members in enumerate(objects):
            shapes.setdefault(tuple(members), []).append(index)
        for names, indices in shapes.items():
            whole = len(shapes) == 1
            shape_rows = rows if whole else [rows[index] for index in indices]
            shape_objects = objects if whole else [objects[index] for index in indices]
            turned = zip(*map(dict.values, shape_objects), strict=True)
            for name, values in zip(names, turned, strict=True):
                path = f"{prefix}.{name}"
                # What no path can name, no meter can ask for; it stays in the event's data.
                if "." not in name and path_problem(path) is None:
                    self._add(path, shape_rows, values)

    def _add(self, path: str, rows: list[int], values: Sequence[Any]) -> None:
        kinds = set(map(type, values))
        texts: list[Leaf]
        if kinds == {str}:
            texts = [STRING + value for value in values]
        elif kinds == {int} and min(values) > -_INTEGER_BOUND and max(values) < _INTEGER_BOUND:
            texts = list(map(str, values))
        else:
            texts = list(map(leaf, values))
        known = self.columns.get(path)
        if known is None:
            self.columns[path] = (list(rows), texts)
        else:
            known[0].extend(rows)
            known[1].extend(texts)
        if dict in kinds:
            pairs = [(r, v) for r, v in zip(rows, values, strict=True) if isinstance(v, dict) and v]
            self._enter(path, [row for row, _ in pairs], [value for _, value in pairs])
