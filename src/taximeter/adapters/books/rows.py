"""
Rows and the values they hold.

Customers, subscriptions and audit details are JSON documents beside the few columns that the
database itself must see. Numbers in them are exact: a fraction is a `Decimal`, never a float.
"""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from typing import Any

import msgspec

from taximeter.customers import Customer, Subscription
from taximeter.ports import (
    ApiKey,
    AuditEntry,
    CatalogVersion,
    DeadLetter,
    StoredInvoice,
    StoredReply,
    SubscriptionRevision,
)

_encoder = msgspec.json.Encoder(decimal_format="number", order="deterministic")
_customers = msgspec.json.Decoder(Customer, float_hook=Decimal)
_subscriptions = msgspec.json.Decoder(Subscription, float_hook=Decimal)
_objects = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)
_scopes = msgspec.json.Decoder(tuple[str, ...])

KEY_COLUMNS = "id, namespace, name, prefix, digest, scopes, created_at, expires_at, revoked_at"
CATALOG_COLUMNS = "namespace, version, document, created_at, author, reason, staged"
DEAD_LETTER_COLUMNS = "id, namespace, received_at, code, detail, body, event_id, replayed_at"
INVOICE_COLUMNS = (
    "id, namespace, number, customer, subscription, status, period_start, period_end, "
    "created_at, document, review"
)
AUDIT_COLUMNS = "id, namespace, at, actor, action, target, detail"
REPLY_COLUMNS = "request_digest, status, content_type, body, created_at"


def to_json(value: Any) -> str:
    return _encoder.encode(value).decode()


def to_customer(document: str) -> Customer:
    return _customers.decode(document)


def to_subscription(document: str) -> Subscription:
    return _subscriptions.decode(document)


def to_revision(row: tuple[Any, ...]) -> SubscriptionRevision:
    at, actor, detail, document = row
    return SubscriptionRevision(at, actor, _objects.decode(detail), to_subscription(document))


def to_key(row: tuple[Any, ...]) -> ApiKey:
    values = list(row)
    values[5] = _scopes.decode(values[5])
    return ApiKey(*values)


def to_catalog_version(row: tuple[Any, ...]) -> CatalogVersion:
    namespace, version, document, created_at, author, reason, staged = row
    return CatalogVersion(namespace, version, document, created_at, author, reason, bool(staged))


def to_dead_letter(row: tuple[Any, ...]) -> DeadLetter:
    return DeadLetter(*row)


def to_invoice(row: tuple[Any, ...]) -> StoredInvoice:
    return StoredInvoice(*row)


def to_reply(row: tuple[Any, ...]) -> StoredReply:
    return StoredReply(*row)


def to_audit(row: tuple[Any, ...]) -> AuditEntry:
    values = list(row)
    values[6] = _objects.decode(values[6])
    return AuditEntry(*values)


def insert(sqlite: sqlite3.Connection, table: str, **values: Any) -> None:
    """Add one row. Table and column names are ours; only the values come from outside."""
    columns = ", ".join(values)
    places = ", ".join("?" * len(values))
    sqlite.execute(
        f"INSERT INTO {table} ({columns}) VALUES ({places})",
        tuple(values.values()),
    )


def add_namespace(sqlite: sqlite3.Connection, namespace: str) -> None:
    sqlite.execute("INSERT INTO namespaces (name) VALUES (?) ON CONFLICT DO NOTHING", (namespace,))


def add_audit(sqlite: sqlite3.Connection, entry: AuditEntry) -> None:
    insert(
        sqlite,
        "audit",
        namespace=entry.namespace,
        at=entry.at,
        actor=entry.actor,
        action=entry.action,
        target=entry.target,
        detail=to_json(entry.detail),
    )
