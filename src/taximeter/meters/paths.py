"""
Where a meter looks inside an event: `data.usage.input_tokens`, `subject`, `source`, `type`.

A path is kept as its text. The first segment names an attribute of the envelope; below `data`, each
further one names a member. Arrays are not entered. What is not there reads as None, like null.
"""

from __future__ import annotations

import re
from typing import Any, Final

from taximeter.events.envelope import MAX_DEPTH, Event

MAX_PATH_LENGTH: Final = 256
ATTRIBUTES: Final = ("subject", "source", "type")

_SEGMENT = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


def segments(path: str) -> tuple[str, ...]:
    """The members to follow below `data`; empty for `subject`, `source` and `type`."""
    return tuple(path.split(".")[1:])


def path_problem(path: str) -> str | None:
    """What is wrong with a path, as half a sentence; None if nothing."""
    if path in ATTRIBUTES:
        return None
    if len(path) > MAX_PATH_LENGTH:
        return f"a path has at most {MAX_PATH_LENGTH} characters"
    head, *rest = path.split(".")
    if head != "data":
        hint = (
            f", did you mean 'data.{path}'?"
            if all(map(_SEGMENT.fullmatch, path.split(".")))
            else ""
        )
        return f"a path begins with 'data.' or is one of {', '.join(ATTRIBUTES)}{hint}"
    if not rest:
        return "'data' alone is the whole object; name a member, like data.tokens"
    if len(rest) > MAX_DEPTH:
        return f"a path enters at most {MAX_DEPTH} objects"
    for segment in rest:
        if not _SEGMENT.fullmatch(segment):
            return f"segment {segment!r} is not made of letters, digits, '_' and '-'"
    return None


def read(event: Event, path: str) -> Any:
    """The value at a well-formed path; None if it is missing or null."""
    if path in ATTRIBUTES:
        return getattr(event, path)
    value: Any = event.data
    for name in segments(path):
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value
