"""
Alerts, webhooks, notices and their deliveries in SQLite: the part of `ports.Books` about notices.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from taximeter.adapters.books import rows
from taximeter.adapters.books.connection import Connection
from taximeter.notices.crossings import Mark, Place
from taximeter.notices.delivery import Attempt, Channel, Delivery, DeliveryStatus, Receiver
from taximeter.notices.notice import Notice
from taximeter.notices.webhook import Webhook
from taximeter.ports import AuditEntry, Disabling, Outcome, StoredAlert, StoredMark

NOTICE_COLUMNS: Final = "namespace, id, key, type, customer, at, payload"
_DELIVERIES: Final = (
    "SELECT d.id, d.channel, d.target, d.status, d.created_at, d.failures, d.next_at, "
    "d.resolved_at, n.namespace, n.id, n.key, n.type, n.customer, n.at, n.payload "
    "FROM deliveries AS d JOIN notices AS n ON n.namespace = d.namespace AND n.id = d.notice "
)
_OF_RECEIVER: Final = "d.namespace = ? AND d.channel = ? AND d.target = ?"
_webhooks = msgspec.json.Decoder(Webhook)


class NoticeTable:
    """Each method is one transaction, as all of the books'."""

    _connection: Connection

    # --- what is configured -----------------------------------------------------------------

    def put_alert(self, alert: StoredAlert, audit: AuditEntry) -> None:
        with self._connection.write() as sqlite:
            sqlite.execute(
                "INSERT INTO alerts (namespace, id, document, created_at) VALUES (?, ?, ?, ?) "
                "ON CONFLICT DO UPDATE SET document = excluded.document",
                (alert.namespace, alert.id, alert.document.decode(), alert.created_at),
            )
            rows.add_audit(sqlite, audit)

    def delete_alert(self, namespace: str, alert_id: str, audit: AuditEntry) -> bool:
        with self._connection.write() as sqlite:
            place = (namespace, alert_id)
            found = sqlite.execute("DELETE FROM alerts WHERE namespace = ? AND id = ?", place)
            if not found.rowcount:
                return False
            sqlite.execute(
                "UPDATE alert_marks SET past = 0 WHERE namespace = ? AND alert = ?", place
            )
            rows.add_audit(sqlite, audit)
            return True

    def alerts(self) -> list[StoredAlert]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                "SELECT namespace, id, document, created_at FROM alerts ORDER BY namespace, id"
            )
            return [StoredAlert(ns, id, document.encode(), at) for ns, id, document, at in found]

    def alert_marks(self, namespace: str | None = None) -> list[StoredMark]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                "SELECT namespace, customer, alert, name, threshold, past, times "
                "FROM alert_marks WHERE namespace = coalesce(?, namespace) "
                "ORDER BY namespace, alert, customer, name, threshold",
                (namespace,),
            )
            return [
                StoredMark(ns, customer, Place(alert, name, threshold), Mark(bool(past), times))
                for ns, customer, alert, name, threshold, past, times in found
            ]

    def put_webhook(self, namespace: str, webhook: Webhook, audit: AuditEntry) -> None:
        with self._connection.write() as sqlite:
            sqlite.execute(
                "INSERT INTO webhooks (namespace, id, document, failing_since) "
                "VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE "
                "SET document = excluded.document, failing_since = excluded.failing_since",
                (namespace, webhook.id, rows.to_json(webhook), webhook.failing_since),
            )
            if not webhook.is_enabled:
                _give_up(sqlite, namespace, webhook)
            rows.add_audit(sqlite, audit)

    def delete_webhook(self, namespace: str, webhook_id: str, audit: AuditEntry) -> bool:
        with self._connection.write() as sqlite:
            place = (namespace, webhook_id)
            found = sqlite.execute("DELETE FROM webhooks WHERE namespace = ? AND id = ?", place)
            if not found.rowcount:
                return False
            sqlite.execute(
                "DELETE FROM deliveries WHERE namespace = ? AND channel = ? AND target = ?",
                (namespace, Channel.WEBHOOK, webhook_id),
            )
            rows.add_audit(sqlite, audit)
            return True

    def webhooks(self) -> list[tuple[str, Webhook]]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                "SELECT namespace, document, failing_since FROM webhooks ORDER BY namespace, id"
            )
            return [
                (ns, msgspec.structs.replace(_webhooks.decode(document), failing_since=since))
                for ns, document, since in found
            ]

    # --- notices ----------------------------------------------------------------------------

    def add_notices(
        self,
        notices: Sequence[tuple[Notice, Sequence[Delivery]]],
        marks: Sequence[StoredMark] = (),
    ) -> set[str]:
        fresh = set()
        with self._connection.write() as sqlite:
            for notice, deliveries in notices:
                if _add_notice(sqlite, notice, deliveries):
                    fresh.add(notice.id)
            for one in marks:
                sqlite.execute(
                    "INSERT INTO alert_marks "
                    "(namespace, alert, customer, name, threshold, times, past) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE "
                    "SET times = excluded.times, past = excluded.past",
                    (
                        one.namespace,
                        one.place.alert,
                        one.customer,
                        one.place.name,
                        one.place.threshold,
                        one.mark.times,
                        int(one.mark.past),
                    ),
                )
        return fresh

    def notices(
        self,
        namespace: str,
        *,
        customer: str | None = None,
        type: str | None = None,
        before: str | None = None,
        limit: int,
    ) -> list[Notice]:
        clauses, values = ["namespace = ?"], [namespace]
        for column, value in (("customer", customer), ("type", type)):
            if value is not None:
                clauses.append(f"{column} = ?")
                values.append(value)
        if before is not None:
            clauses.append("rank < (SELECT rank FROM notices WHERE namespace = ? AND id = ?)")
            values += [namespace, before]
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                f"SELECT {NOTICE_COLUMNS} FROM notices WHERE {' AND '.join(clauses)} "
                "ORDER BY rank DESC LIMIT ?",
                (*values, limit),
            )
            return [Notice(*row) for row in found]

    def notices_after(self, namespace: str, notice_id: str, limit: int) -> list[Notice]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                f"SELECT {NOTICE_COLUMNS} FROM notices WHERE namespace = ? "
                "AND rank > (SELECT rank FROM notices WHERE namespace = ? AND id = ?) "
                "ORDER BY rank LIMIT ?",
                (namespace, namespace, notice_id, limit),
            )
            return [Notice(*row) for row in found]

    def notice(self, namespace: str, notice_id: str) -> Notice | None:
        with self._connection.read() as sqlite:
            row = sqlite.execute(
                f"SELECT {NOTICE_COLUMNS} FROM notices WHERE namespace = ? AND id = ?",
                (namespace, notice_id),
            ).fetchone()
            return None if row is None else Notice(*row)

    # --- deliveries -------------------------------------------------------------------------

    def pending_receivers(self) -> list[Receiver]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                "SELECT DISTINCT namespace, channel, target FROM deliveries "
                "WHERE status = 'pending'"
            )
            return [Receiver(ns, Channel(channel), target) for ns, channel, target in found]

    def pending_deliveries(
        self, receiver: Receiver, *, limit: int, due: int | None = None
    ) -> list[Delivery]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                f"{_DELIVERIES} WHERE {_OF_RECEIVER} AND d.status = 'pending' "
                "AND d.next_at <= coalesce(?, d.next_at) ORDER BY d.next_at, d.rank LIMIT ?",
                (receiver.namespace, receiver.channel, receiver.target, due, limit),
            )
            return [_delivery(row) for row in found]

    def delivery(self, namespace: str, delivery_id: str) -> Delivery | None:
        with self._connection.read() as sqlite:
            row = sqlite.execute(
                f"{_DELIVERIES} WHERE d.namespace = ? AND d.id = ?", (namespace, delivery_id)
            ).fetchone()
            return None if row is None else _delivery(row)

    def deliveries(
        self,
        receiver: Receiver,
        *,
        status: DeliveryStatus | None = None,
        before: str | None = None,
        limit: int,
    ) -> list[Delivery]:
        values: list[Any] = [receiver.namespace, receiver.channel, receiver.target]
        more = ""
        if status is not None:
            more += " AND d.status = ?"
            values.append(status)
        if before is not None:
            more += " AND d.rank < (SELECT rank FROM deliveries WHERE namespace = ? AND id = ?)"
            values += [receiver.namespace, before]
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                f"{_DELIVERIES} WHERE {_OF_RECEIVER}{more} ORDER BY d.rank DESC LIMIT ?",
                (*values, limit),
            )
            return [_delivery(row) for row in found]

    def deliveries_of(self, namespace: str, notice_id: str) -> list[Delivery]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                f"{_DELIVERIES} WHERE d.namespace = ? AND d.notice = ? ORDER BY d.rank",
                (namespace, notice_id),
            )
            return [_delivery(row) for row in found]

    def attempts(self, delivery_ids: Sequence[str]) -> dict[str, list[Attempt]]:
        found: dict[str, list[Attempt]] = {delivery: [] for delivery in delivery_ids}
        with self._connection.read() as sqlite:
            for delivery, attempts in found.items():
                rows_of = sqlite.execute(
                    "SELECT at, duration_ms, status, error, response FROM attempts "
                    "WHERE delivery = ? ORDER BY rank",
                    (delivery,),
                )
                attempts.extend(Attempt(*row) for row in rows_of)
        return found

    def record(self, outcomes: Sequence[Outcome], disablings: Sequence[Disabling] = ()) -> None:
        with self._connection.write() as sqlite:
            for outcome in outcomes:
                _record(sqlite, outcome)
            for disabling in disablings:
                _disable(sqlite, disabling)

    def reopen_delivery(
        self, namespace: str, delivery_id: str, at: int, audit: AuditEntry
    ) -> Delivery | None:
        with self._connection.write() as sqlite:
            reopened = sqlite.execute(
                "UPDATE deliveries SET status = 'pending', failures = 0, next_at = ?, "
                "resolved_at = NULL WHERE namespace = ? AND id = ?",
                (at, namespace, delivery_id),
            )
            if not reopened.rowcount:
                return None
            rows.add_audit(sqlite, audit)
            row = sqlite.execute(f"{_DELIVERIES} WHERE d.id = ?", (delivery_id,)).fetchone()
            return _delivery(row)

    def reopen_failed(self, receiver: Receiver, since: int, at: int, audit: AuditEntry) -> int:
        with self._connection.write() as sqlite:
            reopened = sqlite.execute(
                "UPDATE deliveries SET status = 'pending', failures = 0, next_at = ?, "
                "resolved_at = NULL WHERE namespace = ? AND channel = ? AND target = ? "
                "AND status = 'failed' AND created_at >= ?",
                (at, receiver.namespace, receiver.channel, receiver.target, since),
            ).rowcount
            if reopened:
                rows.add_audit(sqlite, audit)
            return reopened

    def forget_deliveries(self, before: int) -> int:
        with self._connection.write() as sqlite:
            return sqlite.execute(
                "DELETE FROM deliveries WHERE resolved_at < ?", (before,)
            ).rowcount


