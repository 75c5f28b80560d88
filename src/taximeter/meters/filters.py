"""
The filter language: which events a meter, a price or a query looks at.

    data.model == "opus" and not (data.cached == true or data.tokens < 10)
    data.region in ["eu", "us"] && exists(data.user)

Two-valued logic, so that a filter and its negation always split the events in two: a missing path
is null, `!=` is the negation of `==`, and an ordering between different types, or of null,
booleans, objects or lists, is false. Numbers compare by exact value (`1 == 1.0`), strings by code
point, and values of different types are never equal (`1 != "1"`, `1 != true`).

The tree is public: `meters.compile` turns it into Python, the event store into SQL, and `evaluate`
is the slow meaning both are tested against. Grammar:

    or      = and (("or" | "||") and)*
    and     = not (("and" | "&&") not)*
    not     = ("not" | "!") not | "(" or ")" | "exists" "(" path ")" | test
    test    = path ("==" | "!=" | "<" | "<=" | ">" | ">=") literal | path "in" "[" literal, ... "]"
    literal = string in "" or '' | decimal | "true" | "false" | "null"
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, Literal, NoReturn, TypeAlias

import msgspec

from taximeter.errors import Rejected
from taximeter.events.envelope import Event
from taximeter.meters.filter_tokens import Token, fail, number, string, tokenize
from taximeter.meters.paths import path_problem, read

MAX_FILTER_LENGTH: Final = 2000
MAX_FILTER_DEPTH: Final = 20

Operator: TypeAlias = Literal["==", "!=", "<", "<=", ">", ">="]
Constant: TypeAlias = str | int | Decimal | bool | None


class Compare(msgspec.Struct, frozen=True):
    """`path OP literal`. An integral number is always an `int`, whatever way it was written."""

    path: str
    op: Operator
    literal: Constant


class In(msgspec.Struct, frozen=True):
    """`path in [...]`: equal to any of them; at least one."""

    path: str
    literals: tuple[Constant, ...]


class Exists(msgspec.Struct, frozen=True):
    """`exists(path)`: neither missing nor null."""

    path: str


class Not(msgspec.Struct, frozen=True):
    term: Expression


class And(msgspec.Struct, frozen=True):
    """All of at least two."""

    terms: tuple[Expression, ...]


class Or(msgspec.Struct, frozen=True):
    """Any of at least two."""

    terms: tuple[Expression, ...]


Expression: TypeAlias = Compare | In | Exists | Not | And | Or


# --- meaning ----------------------------------------------------------------------------------

_ORDERINGS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def evaluate(expression: Expression, event: Event) -> bool:
    """Whether a filter is true for an event: the definition everything faster is tested against."""
    match expression:
        case Compare(path, "==", literal):
            return _equal(read(event, path), literal)
        case Compare(path, "!=", literal):
            return not _equal(read(event, path), literal)
        case Compare(path, op, literal):
            value = read(event, path)
            kind = _ordered_kind(value)
            comparable = kind is not None and kind is _ordered_kind(literal)
            return comparable and _ORDERINGS[op](value, literal)
        case In(path, literals):
            value = read(event, path)
            return any(_equal(value, literal) for literal in literals)
        case Exists(path):
            return read(event, path) is not None
        case Not(term):
            return not evaluate(term, event)
        case And(terms):
            return all(evaluate(term, event) for term in terms)
        case Or(terms):
            return any(evaluate(term, event) for term in terms)


def _ordered_kind(value: object) -> type | None:
    """`str`, or `Decimal` for every number; None for what has no order."""
    if isinstance(value, str):
        return str
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return Decimal
    return None


def _equal(value: object, literal: Constant) -> bool:
    if literal is None or isinstance(literal, bool):
        return value is literal
    kind = _ordered_kind(value)
    return kind is not None and kind is _ordered_kind(literal) and value == literal


def to_python(
    expression: Expression, local: Callable[[str], str], constant: Callable[[Constant], str]
) -> str:
    """
    The same meaning as a Python expression, for generated code.

    Args:
        local: Gives for a path the name of a variable that already holds its value.
        constant: Gives source for a literal: its `repr`, or the name of a variable bound to it.
            No other text of the filter reaches the source. `Decimal` must be in scope.
    """
    match expression:
        case Compare(path, "==", literal):
            return _python_equal(local(path), literal, constant)
        case Compare(path, "!=", literal):
            return f"(not {_python_equal(local(path), literal, constant)})"
        case Compare(path, op, literal):
            if literal is None or isinstance(literal, bool):
                return "False"
            name = local(path)
            if isinstance(literal, str):
                return f"({name}.__class__ is str and {name} {op} {constant(literal)})"
            number = f"({name}.__class__ is int or {name}.__class__ is Decimal)"
            return f"({number} and {name} {op} {constant(literal)})"
        case In(path, literals):
            name = local(path)
            return f"({' or '.join(_python_equal(name, one, constant) for one in literals)})"
        case Exists(path):
            return f"({local(path)} is not None)"
        case Not(term):
            return f"(not {to_python(term, local, constant)})"
        case And(terms):
            return f"({' and '.join(to_python(term, local, constant) for term in terms)})"
        case Or(terms):
            return f"({' or '.join(to_python(term, local, constant) for term in terms)})"


def _python_equal(name: str, literal: Constant, constant: Callable[[Constant], str]) -> str:
    if literal is None or isinstance(literal, bool):
        return f"({name} is {literal!r})"
    if isinstance(literal, str):
        return f"({name} == {constant(literal)})"
    # In Python True == 1; in the filter language it is not.
    return f"({name} == {constant(literal)} and {name}.__class__ is not bool)"


# --- reading ----------------------------------------------------------------------------------

_WORD_LITERALS: Final[dict[str, Constant]] = {"true": True, "false": False, "null": None}
_KEYWORDS: Final = frozenset({"and", "or", "not", "in", "exists", *_WORD_LITERALS})
_SYNONYMS: Final = {"&&": "and", "||": "or", "!": "not"}
_OPERATORS: Final[tuple[Operator, ...]] = ("==", "!=", "<=", ">=", "<", ">")
_LITERAL_RULE: Final = 'a literal: "text", 12.5, true, false or null'


def parse_filter(text: str) -> Expression:
    """
    Read a filter expression of at most 2000 characters, nested at most 20 deep.

    Raises:
        Rejected: `invalid_filter`, with the column (from 1) and what was expected there.
    """
    if len(text) > MAX_FILTER_LENGTH:
        raise Rejected(
            "invalid_filter",
            f"a filter has at most {MAX_FILTER_LENGTH} characters, this one has {len(text)}",
            limit=MAX_FILTER_LENGTH,
        )
    return _Parser(tokenize(text)).whole()


class _Parser:
    """Recursive descent: one method a rule of the grammar in the module's docstring."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._next = 0
        self._depth = 0

    @property
    def _token(self) -> Token:
        return self._tokens[self._next]

    def _take(self) -> Token:
        token = self._token
        self._next += 1
        return token

    def _at(self, *texts: str) -> bool:
        """Whether the next token is one of these keywords or signs (or a synonym of one)."""
        token = self._token
        return token.kind in ("word", "sign") and _SYNONYMS.get(token.text, token.text) in texts

    def _expected(self, what: str) -> NoReturn:
        token = self._token
        found = f"'{token.text}'" if token.text else "the end"
        hint = ""
        if token.kind == "word" and token.text not in _KEYWORDS and token.text.lower() in _KEYWORDS:
            hint = f"; keywords are lower case: '{token.text.lower()}'"
        fail(token.column, f"expected {what}, found {found}{hint}")

    def _sign(self, text: str) -> None:
        if not self._at(text):
            self._expected(f"'{text}'")
        self._next += 1

    def whole(self) -> Expression:
        expression = self._or()
        if self._token.kind != "end":
            self._expected("'and', 'or' or the end")
        return expression

    def _or(self) -> Expression:
        terms = [self._and()]
        while self._at("or"):
            self._next += 1
            terms.append(self._and())
        return terms[0] if len(terms) == 1 else Or(tuple(terms))

    def _and(self) -> Expression:
        terms = [self._not()]
        while self._at("and"):
            self._next += 1
            terms.append(self._not())
        return terms[0] if len(terms) == 1 else And(tuple(terms))

    def _not(self) -> Expression:
        if not self._at("not", "("):
            return self._exists() if self._at("exists") else self._test()
        self._depth += 1
        if self._depth > MAX_FILTER_DEPTH:
            fail(self._token.column, f"nested more than {MAX_FILTER_DEPTH} deep")
        if self._take().text == "(":
            expression = self._or()
            self._sign(")")
        else:
            expression = Not(self._not())
        self._depth -= 1
        return expression

    def _exists(self) -> Expression:
        self._next += 1
        self._sign("(")
        path = self._path()
        self._sign(")")
        return Exists(path)

    def _test(self) -> Expression:
        path = self._path()
        if self._at("in"):
            self._next += 1
            return In(path, self._list())
        op = next((op for op in _OPERATORS if self._at(op)), None)
        if op is None:
            self._expected(f"==, !=, <, <=, >, >= or 'in' after {path}")
        self._next += 1
        return Compare(path, op, self._literal())

    def _path(self) -> str:
        token = self._token
        if token.kind != "word" or token.text in _KEYWORDS:
            self._expected("a path like data.model")
        problem = path_problem(token.text)
        if problem is not None:
            if token.text.lower() in _KEYWORDS:
                self._expected("a path like data.model")
            fail(token.column, problem)
        self._next += 1
        return token.text

    def _list(self) -> tuple[Constant, ...]:
        self._sign("[")
        literals = [self._literal()]
        while self._at(","):
            self._next += 1
            literals.append(self._literal())
        if not self._at("]"):
            self._expected("',' or ']'")
        self._next += 1
        return tuple(literals)

    def _literal(self) -> Constant:
        token = self._token
        if token.kind == "word" and token.text not in _KEYWORDS:
            fail(token.column, f'expected {_LITERAL_RULE}; text is quoted, like "{token.text}"')
        if token.kind not in ("string", "number") and token.text not in _WORD_LITERALS:
            self._expected(_LITERAL_RULE)
        self._next += 1
        if token.kind == "string":
            return string(token)
        if token.kind == "number":
            return number(token)
        return _WORD_LITERALS[token.text]
