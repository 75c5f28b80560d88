"""
Billing settings, coupons and discounts in SQLite: `ports.BillingBooks`.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final

import msgspec

from taximeter.adapters.books import rows
from taximeter.adapters.books.connection import Connection
from taximeter.errors import NotFound, Refused
from taximeter.invoices.coupons import Coupon, CustomerDiscount
from taximeter.invoices.discount_documents import TermsDocument, dump_terms, read_terms
from taximeter.invoices.discounts import Discount
from taximeter.ports.audit import AuditEntry
from taximeter.ports.billing import SettingsVersion

_SETTINGS: Final = "namespace, version, document, at, actor, reason"
_COUPON: Final = "id, terms, max_redemptions, expires_at, once_per_customer, created_at"
_REDEEMED: Final = (
    "(SELECT count(*) FROM discounts AS d WHERE d.namespace = c.namespace AND d.coupon = c.id)"
)
_DISCOUNT: Final = "id, customer, terms, coupon, subscription, given_at, ended_at"
_terms = msgspec.json.Decoder(TermsDocument)


class BillingTable:
    """Each method is one transaction, as all of the books'."""

    _connection: Connection

    # --- settings -----------------------------------------------------------------------------

    def add_billing_settings(self, version: SettingsVersion, audit: AuditEntry) -> None:
        with self._connection.write() as sqlite:
            rows.add_namespace(sqlite, version.namespace)
            (latest,) = sqlite.execute(
                "SELECT coalesce(max(version), 0) FROM billing_settings WHERE namespace = ?",
                (version.namespace,),
            ).fetchone()
            if version.version != latest + 1:
                raise Refused(
                    "settings_changed",
                    f"The billing settings are at version {latest}; read them again.",
                    latest=latest,
                )
            rows.insert(sqlite, "billing_settings", **msgspec.structs.asdict(version))
            rows.add_audit(sqlite, audit)

    def latest_billing_settings(self, namespace: str) -> SettingsVersion | None:
        return next(iter(self.billing_settings(namespace, limit=1)), None)

    def billing_settings_version(self, namespace: str, version: int) -> SettingsVersion | None:
        found = self.billing_settings(namespace, before=version + 1, limit=1)
        return next((one for one in found if one.version == version), None)

    def billing_settings(
        self, namespace: str, *, before: int | None = None, limit: int
    ) -> list[SettingsVersion]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                f"SELECT {_SETTINGS} FROM billing_settings "
                "WHERE namespace = ? AND (? IS NULL OR version < ?) ORDER BY version DESC LIMIT ?",
                (namespace, before, before, limit),
            )
            return [SettingsVersion(*row) for row in found]

    # --- coupons ------------------------------------------------------------------------------

    def put_coupon(self, namespace: str, coupon: Coupon, audit: AuditEntry) -> None:
        with self._connection.write() as sqlite:
            rows.add_namespace(sqlite, namespace)
            sqlite.execute(
                f"INSERT OR REPLACE INTO coupons (namespace, {_COUPON}) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    namespace,
                    coupon.id,
                    _to_json(coupon.terms),
                    coupon.max_redemptions,
                    coupon.expires_at,
                    int(coupon.once_per_customer),
                    coupon.created_at,
                ),
            )
            rows.add_audit(sqlite, audit)

    def delete_coupon(self, namespace: str, coupon_id: str, audit: AuditEntry) -> bool:
        with self._connection.write() as sqlite:
            done = sqlite.execute(
                "DELETE FROM coupons WHERE namespace = ? AND id = ?", (namespace, coupon_id)
            )
            if done.rowcount:
                rows.add_audit(sqlite, audit)
            return bool(done.rowcount)

    def coupon(self, namespace: str, coupon_id: str) -> tuple[Coupon, int] | None:
        with self._connection.read() as sqlite:
            row = sqlite.execute(
                f"SELECT {_COUPON}, {_REDEEMED} FROM coupons AS c WHERE namespace = ? AND id = ?",
                (namespace, coupon_id),
            ).fetchone()
            return None if row is None else (_to_coupon(row[:-1]), row[-1])

    def coupons(
        self, namespace: str, *, after: str | None = None, limit: int
    ) -> list[tuple[Coupon, int]]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                f"SELECT {_COUPON}, {_REDEEMED} FROM coupons AS c "
                "WHERE namespace = ? AND id > ? ORDER BY id LIMIT ?",
                (namespace, after or "", limit),
            )
            return [(_to_coupon(row[:-1]), row[-1]) for row in found]

    # --- discounts ----------------------------------------------------------------------------

    def redeem(self, namespace: str, discount: CustomerDiscount, audit: AuditEntry) -> None:
        with self._connection.write() as sqlite:
            if discount.coupon is not None:
                _check_coupon(sqlite, namespace, discount.coupon, discount)
            rows.insert(
                sqlite,
                "discounts",
                namespace=namespace,
                id=discount.id,
                customer=discount.customer,
                terms=_to_json(discount.terms),
                coupon=discount.coupon,
                subscription=discount.subscription,
                given_at=discount.given_at,
                ended_at=discount.ended_at,
            )
            rows.add_audit(sqlite, audit)

    def end_discount(self, namespace: str, discount: CustomerDiscount, audit: AuditEntry) -> None:
        with self._connection.write() as sqlite:
            done = sqlite.execute(
                "UPDATE discounts SET ended_at = ? "
                "WHERE namespace = ? AND customer = ? AND id = ? AND ended_at IS NULL",
                (discount.ended_at, namespace, discount.customer, discount.id),
            )
            if done.rowcount:
                rows.add_audit(sqlite, audit)

    def discounts(self, namespace: str) -> list[CustomerDiscount]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                f"SELECT {_DISCOUNT} FROM discounts WHERE namespace = ? ORDER BY rank",
                (namespace,),
            )
            return [_to_discount(row) for row in found]


