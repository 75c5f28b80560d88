"""
May this customer use this now? The one place that says yes or no.

Pure: everything a decision depends on is an argument, so the gate, a preview and a test give the
same answer. A refusal is an answer, not an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

import msgspec

from taximeter.catalog.features import (
    CUSTOMER,
    BooleanEntitlement,
    Enforcement,
    StaticEntitlement,
)
from taximeter.entitlements.readings import POOLED, Funds, Kind, Reading
from taximeter.entitlements.words import (
    credit_detail,
    credit_help,
    refusal_detail,
    refusal_help,
)
from taximeter.instants import format_instant
from taximeter.quantities import format_quantity


class Reason(StrEnum):
    """Why; stable codes. The first five come with `allowed`, the others with a refusal."""

    WITHIN_LIMIT = "within_limit"
    SOFT_LIMIT_EXCEEDED = "soft_limit_exceeded"
    UNLIMITED = "unlimited"
    ENABLED = "enabled"
    CREDIT_AVAILABLE = "credit_available"
    LIMIT_REACHED = "limit_reached"
    INSUFFICIENT_CREDIT = "insufficient_credit"
    NOT_ENTITLED = "not_entitled"
    NO_SUBSCRIPTION = "no_subscription"
    PAUSED = "paused"
    UNKNOWN_CUSTOMER = "unknown_customer"
    UNKNOWN_FEATURE = "unknown_feature"
    RATE_LIMITED = "rate_limited"
    BUDGET_REACHED = "budget_reached"


_REFUSED_BY: Final = {
    Kind.LIMIT: Reason.LIMIT_REACHED,
    Kind.BUDGET: Reason.BUDGET_REACHED,
    Kind.RATE: Reason.RATE_LIMITED,
}


class Decision(msgspec.Struct, frozen=True, gc=False):
    """
    The answer of the gate. Quantities are pico and not negative; None where they make no sense.

    Of several limits the numbers are those of the one that refuses, or of the main one (see
    `decide`) if all of them allow.

    Attributes:
        limit_pico: With what rolled over; None for unlimited and for what has no limit.
        used_pico: Usage of the window so far, without the amount asked for.
        reserved_pico: Held by open reservations.
        remaining_pico: limit - used - reserved, at least 0; without the amount asked for.
        overage_pico: used - limit, at least 0.
        resets_at: When room comes back, microseconds; None for what does not reset.
        scope: The value of the level, if it is one below the customer.
        value: Of a static feature.
        detail: A refusal in a sentence: which limit, what is left, when it resets.
        help: What would help against a refusal.
        limits: Every constraint that was weighed, if there is more than one.
        funds: The credit that pays, or should, if the feature can be paid with it.
        credit_cost_pico: Credit for the part of the amount that no limit includes.
    """

    allowed: bool
    reason: Reason
    limit_pico: int | None = None
    used_pico: int | None = None
    reserved_pico: int | None = None
    remaining_pico: int | None = None
    overage_pico: int | None = None
    resets_at: int | None = None
    level: str = CUSTOMER
    value: Any = None
    detail: str | None = None
    scope: str | None = None
    help: str | None = None
    limits: tuple[Reading, ...] = ()
    funds: Funds | None = None
    credit_cost_pico: int | None = None

    def to_json(self, as_of: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """
        The documented answer: quantities as text, null where senseless.

        The members from `scope` on are there only where they say something.
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
            self._explain(answer)
        if self.limits:
            answer["limits"] = [_reading_json(one) for one in self.limits]
        if self.funds is not None:
            answer["credit"] = self.funds.credit
            answer["cost"] = _text(self.credit_cost_pico)
            answer["available"] = format_quantity(self.funds.available_pico)
        if as_of is not None:
            answer["as_of"] = as_of
        return answer

    def _explain(self, answer: dict[str, Any]) -> None:
        if self.scope is not None:
            answer["scope"] = self.scope
        answer["detail"] = self.detail
        if self.help is not None:
            answer["help"] = self.help


# --- metered features -------------------------------------------------------------------------


def decide(
    feature: str,
    readings: Sequence[Reading],
    amount_pico: int,
    funds: Funds | None = None,
) -> Decision:
    """
    Decide on an amount of a metered feature, against every constraint at once.

    A hard limit allows if used + reserved + amount <= limit, a soft one up to its grace share
    (without one: always). With `funds`, what the main limit does not include may be paid with
    credit instead; other windows and levels, budgets and rates refuse all the same.

    Args:
        readings: The main limit, which is the customer's own first one (without a limit if there
            is none, `POOLED` if only a parent has one), then outermost level first.
        amount_pico: What is asked for, not negative.
        funds: If the entitlement has a credit.

    Returns:
        Refused by the constraint that leaves the least room; of equal ones, by the outermost.
    """
    assert amount_pico >= 0, amount_pico
    if funds is not None:
        return _decide_funded(feature, readings, amount_pico, funds)
    blocking = _blocking(readings, amount_pico)
    if blocking is not None:
        return _refused(feature, readings, blocking, amount_pico)
    return _allowed(readings, amount_pico)


