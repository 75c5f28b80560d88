"""
What the engine and the store process say to each other: pickled tuples behind a length.

Both ends are this package at the same version, connected by two pipes that nobody else can write
to; nothing of it is ever stored.
"""

from __future__ import annotations

import pickle
import struct
from typing import Any, BinaryIO, Final, NamedTuple

import msgspec

from taximeter import errors
from taximeter.errors import TaximeterError, Unavailable

LENGTH: Final = struct.Struct("<Q")
SEAL_ROWS: Final = 100_000
"""How many events in memory become a file."""


class Progress(msgspec.Struct, frozen=True):
    """
    How far the store is.

    Attributes:
        position: Everything up to here can be asked for without reading the log.
        sealed_position: Everything up to here is in files.
        bytes: Of all files.
        problem: Why the last attempt to write a file failed, or None.
    """

    position: int
    sealed_position: int
    tail_rows: int
    files: int
    bytes: int
    problem: str | None = None


class Setup(msgspec.Struct, frozen=True):
    """
    First message to the store process.

    Attributes:
        reader: Where the log is read from, as "module:name" of something that, called with
            `log_directory`, has `read(after, upto)`.
        durable: The log's position, or None if it is not known.
        idle_seal_s: New events become a file after this long, however few they are.
    """

    events_directory: str
    log_directory: str
    reader: str
    durable: int | None
    seal_rows: int
    threads: int
    memory_limit: str
    idle_seal_s: float


class Request(NamedTuple):
    """`call` is 0 for a notification, which has no answer."""

    call: int
    method: str
    arguments: tuple[Any, ...]


class Answer(NamedTuple):
    """
    `kind` is "value" (the result), "part" (a list, more to come), "error" (see `dump_error`) or,
    with call 0, "progress".
    """

    call: int
    kind: str
    payload: Any


def pack(message: Any) -> bytes:
    body = pickle.dumps(tuple(message), pickle.HIGHEST_PROTOCOL)
    return LENGTH.pack(len(body)) + body


def read_message(pipe: BinaryIO) -> tuple[Any, ...] | None:
    """The next message; None when the other end is gone."""
    head = pipe.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    body = pipe.read(length)
    if len(body) < length:
        return None
    message: tuple[Any, ...] = pickle.loads(body)
    return message


def dump_error(error: BaseException) -> dict[str, Any]:
    """An error as plain values: a defect becomes `internal`."""
    if not isinstance(error, TaximeterError):
        error = TaximeterError("internal", f"the event store failed: {error!r}")
    return {
        "family": type(error).__name__,
        "code": error.code,
        "message": error.message,
        "details": error.details,
        "retry_after_s": getattr(error, "retry_after_s", None),
    }


def load_error(dumped: dict[str, Any]) -> TaximeterError:
    """Inverse of `dump_error`. Subclasses outside `taximeter.errors` come back as their family."""
    family = getattr(errors, dumped["family"], TaximeterError)
    details = dict(dumped["details"])
    if family is Unavailable:
        details["retry_after_s"] = dumped["retry_after_s"]
    error: TaximeterError = family(dumped["code"], dumped["message"], **details)
    return error
