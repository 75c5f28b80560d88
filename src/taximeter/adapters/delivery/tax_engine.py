"""
A tax engine outside: one POST of the invoice to the URL of the billing settings.

It goes to public addresses only, as webhooks do, follows no redirect, reads a bounded answer
within a bounded time, and never guesses: whatever goes wrong is the reason why a person looks.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import httpcore
import msgspec

from taximeter import __version__
from taximeter.adapters.delivery.guarded import GuardedBackend, RefusedAddress, Resolve
from taximeter.errors import Rejected
from taximeter.instants import format_instant
from taximeter.invoices.invoice import Invoice
from taximeter.money import format_minor
from taximeter.notices.addresses import check_url
from taximeter.notices.signature import Secret, sign
from taximeter.parties import Party
from taximeter.taxes.answers import read_answer
from taximeter.taxes.applied import AppliedTax
from taximeter.taxes.decide import Situation, Unknown
from taximeter.taxes.documents import dump_exemption
from taximeter.taxes.rules import Engine

Headers: TypeAlias = list[tuple[str, str]]

MAX_ANSWER_BYTES: Final = 1024 * 1024
MAX_CONNECTIONS: Final = 10
_NO_ANSWER: Final = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException)
GIVE_UP_AFTER: Final = 3
LEFT_ALONE_S: Final = 15.0
"""A close of thousands of invoices does not wait for each that an engine is down."""


class HttpTaxEngine:
    """
    Args:
        secret_of: What questions of a namespace are signed with, as webhooks are.
        allow_private: Ask at any address, and over plain http.
        resolve: Addresses of a host, for tests.
        now: Seconds of any clock that goes on evenly.
    """

    def __init__(
        self,
        secret_of: Callable[[str], str],
        *,
        allow_private: bool = False,
        resolve: Resolve | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._secret_of = secret_of
        self._allow_private = allow_private
        self._now = now
        self._silent: dict[str, tuple[int, float]] = {}  # url -> silences in a row, last one
        self._backend = GuardedBackend(allow_private=allow_private, resolve=resolve)
        self._pool: httpcore.AsyncConnectionPool | None = None

    async def taxes(
        self, namespace: str, invoice: Invoice, situation: Situation
    ) -> tuple[AppliedTax, ...] | Unknown:
        engine = situation.rules.engine
        assert engine is not None, "the settings name an engine"
        silences, last = self._silent.get(engine.url, (0, 0.0))
        if silences >= GIVE_UP_AFTER and self._now() < last + LEFT_ALONE_S:
            return _failed(f"did not answer {silences} times in a row; try again in a moment")
        content = question(invoice, situation)
        signed = self._signed(namespace, invoice.id, content)
        asked = await self._asked(engine, content, signed)
        if isinstance(asked, Unknown):
            self._silent[engine.url] = (silences + 1, self._now())
            return asked
        self._silent.pop(engine.url, None)
        status, body = asked
        if status != 200:
            return _failed(f"answered {status}")
        if len(body) > MAX_ANSWER_BYTES:
            return _failed(f"answered more than {MAX_ANSWER_BYTES} bytes")
        nets = [line.net_minor for line in invoice.lines]
        return read_answer(body, nets, invoice.currency)

    def _signed(self, namespace: str, invoice_id: str, content: bytes) -> Headers:
        at = int(time.time())  # the engine compares it with its own clock
        signature = sign([Secret(self._secret_of(namespace))], invoice_id, at, content)
        return [
            ("webhook-id", invoice_id),
            ("webhook-timestamp", str(at)),
            ("webhook-signature", signature),
        ]

    async def _asked(
        self, engine: Engine, content: bytes, signed: Headers
    ) -> tuple[int, bytes] | Unknown:
        """Status and body of an answer, or why there is none."""
        try:
            check_url(engine.url, allow_private=self._allow_private)
            async with asyncio.timeout(engine.timeout_s):
                return await self._post(engine.url, content, signed)
        except TimeoutError:
            return _failed(f"did not answer within {engine.timeout_s} seconds")
        except (Rejected, RefusedAddress) as error:
            return _failed(f"may not be asked: {error}")
        except (OSError, *_NO_ANSWER) as error:
            return _failed(f"cannot be reached: {str(error) or type(error).__name__}")

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.aclose()
        self._backend.close()

    async def _post(self, url: str, content: bytes, signed: Headers) -> tuple[int, bytes]:
        if self._pool is None:  # most nodes never ask
            self._pool = httpcore.AsyncConnectionPool(
                ssl_context=ssl.create_default_context(),
                max_connections=MAX_CONNECTIONS,
                network_backend=self._backend,
            )
        headers = [
            ("Host", urlsplit(url).netloc),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(content))),
            ("User-Agent", f"taximeter/{__version__}"),
            ("Accept", "application/json"),
            ("Accept-Encoding", "identity"),
            *signed,
        ]
        async with self._pool.stream("POST", url, headers=headers, content=content) as answer:
            read = bytearray()
            async for chunk in answer.aiter_stream():
                read += chunk
                if len(read) > MAX_ANSWER_BYTES:
                    break  # the connection is then closed, not read to its end
            return answer.status, bytes(read)


def question(invoice: Invoice, situation: Situation) -> bytes:
    """What is posted: who sells what to whom, with the net of each line behind its discounts."""
    currency = invoice.currency
    document: dict[str, Any] = {
        "invoice": invoice.id,
        "currency": currency,
        "period": invoice.period.to_json(),
        "issuer": _party(situation.issuer),
        "customer": {"key": invoice.customer, **(_party(situation.customer) or {})},
        "tax_exempt": None if situation.exemption is None else dump_exemption(situation.exemption),
        "lines": [
            {
                "id": line.id,
                "description": line.description,
                "price": line.price,
                "tax_category": line.tax_category,
                "net": format_minor(line.net_minor, currency),
                "until": format_instant(line.period.end),
            }
            for line in invoice.lines
        ],
    }
    return msgspec.json.encode(document)


def _party(party: Party | None) -> dict[str, Any] | None:
    if party is None:
        return None
    return {name: value for name, value in msgspec.to_builtins(party).items() if value}


def _failed(text: str) -> Unknown:
    return Unknown(f"The tax engine {text[:300].rstrip('.')}.")