def largest_allowed(readings: Sequence[Reading], funds: Funds | None = None) -> int | None:
    """
    What to grant of an amount that is too much: the largest `decide` allows, in pico.

    Returns:
        0 if none; None if there is no bound. Where credit is the bound, the largest whose exact
        cost it covers, though the rounded cost of a few pico more might fit.
    """
    rooms: list[int | None] = []
    if funds is not None:
        main = _main(readings)
        rooms.append(_payable(main, funds.largest_pico()))
        readings = [one for one in readings if one is not main]
    rooms += [one.largest_pico() for one in readings]
    bounds = [room for room in rooms if room is not None]
    return max(0, min(bounds)) if bounds else None


def _blocking(readings: Sequence[Reading], amount_pico: int) -> Reading | None:
    """The constraint with the least room, if that is less than the amount."""
    blocking, least_pico = None, amount_pico
    for reading in readings:
        room_pico = reading.room_pico()
        if room_pico is not None and room_pico < least_pico:
            blocking, least_pico = reading, room_pico
    return blocking


def _allowed(readings: Sequence[Reading], amount_pico: int) -> Decision:
    for reading in readings:
        if reading.enforcement is Enforcement.SOFT:
            included_pico = reading.included_pico()
            if included_pico is not None and included_pico < amount_pico:
                return _answer(True, Reason.SOFT_LIMIT_EXCEEDED, reading, readings)
    main = _main(readings)
    reason = Reason.UNLIMITED if main.limit_pico is None else Reason.WITHIN_LIMIT
    return _answer(True, reason, main, readings)


def _refused(
    feature: str, readings: Sequence[Reading], blocking: Reading, amount_pico: int
) -> Decision:
    return _answer(
        False,
        _REFUSED_BY[blocking.kind],
        blocking,
        readings,
        detail=refusal_detail(feature, blocking, amount_pico),
        help=refusal_help(blocking, amount_pico),
    )


def _answer(
    allowed: bool,
    reason: Reason,
    reading: Reading,
    readings: Sequence[Reading] = (),
    *,
    detail: str | None = None,
    help: str | None = None,
    funds: Funds | None = None,
    credit_cost_pico: int | None = None,
) -> Decision:
    limit_pico, reserved_pico = reading.limit_pico, reading.reserved_pico
    used_pico = reading.used_pico if reading.used_pico > 0 else 0
    remaining_pico, overage_pico = None, 0
    if limit_pico is not None:
        left_pico = limit_pico - used_pico
        remaining_pico = left_pico - reserved_pico if left_pico > reserved_pico else 0
        overage_pico = -left_pico if left_pico < 0 else 0
    return Decision(
        allowed,
        reason,
        limit_pico,
        used_pico,
        reserved_pico,
        remaining_pico,
        overage_pico,
        reading.resets_at,
        reading.level,
        None,
        detail,
        reading.scope,
        help,
        tuple(readings) if len(readings) > 1 else (),
        funds,
        credit_cost_pico,
    )


# --- features paid with credit ----------------------------------------------------------------


def beyond_included(readings: Sequence[Reading], amount_pico: int) -> int:
    """The part of an amount that the main limit does not include, and credit has to pay."""
    included_pico = _main(readings).included_pico()
    if included_pico is None:
        return amount_pico
    return max(0, amount_pico - max(0, included_pico))


def _main(readings: Sequence[Reading]) -> Reading:
    """The customer's own first limit, or that of the parent whose entitlement it shares."""
    first = readings[0]
    if first.key != POOLED:
        return first
    shared = (r for r in readings if r.kind is Kind.LIMIT and r.limit_pico is not None)
    return next(shared, first)


def _payable(main: Reading, affordable_pico: int | None) -> int | None:
    """The most that is included or can be paid for, if so much is affordable; None for no bound."""
    if main.limit_pico is None or affordable_pico is None:
        return affordable_pico
    room_pico, included_pico = main.room_pico(), main.included_pico()
    if room_pico is None or included_pico is None:
        return None  # soft without end: what credit does not pay is overage
    return max(room_pico, max(0, included_pico) + affordable_pico)


def _decide_funded(
    feature: str, readings: Sequence[Reading], amount_pico: int, funds: Funds
) -> Decision:
    main = _main(readings)
    payable_pico = _payable(main, funds.affordable_pico())
    blocking = _blocking([one for one in readings if one is not main], amount_pico)
    if blocking is not None and not _is_less(payable_pico, blocking.room_pico()):
        return _refused(feature, readings, blocking, amount_pico)
    beyond_pico = beyond_included(readings, amount_pico)
    cost_pico = funds.cost_pico(beyond_pico) if funds.is_sold() else None
    if payable_pico is not None and payable_pico < amount_pico:
        return _unpaid(feature, readings, amount_pico, funds, cost_pico)
    reason = _funded_reason(main, beyond_pico, cost_pico, funds)
    return _answer(True, reason, main, readings, funds=funds, credit_cost_pico=cost_pico)