def _check_coupon(
    sqlite: sqlite3.Connection, namespace: str, coupon_id: str, discount: CustomerDiscount
) -> None:
    """In the transaction that stores the discount: as many are redeemed as are allowed."""
    row = sqlite.execute(
        f"SELECT {_COUPON} FROM coupons WHERE namespace = ? AND id = ?", (namespace, coupon_id)
    ).fetchone()
    if row is None:
        raise NotFound("not_found", f"There is no coupon {coupon_id!r}.")
    coupon = _to_coupon(row)
    redeemed, own = sqlite.execute(
        "SELECT count(*), coalesce(sum(customer = ?), 0) FROM discounts "
        "WHERE namespace = ? AND coupon = ?",
        (discount.customer, namespace, coupon_id),
    ).fetchone()
    if coupon.expires_at is not None and discount.given_at >= coupon.expires_at:
        raise _refused(coupon_id, "expired", "has expired")
    if coupon.once_per_customer and own:
        raise _refused(coupon_id, "redeemed", "was redeemed by this customer before")
    if coupon.max_redemptions is not None and redeemed >= coupon.max_redemptions:
        raise _refused(coupon_id, "used_up", f"was redeemed {redeemed} times, as often as allowed")


def _refused(coupon_id: str, reason: str, text: str) -> Refused:
    return Refused(
        "coupon_refused", f"Coupon {coupon_id!r} {text}.", coupon=coupon_id, reason=reason
    )


def _to_json(terms: Discount) -> str:
    return rows.to_json(dump_terms(terms))


def _to_terms(document: str, discount_id: str) -> Discount:
    return read_terms(_terms.decode(document), discount_id, periods=None)


def _to_coupon(row: tuple[Any, ...]) -> Coupon:
    coupon_id, terms, max_redemptions, expires_at, once, created_at = row
    return Coupon(
        id=coupon_id,
        terms=_to_terms(terms, coupon_id),
        max_redemptions=max_redemptions,
        expires_at=expires_at,
        once_per_customer=bool(once),
        created_at=created_at,
    )


def _to_discount(row: tuple[Any, ...]) -> CustomerDiscount:
    discount_id, customer, terms, coupon, subscription, given_at, ended_at = row
    return CustomerDiscount(
        id=discount_id,
        customer=customer,
        terms=_to_terms(terms, discount_id),
        coupon=coupon,
        subscription=subscription,
        given_at=given_at,
        ended_at=ended_at,
    )
