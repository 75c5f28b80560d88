"""
What a customer holds, as its page shows it: every limit of every feature, credits in the order
they burn, open reservations, budgets, seats, and a ledger that says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from taximeter.adapters.console.rows import NEAR_PERMILLE
from taximeter.catalog.features import CUSTOMER, Enforcement, MeteredEntitlement
from taximeter.entitlements.decide import Decision
from taximeter.entitlements.readings import Kind, Reading
from taximeter.gate.budget import Budget
from taximeter.instants import format_instant
from taximeter.quantities import format_quantity
from taximeter.services.gate.check import Ask, check, entitlements
from taximeter.services.gate.credits import balance_json, credits_of, top_up_json
from taximeter.services.gate.reservations import hold_json
from taximeter.services.rules.reviews import imposed_json
from taximeter.services.tenant import Tenant

MAX_HOLDS = 50


class Bound(msgspec.Struct, frozen=True):
    """
    One limit with where it stands.

    Attributes:
        name: "period", "5h", "budget team".
        whom: Level and who, "" for the customer itself.
        permille: Share of the limit that is used, at most 1000; `held` is the share on top of it
            that reservations hold. None without a limit.
        state: `ok`, `near`, `full` (it refuses), `credit` (what it includes is used, credit pays),
            `over` (a soft one is exceeded), `open`.
    """

    name: str
    whom: str
    used: str
    reserved: str
    limit: str | None
    unit: str
    permille: int | None
    held: int
    percent: str
    state: str
    resets_at: str | None


class Entitled(msgspec.Struct, frozen=True):
    """
    One feature.

    Attributes:
        word: How it stands: "included", "blocked", "from credit", ...
        value: Of a static feature.
        why: A refusal in a sentence, "" if there is none.
        seats: Who has one, for a feature with a number of them.
    """

    feature: str
    state: str
    word: str
    value: str
    why: str
    bounds: tuple[Bound, ...]
    seats: tuple[str, ...] = ()
    may_seat: bool = False


_WORDS = {
    "not_entitled": "not granted",
    "no_subscription": "no subscription",
    "limit_reached": "refused",
    "budget_reached": "refused",
    "rate_limited": "too fast",
    "paused": "blocked",
    "insufficient_credit": "no credit",
    "credit_available": "paid with credit",
    "soft_limit_exceeded": "beyond, allowed",
}


def entitled(tenant: Tenant, key: str, scope: Mapping[str, str], now: int) -> list[Entitled]:
    """Every feature the customer is granted, or blocked from, as somebody below it sees it."""
    found = []
    for feature, whole in sorted(entitlements(tenant, key, now).items()):
        decision = whole
        if scope and whole.limit_pico is not None:
            decision = check(tenant, Ask(key, feature, 0, scope), now)
        if decision.reason.value in ("not_entitled", "no_subscription"):
            continue
        found.append(_entitled(tenant, key, feature, decision))
    return found


def _entitled(tenant: Tenant, key: str, feature: str, decision: Decision) -> Entitled:
    unit = _unit(tenant, feature)
    purse = tenant.live.gate.purses.get(key)
    bounds = tuple(bound(one, unit) for one in decision.limits)
    if not bounds and decision.used_pico is not None:
        bounds = (_only(decision, unit),)
    if decision.funds is not None and bounds and bounds[0].state == "full":
        # The main limit is what is included; beyond it credit pays.
        bounds = (msgspec.structs.replace(bounds[0], state="credit"), *bounds[1:])
    refusing = [one for one in bounds if one.state == "full"]
    state = "no" if refusing or not decision.allowed else "yes"
    word = _WORDS.get(decision.reason.value, "granted")
    if state == "no" and decision.allowed:
        word = "used up"
    seats = () if purse is None else tuple(sorted(purse.seats.get(feature, {})))
    is_count = isinstance(decision.value, int) and not isinstance(decision.value, bool)
    return Entitled(
        feature, state, word, "" if decision.value in (None, True) else str(decision.value),
        decision.detail or "", bounds, seats, is_count,
    )  # fmt: skip


def bound(reading: Reading, unit: str) -> Bound:
    name = f"budget {reading.key}" if reading.kind is Kind.BUDGET else reading.key
    whom = "" if reading.level == CUSTOMER else reading.level
    if reading.scope is not None:
        whom = f"{reading.level} {reading.scope}"
    return _bound(
        name, whom, reading.used_pico, reading.reserved_pico, reading.limit_pico,
        reading.enforcement, reading.resets_at, reading.credit or unit,
    )  # fmt: skip


def _only(decision: Decision, unit: str) -> Bound:
    """Of a feature with one limit."""
    return _bound(
        "", "", decision.used_pico or 0, decision.reserved_pico or 0, decision.limit_pico,
        Enforcement.HARD if decision.reason.value != "soft_limit_exceeded" else Enforcement.SOFT,
        decision.resets_at, unit,
    )  # fmt: skip


def _bound(
    name: str,
    whom: str,
    used_pico: int,
    reserved_pico: int,
    limit_pico: int | None,
    enforcement: Enforcement,
    resets_at: int | None,
    unit: str,
) -> Bound:
    used_pico = max(0, used_pico)
    permille, held, state = None, 0, "open"
    if limit_pico is not None:
        taken = used_pico + reserved_pico
        permille = _share(used_pico, limit_pico)
        held = max(0, min(1000, _share(taken, limit_pico)) - min(1000, permille))
        is_hard = enforcement is Enforcement.HARD
        state = "near" if _share(taken, limit_pico) >= NEAR_PERMILLE else "ok"
        if taken >= limit_pico and is_hard:
            state = "full"
        elif taken > limit_pico:
            state = "over"
    return Bound(
        name=name,
        whom=whom,
        used=format_quantity(used_pico),
        reserved=format_quantity(reserved_pico),
        limit=None if limit_pico is None else format_quantity(limit_pico),
        unit=unit,
        permille=None if permille is None else min(1000, permille),
        held=held,
        percent="" if permille is None else f"{permille // 10}%",
        state=state,
        resets_at=None if resets_at is None else format_instant(resets_at),
    )


def _share(part_pico: int, whole_pico: int) -> int:
    return part_pico * 1000 // whole_pico if whole_pico else 1000


def _unit(tenant: Tenant, feature: str) -> str:
    meter = tenant.catalog.features[feature].meter
    found = tenant.catalog.meters.get(meter) if meter is not None else None
    return "" if found is None or found.unit is None else found.unit


# --- budgets ----------------------------------------------------------------------------------


class Budgeted(msgspec.Struct, frozen=True):
    id: str
    of: str
    scope: str
    bound: Bound | None
    limit: str


def budgets(tenant: Tenant, key: str, now: int) -> list[Budgeted]:
    """Each with where it stands, for whom it is."""
    purse = tenant.live.gate.purses.get(key)
    if purse is None:
        return []
    return [
        Budgeted(
            one.id,
            one.feature or one.credit or "",
            ", ".join(f"{level} {value}" for level, value in one.scope.items()),
            _budget_bound(tenant, key, one, now),
            format_quantity(one.limit.limit_pico),
        )
        for _, one in sorted(purse.budgets.items())
    ]


def _budget_bound(tenant: Tenant, key: str, budget: Budget, now: int) -> Bound | None:
    for feature in [budget.feature] if budget.feature else _paid_with(tenant, key, budget, now):
        asked = check(tenant, Ask(key, feature, 0, budget.scope), now)
        for reading in asked.limits:
            if reading.kind is Kind.BUDGET and reading.key == budget.id:
                return bound(reading, _unit(tenant, feature))
    return None


def _paid_with(tenant: Tenant, key: str, budget: Budget, now: int) -> list[str]:
    granted = tenant.standing(tenant.live.accounts[key], now).entitlements
    return [
        feature
        for feature, one in granted.items()
        if isinstance(one, MeteredEntitlement) and one.credit == budget.credit
    ]


# --- credits, reservations ---------------------------------------------------------------------


def credits(tenant: Tenant, key: str) -> list[dict[str, Any]]:
    """Every wallet as `GET /balance` has it, with each grant's share and the automatic top-up."""
    purse = tenant.live.gate.purses.get(key)
    found = []
    for credit in credits_of(purse, None):
        assert purse is not None
        balance = balance_json(tenant, key, credit)
        top_up = purse.top_ups.get(credit)
        balance["top_up"] = None if top_up is None else top_up_json(top_up)
        balance["grants"] = [grant | _shares(grant) for grant in balance["grants"]]
        found.append(balance)
    return found


def _shares(grant: Mapping[str, str]) -> dict[str, int]:
    """Thousandths of what was given that are left and free, and that are reserved."""
    amount = _whole(grant["amount"])
    reserved = min(1000, _whole(grant["reserved"]) * 1000 // amount) if amount else 0
    left = min(1000, _whole(grant["remaining"]) * 1000 // amount) if amount else 0
    return {"free_permille": max(0, left - reserved), "reserved_permille": reserved}


def _whole(quantity: str) -> int:
    """A quantity in pico; it comes from our own formatter."""
    units, _, fraction = quantity.partition(".")
    return int(units + fraction.ljust(12, "0"))


def holds(tenant: Tenant, key: str, now: int) -> list[dict[str, Any]]:
    """Open reservations and leases, oldest first."""
    purse = tenant.live.gate.purses.get(key)
    if purse is None:
        return []
    found = [one for one in purse.holds.values() if one.expires_at > now]
    return [hold_json(tenant, one) | {"left_s": _left(one.expires_at, now)} for one in found]


def _left(until: int, now: int) -> int:
    return max(0, (until - now) // 1_000_000)


def imposed(tenant: Tenant, key: str, now: int) -> list[dict[str, Any]]:
    return imposed_json(tenant, key, now)
