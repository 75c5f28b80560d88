"""Billing settings, coupons and discounts: a part of the books."""

from __future__ import annotations

from typing import Protocol

import msgspec

from taximeter.invoices.coupons import Coupon, CustomerDiscount
from taximeter.ports.audit import AuditEntry


class SettingsVersion(msgspec.Struct, frozen=True):
    """One immutable version of a namespace's billing settings, as canonical JSON."""

    namespace: str
    version: int
    document: bytes
    at: int
    actor: str
    reason: str = ""


class BillingBooks(Protocol):
    """How a namespace bills, and what it takes off. See `Books`."""

    def add_billing_settings(self, version: SettingsVersion, audit: AuditEntry) -> None:
        """Refused (`settings_changed`) unless `version.version` is the latest plus one."""
        ...

    def latest_billing_settings(self, namespace: str) -> SettingsVersion | None: ...
    def billing_settings_version(self, namespace: str, version: int) -> SettingsVersion | None: ...
    def billing_settings(
        self, namespace: str, *, before: int | None = None, limit: int
    ) -> list[SettingsVersion]:
        """Newest first; `before` is the version last seen."""
        ...

    def put_coupon(self, namespace: str, coupon: Coupon, audit: AuditEntry) -> None:
        """Add it or replace its terms for who redeems it from now on."""
        ...

    def delete_coupon(self, namespace: str, coupon_id: str, audit: AuditEntry) -> bool:
        """False if there is none. Discounts it gave stay, and count if it is put again."""
        ...

    def coupon(self, namespace: str, coupon_id: str) -> tuple[Coupon, int] | None:
        """With how often it was redeemed."""
        ...

    def coupons(
        self, namespace: str, *, after: str | None = None, limit: int
    ) -> list[tuple[Coupon, int]]:
        """By id, those behind `after`, each with how often it was redeemed."""
        ...

    def redeem(self, namespace: str, discount: CustomerDiscount, audit: AuditEntry) -> None:
        """Store a discount. One with a coupon is Refused (`coupon_refused`) once the coupon, as it
        is in the books in this very transaction, does not allow it; NotFound without coupon."""
        ...

    def end_discount(self, namespace: str, discount: CustomerDiscount, audit: AuditEntry) -> None:
        """Store when a discount ends."""
        ...

    def discounts(self, namespace: str) -> list[CustomerDiscount]:
        """Of all customers, in the order they were given."""
        ...
