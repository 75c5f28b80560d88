"""
The books in one SQLite file: `ports.Books` for an embedded node.

Rules that must hold whatever the code above does are in the schema (`schema/*.sql`): one customer
a subject, one live invoice a period, gapless numbers, an append-only audit trail. Here is only
what turns a broken rule into an error a client understands.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from taximeter.adapters.books import invoice_table, rows
from taximeter.adapters.books.accounting_table import AccountingTable
from taximeter.adapters.books.billing_table import BillingTable
from taximeter.adapters.books.connection import Connection
from taximeter.adapters.books.correction_table import CorrectionTable
from taximeter.adapters.books.credit_note_table import CreditNoteTable
from taximeter.adapters.books.late_table import LateTable
from taximeter.adapters.books.notice_table import NoticeTable
from taximeter.adapters.books.payment_table import PaymentTable
from taximeter.adapters.books.reconciliation_table import ReconciliationTable
from taximeter.adapters.books.rollout_table import RolloutTable
from taximeter.adapters.books.rule_table import RuleTable
from taximeter.customers import Customer, Subscription
from taximeter.errors import NotFound, Refused, Rejected
from taximeter.ports import (
    ApiKey,
    AuditEntry,
    BilledPeriod,
    CatalogVersion,
    DeadLetter,
    StoredInvoice,
    StoredReply,
    SubscriptionRevision,
)


class SqliteBooks(
    BillingTable,
    CreditNoteTable,
    LateTable,
    NoticeTable,
    RuleTable,
    RolloutTable,
    AccountingTable,
    PaymentTable,
    ReconciliationTable,
    CorrectionTable,
):
    """
    Everything that is configured or billed, in `path`.

    Each method is one transaction, durable when it returns. One caller at a time: see
    `Connection`, whose errors any method may raise.
    """

    def __init__(self, path: Path, *, busy_timeout_ms: int = 5_000) -> None:
        self._connection = Connection(path, busy_timeout_ms=busy_timeout_ms)
        with self._connection.write() as sqlite:
            invoice_table.book_unbooked(sqlite)

    def close(self) -> None:
        self._connection.close()

    def integrity_findings(self) -> list[str]:
        """What is wrong with the file, one sentence each; reads all of it."""
        return self._connection.integrity_findings()

    def namespaces(self) -> list[str]:
        with self._connection.read() as sqlite:
            return [name for (name,) in sqlite.execute("SELECT name FROM namespaces ORDER BY name")]

    # --- keys ---------------------------------------------------------------------------------

    def add_key(self, key: ApiKey, audit: AuditEntry | None = None) -> None:
        with self._connection.write() as sqlite:
            rows.add_namespace(sqlite, key.namespace)
            rows.insert(
                sqlite,
                "keys",
                **{
                    **msgspec.structs.asdict(key),
                    "scopes": rows.to_json(key.scopes),
                },
            )
            _add_audit(sqlite, audit)

    def keys(self) -> list[ApiKey]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(f"SELECT {rows.KEY_COLUMNS} FROM keys ORDER BY created_at, id")
            return [rows.to_key(row) for row in found]

    def revoke_key(self, key_id: str, at: int, audit: AuditEntry | None = None) -> None:
        with self._connection.write() as sqlite:
            found = sqlite.execute("SELECT revoked_at FROM keys WHERE id = ?", (key_id,)).fetchone()
            if found is None:
                raise NotFound("not_found", "There is no such key.")
            if found[0] is not None:
                return  # it stays revoked since the first time
            sqlite.execute("UPDATE keys SET revoked_at = ? WHERE id = ?", (at, key_id))
            _add_audit(sqlite, audit)

    # --- catalogue ----------------------------------------------------------------------------

    def add_catalog_version(self, version: CatalogVersion, audit: AuditEntry | None = None) -> None:
        with self._connection.write() as sqlite:
            rows.add_namespace(sqlite, version.namespace)
            (latest,) = sqlite.execute(
                "SELECT coalesce(max(version), 0) FROM catalog_versions WHERE namespace = ?",
                (version.namespace,),
            ).fetchone()
            if version.version != latest + 1:
                raise Refused(
                    "catalog_changed",
                    f"The catalogue is at version {latest}; {version.version} cannot follow it.",
                    latest=latest,
                )
            rows.insert(sqlite, "catalog_versions", **msgspec.structs.asdict(version))
            _add_audit(sqlite, audit)

    def catalog_versions(self, namespace: str) -> list[CatalogVersion]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                f"SELECT {rows.CATALOG_COLUMNS} FROM catalog_versions "
                "WHERE namespace = ? ORDER BY version",
                (namespace,),
            )
            return [rows.to_catalog_version(row) for row in found]

    # --- customers and subscriptions ----------------------------------------------------------

    def put_customer(self, namespace: str, customer: Customer, audit: AuditEntry) -> None:
        with self._connection.write() as sqlite:
            rows.add_namespace(sqlite, namespace)
            if customer.parent not in (None, customer.key):
                _require(sqlite, "customers", "key", namespace, str(customer.parent))
            sqlite.execute(
                "INSERT INTO customers (namespace, key, parent, document) VALUES (?, ?, ?, ?) "
                "ON CONFLICT DO UPDATE SET parent = excluded.parent, document = excluded.document",
                (namespace, customer.key, customer.parent, rows.to_json(customer)),
            )
            _claim_subjects(sqlite, namespace, customer)
            rows.add_audit(sqlite, audit)

    def customers(self, namespace: str) -> list[Customer]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                "SELECT document FROM customers WHERE namespace = ? ORDER BY key", (namespace,)
            )
            return [rows.to_customer(document) for (document,) in found]

    def put_subscription(
        self, namespace: str, subscription: Subscription, audit: AuditEntry
    ) -> None:
        with self._connection.write() as sqlite:
            _require(sqlite, "customers", "key", namespace, subscription.customer)
            versions = sorted({segment.catalog_version for segment in subscription.segments})
            for version in versions:
                _require(sqlite, "catalog_versions", "version", namespace, version)
            document = rows.to_json(subscription)
            stored = sqlite.execute(
                "INSERT INTO subscriptions (namespace, id, customer, catalog_version, document) "
                "VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
                "catalog_version = excluded.catalog_version, document = excluded.document "
                "WHERE customer = excluded.customer",
                (
                    namespace,
                    subscription.id,
                    subscription.customer,
                    versions[-1],
                    document,
                ),
            )
            if stored.rowcount == 0:
                raise Rejected("invalid_request", "A subscription cannot change its customer.")
            rows.insert(
                sqlite,
                "subscription_revisions",
                namespace=namespace,
                subscription=subscription.id,
                revision=subscription.revision,
                at=audit.at,
                actor=audit.actor,
                detail=rows.to_json(audit.detail),
                document=document,
            )
            rows.add_audit(sqlite, audit)

    def subscriptions(self, namespace: str) -> list[Subscription]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                "SELECT document FROM subscriptions WHERE namespace = ? ORDER BY rowid",
                (namespace,),
            )
            return [rows.to_subscription(document) for (document,) in found]

    def subscription_revisions(
        self, namespace: str, subscription_id: str
    ) -> list[SubscriptionRevision]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                "SELECT at, actor, detail, document FROM subscription_revisions "
                "WHERE namespace = ? AND subscription = ? ORDER BY revision",
                (namespace, subscription_id),
            )
            return [rows.to_revision(row) for row in found]

    # --- dead letters -------------------------------------------------------------------------

    def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        with self._connection.write() as sqlite:
            for letter in letters:
                values = msgspec.structs.asdict(letter)
                del values["id"]
                rows.insert(sqlite, "dead_letters", **values)

    def dead_letters(
        self, namespace: str, *, after: int, limit: int, pending: bool
    ) -> list[DeadLetter]:
        only = "AND replayed_at IS NULL" if pending else ""
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                f"SELECT {rows.DEAD_LETTER_COLUMNS} FROM dead_letters "
                f"WHERE namespace = ? AND id > ? {only} ORDER BY id LIMIT ?",
                (namespace, after, limit),
            )
            return [rows.to_dead_letter(row) for row in found]

    def pending_dead_letters(self, namespace: str) -> int:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                "SELECT count(*) FROM dead_letters WHERE namespace = ? AND replayed_at IS NULL",
                (namespace,),
            )
            count: int = found.fetchone()[0]
            return count

    def mark_replayed(self, ids: Sequence[int], at: int) -> None:
        with self._connection.write() as sqlite:
            sqlite.executemany(
                "UPDATE dead_letters SET replayed_at = ? WHERE id = ? AND replayed_at IS NULL",
                [(at, letter) for letter in ids],
            )

    # --- invoices -----------------------------------------------------------------------------

    def add_invoice(
        self, invoice: StoredInvoice, periods: Sequence[BilledPeriod], audit: AuditEntry
    ) -> bool:
        with self._connection.write() as sqlite:
            _require(sqlite, "subscriptions", "id", invoice.namespace, invoice.subscription)
            added = invoice_table.add(sqlite, invoice, periods)
            if added:
                rows.add_audit(sqlite, audit)
            return added

    def issue_invoice(
        self,
        namespace: str,
        invoice_id: str,
        series: str,
        build: Callable[[str], StoredInvoice],
        audit: AuditEntry,
        *,
        funded: Mapping[str, int] | None = None,
    ) -> StoredInvoice:
        with self._connection.write() as sqlite:
            issued = invoice_table.issue(sqlite, namespace, invoice_id, series, build, funded)
            rows.add_audit(sqlite, audit)
            return issued

    def replace_invoice(
        self,
        invoice: StoredInvoice,
        expected: str,
        audit: AuditEntry,
        *,
        adjusts: Sequence[BilledPeriod] | None = None,
    ) -> bool:
        with self._connection.write() as sqlite:
            reason = str(audit.detail.get("reason", ""))
            replaced = invoice_table.replace(sqlite, invoice, expected, reason, audit.at, adjusts)
            if replaced:
                rows.add_audit(sqlite, audit)
            return replaced

    def drafts_made_by(self, namespace: str, at: int, limit: int) -> list[str]:
        with self._connection.read() as sqlite:
            return invoice_table.drafts_made_by(sqlite, namespace, at, limit)

    def billed_periods(self, namespace: str) -> dict[tuple[str, int, str], str]:
        with self._connection.read() as sqlite:
            return invoice_table.billed_periods(sqlite, namespace)

    def invoices_of_period(
        self, namespace: str, subscription: str, start: int
    ) -> list[StoredInvoice]:
        with self._connection.read() as sqlite:
            return invoice_table.of_period(sqlite, namespace, subscription, start)

    def invoice(self, namespace: str, invoice_id: str) -> StoredInvoice | None:
        with self._connection.read() as sqlite:
            return invoice_table.find(sqlite, namespace, invoice_id)

    def invoices(
        self,
        namespace: str,
        *,
        customer: str | None,
        status: str | None,
        after: str | None,
        limit: int,
    ) -> list[StoredInvoice]:
        with self._connection.read() as sqlite:
            return invoice_table.listed(sqlite, namespace, customer, status, after, limit)

    def invoices_since(
        self, namespace: str, customers: Sequence[str], at: int
    ) -> list[StoredInvoice]:
        with self._connection.read() as sqlite:
            return invoice_table.since(sqlite, namespace, customers, at)

    # --- audit, replies, settings -------------------------------------------------------------

    def add_audit(self, entry: AuditEntry) -> None:
        with self._connection.write() as sqlite:
            rows.add_audit(sqlite, entry)

    def audit(self, namespace: str, *, after: int, limit: int) -> list[AuditEntry]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                f"SELECT {rows.AUDIT_COLUMNS} FROM audit "
                "WHERE namespace = ? AND id > ? ORDER BY id LIMIT ?",
                (namespace, after, limit),
            )
            return [rows.to_audit(row) for row in found]

    def audit_before(self, namespace: str, *, before: int | None, limit: int) -> list[AuditEntry]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                f"SELECT {rows.AUDIT_COLUMNS} FROM audit "
                "WHERE namespace = ? AND (? IS NULL OR id < ?) ORDER BY id DESC LIMIT ?",
                (namespace, before, before, limit),
            )
            return [rows.to_audit(row) for row in found]

    def reply(self, namespace: str, key: str) -> StoredReply | None:
        with self._connection.read() as sqlite:
            row = sqlite.execute(
                f"SELECT {rows.REPLY_COLUMNS} FROM replies WHERE namespace = ? AND key = ?",
                (namespace, key),
            ).fetchone()
            return None if row is None else rows.to_reply(row)

    def add_reply(self, namespace: str, key: str, reply: StoredReply) -> None:
        with self._connection.write() as sqlite:
            # The first answer stays: that is what an idempotency key promises.
            sqlite.execute(
                f"INSERT INTO replies (namespace, key, {rows.REPLY_COLUMNS}) "
                "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (namespace, key, *msgspec.structs.astuple(reply)),
            )

    def expire_replies(self, before: int) -> int:
        with self._connection.write() as sqlite:
            return sqlite.execute("DELETE FROM replies WHERE created_at < ?", (before,)).rowcount

    def setting(self, namespace: str, name: str) -> str | None:
        with self._connection.read() as sqlite:
            row = sqlite.execute(
                "SELECT value FROM settings WHERE namespace = ? AND name = ?", (namespace, name)
            ).fetchone()
            return None if row is None else str(row[0])

    def put_setting(self, namespace: str, name: str, value: str) -> None:
        with self._connection.write() as sqlite:
            sqlite.execute(
                "INSERT INTO settings (namespace, name, value) VALUES (?, ?, ?) "
                "ON CONFLICT DO UPDATE SET value = excluded.value",
                (namespace, name, value),
            )


def _add_audit(sqlite: sqlite3.Connection, audit: AuditEntry | None) -> None:
    if audit is not None:
        rows.add_audit(sqlite, audit)


def _require(
    sqlite: sqlite3.Connection, table: str, column: str, namespace: str, name: str | int
) -> None:
    """The foreign keys would refuse too, but cannot say which name is wrong."""
    query = f"SELECT 1 FROM {table} WHERE namespace = ? AND {column} = ?"
    if sqlite.execute(query, (namespace, name)).fetchone() is None:
        what = table.replace("_", " ").removesuffix("s")
        raise NotFound("not_found", f"There is no {what} {name!r}.", name=name)


def _claim_subjects(sqlite: sqlite3.Connection, namespace: str, customer: Customer) -> None:
    """Make the subjects of a customer exactly those it now names."""
    sqlite.execute(
        "DELETE FROM subjects WHERE namespace = ? AND customer = ?", (namespace, customer.key)
    )
    for subject in dict.fromkeys(customer.all_subjects):
        owner = sqlite.execute(
            "INSERT INTO subjects (namespace, subject, customer) VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET customer = customer RETURNING customer",
            (namespace, subject, customer.key),
        ).fetchone()[0]
        if owner != customer.key:
            raise Refused(
                "subject_taken",
                f"Subject {subject!r} already belongs to customer {owner!r}.",
                subject=subject,
                customer=owner,
            )
