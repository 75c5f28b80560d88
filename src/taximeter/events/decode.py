"""
From the bytes of a request to its events.

A clean body, which is nearly every body, is decoded in one typed pass. But a typed decoder keeps
the last of two equal members without a word, skips what it does not know, and recurses as deep as
the sender likes. So one pass over the raw bytes counts what could be there, and the body is clean
only if the events account for all of it:

    colons that may follow a member's name  >=  members in the body  >=  members kept

If the outer two are equal, nothing was dropped: no member twice, none unknown. Anything else goes
to the strict reader (`events.strict`), which looks at every item by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from taximeter.events.envelope import (
    MAX_BATCH_EVENTS,
    MAX_DEPTH,
    MAX_EVENT_BYTES,
    Event,
    Format,
    Rejection,
)
from taximeter.events.numbers import read_number

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from taximeter.events.scan import Scan

_one: Final = msgspec.json.Decoder(Event, float_hook=read_number)
_many: Final = msgspec.json.Decoder(list[Event], float_hook=read_number)

# The default is one object; a "1.0" that was sent is another. So `is` tells absent from sent.
_ABSENT_VERSION: Final = Event.__struct_defaults__[1]


class Decoded:
    """
    The items of one request, in the order sent.

    Attributes:
        items: Per item the event, or why it is none.
        rejected: How many items are no events.
    """

    __slots__ = ("_body", "_form", "_table", "items", "rejected")

    def __init__(
        self,
        body: bytes,
        form: Format,
        items: list[Event] | list[Event | Rejection],
        rejected: int = 0,
        table: NDArray[np.int64] | None = None,
    ) -> None:
        self.items: list[Any] = items
        self.rejected = rejected
        self._body = body
        self._form = form
        self._table = table

    @property
    def events(self) -> list[Event]:
        """The events, in order, without the rejected items."""
        if self.rejected == 0:
            return self.items
        return [item for item in self.items if isinstance(item, Event)]

    @property
    def rejections(self) -> list[Rejection]:
        """Why the other items are no events, in order."""
        if self.rejected == 0:
            return []
        return [item for item in self.items if isinstance(item, Rejection)]

    def raw(self, index: int) -> bytes:
        """The bytes of one item as received, without white space around it."""
        if self._table is None:
            from taximeter.events.strict import find_items

            self._table = find_items(self._body, self._form)
        start, stop = self._table[index, :2].tolist()
        return self._body[start:stop]


def decode(body: bytes, form: Format) -> Decoded:
    """
    Read all items of a body.

    Args:
        body: UTF-8 JSON, already decompressed; its total size is bounded by the caller.

    Raises:
        Rejected: Nothing in the body is an event (`invalid_json`, `empty_body`, `invalid_event`,
            ...); nothing of it is to be stored.
        TooLarge: `batch_too_large`.
    """
    events = _decode_clean(body, form)
    if events is not None:
        return Decoded(body, form, events)
    from taximeter.events.strict import read

    items, table = read(body, form)
    rejected = sum(isinstance(item, Rejection) for item in items)
    return Decoded(body, form, items, rejected, table)


def warm_up() -> None:
    """Compile, or load from the cache, what decoding needs. Do it before serving."""
    event = b'{"id":"a","type":"t","subject":"s"}'
    decode(event, Format.OBJECT)
    decode(event + b"\n?", Format.LINES)  # the careful reader too


def _decode_clean(body: bytes, form: Format) -> list[Event] | None:
    """The events of a body that is proved clean, otherwise None."""
    seen = _scan(body)
    if seen.long_number:
        return None
    try:
        events = _typed(body, form)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    if not 0 < len(events) <= MAX_BATCH_EVENTS:
        return None
    if form is Format.LINES and not _one_a_line(body, seen, len(events)):
        return None
    if seen.escapes and not _names_are_plain(events):
        return None
    kept, objects = _count_envelopes(events)
    # Beside the events and their data objects, an array has one bracket and nothing else does.
    flat = seen.opens == objects + (form is Format.ARRAY)
    if not flat:
        nested = _count_nested(events)
        if nested < 0:
            return None
        kept += nested
    if kept != seen.members or not _small_items(body, form, seen, flat):
        return None
    return events


def _typed(body: bytes, form: Format) -> list[Event]:
    if form is Format.ARRAY:
        return _many.decode(body)
    if form is Format.LINES:
        return _one.decode_lines(body)
    return [_one.decode(body)]


def _one_a_line(body: bytes, seen: Scan, events: int) -> bool:
    """
    Whether each newline separates two items, and each two items are separated by one.

    A newline right between } and { is never inside an item.
    """
    return (
        seen.newlines == seen.line_ends == events - 1 + body.endswith(b"\n")
        and seen.line_starts == events - 1
    )


def _names_are_plain(events: list[Event]) -> bool:
    from taximeter.events.strict import CONTROL

    text = "".join([f"{e.id}{e.source}{e.type}{e.subject}" for e in events])
    return CONTROL.search(text) is None


def _count_envelopes(events: list[Event]) -> tuple[int, int]:
    """
    Members kept in the events and their data (not below), and how many objects those are.

    A wrong specversion counts as not kept. So do a sent "" and a sent null, which look like absent
    ones: that only costs a second, careful reading.
    """
    members = 3 * len(events)
    objects = len(events)
    for event in events:
        data = event.data
        if data is not None:
            members += 1 + len(data)
            objects += 1
        if event.source:
            members += 1
        if event.time is not None:
            members += 1
        if event.specversion is not _ABSENT_VERSION and event.specversion == "1.0":
            members += 1
    return members, objects


def _count_nested(events: list[Event]) -> int:
    """Members of the objects inside all data; -1 if anything is nested too deeply."""
    members = 0
    for event in events:
        if event.data is not None:
            inner = _count_below(event.data.values(), MAX_DEPTH - 2)
            if inner < 0:
                return -1
            members += inner
    return members


def _count_below(values: Iterable[Any], levels: int) -> int:
    """Members of all objects in these values, which may be nested this many levels more."""
    members = 0
    for value in values:
        kind = type(value)
        if kind is dict:
            members += len(value)
            inner = _count_below(value.values(), levels - 1) if levels else -1
        elif kind is list:
            inner = _count_below(value, levels - 1) if levels else -1
        else:
            continue
        if inner < 0:
            return -1
        members += inner
    return members


def _small_items(body: bytes, form: Format, seen: Scan, flat: bool) -> bool:
    """
    Whether no item can be larger than the limit.

    In a flat body an item has at most two opening brackets, its own first of all, so an item over
    the limit has a stretch of at least half the limit without one.
    """
    if len(body) <= MAX_EVENT_BYTES:
        return True
    if flat:
        return seen.gap < MAX_EVENT_BYTES // 2
    from taximeter.events.scan import START, STOP
    from taximeter.events.strict import find_items

    table = find_items(body, form)
    return bool((table[:, STOP] - table[:, START]).max() <= MAX_EVENT_BYTES)


def _first_scan(body: bytes) -> Scan:
    """Compiled code is loaded with the first body, so that importing this module stays quick."""
    global _scan
    from taximeter.events.scan import scan

    _scan = scan
    return scan(body)


_scan: Callable[[bytes], Scan] = _first_scan
