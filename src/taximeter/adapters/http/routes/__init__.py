"""
All operations of the HTTP interface, one module a subject.
"""

from taximeter.adapters.http.routes.accounting import AccountingRoutes
from taximeter.adapters.http.routes.backfills import BackfillRoutes
from taximeter.adapters.http.routes.billing_settings import BillingSettingsRoutes
from taximeter.adapters.http.routes.budgets import BudgetRoutes
from taximeter.adapters.http.routes.canary import CanaryRoutes
from taximeter.adapters.http.routes.catalog import CatalogRoutes
from taximeter.adapters.http.routes.corrections import CorrectionRoutes
from taximeter.adapters.http.routes.coupons import CouponRoutes
from taximeter.adapters.http.routes.credit_notes import CreditNoteRoutes
from taximeter.adapters.http.routes.credits import CreditRoutes
from taximeter.adapters.http.routes.customers import CustomerRoutes
from taximeter.adapters.http.routes.documents import DocumentRoutes
from taximeter.adapters.http.routes.events import EventRoutes
from taximeter.adapters.http.routes.gate import GateRoutes
from taximeter.adapters.http.routes.invoices import InvoiceRoutes
from taximeter.adapters.http.routes.late import LateRoutes
from taximeter.adapters.http.routes.notices import NoticeRoutes
from taximeter.adapters.http.routes.operating import OperatingRoutes
from taximeter.adapters.http.routes.pages import PageRoutes
from taximeter.adapters.http.routes.payments import PaymentRoutes
from taximeter.adapters.http.routes.portal_pages import PortalRoutes
from taximeter.adapters.http.routes.pricing import PricingRoutes
from taximeter.adapters.http.routes.proof import ProofRoutes
from taximeter.adapters.http.routes.reconciliation import ReconciliationRoutes
from taximeter.adapters.http.routes.rerate import RerateRoutes
from taximeter.adapters.http.routes.reservations import ReservationRoutes
from taximeter.adapters.http.routes.rollouts import RolloutRoutes
from taximeter.adapters.http.routes.rules import RuleRoutes
from taximeter.adapters.http.routes.subscriptions import SubscriptionRoutes
from taximeter.adapters.http.routes.surroundings import Surroundings
from taximeter.adapters.http.routing import Route

__all__ = ["Surroundings", "all_routes"]


def all_routes(around: Surroundings) -> list[Route]:
    operating = OperatingRoutes(around)
    routes = [
        *EventRoutes(around).routes(),
        *CorrectionRoutes(around).routes(),
        *BackfillRoutes(around).routes(),
        *CatalogRoutes(around).routes(),
        *CustomerRoutes(around).routes(),
        *SubscriptionRoutes(around).routes(),
        *GateRoutes(around).routes(),
        *ReservationRoutes(around).routes(),
        *CreditRoutes(around).routes(),
        *BudgetRoutes(around).routes(),
        *NoticeRoutes(around).routes(),
        *BillingSettingsRoutes(around).routes(),
        *CouponRoutes(around).routes(),
        *RuleRoutes(around).routes(),
        *InvoiceRoutes(around).routes(),
        *CreditNoteRoutes(around).routes(),
        *RerateRoutes(around).routes(),
        *LateRoutes(around).routes(),
        *DocumentRoutes(around).routes(),
        *ProofRoutes(around).routes(),
        *ReconciliationRoutes(around).routes(),
        *CanaryRoutes(around).routes(),
        *PricingRoutes(around).routes(),
        *RolloutRoutes(around).routes(),
        *PaymentRoutes(around).routes(),
        *AccountingRoutes(around).routes(),
        *PortalRoutes(around).routes(),
        *operating.routes(),
    ]
    operating.documented = routes
    return [*routes, *PageRoutes(around, documented=routes).routes()]
