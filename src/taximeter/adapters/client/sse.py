"""Server-Sent Events (WHATWG HTML, 9.2) as a stream of messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec


class Message(msgspec.Struct, frozen=True):
    """One event of the stream. `id` is the last id seen, which may be of an earlier message."""

    event: str
    data: str
    id: str | None = None


def read_messages(lines: Iterable[bytes]) -> Iterator[Message]:
    """
    Messages of a stream.

    Args:
        lines: As they arrive, each with its line end. An unfinished last message is dropped.
    """
    event, data, last_id = "", list[str](), None
    for raw in lines:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if not line:
            if data:
                yield Message(event or "message", "\n".join(data), last_id)
            event, data = "", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name == "event":
            event = value
        elif name == "id":
            last_id = value
