"""
Corrections by query: which events, and what becomes of them.

A preview names exactly the events it would touch, and its id is made from them: what is committed
under that id is what was previewed, or nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, Literal, TypeAlias

import msgspec

from taximeter.corrections.facts import Change
from taximeter.errors import Rejected

Action: TypeAlias = Literal["retract", "amend"]

_canonical: Final = msgspec.json.Encoder(order="sorted", decimal_format="number").encode


class Query(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    Attributes:
        start, end: Of the events' own times, [start, end); None for no bound.
        filter: A filter expression, or None.
        patch: Of an amendment: members of `data` to set; null removes one (RFC 7396).
    """

    action: Action
    customer: str | None = None
    type: str | None = None
    start: int | None = None
    end: int | None = None
    filter: str | None = None
    patch: dict[str, Any] | None = None

    def check(self) -> None:
        """
        Raises:
            Rejected: `invalid_request`: it says too little, or contradicts itself.
        """
        if self.customer is None and self.type is None:
            raise Rejected("invalid_request", "Say at least `customer` or `type`.")
        if (self.action == "amend") != (self.patch is not None):
            raise Rejected("invalid_request", "`patch` belongs to an amendment, which needs one.")


def patched(data: Mapping[str, Any] | None, patch: Mapping[str, Any]) -> dict[str, Any]:
    """JSON Merge Patch (RFC 7396)."""
    result = dict(data or {})
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            inner = result.get(name)
            result[name] = patched(inner if isinstance(inner, dict) else None, value)
        else:
            result[name] = value
    return result


def same_data(a: Mapping[str, Any] | None, b: Mapping[str, Any] | None) -> bool:
    """Whether two contents are equal as content (K11), however they are spelled."""
    return _canonical(a) == _canonical(b)


def correction_id(position: int, changes: Sequence[Change]) -> str:
    """
    Equal for equal changes of the same events.

    Args:
        position: That the events were looked up at; `position_of` gives it back.
    """
    document = [
        (
            change.seq,
            change.retract,
            None if change.data is msgspec.UNSET else [change.data],
        )
        for change in changes
    ]
    return f"cor_{position}_{sha256(_canonical(document)).hexdigest()[:20]}"


def position_of(correction: str) -> int:
    """
    Raises:
        Rejected: `invalid_request`: it is no id that a preview gave.
    """
    mark, _, rest = correction.partition("_")
    position, _, digest = rest.partition("_")
    if mark != "cor" or not (position.isascii() and position.isdigit()) or len(position) > 15:
        raise Rejected("invalid_request", "`preview` is the id that a preview gave.")
    if not digest:
        raise Rejected("invalid_request", "`preview` is the id that a preview gave, all of it.")
    return int(position)
