"""
Webhooks by Standard Webhooks: one signed POST an attempt.

An attempt takes at most fifteen seconds in all, follows no redirect, uses no proxy of the
environment, and reads a few kilobytes of the answer however much there is.
"""

from __future__ import annotations

import asyncio
import importlib
import re
import ssl
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Final

import httpcore

from taximeter import __version__
from taximeter.adapters.delivery.guarded import GuardedBackend, RefusedAddress, Resolve
from taximeter.errors import Rejected
from taximeter.instants import SECOND, from_datetime
from taximeter.notices.addresses import check_url
from taximeter.notices.delivery import Delivery
from taximeter.notices.signature import sign
from taximeter.notices.webhook import Webhook
from taximeter.ports import Sent

TIMEOUT_S: Final = 15.0
CONNECT_TIMEOUT_S: Final = 5.0
MAX_CONNECTIONS: Final = 300
KEPT_ALIVE: Final = 32
KEPT_ALIVE_S: Final = 5.0
SHOWN_BYTES: Final = 1024
READ_BYTES: Final = 16 * 1024
"""Read so that the connection of a polite endpoint can be used again."""

_BUSY: Final = frozenset({429, 502, 503, 504})
_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class WebhookSender:
    """
    Args:
        now: Real time, microseconds, even on a server whose clock is set: a receiver compares the
            signature's timestamp with its own clock.
        allow_private: Send to any address, and over plain http.
        resolve: Addresses of a host, for tests.
    """

    def __init__(
        self,
        now: Callable[[], int],
        *,
        allow_private: bool = False,
        timeout_s: float = TIMEOUT_S,
        resolve: Resolve | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        # Loaded by the first connection otherwise, which would hold up the loop for 0.1 s.
        importlib.import_module("anyio._backends._asyncio")
        self._now = now
        self._allow_private = allow_private
        self._timeout_s = timeout_s
        self._backend = GuardedBackend(allow_private=allow_private, resolve=resolve)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls or ssl.create_default_context(),
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=KEPT_ALIVE,
            keepalive_expiry=KEPT_ALIVE_S,
            network_backend=self._backend,
        )

    async def send(self, delivery: Delivery, webhook: Webhook | None) -> Sent:
        assert webhook is not None, "a webhook is sent to an endpoint"
        try:
            # What was allowed when it was configured may not be any more.
            check_url(webhook.url, allow_private=self._allow_private)
            async with asyncio.timeout(self._timeout_s):
                return await self._post(delivery, webhook)
        except TimeoutError:
            return Sent(error=f"No complete answer within {self._timeout_s:g} seconds.")
        except (Rejected, RefusedAddress) as error:
            return Sent(error=f"Refused: {error}.".replace("..", "."))
        except (OSError, httpcore.NetworkError, httpcore.ProtocolError) as error:
            return Sent(error=_words(error))
        except (httpcore.TimeoutException, httpcore.UnsupportedProtocol) as error:
            return Sent(error=_words(error))

    async def close(self) -> None:
        await self._pool.aclose()
        self._backend.close()

    async def _post(self, delivery: Delivery, webhook: Webhook) -> Sent:
        async with self._pool.stream(
            "POST",
            webhook.url,
            headers=self._headers(delivery, webhook),
            content=delivery.notice.payload,
            extensions={"timeout": {"connect": CONNECT_TIMEOUT_S, "pool": self._timeout_s}},
        ) as answer:
            shown = await _beginning(answer)
            headers = {name.lower(): value for name, value in answer.headers}
        return _sent(answer.status, shown, _retry_after(headers.get(b"retry-after"), self._now()))

    def _headers(self, delivery: Delivery, webhook: Webhook) -> list[tuple[str, str]]:
        now = self._now()
        notice = delivery.notice
        signature = sign(webhook.secrets, notice.id, now // SECOND, notice.payload)
        return [
            ("Host", _authority(webhook.url)),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(notice.payload))),
            ("User-Agent", f"taximeter/{__version__}"),
            ("Accept", "*/*"),
            ("Accept-Encoding", "identity"),
            ("webhook-id", notice.id),
            ("webhook-timestamp", str(now // SECOND)),
            ("webhook-signature", signature),
        ]


def _authority(url: str) -> str:
    """Host and, if it was written, port, as the URL has them."""
    return url.partition("://")[2].partition("/")[0].partition("?")[0]


async def _beginning(answer: httpcore.Response) -> bytes:
    read = bytearray()
    async for chunk in answer.aiter_stream():
        read += chunk
        if len(read) >= READ_BYTES:
            break  # the connection is then closed, not read to its end
    return bytes(read[:SHOWN_BYTES])


def _sent(status: int, body: bytes, retry_after: int) -> Sent:
    shown = _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", body.decode(errors="replace"))
    if 200 <= status <= 299:
        return Sent(status, response=shown)
    error = f"The endpoint answered {status}."
    if 300 <= status <= 399:
        error = f"The endpoint answered {status}; redirects are not followed, put its new URL."
    return Sent(
        status,
        error,
        shown,
        retry_after,
        is_gone=status == 410,
        is_busy=status in _BUSY or retry_after > 0,
    )


def _retry_after(value: bytes | None, now: int) -> int:
    """Seconds or a date, as microseconds from now; 0 for none and for nonsense."""
    text = (value or b"").decode("latin-1").strip()
    if text.isascii() and text.isdigit():
        return int(text[:9]) * SECOND
    try:
        at = parsedate_to_datetime(text)
        return max(0, from_datetime(at) - now) if at.tzinfo is not None else 0
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0


def _words(error: Exception) -> str:
    """What went wrong, for a person, without an object's address or a stack."""
    cause = error.__cause__ if error.__cause__ is not None else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"TLS: {cause.verify_message}."
    text = str(error) or str(cause) or type(error).__name__
    return text[:300].rstrip(".") + "."
