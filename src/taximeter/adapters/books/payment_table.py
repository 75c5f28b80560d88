"""
Payments, and who tells of them, in SQLite: the part of `ports.Books` about money that came in.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from taximeter.accounting.entries import entry_of_payment, entry_of_refund, reversal_of
from taximeter.accounting.journal import Account, EntryKind, JournalEntry
from taximeter.accounting.matching import Allocation, Named, match, match_named
from taximeter.accounting.payment import Payment, PaymentState
from taximeter.adapters.books import journal_table, receivable_table, rows
from taximeter.adapters.books.connection import Connection
from taximeter.errors import NotFound, Refused, Rejected
from taximeter.money import format_minor
from taximeter.notices.signature import Secret
from taximeter.ports import AuditEntry
from taximeter.ports.accounting import PaymentSource, Settlement

_COLUMNS: Final = (
    "id, customer, currency, amount_minor, at, reference, origin, recorded_at, reversed_at, reason"
)
_SOURCE_COLUMNS: Final = "namespace, id, token, secrets, created_at"
_secrets = msgspec.json.Decoder(tuple[Secret, ...])


class PaymentTable:
    """Each method is one transaction, as all of the books'."""

    _connection: Connection

    def record_payment(
        self,
        namespace: str,
        payment: Payment,
        named: Sequence[Named] | None,
        audit: AuditEntry,
        tolerance_minor: int = 0,
    ) -> Settlement:
        with self._connection.write() as sqlite:
            known = _find(sqlite, namespace, payment.id)
            if known is not None:
                _check_same(known, payment)
                return Settlement(_state(sqlite, namespace, known), is_new=False)
            rows.insert(sqlite, "payments", namespace=namespace, **msgspec.structs.asdict(payment))
            entry = entry_of_payment(payment)
            journal_table.post(sqlite, namespace, [entry], payment.recorded_at)
            paid = _allocate(
                sqlite,
                namespace,
                payment,
                named,
                payment.amount_minor,
                payment.recorded_at,
                tolerance_minor,
            )
            rows.add_audit(sqlite, audit)
            return Settlement(_state(sqlite, namespace, payment), paid)

    def allocate_payment(
        self,
        namespace: str,
        payment_id: str,
        named: Sequence[Named] | None,
        now: int,
        audit: AuditEntry,
        tolerance_minor: int = 0,
    ) -> Settlement:
        with self._connection.write() as sqlite:
            payment = _standing(sqlite, namespace, payment_id)
            left_minor = _left(sqlite, namespace, payment_id)
            paid = _allocate(sqlite, namespace, payment, named, left_minor, now, tolerance_minor)
            rows.add_audit(sqlite, audit)
            return Settlement(_state(sqlite, namespace, payment), paid)

    def refund_payment(
        self,
        namespace: str,
        payment_id: str,
        refund_id: str | None,
        amount_minor: int | None,
        now: int,
        audit: AuditEntry,
    ) -> Settlement:
        prefix = f"refund:{payment_id}"
        with self._connection.write() as sqlite:
            payment = _standing(sqlite, namespace, payment_id)
            if refund_id and journal_table.is_booked(sqlite, namespace, f"{prefix}/{refund_id}"):
                return Settlement(_state(sqlite, namespace, payment), is_new=False)
            left_minor = _left(sqlite, namespace, payment_id)
            wanted = left_minor if amount_minor is None else amount_minor
            if wanted > left_minor or not wanted:
                left = format_minor(left_minor, payment.currency)
                raise Rejected(
                    "exceeds_payment",
                    f"{left} {payment.currency} of payment {payment_id!r} pays no invoice; no more "
                    "than that can be paid back. Credit the invoice first, or reverse the payment.",
                    left=left,
                )
            entry_id = (
                f"{prefix}/{refund_id}"
                if refund_id
                else journal_table.next_id(sqlite, namespace, prefix)
            )
            refund = entry_of_refund(entry_id, payment, max(now, payment.at), wanted)
            journal_table.post(sqlite, namespace, [refund], now)
            rows.add_audit(sqlite, audit)
            return Settlement(_state(sqlite, namespace, payment))

    def reverse_payment(
        self, namespace: str, payment_id: str, reason: str, now: int, audit: AuditEntry
    ) -> Settlement:
        with self._connection.write() as sqlite:
            payment = _require(sqlite, namespace, payment_id)
            if payment.reversed_at is not None:
                return Settlement(_state(sqlite, namespace, payment), is_new=False)
            entries = journal_table.of_source(sqlite, namespace, payment_id)
            standing = _not_reversed(entries)
            if any(entry.kind is EntryKind.REFUND for entry in standing):
                raise Refused(
                    "payment_refunded",
                    f"Some of payment {payment_id!r} was paid back, so it stands as it is.",
                )
            undone = [reversal_of(entry, now, reason) for entry in reversed(standing)]
            journal_table.post(sqlite, namespace, undone, now)
            for invoice in {entry.invoice for entry in standing if entry.invoice is not None}:
                receivable_table.settle(sqlite, namespace, invoice)
            sqlite.execute(
                "UPDATE payments SET reversed_at = ?, reason = ? WHERE namespace = ? AND id = ?",
                (now, reason, namespace, payment_id),
            )
            rows.add_audit(sqlite, audit)
            return Settlement(_state(sqlite, namespace, _require(sqlite, namespace, payment_id)))

    def payment(self, namespace: str, payment_id: str) -> PaymentState | None:
        with self._connection.read() as sqlite:
            found = _find(sqlite, namespace, payment_id)
            return None if found is None else _state(sqlite, namespace, found)

    def payments(
        self, namespace: str, *, customer: str | None, before: int | None, limit: int
    ) -> list[tuple[int, PaymentState]]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                f"SELECT rank, {_COLUMNS} FROM payments WHERE namespace = ? "
                "AND (? IS NULL OR customer = ?) AND (? IS NULL OR rank < ?) "
                "ORDER BY rank DESC LIMIT ?",
                (namespace, customer, customer, before, before, limit),
            ).fetchall()
            return [
                (rank, _state(sqlite, namespace, _to_payment(tuple(row)))) for rank, *row in found
            ]

    # --- sources ------------------------------------------------------------------------------

    def put_payment_source(self, source: PaymentSource, audit: AuditEntry) -> None:
        with self._connection.write() as sqlite:
            sqlite.execute(
                f"INSERT INTO payment_sources ({_SOURCE_COLUMNS}) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT DO UPDATE SET secrets = excluded.secrets",
                (
                    source.namespace,
                    source.id,
                    source.token,
                    rows.to_json(source.secrets),
                    source.created_at,
                ),
            )
            rows.add_audit(sqlite, audit)

    def delete_payment_source(self, namespace: str, source_id: str, audit: AuditEntry) -> bool:
        with self._connection.write() as sqlite:
            done = sqlite.execute(
                "DELETE FROM payment_sources WHERE namespace = ? AND id = ?",
                (namespace, source_id),
            )
            if not done.rowcount:
                return False
            rows.add_audit(sqlite, audit)
            return True

    def payment_sources(self, namespace: str) -> list[PaymentSource]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                f"SELECT {_SOURCE_COLUMNS} FROM payment_sources WHERE namespace = ? ORDER BY id",
                (namespace,),
            )
            return [_to_source(row) for row in found]

    def payment_source_of(self, token: str) -> PaymentSource | None:
        with self._connection.read() as sqlite:
            row = sqlite.execute(
                f"SELECT {_SOURCE_COLUMNS} FROM payment_sources WHERE token = ?", (token,)
            ).fetchone()
            return None if row is None else _to_source(row)