def _is_less(one: int | None, other: int | None) -> bool:
    return one is not None and (other is None or one < other)


def _funded_reason(main: Reading, beyond_pico: int, cost_pico: int | None, funds: Funds) -> Reason:
    if not beyond_pico and main.limit_pico is not None:
        return Reason.WITHIN_LIMIT
    if cost_pico is not None and cost_pico <= funds.available_pico:
        return Reason.CREDIT_AVAILABLE
    return Reason.SOFT_LIMIT_EXCEEDED


def _unpaid(
    feature: str,
    readings: Sequence[Reading],
    amount_pico: int,
    funds: Funds,
    cost_pico: int | None,
) -> Decision:
    main = _main(readings)
    beyond_pico = beyond_included(readings, amount_pico)
    most_pico = largest_allowed(readings, funds) or 0
    return _answer(
        False,
        Reason.NOT_ENTITLED if cost_pico is None else Reason.INSUFFICIENT_CREDIT,
        main,
        readings,
        detail=credit_detail(feature, funds, beyond_pico),
        help=credit_help(main, funds, amount_pico, beyond_pico, most_pico),
        funds=funds,
        credit_cost_pico=cost_pico,
    )


# --- other features ---------------------------------------------------------------------------


def enabled(entitlement: BooleanEntitlement | StaticEntitlement) -> Decision:
    """The answer for a feature without usage: it is there (with its value) or it is not."""
    match entitlement:
        case BooleanEntitlement(feature, is_enabled):
            return Decision(True, Reason.ENABLED) if is_enabled else not_entitled(feature)
        case StaticEntitlement(_, value):
            return Decision(True, Reason.ENABLED, value=value)


# --- refusals that need no numbers ------------------------------------------------------------


def not_entitled(feature: str) -> Decision:
    """The plan does not grant the feature."""
    return _refusal(
        Reason.NOT_ENTITLED,
        f"The customer's plan does not include {feature}.",
        f"Choose a plan or an add-on with {feature}.",
    )


def no_subscription(customer: str) -> Decision:
    """The customer exists and is subscribed to nothing now."""
    return _refusal(
        Reason.NO_SUBSCRIPTION,
        f"Customer {customer} has no active subscription.",
        "Subscribe the customer to a plan.",
    )


def paused(customer: str) -> Decision:
    """The subscription is paused."""
    return _refusal(
        Reason.PAUSED,
        f"The subscription of customer {customer} is paused.",
        "Resume the subscription.",
    )


def unknown_customer(customer: str) -> Decision:
    """Nobody by that key, and nobody claims it as a subject."""
    return _refusal(
        Reason.UNKNOWN_CUSTOMER,
        f"There is no customer {customer}.",
        "Create the customer, or let one claim it as a subject.",
    )


def unknown_feature(feature: str) -> Decision:
    """The catalogue does not declare the feature."""
    return _refusal(
        Reason.UNKNOWN_FEATURE,
        f"The catalogue has no feature {feature}.",
        "Correct the name, or declare the feature in the catalogue.",
    )


def _refusal(reason: Reason, detail: str, help: str | None = None) -> Decision:
    return Decision(False, reason, detail=detail, help=help)


# --- as JSON ----------------------------------------------------------------------------------


def _reading_json(reading: Reading) -> dict[str, Any]:
    """An answer of five levels has five of these: nothing here is worked out twice."""
    limit_pico, reserved_pico, resets_at = (
        reading.limit_pico,
        reading.reserved_pico,
        reading.resets_at,
    )
    used_pico = reading.used_pico if reading.used_pico > 0 else 0
    remaining = None
    if limit_pico is not None:
        left_pico = limit_pico - used_pico - reserved_pico
        remaining = format_quantity(left_pico) if left_pico > 0 else "0"
    answer: dict[str, Any] = {
        "kind": reading.kind,
        "key": reading.key,
        "level": reading.level,
        "scope": reading.scope,
        "limit": None if limit_pico is None else _repeated_quantity(limit_pico),
        "used": format_quantity(used_pico),
        "reserved": _repeated_quantity(reserved_pico) if reserved_pico else "0",
        "remaining": remaining,
        "resets_at": None if resets_at is None else _repeated_instant(resets_at),
        "enforcement": reading.enforcement,
    }
    if reading.credit is not None:
        answer["credit"] = reading.credit
    return answer


# What is the same in answer after answer: limits, and the ends of windows.
_repeated_quantity = lru_cache(maxsize=4096)(format_quantity)
_repeated_instant = lru_cache(maxsize=4096)(format_instant)


def _text(pico: int | None) -> str | None:
    return None if pico is None else format_quantity(pico)
