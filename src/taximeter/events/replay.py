"""
Events read back from the log, as the sequencer saw them when it accepted them.
"""

from __future__ import annotations

import msgspec

from taximeter.errors import Damaged, TaximeterError
from taximeter.events.decode import decode
from taximeter.events.entry import KIND_CORRECTION, KIND_EVENTS, Entry
from taximeter.events.envelope import Event, Format, Verdict
from taximeter.events.numbers import read_number
from taximeter.instants import parse_instant


class _Consumed(msgspec.Struct):
    event: msgspec.Raw
    answer: msgspec.Raw


_consumed = msgspec.json.Decoder(_Consumed)
# What a retraction holds of an event is as large and as deep as the event was, on top of its own.
_unbounded = msgspec.json.Decoder(Event, float_hook=read_number)


def accepted_events(entry: Entry) -> list[Event]:
    """
    The accepted events of an entry, in order.

    Raises:
        Damaged: `log_damaged`: what was accepted cannot be read again.
    """
    if not entry.accepted:
        return []
    try:
        if entry.kind == KIND_CORRECTION:
            return _unbounded.decode_lines(entry.body)
        if entry.kind != KIND_EVENTS:
            return decode(bytes(_consumed.decode(entry.body).event), Format.OBJECT).events
        items = decode(entry.body, entry.format).items
    except (TaximeterError, msgspec.MsgspecError) as error:
        raise Damaged("log_damaged", f"An accepted event cannot be read: {error}") from error
    if entry.accepted == len(entry.verdicts):
        events = items
    else:
        accepted = Verdict.ACCEPTED.value
        events = [
            item for item, verdict in zip(items, entry.verdicts, strict=True) if verdict == accepted
        ]
    if not all(isinstance(event, Event) for event in events):
        raise Damaged("log_damaged", "An accepted event cannot be read again.")
    return events


def consumed_answer(entry: Entry) -> bytes:
    """The JSON answer that the gate gave when it wrote this entry."""
    assert entry.kind != KIND_EVENTS
    return bytes(_consumed.decode(entry.body).answer)


def stored_times(events: list[Event], received_at: int) -> list[int]:
    """The instants of accepted events; those without one happened when they were received."""
    return [received_at if e.time is None else parse_instant(e.time) for e in events]
