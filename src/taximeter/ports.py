"""
What the core needs from outside, as narrow protocols with plain values.

Each port has one contract suite in `tests/contract/` that runs against every adapter of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import msgspec

from taximeter.customers import Customer, Subscription
from taximeter.events.entry import Entry
from taximeter.events.envelope import Event
from taximeter.ledger.transaction import Transaction
from taximeter.meters.definition import Meter
from taximeter.notices.crossings import Mark, Place
from taximeter.notices.delivery import Attempt, Delivery, DeliveryStatus, Receiver
from taximeter.notices.notice import Notice
from taximeter.notices.webhook import Webhook
from taximeter.periods import Period


class Clock(Protocol):
    """The only source of "now"; the core takes instants as arguments."""

    def now(self) -> int:
        """Microseconds since the epoch, UTC."""
        ...


# --- EventLog ---------------------------------------------------------------------------------


class LoggedEntry(msgspec.Struct, frozen=True, gc=False):
    """An entry and where it stands: its accepted events are first_seq, first_seq + 1, ..."""

    first_seq: int
    entry: Entry


class EventLog(Protocol):
    """Accepted events in order, durable when `append` returns."""

    @property
    def position(self) -> int:
        """Seq of the last durable accepted event; 0 for an empty log."""
        ...

    def append(self, entries: Sequence[Entry]) -> int:
        """
        Write entries as one frame and sync. Called by one thread at a time.

        Returns:
            The new position.

        Raises:
            Unavailable: `storage_full` (nothing was kept, may be tried again) or `storage_failed`
                (for good: every later append fails too).
        """
        ...

    def read(self, after: int, upto: int | None = None) -> Iterator[LoggedEntry]:
        """Entries holding any seq in (after, upto], plus entries without accepted events
        between them, in order. Only durable entries are seen."""
        ...


# --- EventStore -------------------------------------------------------------------------------


class StoredEvent(msgspec.Struct, frozen=True, gc=False):
    """One accepted event with its place in the log and its resolved instants (microseconds)."""

    seq: int
    time: int
    received_at: int
    event: Event


class UsageQuery(msgspec.Struct, frozen=True):
    """
    Usage of one meter over given windows.

    Attributes:
        subjects: Only these; None for all.
        windows: Half-open, ascending by start and by end. They may overlap: an event is in each
            that holds its time.
        group_by: Names of the meter's dimensions, in the order of the answer's group values.
        filter: A further filter expression, or None.
        upto: Log position; later events are not seen.
    """

    namespace: str
    meter: Meter
    windows: tuple[Period, ...]
    upto: int
    subjects: tuple[str, ...] | None = None
    group_by: tuple[str, ...] = ()
    filter: str | None = None


class UsageRow(msgspec.Struct, frozen=True):
    """
    Usage in one window and group; those without usage and events are absent.

    `events` is how many counted with a time in the window. What weighs time can have usage without.
    """

    window: int
    group: tuple[str | None, ...]
    value_pico: int
    events: int


class LineScope(msgspec.Struct, frozen=True):
    """The exact events behind one invoice line. `group` fixes a value for each of `group_by`."""

    namespace: str
    meter: Meter
    subjects: tuple[str, ...]
    period: Period
    upto: int
    filter: str | None = None
    group_by: tuple[str, ...] = ()


class Recount(msgspec.Struct, frozen=True):
    """One group of a recounted scope. `digest` is "sha256:" + hex of the Merkle root (RFC 6962)
    over the canonical bytes of its events in seq order: those of the period, also where the
    quantity depends on what was before."""

    group: tuple[str | None, ...]
    value_pico: int
    events: int
    digest: str


class EventsQuery(msgspec.Struct, frozen=True):
    """Stored events, newest seq first. `before` is exclusive and serves as the cursor."""

    namespace: str
    upto: int
    subjects: tuple[str, ...] | None = None
    type: str | None = None
    start: int | None = None
    end: int | None = None
    before: int | None = None
    limit: int = 100


class EventStore(Protocol):
    """Every accepted event, columnar. Sees the log up to any durable position asked for."""

    def usage(self, query: UsageQuery) -> list[UsageRow]: ...

    def recount(self, scopes: Sequence[LineScope]) -> list[list[Recount]]:
        """One list per scope, ordered by group. Without `group_by` always exactly one element."""
        ...

    def events(self, query: EventsQuery) -> list[StoredEvent]: ...

    def line_events(
        self, scope: LineScope, group: tuple[str | None, ...], after: int, limit: int
    ) -> list[StoredEvent]:
        """Events of one line with seq > after, ascending."""
        ...

    def find(self, namespace: str, seq: int) -> StoredEvent | None: ...

    def count_by_subject(
        self, namespace: str, upto: int, subjects: Sequence[str]
    ) -> dict[str, int]:
        """How many events each of these subjects has, of any type; those without are absent."""
        ...

    def scan(
        self,
        namespace: str,
        upto: int,
        types: Iterable[str],
        subjects: Iterable[str] | None = None,
    ) -> Iterator[StoredEvent]:
        """All events of these types (and subjects), in any order, for a fold."""
        ...


# --- Sender -----------------------------------------------------------------------------------


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


# --- Books ------------------------------------------------------------------------------------


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
    """One immutable version of the whole document, as canonical JSON text."""

    namespace: str
    version: int
    document: bytes
    created_at: int
    author: str


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


class StoredInvoice(msgspec.Struct, frozen=True):
    """An invoice as its canonical JSON and the columns it is found by."""

    id: str
    namespace: str
    number: str | None
    customer: str
    subscription: str
    status: str
    period_start: int
    period_end: int
    created_at: int
    document: bytes


class AuditEntry(msgspec.Struct, frozen=True):
    """Who did what, when; `id` is 0 until stored."""

    id: int
    namespace: str
    at: int
    actor: str
    action: str
    target: str
    detail: dict[str, Any]


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


# --- Notices, a part of the books -------------------------------------------------------------


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


# --- Rules, a part of the books ---------------------------------------------------------------


class RuleFire(msgspec.Struct, frozen=True):
    """
    A rule that fired on an event.

    Attributes:
        rank: Grows with each; 0 until stored.
        id: "{rule}@{version}:{seq}".
        value: Of the level the rule looks at; "" for the customer.
        event: Its id; `event_at` is its time, `at` when it was received.
        mode: "on" or "dry_run".
        observed: What the rule's window held; None for a rule without one.
        outcomes: Action -> what came of it.
        pending: The change of plan is still to be made.
        review: "open", "approved" or "dismissed"; None if there is nothing to review.
    """

    rank: int
    namespace: str
    id: str
    rule: str
    version: int
    seq: int
    customer: str
    value: str
    event: str
    event_at: int
    at: int
    mode: str
    observed: str | None
    outcomes: dict[str, str]
    pending: bool = False
    review: str | None = None
    reviewed_at: int | None = None
    reviewed_by: str | None = None
    note: str | None = None


class RuleBooks(Protocol):
    """Rules that fired, and the queue of reviews. See `Books`."""

    def add_fires(self, fires: Sequence[tuple[RuleFire, Sequence[AuditEntry]]]) -> set[str]:
        """Store fires with their audit entries; of a rule and an event that are known, nothing.
        Returns the ids of the new ones."""
        ...

    def conclude_fire(self, fire: RuleFire, audit: AuditEntry) -> None:
        """Store the outcomes of one that is pending; any other is passed over."""
        ...

    def resolve_review(self, fire: RuleFire, audit: AuditEntry) -> bool:
        """Store what the review came to; False if it is not open."""
        ...

    def fires(
        self,
        namespace: str,
        *,
        rule: str | None = None,
        customer: str | None = None,
        mode: str | None = None,
        review: str | None = None,
        before: int | None = None,
        limit: int,
    ) -> list[RuleFire]:
        """Newest first; `before` is the rank of the last one seen."""
        ...

    def fire(self, namespace: str, fire_id: str) -> RuleFire | None: ...
    def pending_fires(self) -> list[RuleFire]:
        """Of all namespaces, oldest first."""
        ...

    def count_fires(self, namespace: str, since: int) -> dict[tuple[str, str], int]:
        """(rule, mode) -> how many since an instant."""
        ...

    def open_reviews(self) -> dict[str, int]:
        """Namespace -> how many; those without are absent."""
        ...

    def forget_dry_fires(self, before: int) -> int:
        """Delete what only would have been done, before an instant; returns how many."""
        ...


class Books(NoticeBooks, RuleBooks, Protocol):
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

    def add_invoice(self, invoice: StoredInvoice, audit: AuditEntry) -> bool:
        """False if that subscription and period already has a live (not void) invoice. A period
        is known by its start: an end that moved does not make it another one."""
        ...

    def issue_invoice(
        self,
        namespace: str,
        invoice_id: str,
        expected: str,
        build: Callable[[str], StoredInvoice],
        audit: AuditEntry,
    ) -> StoredInvoice:
        """Give a draft the next number ("INV-000001", ...) of its namespace's gapless series and
        store what `build(number)` returns, in one transaction: if `build` raises, nothing
        happened. `expected` is the status it must have, else Refused (`invoice_not_draft`)."""
        ...

    def replace_invoice(self, invoice: StoredInvoice, expected: str, audit: AuditEntry) -> bool:
        """Move an invoice to another status; False if its status is not `expected`. The document
        of an issued invoice never changes (Refused, `invoice_final`): the status beside it is
        the one that counts."""
        ...

    def billed_periods(self, namespace: str) -> set[tuple[str, int]]:
        """(subscription, start of period) of every invoice that is not void."""
        ...

    def invoice(self, namespace: str, invoice_id: str) -> StoredInvoice | None: ...
    def invoices(
        self,
        namespace: str,
        *,
        customer: str | None,
        status: str | None,
        after: str | None,
        limit: int,
    ) -> list[StoredInvoice]:
        """Newest first; `after` is the id of the last one seen."""
        ...

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


# --- Ledger -----------------------------------------------------------------------------------


class LedgerRow(msgspec.Struct, frozen=True):
    """A transaction of one wallet; `seq` is the log entry or event that caused it."""

    namespace: str
    customer: str
    credit: str
    seq: int
    transaction: Transaction


class AccountSum(msgspec.Struct, frozen=True):
    """All postings on one account: `wallet`, `overdraft`, `issued/paid`, `spent`, ..."""

    credit: str
    account: str
    amount_pico: int


class LedgerBook(Protocol):
    """
    Every transaction of every wallet, a projection of the log. Each call is one transaction,
    durable on return. Called by one thread at a time.
    """

    @property
    def position(self) -> int:
        """Everything the log did up to here is booked."""
        ...

    def append(self, rows: Sequence[LedgerRow], position: int) -> None:
        """Book in order; a row whose ordinal is booked already is passed over."""
        ...

    def transactions(
        self,
        namespace: str,
        customer: str,
        *,
        credit: str | None,
        start: int | None,
        end: int | None,
        after: int,
        limit: int,
    ) -> list[tuple[int, LedgerRow]]:
        """(rank, row) with rank > after and start <= at < end, in the order booked."""
        ...

    def balance_pico_at(self, namespace: str, customer: str, credit: str, at: int) -> int:
        """After everything booked at or before an instant; 0 before the first."""
        ...

    def sums(self, namespace: str) -> list[AccountSum]:
        """Over all customers, by credit and account; each credit sums to zero."""
        ...
