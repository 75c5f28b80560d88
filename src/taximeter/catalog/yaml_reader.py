"""
Reading a catalogue file: YAML or JSON text in, plain values out, never a float.

The YAML is the core of YAML 1.2, which means to a person what it looks like: `no` and `on` are text
(1.1 reads them as booleans, and Norway as false), `1:30` is text and not 90, `010` is ten, a date
is text, decimals are exact. A key that is given twice is an error, because the reader would
otherwise have to guess which one the author meant.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, ClassVar, Final, Literal, NoReturn

import jiter
import yaml

from taximeter.errors import Rejected, TooLarge
from taximeter.meters.reading import kind_of

MAX_DOCUMENT_BYTES: Final = 512 * 1024
MAX_DOCUMENT_DEPTH: Final = 32
MAX_DOCUMENT_NODES: Final = 100_000
"""Counted as if every alias were written out: a few aliases of aliases expand to billions."""


def read_document(text: str | bytes, form: Literal["json", "yaml"]) -> dict[str, Any]:
    """
    Read a document of at most 512 KiB, nested at most 32 deep, whose top is an object.

    Returns:
        Dicts with text keys, lists, str, int, Decimal, bool, None.

    Raises:
        TooLarge: `body_too_large`.
        Rejected: `duplicate_key`; `too_deep`; `invalid_json` for JSON and `catalog_invalid` for
            YAML that cannot be read, or is no object; with line and column where there is one.
    """
    raw = text.encode() if isinstance(text, str) else text
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise TooLarge(
            "body_too_large",
            f"the document has {len(raw)} bytes, at most {MAX_DOCUMENT_BYTES} are read",
            limit=MAX_DOCUMENT_BYTES,
        )
    document = _read_json(raw) if form == "json" else _read_yaml(raw)
    if not isinstance(document, dict):
        raise Rejected(
            "catalog_invalid",
            "the document is an object with the members meters, features and plans, "
            f"found {kind_of(document)}",
        )
    return document


# --- JSON -------------------------------------------------------------------------------------


def _read_json(raw: bytes) -> Any:
    try:
        document = jiter.from_json(
            raw, allow_inf_nan=False, catch_duplicate_keys=True, float_mode="decimal"
        )
    except ValueError as error:
        code = "duplicate_key" if "duplicate key" in str(error) else "invalid_json"
        raise Rejected(code, f"the JSON cannot be read: {error}") from None
    _check_depth(document, MAX_DOCUMENT_DEPTH)
    return document


def _check_depth(value: Any, left: int) -> None:
    if isinstance(value, dict | list):
        if left == 0:
            raise Rejected("too_deep", f"nested more than {MAX_DOCUMENT_DEPTH} deep")
        for member in value.values() if isinstance(value, dict) else value:
            _check_depth(member, left - 1)


# --- YAML -------------------------------------------------------------------------------------


def _fail(mark: Any, text: str, code: str = "catalog_invalid") -> NoReturn:
    if mark is None:
        raise Rejected(code, text)
    line, column = mark.line + 1, mark.column + 1
    raise Rejected(code, f"line {line}, column {column}: {text}", line=line, column=column)


def _read_yaml(raw: bytes) -> Any:
    try:
        loader = _Loader(raw.decode())
    except UnicodeDecodeError:
        _fail(None, "the document is not UTF-8 text")
    except yaml.YAMLError as error:
        _fail(None, f"the document has a character YAML does not allow: {error}")
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        _expanded_nodes(root, {})
        return loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        _fail(error.problem_mark or error.context_mark, str(error.problem or error.context))
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """PyYAML's own reader with nothing but the types of JSON: no tags, no dates, no objects."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012 (as the base declares it)
    yaml_constructors: ClassVar[dict[Any, Any]] = {}

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        self._depth += 1
        if self._depth > MAX_DOCUMENT_DEPTH and isinstance(event, yaml.CollectionStartEvent):
            _fail(event.start_mark, f"nested more than {MAX_DOCUMENT_DEPTH} deep", "too_deep")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _expanded_nodes(node: yaml.Node, known: dict[int, int]) -> int:
    """How many nodes there are with every alias written out."""
    size = known.get(id(node))
    if size == 0:
        _fail(node.start_mark, "an anchor contains itself")
    if size is None:
        known[id(node)] = 0
        size = 1
        if isinstance(node, yaml.SequenceNode):
            size += sum(_expanded_nodes(child, known) for child in node.value)
        elif isinstance(node, yaml.MappingNode):
            size += sum(_expanded_nodes(child, known) for pair in node.value for child in pair)
        if size > MAX_DOCUMENT_NODES:
            _fail(node.start_mark, f"more than {MAX_DOCUMENT_NODES} values, aliases written out")
        known[id(node)] = size
    return size


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            _fail(key_node.start_mark, "a key is text")
        key = key_node.value  # as written: 2024 and "2024" are the same name
        if key == "<<":
            _fail(key_node.start_mark, "merge keys (<<) are not read; write the members out")
        if key in mapping:
            _fail(key_node.start_mark, f"the key {key!r} is there twice", "duplicate_key")
        mapping[key] = loader.construct_object(value_node, deep=True)
    return mapping


def _construct_sequence(loader: _Loader, node: yaml.SequenceNode) -> list[Any]:
    return [loader.construct_object(child, deep=True) for child in node.value]


def _construct_number(_: _Loader, node: yaml.ScalarNode) -> int | Decimal:
    try:
        return int(node.value) if _INTEGER.fullmatch(node.value) else Decimal(node.value)
    except (ValueError, ArithmeticError):
        _fail(node.start_mark, f"the number {node.value[:40]}... is too large")


def _construct_unknown(_: _Loader, node: yaml.Node) -> NoReturn:
    _fail(node.start_mark, f"the tag {node.tag!r} is not read")


_INTEGER: Final = re.compile(r"[-+]?[0-9]+", re.ASCII)
_NUMBER: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_BOOLEAN: Final = re.compile(r"true|True|TRUE|false|False|FALSE")
_NULL: Final = re.compile(r"null|Null|NULL|~|")


def _equip() -> None:
    """Give the loader the scalars of YAML 1.2's core schema."""
    tag = "tag:yaml.org,2002:"
    for name, pattern, first in (
        ("bool", _BOOLEAN, "tTfF"),
        ("float", _NUMBER, "-+.0123456789"),
        ("null", _NULL, ["n", "N", "~", ""]),
    ):
        whole = re.compile(rf"(?:{pattern.pattern})\Z", re.ASCII)
        _Loader.add_implicit_resolver(tag + name, whole, list(first))
    _Loader.add_constructor(tag + "null", lambda _, node: None)
    _Loader.add_constructor(tag + "bool", lambda _, node: node.value.lower() == "true")
    _Loader.add_constructor(tag + "float", _construct_number)
    _Loader.add_constructor(tag + "str", lambda _, node: node.value)
    _Loader.add_constructor(tag + "seq", _construct_sequence)
    _Loader.add_constructor(tag + "map", _construct_mapping)
    _Loader.add_constructor(None, _construct_unknown)


_equip()
