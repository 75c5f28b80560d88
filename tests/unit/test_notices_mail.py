"""Mail through a real SMTP server on this machine."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from email.header import decode_header, make_header
from typing import Any

import pytest
from tests.receivers import Mailbox, mailbox

from taximeter.adapters.delivery.smtp import SmtpSender, make_message, read_smtp_url
from taximeter.errors import Rejected
from taximeter.notices.delivery import Channel, Delivery, new_delivery
from taximeter.notices.notice import new_notice
from taximeter.ports import Sent

AT = 1_795_000_000_000_000
USAGE: dict[str, Any] = {
    "alert": "a", "customer": "acme", "feature": "chat", "threshold": "80%", "line": "800",
    "used": "850", "limit": "1000", "window_start": "2026-11-01T00:00:00Z", "resets_at": None,
}  # fmt: skip


def delivery(
    data: dict[str, Any] = USAGE, type: str = "usage.threshold_crossed", to: str = "ops@example.com"
) -> Delivery:
    notice = new_notice("default", type, data.get("customer"), data, "k", AT)
    return new_delivery(notice, Channel.EMAIL, to, AT)


def send(url: str, one: Delivery | None = None) -> Sent:
    async def whole() -> Sent:
        sender = SmtpSender(read_smtp_url(url, "billing@example.com"), timeout_s=60)
        try:
            return await sender.send(one or delivery(), None)
        finally:
            await sender.close()

    return asyncio.run(whole())


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with mailbox() as found:
        yield found


def test_a_notice_arrives_as_plain_text_that_says_it_all(box: Mailbox) -> None:
    assert send(box.url).error is None
    ((recipients, message),) = box.wait(1)
    assert recipients == ["ops@example.com"]
    assert message["From"] == "billing@example.com"
    assert message["Subject"] == "acme: chat has reached 80%"
    assert message["Date"] == "Wed, 18 Nov 2026 11:06:40 +0000"
    assert delivery().notice.id in message["Message-ID"]
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content_type() == "text/plain"
    text = message.get_payload(decode=True).decode()
    assert "used          850\n" in text.replace("\r\n", "\n")
    assert "resets_at     -\n" in text.replace("\r\n", "\n")


def test_the_same_delivery_sent_twice_has_the_same_message_id(box: Mailbox) -> None:
    send(box.url)
    send(box.url)
    ids = {message["Message-ID"] for _, message in box.wait(2)}
    assert len(ids) == 1


@pytest.mark.parametrize(
    "customer",
    [
        "acme\r\nBcc: thief@example.com",
        "acme\nX-Evil: 1\n\nbody",
        "acme\u2028Bcc: x@example.com",
        "\x00\x1bacme",
        "Zoë 🚕 & Söhne",
        "x" * 5000,
        "=?utf-8?q?encoded?=\r\n Bcc: x@y.z",
    ],
)
def test_a_name_can_neither_end_a_header_nor_add_one(box: Mailbox, customer: str) -> None:
    one = delivery(USAGE | {"customer": customer})
    plain = make_message(delivery(), "billing@example.com").keys()
    assert make_message(one, "billing@example.com").keys() == plain
    assert send(box.url, one).error is None
    ((recipients, message),) = box.wait(1)
    assert recipients == ["ops@example.com"]
    assert not {"bcc", "x-evil"} & {name.lower() for name, _ in message.items()}
    subject = str(make_header(decode_header(message["Subject"])))
    assert len(subject) <= 200
    assert "\n" not in subject


def test_a_refused_recipient_is_final_and_a_full_mailbox_is_not(box: Mailbox) -> None:
    box.reply = "550 no such user"
    refused = send(box.url)
    assert (refused.status, refused.is_hopeless) == (550, True)
    assert "no such user" in (refused.error or "")
    box.reply = "452 try again later"
    full = send(box.url)
    assert (full.status, full.is_hopeless) == (452, False)


def test_a_server_without_starttls_is_not_sent_anything(box: Mailbox) -> None:
    sent = send(box.url.replace("smtp+plain", "smtp"))
    assert "STARTTLS" in (sent.error or "")
    assert box.mail == []


def test_no_mail_server_is_a_failed_attempt() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    sent = send(f"smtp+plain://127.0.0.1:{port}")
    assert sent.status is None
    assert "mail server" in (sent.error or "")


# --- the setting --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "port", "tls"),
    [
        ("smtps://mail.example.com", 465, "implicit"),
        ("smtp://mail.example.com", 587, "starttls"),
        ("smtp+plain://localhost", 25, "none"),
        ("smtp://mail.example.com:2525/", 2525, "starttls"),
    ],
)
def test_the_scheme_says_how_it_is_encrypted(url: str, port: int, tls: str) -> None:
    found = read_smtp_url(url, "a@b.c")
    assert (found.port, found.tls, found.user) == (port, tls, None)


def test_user_and_password_may_hold_anything_percent_encoded() -> None:
    found = read_smtp_url("smtps://me%40x:p%2Fw%3A@mail.example.com", "a@b.c")
    assert (found.user, found.password) == ("me@x", "p/w:")
    assert "p/w" not in repr(found)


@pytest.mark.parametrize(
    "url", ["mail.example.com", "http://x", "smtp://", "smtp://u:hunter2@", "smtp://x:hunter2"]
)
def test_an_unreadable_url_is_refused_without_repeating_its_password(url: str) -> None:
    with pytest.raises(Rejected) as caught:
        read_smtp_url(url, "a@b.c")
    assert "hunter2" not in caught.value.message


def test_a_type_without_words_of_its_own_is_named() -> None:
    message = make_message(delivery({"x": "1"}, "credits.topped_up"), "a@b.c")
    assert message["Subject"] == "credits.topped_up"
