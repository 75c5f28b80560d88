"""
Bodies of the gate's operations: reservations, credits, budgets, seats.
"""

from __future__ import annotations

from typing import Any

import msgspec

from taximeter.adapters.http.routes.shapes import Quantity, Strict


class ReservationBody(Strict):
    customer: str
    feature: str
    amount: Quantity
    id: str | None = None
    ttl_s: int = 120
    allow_partial: bool = False
    scope: dict[str, str] = msgspec.field(default_factory=dict)
    data: dict[str, Any] = msgspec.field(default_factory=dict)


class LeaseBody(ReservationBody):
    ttl_s: int = 60
    allow_partial: bool = True


class ReservationAnswer(msgspec.Struct):
    """Beside these: the decision's members."""

    id: str
    customer: str
    feature: str
    status: str
    granted: str
    scope: dict[str, str]
    credit: str | None
    cost: str | None
    created_at: str
    expires_at: str
    seq: int | None = None
    balance_after: str | None = None
    available_after: str | None = None
    open_leases: str | None = None
    fail: str | None = None


class ReservationList(msgspec.Struct):
    items: list[ReservationAnswer]
    next: str | None


class ReservationParameters(Strict):
    customer: str | None = None
    status: str = "open"
    cursor: str | None = None
    limit: int = 100


class SettleBody(Strict):
    amount: Quantity
    allow_overage: bool = False
    data: dict[str, Any] = msgspec.field(default_factory=dict)


class ExtendBody(Strict):
    ttl_s: int | None = None
    amount: Quantity = 0
    allow_partial: bool = False


class ResolvedAnswer(msgspec.Struct):
    id: str
    status: str
    seq: int
    position: str
    credit: str | None
    balance_after: str | None
    available_after: str | None
    settled: str | None = None
    cost: str | None = None


class GrantBody(Strict):
    credit: str
    amount: Quantity
    id: str | None = None
    priority: int | None = None
    effective_at: str | None = None
    expires_at: str | None = None
    features: list[str] | None = None
    recurrence: str | None = None
    rollover: dict[str, Any] | None = None
    timezone: str | None = None
    kind: str | None = None
    cost_basis: Quantity | None = None
    metadata: dict[str, Any] | None = None
    reason: str | None = None


class GrantAnswer(msgspec.Struct):
    id: str
    customer: str
    credit: str
    amount: str
    priority: int
    effective_at: str
    expires_at: str | None
    features: list[str]
    recurrence: str | None
    rollover: dict[str, Any] | None
    kind: str
    seq: int | None = None
    balance_after: str | None = None
    available_after: str | None = None


class ReasonBody(Strict):
    reason: str = ""


class RefundBody(Strict):
    amount: Quantity
    id: str | None = None
    reason: str = ""


class TransferBody(Strict):
    to: str
    credit: str
    amount: Quantity
    id: str | None = None


class TopUpBody(Strict):
    below: Quantity
    amount: Quantity
    cooldown_s: int = 0
    max_per_day: int = 1
    lifetime_s: int | None = None


class CreditAnswer(msgspec.Struct):
    credit: str
    seq: int
    position: str
    balance_after: str
    available_after: str


class BalanceParameters(Strict):
    credit: str | None = None
    at: str | None = None


class LedgerParameters(Strict):
    credit: str | None = None
    from_: str | None = msgspec.field(name="from", default=None)
    to: str | None = None
    cursor: str | None = None
    limit: int = 100


class AnyList(msgspec.Struct):
    items: list[dict[str, Any]]
    next: str | None


class BudgetBody(Strict):
    limit: Quantity
    scope: dict[str, str] = msgspec.field(default_factory=dict)
    feature: str | None = None
    credit: str | None = None
    reset: Any = "period"
    enforcement: str = "hard"
    grace: Quantity | None = None


class SeatBody(Strict):
    ttl_s: int | None = None


class EstimateAnswer(msgspec.Struct):
    allowed: bool
    reason: str
    cost: str | None
    credit: str | None = None
    available: str | None = None
