"""Alerts, webhooks, notices and their deliveries: a part of the books."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from taximeter.notices.crossings import Mark, Place
from taximeter.notices.delivery import Attempt, Delivery, DeliveryStatus, Receiver
from taximeter.notices.notice import Notice
from taximeter.notices.webhook import Webhook
from taximeter.ports.audit import AuditEntry


class StoredAlert(msgspec.Struct, frozen=True):
    """An alert as JSON text."""

    namespace: str
    id: str
    document: bytes
    created_at: int


class StoredMark(msgspec.Struct, frozen=True):
    """Where one customer stands to a line that rearms."""

    namespace: str
    customer: str
    place: Place
    mark: Mark


class Outcome(msgspec.Struct, frozen=True):
    """
    One attempt and what it made of its delivery.

    Attributes:
        failing_since: Of its webhook, from now on.
    """

    delivery: Delivery
    attempt: Attempt
    failing_since: int | None = None


class Disabling(msgspec.Struct, frozen=True):
    """An endpoint given up, with the notice that says so."""

    namespace: str
    webhook: Webhook
    notice: Notice
    deliveries: tuple[Delivery, ...]
    audit: AuditEntry


class NoticeBooks(Protocol):
    """Alerts, webhooks, notices and their deliveries. See `Books`."""

    def put_alert(self, alert: StoredAlert, audit: AuditEntry) -> None: ...
    def delete_alert(self, namespace: str, alert_id: str, audit: AuditEntry) -> bool:
        """False if there is none. Its lines are armed again, and go on counting."""
        ...

    def alerts(self) -> list[StoredAlert]:
        """Of all namespaces, by id."""
        ...

    def alert_marks(self, namespace: str | None = None) -> list[StoredMark]:
        """Of one namespace, or of all."""
        ...

    def put_webhook(self, namespace: str, webhook: Webhook, audit: AuditEntry) -> None:
        """Of a disabled one, all that is pending is given up."""
        ...

    def delete_webhook(self, namespace: str, webhook_id: str, audit: AuditEntry) -> bool:
        """False if there is none. Its deliveries go with it; the notices stay."""
        ...

    def webhooks(self) -> list[tuple[str, Webhook]]:
        """With their namespaces; of all namespaces, by id."""
        ...

    def add_notices(
        self,
        notices: Sequence[tuple[Notice, Sequence[Delivery]]],
        marks: Sequence[StoredMark] = (),
    ) -> set[str]:
        """Store notices with their deliveries and marks; one whose key is known is passed over
        with its deliveries. Returns the ids of the new ones."""
        ...

    def notices(
        self,
        namespace: str,
        *,
        customer: str | None = None,
        type: str | None = None,
        before: str | None = None,
        limit: int,
    ) -> list[Notice]:
        """Newest first; `before` is the id of the last one seen."""
        ...

    def notices_after(self, namespace: str, notice_id: str, limit: int) -> list[Notice]:
        """Those stored after this one, oldest first."""
        ...

    def notice(self, namespace: str, notice_id: str) -> Notice | None: ...
    def pending_receivers(self) -> list[Receiver]:
        """All that something is waiting for."""
        ...

    def pending_deliveries(
        self, receiver: Receiver, *, limit: int, due: int | None = None
    ) -> list[Delivery]:
        """The first due first; `due`: only those that are by then."""
        ...

    def delivery(self, namespace: str, delivery_id: str) -> Delivery | None: ...
    def deliveries(
        self,
        receiver: Receiver,
        *,
        status: DeliveryStatus | None = None,
        before: str | None = None,
        limit: int,
    ) -> list[Delivery]:
        """Newest first; `before` is the id of the last one seen."""
        ...

    def deliveries_of(self, namespace: str, notice_id: str) -> list[Delivery]: ...
    def attempts(self, delivery_ids: Sequence[str]) -> dict[str, list[Attempt]]:
        """Oldest first."""
        ...

    def record(self, outcomes: Sequence[Outcome], disablings: Sequence[Disabling] = ()) -> None:
        """Log attempts and move their deliveries on, then disable endpoints. What was deleted
        meanwhile is passed over."""
        ...

    def reopen_delivery(
        self, namespace: str, delivery_id: str, at: int, audit: AuditEntry
    ) -> Delivery | None:
        """Make it due at once, from the beginning of its schedule; None if there is none."""
        ...

    def reopen_failed(self, receiver: Receiver, since: int, at: int, audit: AuditEntry) -> int:
        """The same for all that have failed and were made at or after an instant; how many."""
        ...

    def forget_deliveries(self, before: int) -> int:
        """Delete those resolved before, with their attempts; returns how many."""
        ...
