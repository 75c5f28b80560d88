"""
TLS to an address we chose: the certificate still has to be that of the name.

`certificates/hooks.pem` is a certificate of hooks.example.com that signs itself, made for these
tests: `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500 ...`.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from pathlib import Path

from taximeter.adapters.delivery.webhook import WebhookSender
from taximeter.notices.delivery import Channel, new_delivery
from taximeter.notices.notice import new_notice
from taximeter.notices.webhook import Webhook
from taximeter.ports import Sent

CERTIFICATE = Path(__file__).parent / "certificates" / "hooks.pem"
NOTICE = new_notice("default", "a.b", None, {}, "k", 0)


def send(host: str, *, trusted: bool) -> tuple[Sent, list[str | None]]:
    """One attempt at a TLS server on this machine; with the names that clients asked for."""
    asked: list[str | None] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()

    def note_name(_: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        asked.append(name)

    async def whole() -> Sent:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE, CERTIFICATE.with_suffix(".key"))
        context.sni_callback = note_name
        server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        sender = WebhookSender(
            lambda: time.time_ns() // 1000,
            allow_private=True,
            resolve=lambda host, port: ["127.0.0.1"],
            tls=ssl.create_default_context(cafile=str(CERTIFICATE)) if trusted else None,
        )
        try:
            delivery = new_delivery(NOTICE, Channel.WEBHOOK, "ops", 0)
            return await sender.send(delivery, Webhook("ops", f"https://{host}:{port}/"))
        finally:
            await sender.close()
            server.close()

    return asyncio.run(whole()), asked


def test_the_name_is_verified_though_the_connection_goes_to_an_address() -> None:
    sent, asked = send("hooks.example.com", trusted=True)
    assert (sent.status, sent.error) == (200, None)
    assert asked == ["hooks.example.com"]


def test_a_certificate_of_another_name_is_refused() -> None:
    sent, _ = send("other.example.com", trusted=True)
    assert sent.status is None
    assert "other.example.com" in (sent.error or "")


def test_a_certificate_nobody_vouches_for_is_refused() -> None:
    sent, _ = send("hooks.example.com", trusted=False)
    assert sent.status is None
    assert "self-signed" in (sent.error or "").replace("self signed", "self-signed")
