"""
The API reference, read from the OpenAPI document that also goes to machines.

Whatever a page says about an operation is in that document; nothing is written twice.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

import msgspec

Json: TypeAlias = Mapping[str, Any]

_MAX_DEPTH: Final = 4
_METHODS: Final = frozenset({"get", "put", "post", "patch", "delete"})
_SAMPLES: Final = {"key": "acme", "line": "line_1"}
_PROBLEM: Final = "application/problem+json"


class Field(msgspec.Struct, frozen=True):
    """One member of a body, or one parameter; `depth` 0 is the outermost."""

    name: str
    kind: str
    depth: int = 0
    required: bool = False
    default: str = ""
    place: str = ""


class Operation(msgspec.Struct, frozen=True):
    """
    One method on one path.

    Attributes:
        scope: What a key needs; "" for a public one.
        media: Media types of the request's body, comma separated; "" without a body.
        errors: (status, codes) in ascending order.
    """

    id: str
    method: str
    path: str
    summary: str
    description: str
    scope: str
    parameters: tuple[Field, ...]
    media: str
    body: tuple[Field, ...]
    example: str
    curl: str
    status: str
    answer_media: str
    answer: tuple[Field, ...]
    errors: tuple[tuple[str, tuple[str, ...]], ...]


def operations(document: Json, base_url: str, *, keyless: bool) -> dict[str, list[Operation]]:
    """
    All operations by their first tag, in the document's order.

    Args:
        base_url: Such as "http://127.0.0.1:8080"; for the examples.
        keyless: The examples need no key.
    """
    schemas = document["components"]["schemas"]
    found: dict[str, list[Operation]] = {tag["name"]: [] for tag in document["tags"]}
    for path, item in document["paths"].items():
        for method in item:
            if method in _METHODS:
                operation = _operation(path, method, item[method], schemas, base_url, keyless)
                found.setdefault(item[method]["tags"][0], []).append(operation)
    return {tag: group for tag, group in found.items() if group}


def _operation(
    path: str, method: str, item: Json, schemas: Json, base_url: str, keyless: bool
) -> Operation:
    content = item.get("requestBody", {}).get("content", {})
    body: Json = next(iter(content.values()), {})
    scope = next(
        (s for security in item.get("security", ()) for v in security.values() for s in v), ""
    )
    status = next(code for code in item["responses"] if code.startswith("2"))
    answer = item["responses"][status].get("content", {})
    answer_media = next(iter(answer), "")
    return Operation(
        id=item["operationId"],
        method=method.upper(),
        path=path,
        summary=item.get("summary", ""),
        description=item.get("description", ""),
        scope=scope,
        parameters=tuple(_parameter(one, schemas) for one in item.get("parameters", ())),
        media=", ".join(content),
        body=tuple(_fields(body.get("schema", {}), schemas)),
        example=_pretty(body["example"]) if "example" in body else "",
        curl=_curl(path, method, body.get("example"), bool(scope) and not keyless, base_url),
        status=status,
        answer_media=answer_media,
        answer=tuple(_fields(answer.get(answer_media, {}).get("schema", {}), schemas)),
        errors=tuple(_errors(item["responses"])),
    )


def _parameter(parameter: Json, schemas: Json) -> Field:
    schema = parameter["schema"]
    return Field(
        name=parameter["name"],
        kind=kind_of(schema, schemas).removesuffix(" | null"),  # it can be left out
        required=parameter.get("required", False),
        default=_default(schema),
        place=parameter["in"],
    )


def _errors(responses: Json) -> Iterator[tuple[str, tuple[str, ...]]]:
    for status, response in sorted(responses.items()):
        for part in (
            response.get("content", {}).get(_PROBLEM, {}).get("schema", {}).get("allOf", ())
        ):
            codes = part.get("properties", {}).get("code", {}).get("enum")
            if codes:
                yield status, tuple(codes)


# --- schemas ----------------------------------------------------------------------------------


def kind_of(schema: Json, schemas: Json) -> str:
    """A schema's type in a few words: "string", "Event[]", "day | week", "object"."""
    if "$ref" in schema:
        target = _resolve(schema, schemas)
        return kind_of(target, schemas) if "enum" in target else _name_of(schema)
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(kind_of(one, schemas) for one in schema["anyOf"]))
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"])
    kind = schema.get("type", "any")
    if kind == "array":
        return f"{kind_of(schema.get('items', {}), schemas)}[]"
    return " | ".join(kind) if isinstance(kind, list) else str(kind)


def _fields(schema: Json, schemas: Json, depth: int = 0) -> Iterator[Field]:
    """The members of an object, and of the objects in it, in the order they are read."""
    target = _object_in(schema, schemas)
    required = set(target.get("required", ()))
    for name, member in target.get("properties", {}).items():
        yield Field(name, kind_of(member, schemas), depth, name in required, _default(member))
        if depth + 1 < _MAX_DEPTH:
            yield from _fields(member, schemas, depth + 1)


def _object_in(schema: Json, schemas: Json) -> Json:
    """The object a schema describes, also behind a reference, an array or a choice; or {}."""
    if "$ref" in schema:
        return _object_in(_resolve(schema, schemas), schemas)
    if schema.get("type") == "array":
        return _object_in(schema.get("items", {}), schemas)
    for one in schema.get("anyOf", ()):
        found = _object_in(one, schemas)
        if found:
            return found
    return schema if "properties" in schema else {}


def _resolve(schema: Json, schemas: Json) -> Json:
    target: Json = schemas[_name_of(schema)]
    return target


def _name_of(schema: Json) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _default(schema: Json) -> str:
    value = schema.get("default")
    return "" if value in (None, "", [], {}) else msgspec.json.encode(value).decode()


# --- examples ---------------------------------------------------------------------------------


def _pretty(example: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(example), indent=2).decode()


def _curl(path: str, method: str, example: Any, needs_key: bool, base_url: str) -> str:
    """A command line that works as it is, but for the ids in it."""
    url = base_url + re.sub(r"\{(\w+)\}", lambda name: _SAMPLES.get(name[1], name[1].upper()), path)
    parts = ["curl", *(["-X", method.upper()] if method not in ("get", "post") else []), url]
    if method == "post" and example is None:
        parts[1:1] = ["-X", "POST"]
    line = " ".join(shlex.quote(part) for part in parts)
    if needs_key:
        line += ' \\\n  -H "Authorization: Bearer $TAXIMETER_KEY"'
    if example is not None:
        body = msgspec.json.encode(example).decode()
        line += f" \\\n  -H 'Content-Type: application/json' \\\n  -d {shlex.quote(body)}"
    return line
