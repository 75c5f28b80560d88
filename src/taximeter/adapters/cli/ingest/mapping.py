"""
Rows to events, as a mapping file says.

    id:      "{TIMESTAMP}-{row}"                       # a template
    type:    {value: llm.request}                      # a constant
    subject: {column: customer}                        # a column
    time:    {column: TIMESTAMP, timezone: UTC}        # a time without offset needs its zone
    data:
      input_tokens: {column: ContextTokens, number: true}

Without an `id` a row is named by the file's content and its row number, so loading the same file
again gives duplicates and nothing twice. An empty cell is an absent member. Pure: bytes and values
in, values out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from string import Formatter
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from taximeter.errors import Rejected, TaximeterError
from taximeter.instants import MAX_INSTANT, format_instant, from_datetime
from taximeter.periods import check_timezone

Row = Mapping[str, Any]
Read = Callable[[Row, int], Any]
"""From a row and its number, from 1, to a value; None for absent."""

ATTRIBUTES: Final = ("id", "source", "type", "subject", "time")
REQUIRED: Final = ("type", "subject")

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")
_FINER_THAN_MICROSECONDS = re.compile(r"(\.[0-9]{6})[0-9]+")


class EventMap(msgspec.Struct, frozen=True):
    """A compiled mapping. `columns` are those it reads."""

    attributes: dict[str, Read]
    data: dict[str, Read]
    columns: frozenset[str]

    @property
    def needs_file_id(self) -> bool:
        """No id is given, so rows are named by their file."""
        return "id" not in self.attributes

    def event(self, row: Row, number: int, file_id: str) -> dict[str, Any]:
        """
        The event of one row.

        Args:
            number: Of the row in its file, from 1.
            file_id: Names the file's content; used only if `needs_file_id`.

        Raises:
            Rejected: `invalid_timestamp`, `invalid_quantity` or `invalid_event`.
        """
        event = {"id": f"{file_id}-{number}"} if self.needs_file_id else {}
        for name, read in self.attributes.items():
            value = read(row, number)
            if value is not None:
                event[name] = value if isinstance(value, str) else str(value)
        data = {}
        for name, read in self.data.items():
            value = read(row, number)
            if value is not None:
                data[name] = value
        return {**event, "data": data} if data else event


def compile_mapping(document: Any, constants: Mapping[str, str]) -> EventMap:
    """
    Check and compile a mapping document.

    Args:
        document: As read from YAML by `read_yaml`.
        constants: Attributes given on the command line; they win.

    Raises:
        Rejected: `invalid_file`, naming the entry.
    """
    if not isinstance(document, dict):
        raise _invalid("a mapping file is a YAML object with id, type, subject, time and data")
    unknown = set(document) - {*ATTRIBUTES, "data"}
    if unknown:
        raise _invalid(f"unknown entry {sorted(map(str, unknown))[0]!r}")
    data = document.get("data") or {}
    if not isinstance(data, dict):
        raise _invalid("data is an object of its members")
    specs = {name: document[name] for name in ATTRIBUTES if name in document}
    specs |= {name: {"value": value} for name, value in constants.items()}
    for name in REQUIRED:
        if name not in specs:
            raise _invalid(f"it says nothing about {name!r}; give it there or with --{name}")
    return EventMap(
        attributes={name: _reader(name, spec) for name, spec in specs.items()},
        data={str(name): _reader(f"data.{name}", spec) for name, spec in data.items()},
        columns=frozenset().union(*map(_columns, [*specs.values(), *data.values()])),
    )


def default_mapping(columns: list[str], constants: Mapping[str, str]) -> EventMap:
    """Without a mapping file: columns named like attributes are those, all others are data."""
    document: dict[str, Any] = {n: {"column": n} for n in ATTRIBUTES if n in columns}
    document["data"] = {n: {"column": n} for n in columns if n not in ATTRIBUTES}
    return compile_mapping(document, constants)


# --- one entry of a mapping ---------------------------------------------------------------------


def _reader(name: str, spec: Any) -> Read:
    if isinstance(spec, str):
        return _template(name, spec)
    if not isinstance(spec, dict) or len({"column", "value"} & set(spec)) != 1:
        raise _invalid(f"{name} is a template, {{column: NAME}} or {{value: CONSTANT}}")
    if "value" in spec:
        _only(name, spec, {"value"})
        return _constant(name, spec["value"])
    column = str(spec["column"])
    if name == "time":
        _only(name, spec, {"column", "format", "timezone"})
        return _time(column, spec.get("format"), spec.get("timezone"))
    _only(name, spec, {"column", "number"})
    return _number(column) if spec.get("number") is True else _cell(column)


def _only(name: str, spec: dict[str, Any], known: set[str]) -> None:
    unknown = sorted(str(key) for key in set(spec) - known)
    if unknown:
        raise _invalid(f"{name} has an unknown option {unknown[0]!r}")


def _constant(name: str, value: Any) -> Read:
    if not name.startswith("data.") and not isinstance(value, str):
        raise _invalid(f"{name}: a constant here is text; put it in quotes")
    return lambda row, number: value


def _cell(column: str) -> Read:
    def read(row: Row, number: int) -> Any:
        value = _look_up(row, column)
        if isinstance(value, float):
            return _exact(value, column)
        if isinstance(value, datetime):
            return value.isoformat()
        return None if value == "" else value

    return read


def _number(column: str) -> Read:
    def read(row: Row, number: int) -> Any:
        value = _look_up(row, column)
        if value is None or value == "":
            return None
        return value if isinstance(value, int | Decimal) else _exact(value, column)

    return read


def _exact(value: Any, column: str) -> Decimal:
    """A decimal of the digits as written; of a binary float (Parquet), of its shortest text."""
    text = repr(value) if isinstance(value, float) else str(value).strip()
    try:
        if _NUMBER.fullmatch(text):
            return Decimal(text)
    except InvalidOperation:
        pass
    raise Rejected("invalid_quantity", f"{column}: {text[:40]!r} is not a decimal number.")


def _columns(spec: Any) -> set[str]:
    """The columns an entry reads; `_reader` has accepted it."""
    if isinstance(spec, str):
        return {field for _, field, _, _ in Formatter().parse(spec) if field not in (None, "row")}
    return {str(spec["column"])} if "column" in spec else set()


def _template(name: str, template: str) -> Read:
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise _invalid(f"{name}: {error}") from error
    if any(spec or conversion for _, _, spec, conversion in parts):
        raise _invalid(f"{name}: a template only knows {{COLUMN}} and {{row}}")

    def read(row: Row, number: int) -> str:
        pieces = []
        for text, field, _, _ in parts:
            pieces.append(text)
            if field == "row":
                pieces.append(str(number))
            elif field is not None:
                value = _look_up(row, field)
                pieces.append("" if value is None else str(value))
        return "".join(pieces)

    return read


def _look_up(row: Row, column: str) -> Any:
    """A column, or in JSON rows the member at a dotted path; None if a JSON row lacks it."""
    if column in row:
        return row[column]
    value: Any = row
    for step in column.split("."):
        if not isinstance(value, Mapping) or step not in value:
            return None
        value = value[step]
    return value


# --- times --------------------------------------------------------------------------------------


def _time(column: str, form: Any, timezone: Any) -> Read:
    if form is not None and not isinstance(form, str):
        raise _invalid("time: format is text such as '%d/%m/%Y %H:%M', or unix, or unix_ms")
    zone = _zone(timezone)
    if form in ("unix", "unix_ms"):
        scale = 1_000_000 if form == "unix" else 1_000
        return lambda row, number: _unix_time(_look_up(row, column), scale, column)

    def read(row: Row, number: int) -> str | None:
        value = _look_up(row, column)
        if value is None or value == "":
            return None
        moment = value if isinstance(value, datetime) else _parse(str(value), form, column)
        return format_instant(_to_instant(moment, zone, column))

    return read


def _zone(timezone: Any) -> ZoneInfo | None:
    if timezone is None:
        return None
    try:
        return ZoneInfo(check_timezone(str(timezone)))
    except TaximeterError as error:
        raise _invalid(f"time: {error.message}") from error


def _parse(text: str, form: str | None, column: str) -> datetime:
    # Digits finer than microseconds are cut off (K1); neither parser below takes seven.
    text = _FINER_THAN_MICROSECONDS.sub(r"\1", text.strip())
    try:
        if form is None:
            return datetime.fromisoformat(text)
        return datetime.strptime(text, form)  # noqa: DTZ007 - the zone is checked right after
    except ValueError:
        raise Rejected("invalid_timestamp", f"{column}: {text[:40]!r} is not a time.") from None


def _to_instant(moment: datetime, zone: ZoneInfo | None, column: str) -> int:
    """Of a local time that occurs twice, the earlier one."""
    if moment.tzinfo is None:
        if zone is None:
            raise Rejected(
                "invalid_timestamp",
                f"{column}: the time has no offset; say which zone it is in (timezone: UTC).",
            )
        moment = moment.replace(tzinfo=zone, fold=0)
    try:
        instant = from_datetime(moment.astimezone(UTC))
    except (OverflowError, ValueError):
        instant = -1
    return _in_range(instant, column)


def _unix_time(value: Any, scale: int, column: str) -> str | None:
    if value is None or value == "":
        return None
    seconds = value if isinstance(value, int) else _exact(value, column)
    return format_instant(_in_range(int(Decimal(seconds) * scale), column))


def _in_range(instant: int, column: str) -> int:
    if not 0 <= instant <= MAX_INSTANT:
        raise Rejected("invalid_timestamp", f"{column}: the time is out of range.")
    return instant


# --- reading the file ---------------------------------------------------------------------------


def read_yaml(text: str) -> Any:
    """
    A mapping document. Numbers are exact, dates stay text.

    Raises:
        Rejected: `invalid_file`.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("tag:yaml.org,2002:float", lambda _, node: Decimal(node.value))
    Loader.add_constructor("tag:yaml.org,2002:timestamp", lambda _, node: node.value)
    try:
        return yaml.load(text, Loader)
    except (yaml.YAMLError, InvalidOperation) as error:
        raise _invalid(str(error)) from error


def _invalid(message: str) -> Rejected:
    return Rejected("invalid_file", f"Mapping: {message}.")
