"""
Reading a document somebody wrote by hand: every problem at once, each with its path.

A reader that stops at the first mistake makes a person run it ten times. `Fields` walks one
mapping, notes what is wrong in a shared list, and goes on with a default; whoever started the
reading raises `DocumentInvalid` at the end if the list is not empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, Final

import msgspec

from taximeter.errors import Rejected

MAX_TEXT_LENGTH: Final = 256
MAX_KEY_LENGTH: Final = 128

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", re.ASCII)


class Problem(msgspec.Struct, frozen=True):
    """One thing wrong at one place. `path` looks like `plans.pro.prices.base`; "" is the top."""

    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}" if self.path else self.text


class DocumentInvalid(Rejected):
    """A document with at least one problem; the message has a line for each."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        assert self.problems, "a document without problems is valid"
        super().__init__(
            "catalog_invalid",
            "\n".join(str(problem) for problem in self.problems),
            problems=len(self.problems),
        )


def below(path: str, name: str) -> str:
    """The path of a member; either may be "" for none."""
    return f"{path}.{name}" if path and name else path or name


def suggestion(name: str, known: Iterable[str]) -> str:
    """`, did you mean "x"?` for a likely slip of the finger, otherwise ""."""
    close = get_close_matches(name, [str(one) for one in known], n=1, cutoff=0.6)
    return f", did you mean {close[0]!r}?" if close else ""


def is_key(text: object) -> bool:
    """Whether it can name a meter, feature, plan, price or dimension."""
    return isinstance(text, str) and _KEY.fullmatch(text) is not None


KEY_RULE: Final = (
    "a key is 1 to 128 ASCII letters, digits, '_', '.' or '-', beginning with a letter or digit"
)


def kind_of(value: object) -> str:
    """What a value is, in the words of JSON."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, str):
        return f"the string {value[:40]!r}"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, int) and abs(value) >= 10**40:
        return "a huge number"  # beyond some size Python refuses to write an integer out
    return f"the number {str(value)[:40]}"


class Fields:
    """
    One mapping being read.

    Args:
        document: What should be a mapping; anything else is one problem and reads as empty.
        path: Where it stands.
        problems: Shared list that every finding is added to.
    """

    def __init__(self, document: object, path: str, problems: list[Problem]) -> None:
        self.path = path
        self.problems = problems
        self.members: dict[str, Any] = {}
        if not isinstance(document, dict):
            self.problem("", f"expected an object, found {kind_of(document)}")
            return
        for name, value in document.items():
            if isinstance(name, str):
                self.members[name] = value
            else:
                self.problem("", f"member names are strings, found {kind_of(name)}; quote it")

    def inside(self, name: str, document: object) -> Fields:
        """A member that is a mapping itself."""
        return Fields(document, below(self.path, name), self.problems)

    def problem(self, name: str, text: str) -> None:
        """Note a problem with a member, or with the mapping itself if `name` is ""."""
        self.problems.append(Problem(below(self.path, name), text))

    def only(self, known: Iterable[str], later: Iterable[str] = ()) -> None:
        """Note every member that is neither known nor announced for a later version."""
        known, later = tuple(known), frozenset(later)
        for name in self.members:
            if name in later:
                self.problem(name, "not supported by this version")
            elif name not in known:
                self.problem(name, f"unknown member{suggestion(name, known)}")

    def text(self, name: str, *, required: bool = False) -> str | None:
        """A string of 1 to 256 characters, or None if absent or wrong."""
        value = self.members.get(name)
        if value is None:
            if required:
                self.problem(name, "is required")
            return None
        if not isinstance(value, str) or not 1 <= len(value) <= MAX_TEXT_LENGTH:
            self.problem(
                name, f"expected text of 1 to {MAX_TEXT_LENGTH} characters, found {kind_of(value)}"
            )
            return None
        return value

    def choice(self, name: str, known: Iterable[str], default: str | None = None) -> str | None:
        """One of some words; `default` if absent (required without one); None if wrong."""
        known = tuple(known)
        value = self.members.get(name)
        if value is None and default is not None:
            return default
        if isinstance(value, str) and value in known:
            return value
        if value is None:
            self.problem(name, f"is required: one of {', '.join(known)}")
        else:
            hint = suggestion(value, known) if isinstance(value, str) else ""
            self.problem(name, f"expected one of {', '.join(known)}, found {kind_of(value)}{hint}")
        return None

    def keyed(self, name: str) -> dict[str, Any]:
        """A mapping from well-formed keys, empty if absent. Other keys are noted and left out."""
        value = self.members.get(name)
        if value is None:
            return {}
        inner = self.inside(name, value)
        good: dict[str, Any] = {}
        for key, member in inner.members.items():
            if is_key(key):
                good[key] = member
            else:
                inner.problem("", f"{key[:40]!r} is not a key: {KEY_RULE}")
        return good
