"""
The words of the filter language: text in, tokens with columns out. `filters` has the grammar.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final, NamedTuple, NoReturn

from taximeter.errors import Rejected

_TOKEN: Final = re.compile(
    r"""[ \t\r\n]*(?:
      (?P<string> "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' )
    | (?P<number> -?[0-9][0-9A-Za-z_.+]* )
    | (?P<word>   [A-Za-z_][A-Za-z0-9_.-]* )
    | (?P<sign>   == | != | <= | >= | && | \|\| | [<>!()\[\],] )
    | (?P<end>    \Z )
    | (?P<bad>    . )
    )""",
    re.VERBOSE | re.DOTALL,
)
_DECIMAL: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?", re.ASCII)
_ESCAPE: Final = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_ESCAPES: Final = {
    '"': '"', "'": "'", "\\": "\\", "/": "/",
    "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t",
}  # fmt: skip


class Token(NamedTuple):
    """`column` counts from 1; the last token of a text is of kind "end"."""

    kind: str  # string, number, word, sign, end
    text: str
    column: int


def tokenize(text: str) -> list[Token]:
    tokens: list[Token] = []
    position = 0
    while not tokens or tokens[-1].kind != "end":
        found = _TOKEN.match(text, position)
        assert found is not None, "the last branch takes anything"
        kind = str(found.lastgroup)
        token = Token(kind, found[kind], found.start(kind) + 1)
        if kind == "bad":
            _fail_at_bad(token)
        tokens.append(token)
        position = found.end()
    return tokens


def _fail_at_bad(token: Token) -> NoReturn:
    if token.text in "\"'":
        fail(token.column, f"the string that begins here has no closing {token.text}")
    if token.text == "=":
        fail(token.column, "'=' is not an operator; write '=='")
    if token.text in "&|":
        fail(token.column, f"'{token.text}' is not an operator; write '{token.text * 2}'")
    fail(token.column, f"unexpected character {token.text!r}")


def fail(column: int, text: str) -> NoReturn:
    raise Rejected("invalid_filter", f"column {column}: {text}", column=column)


def number(token: Token) -> int | Decimal:
    if not _DECIMAL.fullmatch(token.text):
        fail(token.column, f"{token.text!r} is not a decimal number like -12.5")
    whole, _, fraction = token.text.partition(".")
    fraction = fraction.rstrip("0")
    return Decimal(f"{whole}.{fraction}") if fraction else int(whole)


def string(token: Token) -> str:
    def unescape(found: re.Match[str]) -> str:
        escape = found[1]
        if len(escape) == 5:
            return chr(int(escape[1:], 16))
        if escape not in _ESCAPES:
            fail(token.column + 1 + found.start(), f"unknown escape '\\{escape}'")
        return _ESCAPES[escape]

    plain = _ESCAPE.sub(unescape, token.text[1:-1])
    try:
        # A pair of \u escapes is one character; half a pair is none.
        return plain.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        fail(token.column, "the string has half of a surrogate pair")