def _add_notice(sqlite: sqlite3.Connection, notice: Notice, deliveries: Sequence[Delivery]) -> bool:
    """False if there is one with its key."""
    stored = sqlite.execute(
        f"INSERT INTO notices ({NOTICE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT DO NOTHING",
        msgspec.structs.astuple(notice),
    )
    if not stored.rowcount:
        return False
    _add_deliveries(sqlite, deliveries)
    return True


def _disable(sqlite: sqlite3.Connection, disabling: Disabling) -> None:
    webhook = disabling.webhook
    moved = sqlite.execute(
        "UPDATE webhooks SET document = ? WHERE namespace = ? AND id = ?",
        (rows.to_json(webhook), disabling.namespace, webhook.id),
    )
    if moved.rowcount:
        _give_up(sqlite, disabling.namespace, webhook)
        _add_notice(sqlite, disabling.notice, disabling.deliveries)
        rows.add_audit(sqlite, disabling.audit)


def _add_deliveries(sqlite: sqlite3.Connection, deliveries: Sequence[Delivery]) -> None:
    for one in deliveries:
        rows.insert(
            sqlite,
            "deliveries",
            id=one.id,
            namespace=one.receiver.namespace,
            channel=one.receiver.channel.value,
            target=one.receiver.target,
            notice=one.notice.id,
            status=one.status.value,
            created_at=one.created_at,
            failures=one.failures,
            next_at=one.next_at,
            resolved_at=one.resolved_at,
        )


