"""
What the core needs from outside, as narrow protocols with plain values.

Each port has one contract suite in `tests/contract/` that runs against every adapter of it.
"""

from taximeter.ports.audit import AuditEntry
from taximeter.ports.books import (
    ApiKey,
    Books,
    CatalogVersion,
    DeadLetter,
    StoredReply,
    SubscriptionRevision,
)
from taximeter.ports.clock import Clock
from taximeter.ports.invoices import BilledPeriod, InvoiceBooks, StoredInvoice
from taximeter.ports.ledger import AccountSum, LedgerBook, LedgerRow
from taximeter.ports.log import EventLog, LoggedEntry
from taximeter.ports.notices import Disabling, NoticeBooks, Outcome, StoredAlert, StoredMark
from taximeter.ports.rules import RuleBooks, RuleFire
from taximeter.ports.sender import Sender, Sent
from taximeter.ports.store import (
    EventsQuery,
    EventStore,
    LineScope,
    Recount,
    StoredEvent,
    UsageQuery,
    UsageRow,
)

__all__ = [
    "AccountSum",
    "ApiKey",
    "AuditEntry",
    "BilledPeriod",
    "Books",
    "CatalogVersion",
    "Clock",
    "DeadLetter",
    "Disabling",
    "EventLog",
    "EventStore",
    "EventsQuery",
    "InvoiceBooks",
    "LedgerBook",
    "LedgerRow",
    "LineScope",
    "LoggedEntry",
    "NoticeBooks",
    "Outcome",
    "Recount",
    "RuleBooks",
    "RuleFire",
    "Sender",
    "Sent",
    "StoredAlert",
    "StoredEvent",
    "StoredInvoice",
    "StoredMark",
    "StoredReply",
    "SubscriptionRevision",
    "UsageQuery",
    "UsageRow",
]
