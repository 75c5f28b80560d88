"""Senders of notices: `ports.Sender` for webhooks and for mail."""

from __future__ import annotations

from taximeter.adapters.clock import SystemClock
from taximeter.adapters.delivery.smtp import SmtpSender, read_smtp_url
from taximeter.adapters.delivery.webhook import WebhookSender
from taximeter.notices.delivery import Channel
from taximeter.ports import Sender
from taximeter.settings import Settings

__all__ = ["SmtpSender", "WebhookSender", "notice_senders", "read_smtp_url"]


def notice_senders(settings: Settings) -> dict[Channel, Sender]:
    """
    One for each channel that is configured.

    Raises:
        Rejected: `invalid_file` for an unreadable `smtp_url`.
    """
    senders: dict[Channel, Sender] = {
        Channel.WEBHOOK: WebhookSender(
            SystemClock().now, allow_private=settings.webhook_allow_private
        )
    }
    if settings.smtp_url is not None:
        server = read_smtp_url(settings.smtp_url, settings.mail_from)
        senders[Channel.EMAIL] = SmtpSender(server)
    return senders
