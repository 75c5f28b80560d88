"""
Request and answer bodies, as types: what is checked on the way in and documented in OpenAPI.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from taximeter.customers.billing import BillingDocument
from taximeter.events.envelope import Rejection
from taximeter.meters.kinds import Aggregation, Mode, Per, Precision
from taximeter.periods import Anchor, WindowSize

# A number or a string of one, read exactly; a typed union would send numbers through a float.
Quantity = Annotated[Any, msgspec.Meta(extra_json_schema={"type": ["number", "string"]})]


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    """A body whose unknown members are an error: a misspelled limit must not be ignored."""


class Event(msgspec.Struct):
    """A CloudEvents 1.0 event. Extension attributes are allowed."""

    id: str
    type: str
    subject: str
    specversion: str = "1.0"
    source: str = ""
    time: str | None = None
    data: dict[str, Any] | None = None


class Receipt(msgspec.Struct):
    index: int
    status: str
    position: str | None


class IngestAnswer(msgspec.Struct, omit_defaults=True):
    received: int
    accepted: int
    duplicates: int
    conflicts: int
    rejected: int
    position: str
    errors: list[Rejection]
    receipts: list[Receipt] | None = None
    backfill: str = ""


class AsOf(msgspec.Struct):
    position: str
    time: str


class CorrectedBy(msgspec.Struct, omit_defaults=True):
    """Where an event was taken back, and what stands in for it; a receipt says who and why."""

    position: str
    replaced_by: str = ""
    correction: str = ""
    by: str = ""
    reason: str = ""


class StoredEventAnswer(msgspec.Struct, omit_defaults=True):
    """`status` is "retracted" or "amended" for what counts no more, and absent otherwise."""

    position: str
    time: str
    received_at: str
    customer: str | None
    event: Event
    status: str = ""
    corrected: CorrectedBy | None = None


class EventList(msgspec.Struct):
    items: list[StoredEventAnswer]
    next: str | None


class EventReceipt(msgspec.Struct, omit_defaults=True):
    status: str
    position: str
    event: Event
    customer: str | None
    meters: list[str]
    lines: list[dict[str, str]]
    corrected: CorrectedBy | None = None


class DeadLetterAnswer(msgspec.Struct):
    id: int
    received_at: str
    code: str
    detail: str
    event_id: str | None
    body: str
    replayed_at: str | None


class DeadLetterList(msgspec.Struct):
    items: list[DeadLetterAnswer]
    next: str | None


class ReplayBody(Strict):
    code: str | None = None
    after: int = 0
    limit: int = 1000


class ReplayAnswer(msgspec.Struct):
    tried: int
    accepted: int
    duplicates: int
    failed: int
    next: int | None


class MeterBody(msgspec.Struct):
    event_type: str
    aggregation: Aggregation
    value: str | None = None
    dimensions: dict[str, str] = {}
    filter: str | None = None
    unit: str | None = None
    percentile: int | str | None = None
    precision: Precision = Precision.EXACT
    mode: Mode | None = None
    series: str | None = None
    timeout_s: int | None = None
    per: Per | None = None
    stop: str | None = None


class MeterAnswer(MeterBody, kw_only=True):
    key: str
    version: int
    rebuilding: bool = False


class MeterList(msgspec.Struct):
    items: list[MeterAnswer]
    next: str | None


class UsageItem(msgspec.Struct):
    start: str
    end: str
    group: dict[str, str | None]
    value: str


class UsageEstimate(msgspec.Struct):
    """Only for meters that estimate."""

    standard_error: str


class UsageAnswer(msgspec.Struct, kw_only=True):
    meter: str
    from_: str = msgspec.field(name="from")
    to: str
    window: WindowSize
    rolling: str | None = None
    estimate: UsageEstimate | None = None
    items: list[UsageItem]
    as_of: AsOf


class CustomerBody(Strict):
    name: str = ""
    subjects: list[str] = []
    currency: str | None = None
    timezone: str = "UTC"
    parent: str | None = None
    pool: bool = False
    paid_by_parent: bool = False
    billing: BillingDocument | None = None
    metadata: dict[str, Any] = {}


class CustomerAnswer(CustomerBody, kw_only=True, forbid_unknown_fields=False):
    key: str
    created_at: str


class CustomerList(msgspec.Struct):
    items: list[CustomerAnswer]
    next: str | None


class CatalogAnswer(msgspec.Struct):
    version: int
    changes: list[dict[str, Any]]
    rebuilding: bool


class PhaseBody(Strict, omit_defaults=True):
    plan: str | None = None
    version: int | None = None
    for_: str | None = msgspec.field(name="for", default=None)
    until: str | None = None
    addons: dict[str, int] = {}
    overrides: dict[str, Any] = {}


class TrialBody(Strict, omit_defaults=True):
    days: Annotated[int, msgspec.Meta(ge=0, le=3660)] | None = None
    hours: Annotated[int, msgspec.Meta(ge=0, le=87_840)] | None = None
    until: str | None = None


class SubscriptionBody(Strict):
    customer: str
    plan: str | None = None
    version: int | None = None
    start: str | None = None
    end: str | None = None
    anchor: Anchor = Anchor.CALENDAR
    trial: TrialBody | msgspec.UnsetType | None = msgspec.UNSET
    addons: dict[str, int] = {}
    overrides: dict[str, Any] = {}
    phases: list[PhaseBody] = []
    term: str | None = None
    auto_renew: bool = True
    additional: bool = False


class ChangeBody(Strict):
    plan: str | None = None
    version: int | None = None
    at: str = "now"
    addons: dict[str, int] = {}
    overrides: dict[str, Any] | None = None
    reason: str = ""


class AddonsBody(Strict):
    addons: dict[str, int]
    at: str = "now"
    reason: str = ""


class PauseBody(Strict):
    at: str = "now"
    until: str | None = None
    reason: str = ""


class MomentBody(Strict):
    at: str = "now"
    reason: str = ""


class RenewBody(Strict):
    term: str | None = None
    auto_renew: bool | None = None
    reason: str = ""


class ReasonBody(Strict):
    reason: str = ""


class ProposalBody(ChangeBody, kw_only=True):
    action: str = "change"
    until: str | None = None
    term: str | None = None
    auto_renew: bool | None = None


class SegmentAnswer(msgspec.Struct):
    at: str
    status: str
    plan: str
    version: int
    pinned: bool
    addons: dict[str, int]
    overrides: dict[str, Any]


class RevisionAnswer(msgspec.Struct):
    revision: int
    at: str
    actor: str
    detail: dict[str, Any]
    segments: list[SegmentAnswer]
    end: str | None


class RevisionList(msgspec.Struct):
    items: list[RevisionAnswer]
    next: str | None


class ChangePreview(msgspec.Struct):
    subscription: str
    action: str
    effective_at: str
    status: dict[str, str]
    entitlements: dict[str, dict[str, Any]]
    segments: list[SegmentAnswer]
    end: str | None
    invoices: list[dict[str, Any]]


class MigrateBody(Strict):
    version: int | None = None
    at: str = "now"
    customers: list[str] | None = None
    dry_run: bool = False
    reason: str = ""


class MigrateAnswer(msgspec.Struct):
    plan: str
    version: int
    dry_run: bool
    items: list[dict[str, Any]]


class PeriodAnswer(msgspec.Struct):
    start: str
    end: str


class SubscriptionAnswer(msgspec.Struct):
    id: str
    customer: str
    plan: str
    version: int
    pinned: bool
    status: str
    start: str
    end: str | None
    trial_end: str | None
    term: str | None
    term_end: str | None
    auto_renew: bool
    anchor: Anchor
    timezone: str
    addons: dict[str, int]
    overrides: dict[str, Any]
    period: PeriodAnswer | None
    scheduled: list[SegmentAnswer]
    revision: int
    created_at: str


class SubscriptionList(msgspec.Struct):
    items: list[SubscriptionAnswer]
    next: str | None


class CheckBody(Strict):
    customer: str
    feature: str
    amount: Quantity = 1
    scope: dict[str, str] = {}
    data: dict[str, Any] = {}


class DecisionAnswer(msgspec.Struct):
    allowed: bool
    reason: str
    limit: str | None
    used: str | None
    reserved: str | None
    remaining: str | None
    overage: str | None
    resets_at: str | None
    level: str
    as_of: AsOf
    value: Any = None
    scope: str | None = None
    detail: str | None = None
    help: str | None = None
    limits: list[dict[str, Any]] | None = None
    credit: str | None = None
    cost: str | None = None
    available: str | None = None


class ConsumeBody(Strict):
    customer: str
    feature: str
    id: str
    amount: Quantity = 1
    data: dict[str, Any] = {}
    scope: dict[str, str] = {}


class ConsumeAnswer(DecisionAnswer, kw_only=True):
    seq: int | None
    balance_after: str | None
    available_after: str | None = None


class EntitlementList(msgspec.Struct):
    customer: str
    items: list[dict[str, Any]]
    as_of: AsOf


class CloseBody(Strict):
    as_of: str | None = None


class HeldBack(msgspec.Struct):
    customer: str
    subscription: str
    period: dict[str, str]
    gap: str
    detail: str


class CloseAnswer(msgspec.Struct):
    as_of: str
    invoices: list[str]
    held: list[HeldBack]


class VoidBody(Strict):
    reason: str = ""


class HoldBody(Strict):
    reason: str


class ApproveBody(Strict):
    note: str | None = None


class InvoiceList(msgspec.Struct):
    items: list[dict[str, Any]]
    next: str | None


class VerifyAnswer(msgspec.Struct):
    invoice: str
    ok: bool
    document_ok: bool
    lines: list[dict[str, Any]]


class KeyBody(Strict):
    name: str
    scopes: list[str]
    namespace: str | None = None
    expires_at: str | None = None


class KeyAnswer(msgspec.Struct, omit_defaults=True):
    id: str
    namespace: str
    name: str
    prefix: str
    scopes: list[str]
    created_at: str
    expires_at: str | None = None
    revoked_at: str | None = None
    secret: str | None = None


class KeyList(msgspec.Struct):
    items: list[KeyAnswer]
    next: str | None


class AuditList(msgspec.Struct):
    items: list[dict[str, Any]]
    next: str | None


class ClockBody(Strict):
    now: str


class ClockAnswer(msgspec.Struct):
    now: str
    sandbox: bool


# --- query parameters ---


class EventsParameters(msgspec.Struct, forbid_unknown_fields=True):
    """`backfill` is the id of one, to stage the events there; or true, to count them at once
    however old they are."""

    receipts: bool = False
    backfill: str = "false"


class EventListParameters(msgspec.Struct, forbid_unknown_fields=True):
    customer: str | None = None
    type: str | None = None
    from_: str | None = msgspec.field(name="from", default=None)
    to: str | None = None
    limit: int = 100
    cursor: str | None = None
    position: str | None = None


class ReceiptParameters(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    source: str = ""


class DeadLetterParameters(msgspec.Struct, forbid_unknown_fields=True):
    limit: int = 100
    cursor: str | None = None
    pending: bool = False


class UsageParameters(msgspec.Struct, forbid_unknown_fields=True):
    from_: str | None = msgspec.field(name="from", default=None)
    to: str | None = None
    customer: str | None = None
    window: WindowSize = WindowSize.NONE
    tz: str | None = None
    group_by: str = ""
    filter: str | None = None
    rolling: str | None = None
    position: str | None = None


class CatalogParameters(msgspec.Struct, forbid_unknown_fields=True):
    dry_run: bool = False
    staged: bool = False
    reason: str = ""


class CatalogVersionItem(msgspec.Struct):
    version: int
    created_at: str
    author: str
    reason: str
    staged: bool


class CatalogVersionList(msgspec.Struct):
    items: list[CatalogVersionItem]
    next: str | None


class CatalogReadParameters(msgspec.Struct, forbid_unknown_fields=True):
    version: int | None = None
    format: str = "json"


class PageParameters(msgspec.Struct, forbid_unknown_fields=True):
    limit: int = 100
    cursor: str | None = None


class SubscriptionParameters(msgspec.Struct, forbid_unknown_fields=True):
    customer: str | None = None
    limit: int = 100
    cursor: str | None = None


class PreviewParameters(msgspec.Struct, forbid_unknown_fields=True):
    at: str | None = None
    subscription: str | None = None


class ProposalParameters(msgspec.Struct, forbid_unknown_fields=True):
    action: str = "change"
    at: str = "now"
    until: str | None = None
    plan: str | None = None
    version: int | None = None
    addons: str = ""
    term: str | None = None
    auto_renew: bool | None = None


class InvoiceParameters(msgspec.Struct, forbid_unknown_fields=True):
    customer: str | None = None
    status: str | None = None
    limit: int = 100
    cursor: str | None = None


class StreamParameters(msgspec.Struct, forbid_unknown_fields=True):
    customer: str | None = None
    type: str | None = None
