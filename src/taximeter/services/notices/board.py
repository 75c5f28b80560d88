"""
What is configured about notices: the alerts and webhooks of each namespace, in memory.

The books hold the same durably; everything is written there first. Changes come one after the
other, the delivery's own (an endpoint given up) too.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence

import msgspec

from taximeter.errors import NotFound, Rejected
from taximeter.notices.alert import Alert, read_alert
from taximeter.notices.delivery import Channel, Delivery, new_delivery
from taximeter.notices.notice import Notice
from taximeter.notices.signature import SECRET_BYTES, format_secret
from taximeter.notices.webhook import Webhook
from taximeter.ports import AuditEntry, Books, StoredAlert
from taximeter.services.core import BooksThread

MAX_ALERTS = 1000
MAX_WEBHOOKS = 100
_encode = msgspec.json.Encoder(decimal_format="string").encode


def new_secret() -> str:
    return format_secret(secrets.token_bytes(SECRET_BYTES))


class Board:
    """
    Attributes:
        lock: Held while a webhook changes.
    """

    def __init__(self, books: BooksThread) -> None:
        self._books = books
        self._alerts: dict[str, dict[str, Alert]] = {}
        # Of each namespace: customer -> the alerts on it; None -> those on everybody.
        self._by_customer: dict[str, dict[str | None, list[Alert]]] = {}
        self._webhooks: dict[str, dict[str, Webhook]] = {}
        self.lock = asyncio.Lock()

    def load(self, books: Books) -> None:
        """Read everything, when the node starts."""
        for stored in books.alerts():
            document = msgspec.json.decode(stored.document)
            alert = read_alert(stored.id, document, stored.created_at)
            self._alerts.setdefault(stored.namespace, {})[stored.id] = alert
        for namespace in self._alerts:
            self._index(namespace)
        for namespace, webhook in books.webhooks():
            self.set_webhook(namespace, webhook)

    # --- alerts -----------------------------------------------------------------------------

    def alerts(self, namespace: str) -> dict[str, Alert]:
        return self._alerts.get(namespace, {})

    def alert(self, namespace: str, alert_id: str) -> Alert:
        """
        Raises:
            NotFound: `not_found`.
        """
        found = self.alerts(namespace).get(alert_id)
        if found is None:
            raise NotFound("not_found", f"There is no alert {alert_id!r}.")
        return found

    def watching(self, namespace: str, customer: str) -> list[Alert]:
        """The alerts that look at a customer."""
        index = self._by_customer.get(namespace)
        return [] if index is None else [*index.get(None, ()), *index.get(customer, ())]

    def watches(self, namespace: str, customer: str) -> bool:
        """Whether some alert looks at a customer."""
        index = self._by_customer.get(namespace)
        return index is not None and (None in index or customer in index)

    def _index(self, namespace: str) -> None:
        index: dict[str | None, list[Alert]] = {}
        for alert in self._alerts.get(namespace, {}).values():
            index.setdefault(alert.customer, []).append(alert)
        self._by_customer[namespace] = index

    async def put_alert(self, namespace: str, alert: Alert, audit: AuditEntry) -> None:
        if alert.id not in self.alerts(namespace) and len(self.alerts(namespace)) >= MAX_ALERTS:
            raise Rejected("alert_invalid", f"A namespace has at most {MAX_ALERTS} alerts.")
        document = _encode(alert.to_json())
        stored = StoredAlert(namespace, alert.id, document, alert.created_at)
        await self._books.run(self._books.books.put_alert, stored, audit)
        self._alerts.setdefault(namespace, {})[alert.id] = alert
        self._index(namespace)

    async def delete_alert(self, namespace: str, alert_id: str, audit: AuditEntry) -> None:
        self.alert(namespace, alert_id)
        await self._books.run(self._books.books.delete_alert, namespace, alert_id, audit)
        self._alerts[namespace].pop(alert_id, None)
        self._index(namespace)

    # --- webhooks ---------------------------------------------------------------------------

    def webhooks(self, namespace: str) -> dict[str, Webhook]:
        return self._webhooks.get(namespace, {})

    def webhook(self, namespace: str, webhook_id: str) -> Webhook:
        """
        Raises:
            NotFound: `not_found`.
        """
        found = self.webhooks(namespace).get(webhook_id)
        if found is None:
            raise NotFound("not_found", f"There is no webhook {webhook_id!r}.")
        return found

    def set_webhook(self, namespace: str, webhook: Webhook) -> None:
        """In memory only: what the books know already."""
        self._webhooks.setdefault(namespace, {})[webhook.id] = webhook

    async def put_webhook(self, namespace: str, webhook: Webhook, audit: AuditEntry) -> None:
        """The caller holds `lock`."""
        known = self.webhooks(namespace)
        if webhook.id not in known and len(known) >= MAX_WEBHOOKS:
            raise Rejected("invalid_request", f"A namespace has at most {MAX_WEBHOOKS} webhooks.")
        await self._books.run(self._books.books.put_webhook, namespace, webhook, audit)
        self.set_webhook(namespace, webhook)

    async def delete_webhook(self, namespace: str, webhook_id: str, audit: AuditEntry) -> None:
        async with self.lock:
            self.webhook(namespace, webhook_id)
            await self._books.run(self._books.books.delete_webhook, namespace, webhook_id, audit)
            self._webhooks[namespace].pop(webhook_id, None)

    # --- who is told ------------------------------------------------------------------------

    def deliveries(
        self, notice: Notice, email: Sequence[str], at: int, about: str | None = None
    ) -> tuple[Delivery, ...]:
        """
        One for each endpoint that wants the notice's type, and one for each mail address.

        Args:
            about: The webhook that it is about, which is not told of its own end.
        """
        webhooks = [
            new_delivery(notice, Channel.WEBHOOK, webhook.id, at)
            for webhook in self.webhooks(notice.namespace).values()
            if webhook.wants(notice.type, about)
        ]
        mail = [new_delivery(notice, Channel.EMAIL, address, at) for address in email]
        return (*webhooks, *mail)
