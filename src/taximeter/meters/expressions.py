"""
The value of an event as arithmetic over its data.

    data.usage.input_tokens + 4 * data.usage.output_tokens
    max(data.seconds, 60) * default(data.replicas, 1)
    data.items[].tokens

Exact: operands are quantities (K18), sums and products keep all their digits, and the result is
rounded once, half-up, to 12 decimal places. There is no division: multiply by a decimal. A path
that is missing or null makes the whole value missing, unless `default(path, number)` stands in for
it; what is there and is no quantity is an error. `path[]` and `path[].member` are the sum over a
list, in which missing members and nulls count nothing; of an empty list it is 0.

The tree is public: `expression_code` turns it into Python. Grammar:

    sum     = product (("+" | "-") product)*
    product = factor ("*" factor)*
    factor  = "-" factor | "(" sum ")" | decimal | path | "default" "(" path "," decimal ")"
            | ("min" | "max") "(" sum ("," sum)+ ")" | ("ceil" | "floor") "(" sum ")"
    path    = below `data`, see `paths`, at most once with "[]" behind a member

Member names may contain "-", so a minus behind a path needs a blank before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple, NoReturn, TypeAlias

import msgspec

from taximeter.errors import Rejected
from taximeter.meters.paths import ATTRIBUTES, path_problem
from taximeter.quantities import exact_pico

MAX_EXPRESSION_LENGTH: Final = 500
MAX_EXPRESSION_DEPTH: Final = 20
MAX_ELEMENTS: Final = 1000
"""Of one list in one event; a longer one is an error, never cut."""


class Path(msgspec.Struct, frozen=True):
    """The quantity at a path below `data`."""

    path: str


class Elements(msgspec.Struct, frozen=True):
    """The sum over the list at `path`: of its elements, or of their member at `member`."""

    path: str
    member: tuple[str, ...] = ()


class Default(msgspec.Struct, frozen=True):
    """An operand, or a number where it is missing or null."""

    operand: Path | Elements
    otherwise_pico: int


class Number(msgspec.Struct, frozen=True):
    """A literal; not negative."""

    pico: int


class Negative(msgspec.Struct, frozen=True):
    term: Value


class Arithmetic(msgspec.Struct, frozen=True):
    op: Literal["+", "-", "*"]
    left: Value
    right: Value


class Extreme(msgspec.Struct, frozen=True):
    """The least or greatest of at least two."""

    name: Literal["min", "max"]
    terms: tuple[Value, ...]


class Whole(msgspec.Struct, frozen=True):
    """The next integer up or down: ceil(-1.5) is -1, floor(-1.5) is -2."""

    name: Literal["ceil", "floor"]
    term: Value


Value: TypeAlias = Path | Elements | Default | Number | Negative | Arithmetic | Extreme | Whole


def operands(value: Value) -> Iterator[Path | Elements | Default]:
    """What it reads, from left to right; the same one more than once if it is written so."""
    match value:
        case Path() | Elements() | Default():
            yield value
        case Number():
            return
        case Negative(term) | Whole(_, term):
            yield from operands(term)
        case Arithmetic(_, left, right):
            yield from operands(left)
            yield from operands(right)
        case Extreme(_, terms):
            for term in terms:
                yield from operands(term)


# --- reading ----------------------------------------------------------------------------------

_TOKEN: Final = re.compile(
    r"""[ \t\r\n]*(?:
      (?P<number> [0-9][0-9A-Za-z_.]* )
    | (?P<word>   [A-Za-z_][A-Za-z0-9_.\[\]-]* )
    | (?P<sign>   [-+*(),] )
    | (?P<end>    \Z )
    | (?P<bad>    . )
    )""",
    re.VERBOSE | re.DOTALL,
)
_DECIMAL: Final = re.compile(r"(0|[1-9][0-9]*)(\.[0-9]+)?", re.ASCII)
_FUNCTIONS: Final = ("min", "max", "ceil", "floor", "default")


class _Token(NamedTuple):
    kind: str  # number, word, sign, end
    text: str
    column: int  # from 1


def parse_value(text: str) -> Value:
    """
    Read a value expression of at most 500 characters, nested at most 20 deep. A plain path is one.

    Raises:
        Rejected: `catalog_invalid`, with the column (from 1) and what was expected there.
    """
    if len(text) > MAX_EXPRESSION_LENGTH:
        raise Rejected(
            "catalog_invalid",
            f"a value has at most {MAX_EXPRESSION_LENGTH} characters, this one has {len(text)}",
            limit=MAX_EXPRESSION_LENGTH,
        )
    value = _Parser(_tokens(text)).whole()
    if next(operands(value), None) is None:
        raise Rejected(
            "catalog_invalid", "reads nothing of the event; name a path like data.tokens"
        )
    return value


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    position = 0
    while not tokens or tokens[-1].kind != "end":
        found = _TOKEN.match(text, position)
        assert found is not None, "the last branch takes anything"
        kind = str(found.lastgroup)
        token = _Token(kind, found[kind], found.start(kind) + 1)
        if kind == "bad":
            hint = "; there is no division, multiply by a decimal" if token.text == "/" else ""
            _fail(token, f"unexpected character {token.text!r}{hint}")
        tokens.append(token)
        position = found.end()
    return tokens


def _fail(token: _Token, text: str) -> NoReturn:
    raise Rejected("catalog_invalid", f"column {token.column}: {text}", column=token.column)


class _Parser:
    """Recursive descent: one method a rule of the grammar in the module's docstring."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._next = 0
        self._depth = 0

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._token
        self._next += 1
        return token

    def _at(self, *signs: str) -> bool:
        return self._token.kind == "sign" and self._token.text in signs

    def _sign(self, sign: str) -> None:
        if not self._at(sign):
            self._expected(f"'{sign}'")
        self._next += 1

    def _expected(self, what: str) -> NoReturn:
        found = f"'{self._token.text}'" if self._token.text else "the end"
        _fail(self._token, f"expected {what}, found {found}")

    def whole(self) -> Value:
        value = self._sum()
        if self._token.kind != "end":
            self._expected("'+', '-', '*' or the end")
        return value

    def _sum(self) -> Value:
        value = self._product()
        while self._at("+", "-"):
            sign = self._take().text
            value = Arithmetic("+" if sign == "+" else "-", value, self._product())
        return value

    def _product(self) -> Value:
        value = self._factor()
        while self._at("*"):
            self._next += 1
            value = Arithmetic("*", value, self._factor())
        return value

    def _factor(self) -> Value:
        self._depth += 1
        if self._depth > MAX_EXPRESSION_DEPTH:
            _fail(self._token, f"nested more than {MAX_EXPRESSION_DEPTH} deep")
        value = self._unguarded_factor()
        self._depth -= 1
        return value

    def _unguarded_factor(self) -> Value:
        token = self._token
        if self._at("-"):
            self._next += 1
            return Negative(self._factor())
        if self._at("("):
            self._next += 1
            value = self._sum()
            self._sign(")")
            return value
        if token.kind == "number":
            return Number(self._number())
        if token.kind != "word":
            self._expected("a path like data.tokens, a number, a function or '('")
        following = self._tokens[self._next + 1]
        if following == ("sign", "(", following.column):
            return self._call()
        return self._path()

    def _number(self) -> int:
        token = self._token
        if token.kind != "number":
            self._expected("a number")
        self._next += 1
        pico = exact_pico(token.text) if _DECIMAL.fullmatch(token.text) else None
        if pico is None:
            _fail(token, f"{token.text!r} is not a decimal number like 12.5")
        return pico

    def _call(self) -> Value:
        name = self._take()
        self._sign("(")
        value: Value
        match name.text:
            case "default":
                value = self._default()
            case "ceil" | "floor" as whole:
                value = Whole(whole, self._sum())
            case "min" | "max" as extreme:
                terms = [self._sum()]
                while self._at(","):
                    self._next += 1
                    terms.append(self._sum())
                if len(terms) == 1:
                    self._expected("',' and another term")
                value = Extreme(extreme, tuple(terms))
            case _:
                _fail(name, f"there is no function {name.text!r}, only {', '.join(_FUNCTIONS)}")
        self._sign(")")
        return value

    def _default(self) -> Default:
        operand = self._path()
        self._sign(",")
        negative = self._at("-")
        if negative:
            self._next += 1
        pico = self._number()
        return Default(operand, -pico if negative else pico)

    def _path(self) -> Path | Elements:
        token = self._token
        if token.kind != "word":
            self._expected("a path like data.tokens")
        self._next += 1
        listed, brackets, member = token.text.partition("[]")
        problem = path_problem(listed)
        if problem is None and listed in ATTRIBUTES:
            problem = f"{listed!r} is no quantity"
        if problem is None and "-data." in listed:
            problem = "'-' belongs to the name before it; a minus needs a blank before it"
        if problem is not None:
            _fail(token, problem)
        if not brackets:
            return Path(listed)
        if not member:
            return Elements(listed)
        problem = path_problem(f"data{member}")
        if problem is not None or not member.startswith("."):
            _fail(token, "behind '[]' stands nothing, or '.' and the names of members")
        return Elements(listed, tuple(member[1:].split(".")))
