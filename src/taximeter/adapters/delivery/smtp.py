"""
Mail by SMTP: one plain-text message an attempt.

The message id is that of the notice, so a mailbox that gets a message twice can tell. Everything
from outside is in the body or in a header that cannot hold a line break.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import smtplib
import ssl
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import msgspec

from taximeter.errors import Rejected
from taximeter.instants import to_datetime
from taximeter.notices.delivery import Delivery
from taximeter.notices.webhook import Webhook
from taximeter.notices.wording import subject_of, text_of
from taximeter.ports import Sent

TIMEOUT_S: Final = 15.0
THREADS: Final = 4
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class MailServer(msgspec.Struct, frozen=True):
    """
    Attributes:
        tls: "implicit" (from the first byte), "starttls", or "none".
        sender: The address in From.
    """

    host: str
    port: int
    tls: str
    user: str | None = None
    password: str | None = None
    sender: str = "taximeter@localhost"

    def __repr__(self) -> str:
        return f"MailServer({self.host}:{self.port}, {self.tls})"


def read_smtp_url(url: str, sender: str) -> MailServer:
    """
    From `smtps://user:password@host:465`, `smtp://host:587` (STARTTLS required), or
    `smtp+plain://host:25` (no TLS, for a relay on this machine).

    Raises:
        Rejected: `invalid_file`. The message does not hold the URL: it has a password.
    """
    tls = {"smtps": "implicit", "smtp": "starttls", "smtp+plain": "none"}
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in tls or not parts.hostname or parts.path not in ("", "/"):
        raise Rejected(
            "invalid_file",
            "smtp_url: smtps://USER:PASSWORD@HOST, smtp://... with STARTTLS, or smtp+plain://...",
        )
    if port is None:
        port = {"smtps": 465, "smtp": 587, "smtp+plain": 25}[parts.scheme]
    return MailServer(
        parts.hostname,
        port,
        tls[parts.scheme],
        None if parts.username is None else unquote(parts.username),
        None if parts.password is None else unquote(parts.password),
        sender,
    )


class SmtpSender:
    """Sends through one mail server; a connection a message."""

    def __init__(self, server: MailServer, *, timeout_s: float = TIMEOUT_S) -> None:
        self._server = server
        self._timeout_s = timeout_s
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="mail")

    async def send(self, delivery: Delivery, webhook: Webhook | None) -> Sent:
        message = make_message(delivery, self._server.sender)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._send, message)

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _send(self, message: EmailMessage) -> Sent:
        try:
            with contextlib.closing(self._connect()) as connection:
                connection.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            (status, reply) = next(iter(error.recipients.values()))
            return _refused(status, reply)
        except smtplib.SMTPResponseException as error:
            return _refused(error.smtp_code, error.smtp_error)
        except (OSError, smtplib.SMTPException, ValueError) as error:
            return Sent(error=f"The mail server: {str(error)[:300]}.")
        return Sent(250)

    def _connect(self) -> smtplib.SMTP:
        server = self._server
        context = ssl.create_default_context()
        if server.tls == "implicit":
            connection: smtplib.SMTP = smtplib.SMTP_SSL(
                server.host, server.port, timeout=self._timeout_s, context=context
            )
        else:
            connection = smtplib.SMTP(server.host, server.port, timeout=self._timeout_s)
        try:
            if server.tls == "starttls":
                connection.starttls(context=context)
            if server.user is not None:
                connection.login(server.user, server.password or "")
        except BaseException:
            connection.close()
            raise
        return connection


def make_message(delivery: Delivery, sender: str) -> EmailMessage:
    """The message for one recipient."""
    notice = delivery.notice
    content: dict[str, Any] = msgspec.json.decode(notice.payload)
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = delivery.receiver.target
    message["Subject"] = _CONTROLS.sub(" ", subject_of(notice.type, content["data"]))[:200]
    message["Date"] = format_datetime(to_datetime(notice.at))
    message["Message-ID"] = f"<{delivery.id}.{notice.id}@taximeter>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text_of(notice.type, content["timestamp"], content["data"]))
    return message


def _refused(status: int, reply: bytes | str) -> Sent:
    text = reply.decode(errors="replace") if isinstance(reply, bytes) else reply
    text = _CONTROLS.sub(" ", text)[:300]
    # 4xx: try again later. 5xx: never in this form.
    error = f"The mail server answered {status}: {text}"
    return Sent(status, error, text, is_hopeless=500 <= status <= 599)
