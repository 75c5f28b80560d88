"""The books: everything that is configured or billed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from taximeter.customers import Customer, Subscription
from taximeter.ports.accounting import AccountingBooks
from taximeter.ports.audit import AuditEntry
from taximeter.ports.billing import BillingBooks
from taximeter.ports.corrections import CorrectionBooks
from taximeter.ports.credit_notes import CreditNoteBooks
from taximeter.ports.invoices import InvoiceBooks
from taximeter.ports.late import LateBooks
from taximeter.ports.notices import NoticeBooks
from taximeter.ports.reconciliation import ReconciliationBooks
from taximeter.ports.rollouts import RolloutBooks
from taximeter.ports.rules import RuleBooks


class ApiKey(msgspec.Struct, frozen=True):
    """A key as stored: never the secret, only its SHA-256."""

    id: str
    namespace: str
    name: str
    prefix: str
    digest: bytes
    scopes: tuple[str, ...]
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None


class CatalogVersion(msgspec.Struct, frozen=True):
    """
    One immutable version of the whole document, as canonical JSON text.

    Attributes:
        reason: Why it was published.
        staged: It holds only for those whom a rollout puts on it.
    """

    namespace: str
    version: int
    document: bytes
    created_at: int
    author: str
    reason: str = ""
    staged: bool = False


class DeadLetter(msgspec.Struct, frozen=True):
    """A rejected item, kept as received so that it can be replayed after a fix."""

    id: int
    namespace: str
    received_at: int
    code: str
    detail: str
    body: bytes
    event_id: str | None = None
    replayed_at: int | None = None


class SubscriptionRevision(msgspec.Struct, frozen=True):
    """A subscription as someone made it at an instant, and what they asked for."""

    at: int
    actor: str
    detail: dict[str, Any]
    subscription: Subscription


class StoredReply(msgspec.Struct, frozen=True):
    """The first answer to an Idempotency-Key, given again for the same request."""

    request_digest: bytes
    status: int
    content_type: str
    body: bytes
    created_at: int


class Books(
    BillingBooks,
    CorrectionBooks,
    CreditNoteBooks,
    InvoiceBooks,
    LateBooks,
    NoticeBooks,
    RuleBooks,
    RolloutBooks,
    AccountingBooks,
    ReconciliationBooks,
    Protocol,
):
    """
    Everything that is configured or billed. Each call is one transaction, durable on return, with
    its audit entry inside. Called by one thread at a time. A write may raise `Unavailable`
    (`storage_full`, `storage_failed`, `log_locked`); what names something missing, `NotFound`.
    """

    def namespaces(self) -> list[str]:
        """Those that have a key, a catalogue or a customer; by name."""
        ...

    def add_key(self, key: ApiKey, audit: AuditEntry | None = None) -> None: ...
    def keys(self) -> list[ApiKey]:
        """All keys of all namespaces, revoked ones too, oldest first."""
        ...

    def revoke_key(self, key_id: str, at: int, audit: AuditEntry | None = None) -> None:
        """A key already revoked stays revoked since the first time."""
        ...

    def add_catalog_version(self, version: CatalogVersion, audit: AuditEntry | None = None) -> None:
        """Refused (`catalog_changed`) unless `version.version` is the latest plus one."""
        ...

    def catalog_versions(self, namespace: str) -> list[CatalogVersion]: ...

    def put_customer(self, namespace: str, customer: Customer, audit: AuditEntry) -> None:
        """Refused (`subject_taken`) if another customer claims one of its subjects."""
        ...

    def customers(self, namespace: str) -> list[Customer]: ...

    def put_subscription(
        self, namespace: str, subscription: Subscription, audit: AuditEntry
    ) -> None:
        """Add it, or its next revision; what it was before is kept. Its customer and the catalogue
        versions it names must be in the books."""
        ...

    def subscriptions(self, namespace: str) -> list[Subscription]: ...
    def subscription_revisions(
        self, namespace: str, subscription_id: str
    ) -> list[SubscriptionRevision]:
        """All it has been and is, oldest first."""
        ...

    def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None: ...
    def dead_letters(
        self, namespace: str, *, after: int, limit: int, pending: bool
    ) -> list[DeadLetter]:
        """With id > after, ascending; `pending`: only those not replayed."""
        ...

    def pending_dead_letters(self, namespace: str) -> int:
        """How many were not replayed yet."""
        ...

    def mark_replayed(self, ids: Sequence[int], at: int) -> None: ...

    def add_audit(self, entry: AuditEntry) -> None: ...
    def audit(self, namespace: str, *, after: int, limit: int) -> list[AuditEntry]:
        """With id > after, ascending."""
        ...

    def audit_before(self, namespace: str, *, before: int | None, limit: int) -> list[AuditEntry]:
        """The newest ones, or those with id < before; descending."""
        ...

    def reply(self, namespace: str, key: str) -> StoredReply | None: ...
    def add_reply(self, namespace: str, key: str, reply: StoredReply) -> None:
        """The first reply of a key stays."""
        ...

    def expire_replies(self, before: int) -> int:
        """Forget replies created before; returns how many."""
        ...

    def setting(self, namespace: str, name: str) -> str | None: ...
    def put_setting(self, namespace: str, name: str, value: str) -> None: ...
