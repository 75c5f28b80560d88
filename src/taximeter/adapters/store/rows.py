"""
Entries of the log as columns, ready for the event store; and rows of the store as events.

The accepted items of an entry are those with verdict 0; they are numbered in the order of the
items. `data` is kept as its canonical JSON text: members sorted, no blanks, numbers in one
spelling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from taximeter.adapters.store.leaves import Leaf, Leaves, spelled
from taximeter.corrections import facts
from taximeter.errors import Damaged
from taximeter.events.entry import KIND_CORRECTION, KIND_EVENTS, Entry
from taximeter.events.envelope import Event, Format, Verdict
from taximeter.events.numbers import read_number
from taximeter.instants import format_instant, parse_instant
from taximeter.meters.values import PLAIN_PLACES
from taximeter.ports import LoggedEntry, StoredEvent

if TYPE_CHECKING:
    from numpy.typing import NDArray

EVENT_COLUMNS: Final = ("seq", "time", "received_at", "id", "source", "type", "subject", "data")
"""What `stored_event` reads, in its order."""

_BLANK: Final = bytes(range(33))
"""What separates lines and items, beside the newline itself."""


class Item(msgspec.Struct, gc=False):
    """
    An accepted item as it stands in the log: already checked, so without bounds. Null is absent.

    Numbers in `data` that are no integers are `msgspec.Raw` in their one spelling.
    """

    id: str
    type: str
    subject: str
    source: str | None = None
    time: str | None = None
    data: dict[str, Any] | None = None


class _Consumed(msgspec.Struct):
    event: Item


_item = msgspec.json.Decoder(Item, float_hook=spelled)
_array = msgspec.json.Decoder(list[Item], float_hook=spelled)
_consumed = msgspec.json.Decoder(_Consumed, float_hook=spelled)
_raw_array = msgspec.json.Decoder(list[msgspec.Raw])
_canonical = msgspec.json.Encoder(order="sorted")
_data = msgspec.json.Decoder(dict[str, Any], float_hook=read_number)


def accepted_items(entry: Entry) -> list[Item]:
    """
    The accepted items of an entry, in order.

    Raises:
        Damaged: `log_damaged`: what was accepted cannot be read again.
    """
    if not entry.accepted:
        return []
    try:
        items = _decoded_whole(entry) if entry.accepted == len(entry.verdicts) else None
        if items is None or len(items) != entry.accepted:
            items = _decoded_apart(entry)
        if _has_long_integer(entry.body):
            for item in items:
                item.data = _respelled(item.data)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Damaged("log_damaged", f"an accepted event cannot be read: {error}") from error
    return items


def _decoded_whole(entry: Entry) -> list[Item]:
    if entry.kind == KIND_CORRECTION:
        return [_of_correction(_item.decode(line)) for line in _lines(entry.body)]
    if entry.kind != KIND_EVENTS:
        return [_consumed.decode(entry.body).event]
    match entry.format:
        case Format.OBJECT:
            return [_item.decode(entry.body)]
        case Format.ARRAY:
            return _array.decode(entry.body)
        case Format.LINES:
            return [_item.decode(line) for line in _lines(entry.body)]


def _of_correction(item: Item) -> Item:
    """Without the event that a retraction takes back: that is a row of its own."""
    if item.type == facts.RETRACTION and item.data is not None:
        item.data = {name: value for name, value in item.data.items() if name != "event"}
    return item


def _decoded_apart(entry: Entry) -> list[Item]:
    """Around items that were refused, which need not even be events."""
    raw: Sequence[msgspec.Raw | bytes]
    raw = _raw_array.decode(entry.body) if entry.format == Format.ARRAY else _lines(entry.body)
    pairs = zip(raw, entry.verdicts, strict=True)
    return [_item.decode(item) for item, verdict in pairs if verdict == Verdict.ACCEPTED]


def _lines(body: bytes) -> list[bytes]:
    return [line for line in body.split(b"\n") if line.translate(None, _BLANK)]


def _has_long_integer(body: bytes) -> bool:
    """Whether 39 digits stand in a row: beyond 38, `number_text` writes integers differently."""
    run = np.frombuffer(body, dtype=np.uint8) - np.uint8(ord("0")) < 10
    for shift in (1, 2, 4, 8, 16, 7):  # each step keeps where the run goes on for so many more
        run = run[shift:] & run[:-shift]
    return bool(run.any())


def _respelled(value: Any) -> Any:
    """The same value with long integers in their one spelling."""
    if isinstance(value, dict):
        return {name: _respelled(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_respelled(inner) for inner in value]
    if isinstance(value, int) and abs(value) >= 10**PLAIN_PLACES:
        return spelled(str(value))
    return value


class Chunk(msgspec.Struct):
    """
    A run of events as equally long columns.

    Attributes:
        fixed: The columns every event has; seq and instants as int64, texts as objects. A run
            with corrections also has what those take back and replace, 0 for nothing.
        leaves: Path -> one leaf a row, None where there is none.
    """

    rows: int
    fixed: dict[str, NDArray[Any]]
    leaves: dict[str, NDArray[Any]]


def chunks(logged: Iterable[LoggedEntry], after: int, size: int) -> Iterator[Chunk]:
    """
    The accepted events with seq > after, in chunks of whole entries with at least `size` events
    (the last one may be smaller).
    """
    collected = _Collector()
    for item in logged:
        collected.add(item, after)
        if len(collected.items) >= size:
            yield collected.chunk()
            collected = _Collector()
    if collected.items:
        yield collected.chunk()


class _Collector:
    def __init__(self) -> None:
        self.items: list[Item] = []
        self._seqs: list[int] = []
        self._received: list[int] = []
        self._namespaces: list[str] = []
        self._corrections: list[bool] = []

    def add(self, logged: LoggedEntry, after: int) -> None:
        entry = logged.entry
        items = accepted_items(entry)
        seq = logged.first_seq
        if seq <= after:
            items = items[after + 1 - seq :]
            seq = after + 1
        self.items += items
        self._seqs += range(seq, seq + len(items))
        self._received += [entry.received_at] * len(items)
        self._namespaces += [entry.namespace] * len(items)
        self._corrections += [entry.kind == KIND_CORRECTION] * len(items)

    def chunk(self) -> Chunk:
        items, rows = self.items, len(self.items)
        datas = [item.data for item in items]
        # No meter reads what a retraction says about itself.
        leaves = Leaves([None if i.type == facts.RETRACTION else i.data for i in items])
        return Chunk(
            rows=rows,
            fixed={
                "seq": np.array(self._seqs, dtype=np.int64),
                "namespace": _texts(self._namespaces),
                "id": _texts([item.id for item in items]),
                "source": _texts([item.source or "" for item in items]),
                "type": _texts([item.type for item in items]),
                "subject": _texts([item.subject for item in items]),
                "time": np.array(self._times(), dtype=np.int64),
                "received_at": np.array(self._received, dtype=np.int64),
                "data": _texts([None if d is None else _canonical_text(d) for d in datas]),
                **self._corrected(),
            },
            leaves={p: _spread(rows, *column) for p, column in leaves.columns.items()},
        )

    def _corrected(self) -> dict[str, NDArray[Any]]:
        if not any(self._corrections):
            return {}
        pairs = list(zip(self.items, self._corrections, strict=True))
        return {
            "retracts": np.array([facts.retracts(i.id) if c else 0 for i, c in pairs], np.int64),
            "replaces": np.array([facts.replaces(i.id) if c else 0 for i, c in pairs], np.int64),
        }

    def _times(self) -> list[int]:
        pairs = zip(self.items, self._received, strict=True)
        return [parse_instant(item.time) if item.time else received for item, received in pairs]


def _canonical_text(data: dict[str, Any]) -> str:
    return _canonical.encode(data).decode()


def _texts(values: Sequence[str | None]) -> NDArray[Any]:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def _spread(rows: int, where: list[int], leaves: list[Leaf]) -> NDArray[Any]:
    """Leaves at their rows, None elsewhere."""
    column = np.empty(rows, dtype=object)
    column[where] = _texts(leaves)
    return column


def stored_event(row: tuple[Any, ...]) -> StoredEvent:
    """
    The event of a row of `EVENT_COLUMNS`.

    Its `time` text is the resolved instant in UTC, or None if that is the time of receipt.
    """
    seq, time, received_at, event_id, source, event_type, subject, data = row
    return StoredEvent(
        seq=seq,
        time=time,
        received_at=received_at,
        event=Event(
            id=event_id,
            type=event_type,
            subject=subject,
            source=source,
            time=None if time == received_at else format_instant(time),
            data=None if data is None else _data.decode(data),
        ),
    )


ReadLog = Callable[[int, int], Iterable[LoggedEntry]]
"""`read(after, upto)` of an `EventLog` or of a reader of its directory."""