def _record(sqlite: sqlite3.Connection, outcome: Outcome) -> None:
    """A delivery that was deleted meanwhile, with its webhook, has nothing to be recorded at."""
    delivery, attempt = outcome.delivery, outcome.attempt
    receiver = delivery.receiver
    moved = sqlite.execute(
        "UPDATE deliveries SET status = ?, failures = ?, next_at = ?, resolved_at = ? WHERE id = ?",
        (
            delivery.status.value,
            delivery.failures,
            delivery.next_at,
            delivery.resolved_at,
            delivery.id,
        ),
    )
    if not moved.rowcount:
        return
    rows.insert(sqlite, "attempts", delivery=delivery.id, **msgspec.structs.asdict(attempt))
    if receiver.channel is Channel.WEBHOOK:
        sqlite.execute(
            "UPDATE webhooks SET failing_since = ? WHERE namespace = ? AND id = ? "
            "AND failing_since IS NOT ?",
            (outcome.failing_since, receiver.namespace, receiver.target, outcome.failing_since),
        )


def _give_up(sqlite: sqlite3.Connection, namespace: str, webhook: Webhook) -> None:
    """Nothing more is sent to a disabled endpoint; what was waiting can be sent again by hand."""
    sqlite.execute(
        "UPDATE deliveries SET status = 'failed', next_at = NULL, resolved_at = ? "
        "WHERE namespace = ? AND channel = 'webhook' AND target = ? AND status = 'pending'",
        (webhook.disabled_at, namespace, webhook.id),
    )


def _delivery(row: tuple[Any, ...]) -> Delivery:
    id, channel, target, status, created_at, failures, next_at, resolved_at, *notice = row
    return Delivery(
        id,
        Receiver(notice[0], Channel(channel), target),
        Notice(*notice),
        DeliveryStatus(status),
        created_at,
        failures,
        next_at,
        resolved_at,
    )