def _allocate(
    sqlite: sqlite3.Connection,
    namespace: str,
    payment: Payment,
    named: Sequence[Named] | None,
    left_minor: int,
    now: int,
    tolerance_minor: int,
) -> tuple[str, ...]:
    """Pay the named invoices, or the oldest due; those that are paid by that."""
    if named is None:
        due = receivable_table.open_invoices(sqlite, namespace, payment.customer, payment.currency)
        wanted: Sequence[Allocation] = match(left_minor, due)
    else:
        found = receivable_table.named(sqlite, namespace, [one.invoice for one in named])
        wanted = match_named(named, found, payment.customer, payment.currency, left_minor)
    paid = receivable_table.allocate(
        sqlite, namespace, payment.id, wanted, payment.at, now, tolerance_minor
    )
    return tuple(paid)


def _find(sqlite: sqlite3.Connection, namespace: str, payment_id: str) -> Payment | None:
    row = sqlite.execute(
        f"SELECT {_COLUMNS} FROM payments WHERE namespace = ? AND id = ?", (namespace, payment_id)
    ).fetchone()
    return None if row is None else _to_payment(row)


def _require(sqlite: sqlite3.Connection, namespace: str, payment_id: str) -> Payment:
    found = _find(sqlite, namespace, payment_id)
    if found is None:
        raise NotFound("not_found", f"There is no payment {payment_id!r}.")
    return found


def _standing(sqlite: sqlite3.Connection, namespace: str, payment_id: str) -> Payment:
    """One that was not reversed."""
    found = _require(sqlite, namespace, payment_id)
    if found.reversed_at is not None:
        raise Refused("payment_reversed", f"Payment {payment_id!r} was reversed: {found.reason}")
    return found


def _check_same(known: Payment, told: Payment) -> None:
    if not known.same_as(told):
        raise Refused(
            "payment_conflict",
            f"Payment {known.id!r} is known as {format_minor(known.amount_minor, known.currency)} "
            f"{known.currency} of {known.customer!r}, reference {known.reference!r}.",
        )


def _left(sqlite: sqlite3.Connection, namespace: str, source: str) -> int:
    row = sqlite.execute(
        "SELECT left_minor FROM customer_balances WHERE namespace = ? AND source = ?",
        (namespace, source),
    ).fetchone()
    return 0 if row is None else int(row[0])


def _not_reversed(entries: Sequence[JournalEntry]) -> list[JournalEntry]:
    reversed_ids = {entry.cause.get("reverses") for entry in entries}
    return [
        entry
        for entry in entries
        if entry.kind is not EntryKind.REVERSAL and entry.id not in reversed_ids
    ]


def _state(sqlite: sqlite3.Connection, namespace: str, payment: Payment) -> PaymentState:
    standing = _not_reversed(journal_table.of_source(sqlite, namespace, payment.id))
    allocated: dict[str, int] = {}
    numbers: dict[str, str] = {}
    refunded_minor = 0
    for entry in standing:
        if entry.kind is EntryKind.ALLOCATION and entry.invoice is not None:
            minor = entry.on(Account.BALANCE)
            allocated[entry.invoice] = allocated.get(entry.invoice, 0) + minor
            numbers[entry.invoice] = entry.cause["number"]
        elif entry.kind is EntryKind.REFUND:
            refunded_minor += entry.on(Account.BALANCE)
    left_minor = _left(sqlite, namespace, payment.id)
    return PaymentState(payment, allocated, numbers, refunded_minor, left_minor)


def _to_payment(row: tuple[Any, ...]) -> Payment:
    return Payment(**dict(zip(_COLUMNS.split(", "), row, strict=True)))


def _to_source(row: tuple[Any, ...]) -> PaymentSource:
    values = list(row)
    values[3] = _secrets.decode(values[3])
    return PaymentSource(*values)
