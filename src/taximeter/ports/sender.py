"""What carries notices out of the house."""

from __future__ import annotations

from typing import Protocol

import msgspec

from taximeter.notices.delivery import Delivery
from taximeter.notices.webhook import Webhook


class Sent(msgspec.Struct, frozen=True):
    """
    What came of one attempt.

    Attributes:
        status: Of the HTTP answer, or the reply code of a mail server; None without an answer.
        error: What went wrong, in words; None for a success.
        response: The first 1 KiB of the answer, as text without control characters.
        retry_after: What the receiver asked for, microseconds.
        is_gone: The receiver wants nothing more, ever.
        is_hopeless: Trying again cannot succeed.
        is_busy: The receiver asks to be sent less.
    """

    status: int | None = None
    error: str | None = None
    response: str = ""
    retry_after: int = 0
    is_gone: bool = False
    is_hopeless: bool = False
    is_busy: bool = False


class Sender(Protocol):
    """Carries notices out of the house; one for webhooks, one for mail."""

    async def send(self, delivery: Delivery, webhook: Webhook | None) -> Sent:
        """
        Make one attempt, within a bounded time. Never raises for what a receiver or the network
        does.

        Args:
            webhook: The endpoint as it is now, with the secrets to sign with; None for mail.
        """
        ...

    async def close(self) -> None: ...
