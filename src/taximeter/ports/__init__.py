"""
What the core needs from outside, as narrow protocols with plain values.

Each port has one contract suite in `tests/contract/` that runs against every adapter of it.
"""

from taximeter.ports.accounting import (
    AccountingBooks,
    AccountTotal,
    ClosedMonth,
    PaymentBooks,
    PaymentSource,
    Settlement,
)
from taximeter.ports.audit import AuditEntry
from taximeter.ports.billing import BillingBooks, SettingsVersion
from taximeter.ports.books import (
    ApiKey,
    Books,
    CatalogVersion,
    DeadLetter,
    StoredReply,
    SubscriptionRevision,
)
from taximeter.ports.clock import Clock
from taximeter.ports.corrections import (
    BackfillPart,
    CorrectionBooks,
    StoredBackfill,
    StoredCorrection,
)
from taximeter.ports.credit_notes import CreditNoteBooks, Dispute, StoredCreditNote
from taximeter.ports.invoices import BilledPeriod, InvoiceBooks, StoredInvoice
from taximeter.ports.late import LateBooks, LateUsage
from taximeter.ports.ledger import AccountSum, LedgerBook, LedgerRow, WalletRows
from taximeter.ports.log import EventLog, LoggedEntry
from taximeter.ports.notices import Disabling, NoticeBooks, Outcome, StoredAlert, StoredMark
from taximeter.ports.reconciliation import ReconciliationBooks, SentCount
from taximeter.ports.rollouts import RolloutBooks
from taximeter.ports.rules import RuleBooks, RuleFire
from taximeter.ports.sender import Sender, Sent
from taximeter.ports.store import (
    EventsQuery,
    EventStore,
    LateQuery,
    LateRow,
    LineScope,
    Recount,
    Selection,
    StoredEvent,
    UsageQuery,
    UsageRow,
)

__all__ = [
    "AccountSum",
    "AccountTotal",
    "AccountingBooks",
    "ApiKey",
    "AuditEntry",
    "BackfillPart",
    "BilledPeriod",
    "BillingBooks",
    "Books",
    "CatalogVersion",
    "Clock",
    "ClosedMonth",
    "CorrectionBooks",
    "CreditNoteBooks",
    "DeadLetter",
    "Disabling",
    "Dispute",
    "EventLog",
    "EventStore",
    "EventsQuery",
    "InvoiceBooks",
    "LateBooks",
    "LateQuery",
    "LateRow",
    "LateUsage",
    "LedgerBook",
    "LedgerRow",
    "LineScope",
    "LoggedEntry",
    "NoticeBooks",
    "Outcome",
    "PaymentBooks",
    "PaymentSource",
    "ReconciliationBooks",
    "Recount",
    "RolloutBooks",
    "RuleBooks",
    "RuleFire",
    "Selection",
    "Sender",
    "Sent",
    "SentCount",
    "SettingsVersion",
    "Settlement",
    "StoredAlert",
    "StoredBackfill",
    "StoredCorrection",
    "StoredCreditNote",
    "StoredEvent",
    "StoredInvoice",
    "StoredMark",
    "StoredReply",
    "SubscriptionRevision",
    "UsageQuery",
    "UsageRow",
    "WalletRows",
]
