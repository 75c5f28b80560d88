"""
Lists: how many, and where to go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from taximeter.errors import Rejected

T = TypeVar("T")
MAX_LIMIT = 1000


def limit_of(limit: int) -> int:
    """
    Raises:
        Rejected: `invalid_parameter` outside of 1 to 1000.
    """
    if not 1 <= limit <= MAX_LIMIT:
        raise Rejected("invalid_parameter", f"limit is 1 to {MAX_LIMIT}.")
    return limit


def keyset(cursor: str | None) -> int | None:
    """A cursor that is a number, as earlier answers gave it in `next`."""
    if cursor is None:
        return None
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise Rejected("invalid_parameter", "That is not a cursor from a `next`.")
    return int(cursor)


def page(
    items: Sequence[T], key: Callable[[T], str], cursor: str | None, limit: int
) -> tuple[Sequence[T], str | None]:
    """One page of items sorted by a unique key: those behind the cursor."""
    limit_of(limit)
    behind = [item for item in items if cursor is None or key(item) > cursor]
    found = behind[:limit]
    return found, key(found[-1]) if len(behind) > limit else None


def listed(items: Sequence[Any], following: str | None) -> dict[str, Any]:
    return {"items": list(items), "next": following}
