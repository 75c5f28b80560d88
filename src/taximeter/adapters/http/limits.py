"""The bounds within which the server listens to strangers."""

from __future__ import annotations

import msgspec

from taximeter.events.envelope import MAX_BODY_BYTES


class Limits(msgspec.Struct, frozen=True):
    """
    Attributes:
        max_body_bytes: Of a request, before and after decompression, unless its route says else.
        max_header_bytes: Request line and headers together.
        max_headers: How many header lines.
        max_pipelined: Requests of one connection being answered at a time; more are not read.
        max_connections: Further ones are told 429 and closed.
        max_in_flight: Requests waiting for a handler; beyond it, 429 except for essential routes.
        max_buffered_bytes: Bodies held by all requests together; beyond it, as above.
        request_timeout_s: From the first byte of a request to its last (408).
        keep_alive_s: How long an idle connection is kept.
        write_timeout_s: A client that reads less than `min_read_bytes` in it is cut off.
        linger_s: How long input is still thrown away after an early refusal, so that the client
            gets to read the answer before the connection is reset.
    """

    max_body_bytes: int = MAX_BODY_BYTES + 64 * 1024
    max_header_bytes: int = 32 * 1024
    max_headers: int = 100
    max_pipelined: int = 64
    max_connections: int = 10_000
    max_in_flight: int = 8_192
    max_buffered_bytes: int = 256 * 1024 * 1024
    request_timeout_s: float = 15.0
    keep_alive_s: float = 75.0
    write_timeout_s: float = 30.0
    min_read_bytes: int = 16 * 1024
    linger_s: float = 2.0
