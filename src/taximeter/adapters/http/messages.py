"""
Requests as handlers see them, and the two kinds of answers they give.

A `Request` costs little to make: headers stay bytes, path and query are decoded when asked for.
Errors of the sender are raised as `Rejected` with a stable code; the server turns them into
problem answers, so that a handler reads like the use case it serves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import parse_qsl

import jiter
import msgspec

from taximeter.adapters.http.auth import ANONYMOUS, Principal
from taximeter.errors import Rejected

if TYPE_CHECKING:
    from taximeter.adapters.http.routing import Route

T = TypeVar("T")

JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"
FORM_HINT: Final = " With curl, add -H 'content-type: application/json' to -d."
MAX_QUERY_PARAMETERS: Final = 64


class Client(msgspec.Struct, frozen=True, gc=False):
    """The other end of a connection. `ip` is "" for a Unix socket."""

    ip: str
    is_loopback: bool


class Response(msgspec.Struct, eq=False, gc=False):
    """
    A complete answer.

    Attributes:
        headers: Further headers as (name, value); neither may hold a line break. Date, Server,
            Content-Type, Content-Length, Connection and X-Request-Id are the server's business.
    """

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: Sequence[tuple[str, str]] = ()


class StreamResponse(msgspec.Struct, eq=False):
    """
    An answer of unknown length. The iterator is pulled only as fast as the client reads and is
    cancelled when the client goes away or the server stops. `on_close` is called exactly once when
    the stream is over for whatever reason, even if it never began.
    """

    chunks: AsyncIterator[bytes]
    status: int = 200
    content_type: str = "application/octet-stream"
    headers: Sequence[tuple[str, str]] = ()
    on_close: Callable[[], object] | None = None


class Request(msgspec.Struct, eq=False, gc=False):
    """
    One request.

    Attributes:
        method: Upper case. A HEAD request reaches the GET handler; its body is not sent.
        target: Path and query exactly as received.
        raw_headers: Names in lower case; a repeated header is joined with ", " (RFC 9110, 5.3).
        params: Template variables of the route's path, percent-decoded.
        body: Complete and decompressed; at most the route's limit.
        request_id: The client's X-Request-Id if it was sane, else ours.
        principal: Who asks; `ANONYMOUS` on routes without a scope.
        refusal: Answer decided before the handler (no key, too large, ...), or None.
    """

    method: str
    target: bytes
    raw_headers: dict[bytes, bytes]
    client: Client
    request_id: str
    route: Route | None = None
    params: dict[str, str] = {}
    principal: Principal = ANONYMOUS
    body: bytes = b""
    refusal: Response | None = None
    keep_alive: bool = True
    is_http_1_0: bool = False
    started: float = 0.0
    charged_bytes: int = 0
    _query: dict[str, str] | None = None

    @property
    def path(self) -> str:
        """The path as received, still percent-encoded."""
        return self.target.partition(b"?")[0].decode("latin-1")

    @property
    def headers(self) -> dict[str, str]:
        """All headers as text (Latin-1, as HTTP/1.1 defines them), names in lower case."""
        return {n.decode("latin-1"): v.decode("latin-1") for n, v in self.raw_headers.items()}

    def header(self, name: str) -> str | None:
        """One header by its lower-case name, or None."""
        value = self.raw_headers.get(name.encode("latin-1"))
        return None if value is None else value.decode("latin-1")

    @property
    def content_type(self) -> str:
        """The media type in lower case without parameters; "" if absent."""
        value = self.raw_headers.get(b"content-type", b"")
        return value.partition(b";")[0].strip().lower().decode("latin-1")

    @property
    def query(self) -> dict[str, str]:
        """
        Decoded query parameters.

        Raises:
            Rejected: `invalid_parameter` for a repeated, undecodable or 65th parameter.
        """
        if self._query is None:
            self._query = _parse_query(self.target.partition(b"?")[2])
        return self._query

    def query_as(self, kind: type[T]) -> T:
        """
        The query converted to a msgspec Struct (text to int, bool, Decimal as its fields say).

        Raises:
            Rejected: `invalid_parameter`. Unknown names too, if `kind` forbids unknown fields.
        """
        try:
            return msgspec.convert(self.query, kind, strict=False)
        except msgspec.ValidationError as error:
            raise Rejected("invalid_parameter", f"Query: {error}") from None

    def json(self, kind: type[T]) -> T:
        """
        The body decoded as JSON into a type.

        Raises:
            Rejected: `unsupported_media_type`, `invalid_json`, `duplicate_key`, `too_deep`, or
                `invalid_request` where the JSON is well-formed and not of that type.
        """
        media_type = self.content_type
        if media_type not in ("", JSON) and not media_type.endswith("+json"):
            hint = FORM_HINT if media_type == FORM else ""
            raise Rejected("unsupported_media_type", f"This endpoint reads {JSON}.{hint}")
        check_json(self.body)
        try:
            return _decoder(kind).decode(self.body)
        except msgspec.ValidationError as error:
            raise Rejected("invalid_request", str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Rejected("invalid_json", str(error)) from None
        except RecursionError:
            raise Rejected("too_deep", "The JSON is nested too deeply.") from None


def json_response(
    value: Any, status: int = 200, *, headers: Sequence[tuple[str, str]] = ()
) -> Response:
    """`value` as JSON. A Decimal becomes a string; quantities are strings by convention."""
    return Response(status, _ENCODER.encode(value), JSON, headers)


def check_json(body: bytes) -> None:
    """
    Refuse what a typed decoder lets through: duplicate keys, and nesting that overflows it.

    Raises:
        Rejected: `invalid_json`, `duplicate_key` or `too_deep`.
    """
    try:
        jiter.from_json(
            body, catch_duplicate_keys=True, float_mode="lossless-float", allow_inf_nan=False
        )
    except ValueError as error:
        text = str(error)
        if "duplicate key" in text:
            raise Rejected("duplicate_key", text) from None
        if "recursion" in text:
            raise Rejected("too_deep", "The JSON is nested too deeply.") from None
        raise Rejected("invalid_json", f"Not valid JSON: {text}") from None


_ENCODER = msgspec.json.Encoder(decimal_format="string")
_DECODERS: dict[Any, msgspec.json.Decoder[Any]] = {}


def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    decoder = _DECODERS.get(kind)
    if decoder is None:
        # Numbers in untyped places become Decimal: no float may enter through a side door.
        decoder = _DECODERS[kind] = msgspec.json.Decoder(kind, float_hook=Decimal)
    return decoder


def _parse_query(raw: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            raw.decode("latin-1"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_QUERY_PARAMETERS,
        )
    except ValueError as error:
        raise Rejected("invalid_parameter", f"The query cannot be read: {error}") from None
    query = dict(pairs)
    if len(query) != len(pairs):
        raise Rejected("invalid_parameter", "A query parameter is given more than once.")
    return query
