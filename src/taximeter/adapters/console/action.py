"""
A form as a value: the operation of the API that it stands for, and how what is typed becomes its
body.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from string import Formatter
from typing import Any
from urllib.parse import quote

import msgspec

from taximeter.errors import Rejected


class Field(msgspec.Struct, frozen=True):
    """
    One input.

    Attributes:
        kind: How its text is read: `text`, `quantity`, `integer`, `instant`, `list` (by commas),
            `scope` (user=u7, team=t1), `choice`, `json`, `invoices` (numbers or ids by commas),
            `periods` (once, forever, or how many), `lines` (line_1=5.00, or line_1 for all of it),
            `rows` (by semicolons).
        options: Of a choice; a name in capitals is filled from the catalogue: PLANS, METERED,
            CREDITS.
        absent: Name of the choice that says nothing; None if it has to be made.
    """

    name: str
    label: str
    kind: str = "text"
    required: bool = False
    hint: str = ""
    options: tuple[str, ...] = ()
    absent: str | None = None


class Preview(msgspec.Struct, frozen=True):
    """
    What is shown before it is done.

    Attributes:
        path: Of the operation that says so. It is asked with `action` and what was typed into the
            fields of `fixed`: with GET as parameters, with POST as the body.
        template: That shows the answer.
        asks: Further members of the body, and which field of the form each is.
        fixed: What was previewed is what is done: these cannot be changed behind it.
        at_once: With the form, because the form itself changes nothing about it.
    """

    path: str
    template: str
    method: str = "GET"
    action: str | None = None
    asks: tuple[tuple[str, str], ...] = ()
    fixed: tuple[str, ...] = ()
    at_once: bool = False


class Action(msgspec.Struct, frozen=True):
    """
    Attributes:
        path: Of the operation; its variables are fields of the form, hidden if not listed.
        scope: What the operation asks for.
        does: Says what will happen, before it does.
        done: Says that it did.
        fields: Of the body, if they are not variables of the path.
        given: Members of the body that nobody types either.
        within: The fields are this member of what is at the path. It is read and put back with
            them, the rest as it was.
        back: Path of the page to return to.
        lands: Path of the page of what was made, by what the answer says; None: one returns.
        undo: The action that takes it back, if one can.
        tells: The answer is shown before one returns.
    """

    key: str
    title: str
    method: str
    path: str
    does: str
    done: str
    scope: str = "write"
    fields: tuple[Field, ...] = ()
    given: tuple[str, ...] = ()
    within: str | None = None
    back: str = "/customers/{customer}"
    lands: str | None = None
    undo: str | None = None
    preview: Preview | None = None
    is_grave: bool = False
    tells: bool = False

    @property
    def hidden(self) -> list[str]:
        """What it needs and nobody types."""
        typed = {field.name for field in self.fields}
        needed = (*variables(self.path, self.back), *self.given)
        return [name for name in dict.fromkeys(needed) if name not in typed]

    def target(self, form: Mapping[str, str]) -> str:
        return filled(self.path, form)

    def return_path(self, form: Mapping[str, str]) -> str:
        return filled(self.back, form)

    def body(self, form: Mapping[str, str]) -> dict[str, Any] | None:
        """
        The JSON body a form stands for; fields left empty are left out.

        Raises:
            Rejected: `invalid_request`.
        """
        if self.method == "DELETE":
            return None
        in_path = set(variables(self.path))
        body = typed(self.fields, form, but=in_path)
        return body | {name: form[name] for name in self.given if form.get(name)}


def typed(
    fields: Iterable[Field], form: Mapping[str, str], but: Collection[str] = ()
) -> dict[str, Any]:
    """
    What was typed into fields, as JSON; those left empty are left out.

    Raises:
        Rejected: `invalid_request`.
    """
    return {
        field.name: _value(field, form[field.name].strip())
        for field in fields
        if field.name not in but and form.get(field.name, "").strip()
    }


def written(fields: Iterable[Field], known: Mapping[str, Any]) -> dict[str, str]:
    """Inverse of `typed` for text and rows: what a form begins with."""
    return {
        field.name: "; ".join(known[field.name]) if field.kind == "rows" else str(known[field.name])
        for field in fields
        if known.get(field.name)
    }


def variables(*paths: str) -> list[str]:
    return [name for path in paths for _, name, _, _ in Formatter().parse(path) if name]


def filled(path: str, form: Mapping[str, str]) -> str:
    """
    A path with its variables, each of them one segment.

    Raises:
        Rejected: `invalid_request`: one is missing.
    """
    missing = [name for name in variables(path) if not form.get(name, "").strip()]
    if missing:
        raise Rejected("invalid_request", f"{', '.join(missing)}: is missing.")
    return path.format(**{name: quote(form[name].strip(), safe="") for name in variables(path)})


def _value(field: Field, text: str) -> Any:
    match field.kind:
        case "integer":
            return _integer(field, text)
        case "list":
            return [part.strip() for part in text.split(",") if part.strip()]
        case "scope":
            return dict(_pair(field, part) for part in text.split(",") if part.strip())
        case "json":
            return _json(field, text)
        case "invoices":
            return [{"invoice": part.strip()} for part in text.split(",") if part.strip()]
        case "rows":
            return [part.strip() for part in text.split(";") if part.strip()]
        case "lines":
            return [_line(part.strip()) for part in text.split(",") if part.strip()]
        case "periods":
            return text if text in ("once", "forever") else {"periods": _integer(field, text)}
        case _:
            return text


def _line(part: str) -> dict[str, str]:
    line, equals, amount = part.partition("=")
    return {"line": line.strip()} | ({"amount": amount.strip()} if equals else {})


def _json(field: Field, text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise Rejected("invalid_request", f"{field.label}: is not JSON: {error}.") from None


def _integer(field: Field, text: str) -> int:
    if not (text.removeprefix("-").isascii() and text.removeprefix("-").isdigit()):
        raise Rejected("invalid_request", f"{field.label}: {text!r} is not a whole number.")
    return int(text[:20])


def _pair(field: Field, part: str) -> tuple[str, str]:
    name, equals, value = part.partition("=")
    if not (name.strip() and equals and value.strip()):
        raise Rejected("invalid_request", f"{field.label}: write it level=name, such as user=u7.")
    return name.strip(), value.strip()
