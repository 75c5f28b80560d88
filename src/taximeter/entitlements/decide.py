"""
May this customer use this now? The one place that says yes or no.

Pure: everything a decision depends on is an argument, so the gate, a preview and a test give the
same answer. A refusal is an answer, not an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from taximeter.catalog.features import (
    BooleanEntitlement,
    Enforcement,
    Entitlement,
    MeteredEntitlement,
    StaticEntitlement,
)
from taximeter.instants import format_instant
from taximeter.periods import Period
from taximeter.quantities import format_quantity


class Reason(StrEnum):
    """Why; stable codes. The first four come with `allowed`, the others with a refusal."""

    WITHIN_LIMIT = "within_limit"
    SOFT_LIMIT_EXCEEDED = "soft_limit_exceeded"
    UNLIMITED = "unlimited"
    ENABLED = "enabled"
    LIMIT_REACHED = "limit_reached"
    NOT_ENTITLED = "not_entitled"
    NO_SUBSCRIPTION = "no_subscription"
    PAUSED = "paused"
    UNKNOWN_CUSTOMER = "unknown_customer"
    UNKNOWN_FEATURE = "unknown_feature"


class Decision(msgspec.Struct, frozen=True, gc=False):
    """
    The answer of the gate. Quantities are pico and not negative; None where they make no sense.

    Attributes:
        limit_pico: None for unlimited and for what has no limit.
        used_pico: Usage of the period so far, without the amount asked for.
        reserved_pico: Held by open reservations.
        remaining_pico: limit - used - reserved, at least 0; without the amount asked for.
        overage_pico: used - limit, at least 0.
        resets_at: End of the period, microseconds; None for what does not reset.
        value: Of a static feature.
        detail: A refusal in a sentence: which limit, what is left, when it resets.
    """

    allowed: bool
    reason: Reason
    limit_pico: int | None = None
    used_pico: int | None = None
    reserved_pico: int | None = None
    remaining_pico: int | None = None
    overage_pico: int | None = None
    resets_at: int | None = None
    level: str = "customer"
    value: Any = None
    detail: str | None = None

    def to_json(self, as_of: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """
        The documented answer: quantities as text, null where senseless.

        `value` is there for a static feature, `detail` for a refusal, `as_of` if it is given.
        """
        answer: dict[str, Any] = {
            "allowed": self.allowed,
            "reason": self.reason.value,
            "limit": _text(self.limit_pico),
            "used": _text(self.used_pico),
            "reserved": _text(self.reserved_pico),
            "remaining": _text(self.remaining_pico),
            "overage": _text(self.overage_pico),
            "resets_at": None if self.resets_at is None else format_instant(self.resets_at),
            "level": self.level,
        }
        if self.value is not None:
            answer["value"] = self.value
        if self.detail is not None:
            answer["detail"] = self.detail
        if as_of is not None:
            answer["as_of"] = as_of
        return answer


def decide(
    entitlement: Entitlement,
    usage_pico: int,
    amount_pico: int,
    period: Period | None,
    reserved_pico: int = 0,
) -> Decision:
    """
    Decide on an amount of a feature the plan entitles to.

    Args:
        usage_pico: The meter's aggregate over the period; below zero it counts as zero (K12).
        amount_pico: What is asked for, not negative; ignored unless the feature is metered.
        period: The running billing period; its end is when usage starts at zero again.
        reserved_pico: Held by open reservations, not negative.

    Returns:
        A hard limit allows if used + reserved + amount <= limit; a soft one always.
    """
    match entitlement:
        case BooleanEntitlement(feature, enabled):
            return Decision(True, Reason.ENABLED) if enabled else not_entitled(feature)
        case StaticEntitlement(_, value):
            return Decision(True, Reason.ENABLED, value=value)
        case MeteredEntitlement():
            return _decide_metered(entitlement, usage_pico, amount_pico, period, reserved_pico)


def _decide_metered(
    entitlement: MeteredEntitlement,
    usage_pico: int,
    amount_pico: int,
    period: Period | None,
    reserved_pico: int,
) -> Decision:
    assert amount_pico >= 0, amount_pico
    assert reserved_pico >= 0, reserved_pico
    used_pico = max(0, usage_pico)
    resets_at = None if period is None else period.end
    limit = entitlement.main
    if limit is None:
        return Decision(
            True,
            Reason.UNLIMITED,
            used_pico=used_pico,
            reserved_pico=reserved_pico,
            overage_pico=0,
            resets_at=resets_at,
        )
    limit_pico = limit.limit_pico
    remaining_pico = max(0, limit_pico - used_pico - reserved_pico)
    fits = used_pico + reserved_pico + amount_pico <= limit_pico
    soft = limit.enforcement is Enforcement.SOFT
    return Decision(
        allowed=fits or soft,
        reason=_reason(fits, soft),
        limit_pico=limit_pico,
        used_pico=used_pico,
        reserved_pico=reserved_pico,
        remaining_pico=remaining_pico,
        overage_pico=max(0, used_pico - limit_pico),
        resets_at=resets_at,
        detail=None
        if fits or soft
        else _limit_detail(entitlement.feature, limit_pico, remaining_pico, amount_pico, resets_at),
    )


def _reason(fits: bool, soft: bool) -> Reason:
    if fits:
        return Reason.WITHIN_LIMIT
    return Reason.SOFT_LIMIT_EXCEEDED if soft else Reason.LIMIT_REACHED


def _limit_detail(
    feature: str, limit_pico: int, remaining_pico: int, amount_pico: int, resets_at: int | None
) -> str:
    left = f"{format_quantity(remaining_pico)} left" if remaining_pico else "nothing left"
    sentence = (
        f"{feature} has a hard limit of {format_quantity(limit_pico)} in this period and {left}, "
        f"{format_quantity(amount_pico)} asked for"
    )
    if resets_at is not None:
        sentence += f"; it resets at {format_instant(resets_at)}"
    return f"{sentence}."


# --- refusals that need no numbers ------------------------------------------------------------


def not_entitled(feature: str) -> Decision:
    """The plan does not grant the feature."""
    return _refusal(Reason.NOT_ENTITLED, f"The customer's plan does not include {feature}.")


def no_subscription(customer: str) -> Decision:
    """The customer exists and is subscribed to nothing now."""
    return _refusal(Reason.NO_SUBSCRIPTION, f"Customer {customer} has no active subscription.")


def paused(customer: str) -> Decision:
    """The subscription is paused."""
    return _refusal(Reason.PAUSED, f"The subscription of customer {customer} is paused.")


def unknown_customer(customer: str) -> Decision:
    """Nobody by that key, and nobody claims it as a subject."""
    return _refusal(Reason.UNKNOWN_CUSTOMER, f"There is no customer {customer}.")


def unknown_feature(feature: str) -> Decision:
    """The catalogue does not declare the feature."""
    return _refusal(Reason.UNKNOWN_FEATURE, f"The catalogue has no feature {feature}.")


def _refusal(reason: Reason, detail: str) -> Decision:
    return Decision(False, reason, detail=detail)


def _text(pico: int | None) -> str | None:
    return None if pico is None else format_quantity(pico)
