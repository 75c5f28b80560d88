"""
The grammar of commands: a verb is a pattern and what to do, and a word of it means one thing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from tests.scenarios.stage import Stage

Lines: TypeAlias = list[str]
Verb: TypeAlias = Callable[..., Lines]

KEY = r"(?P<key>[\w-]+)"
WHEN = r"\d{4}-\d\d-\d\d(?: \d\d:\d\d(?::\d\d)?)?"
SCOPE = r"(?: as (?P<scope>\w+=\S+(?: \w+=\S+)*))?"
DATA = r"(?: with (?P<data>\w+=\S+(?: \w+=\S+)*))?"
QUANTITY = r"(?P<amount>[\d.]+)"
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

_verbs: list[tuple[re.Pattern[str], Verb]] = []


def says(pattern: str) -> Callable[[Verb], Verb]:
    """The function does what a command of this pattern says; named groups are its arguments."""

    def add(verb: Verb) -> Verb:
        _verbs.append((re.compile(pattern), verb))
        return verb

    return add


def do(stage: Stage, command: str) -> Lines:
    """
    Raises:
        ValueError: No verb, or more than one, means this.
    """
    meant = [(verb, match) for pattern, verb in _verbs if (match := pattern.fullmatch(command))]
    if len(meant) != 1:
        raise ValueError(f"{len(meant)} verbs mean {command!r}")
    ((verb, match),) = meant
    return verb(stage, **match.groupdict())


def pairs(text: str | None) -> dict[str, str]:
    """ "workspace=lab user=ann" """
    return dict(pair.split("=", 1) for pair in (text or "").split())


def seconds(text: str) -> int:
    """ "5m" """
    return int(text[:-1]) * _SECONDS[text[-1]]
