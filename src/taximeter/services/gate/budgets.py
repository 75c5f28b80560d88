"""
Budgets and seats: what somebody sets and assigns for a customer, beside its plan.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from taximeter.catalog.features import StaticEntitlement
from taximeter.catalog.limits import LIMIT_MEMBERS, dump_limit, read_limit
from taximeter.entitlements import decide as gate
from taximeter.entitlements.decide import Decision
from taximeter.entitlements.seats import assign
from taximeter.errors import NotFound, Rejected
from taximeter.gate.budget import Budget
from taximeter.gate.effects import DropBudget, Effect, LeaveSeat, SetBudget, TakeSeat
from taximeter.gate.purse import Seat
from taximeter.instants import format_instant
from taximeter.meters.reading import Fields, Problem, is_key
from taximeter.services.core import Core, require_customer
from taximeter.services.customers import new_id
from taximeter.services.gate.commands import Answered, Commands, Earlier, command_event
from taximeter.services.tenant import Tenant

Told = Answered | Earlier

MAX_BUDGETS = 1000
MAX_HOLDER = 256


# --- budgets ------------------------------------------------------------------------------------


def parse_budget(
    tenant: Tenant,
    budget_id: str,
    limit: dict[str, Any],
    scope: dict[str, str],
    feature: str | None,
    credit: str | None,
    now: int,
) -> Budget:
    """
    Args:
        limit: The members of a limit, as in the catalogue.

    Raises:
        Rejected: `invalid_request` with every problem.
    """
    problems: list[Problem] = []
    fields = Fields(limit, "", problems)
    fields.only(LIMIT_MEMBERS)
    found = read_limit(fields, "customer")
    if "rollover" in limit:
        fields.problem("rollover", "a budget does not roll over")
    if found is None and not problems:
        fields.problem("limit", "a budget has a limit")
    if (feature is None) == (credit is None):
        fields.problem("feature", "name either a feature or a credit")
    known = tenant.catalog.features.get(feature) if feature is not None else None
    if feature is not None and (known is None or known.meter is None):
        fields.problem("feature", f"there is no metered feature {feature!r}")
    for level, value in scope.items():
        if not is_key(level) or not 1 <= len(value) <= MAX_HOLDER:
            fields.problem("scope", 'maps levels to values, like {"user": "u7"}')
    if problems or found is None:
        text = "\n".join(str(problem) for problem in problems)
        raise Rejected("invalid_request", text)
    return Budget(budget_id, found, scope, feature, credit, now)


def set_budget(
    core: Core, commands: Commands, tenant: Tenant, customer: str, budget: Budget, now: int
) -> Told:
    """Set or replace a budget; usage counts against it from now on."""
    require_customer(tenant, customer)
    purse = tenant.live.gate.purse(customer)
    if budget.id not in purse.budgets and len(purse.budgets) >= MAX_BUDGETS:
        raise Rejected("invalid_request", f"A customer has at most {MAX_BUDGETS} budgets.")
    known = purse.budgets.get(budget.id)
    if known is not None:
        budget = msgspec.structs.replace(budget, since=known.since)
    return _configure(
        core, commands, tenant, "budget", SetBudget(customer, budget=budget), now,
        lambda: budget_json(customer, budget),
    )  # fmt: skip


def drop_budget(
    core: Core, commands: Commands, tenant: Tenant, customer: str, budget_id: str, now: int
) -> Told:
    """
    Raises:
        NotFound: No such budget.
    """
    found = find_budget(tenant, customer, budget_id)
    effect = DropBudget(customer, id=found.id)
    facts = {"id": found.id, "customer": customer, "deleted": True}
    return _configure(core, commands, tenant, "budget", effect, now, lambda: facts)


def find_budget(tenant: Tenant, customer: str, budget_id: str) -> Budget:
    require_customer(tenant, customer)
    purse = tenant.live.gate.purses.get(customer)
    found = None if purse is None else purse.budgets.get(budget_id)
    if found is None:
        raise NotFound("not_found", f"Customer {customer!r} has no budget {budget_id!r}.")
    return found


def budget_json(customer: str, budget: Budget) -> dict[str, Any]:
    return {
        "id": budget.id,
        "customer": customer,
        "scope": budget.scope,
        "feature": budget.feature,
        "credit": budget.credit,
        **dump_limit(budget.limit),
        "since": format_instant(budget.since),
    }


# --- seats --------------------------------------------------------------------------------------


def take_seat(
    core: Core,
    commands: Commands,
    tenant: Tenant,
    customer: str,
    feature: str,
    holder: str,
    until: int | None,
    now: int,
) -> Told | Decision:
    """
    Assign a seat; to one who has it already, nothing changes but when it is free again.

    Args:
        until: When a concurrent seat is free again; None for a named one.

    Returns:
        The decision if no seat is free.

    Raises:
        NotFound: No such customer.
        Rejected: `invalid_request` for a feature without seats.
    """
    require_customer(tenant, customer)
    if not 1 <= len(holder) <= MAX_HOLDER:
        raise Rejected("invalid_request", f"A holder has 1 to {MAX_HOLDER} characters.")
    total = seats_of(tenant, customer, feature, now)
    if isinstance(total, Decision):
        return total
    seats = tenant.live.gate.purse(customer).seats.get(feature, {})
    decision = assign(feature, total, {h: one.until for h, one in seats.items()}, holder, now)
    if not decision.allowed:
        return decision
    effect = TakeSeat(customer, feature=feature, holder=holder, until=until)
    return _configure(
        core, commands, tenant, "seat", effect, now,
        lambda: _seat_json(tenant, customer, feature, holder, total),
    )  # fmt: skip


def leave_seat(
    core: Core,
    commands: Commands,
    tenant: Tenant,
    customer: str,
    feature: str,
    holder: str,
    now: int,
) -> Told:
    """
    Raises:
        NotFound: The holder has no seat.
    """
    require_customer(tenant, customer)
    seats = tenant.live.gate.purse(customer).seats.get(feature, {})
    if holder not in seats:
        raise NotFound("not_found", f"{holder!r} has no seat of {feature!r}.")
    effect = LeaveSeat(customer, feature=feature, holder=holder)
    facts = {"feature": feature, "holder": holder, "released": True}
    return _configure(core, commands, tenant, "seat", effect, now, lambda: facts)


def seats_of(tenant: Tenant, customer: str, feature: str, now: int) -> int | Decision:
    """
    How many seats a customer has.

    Raises:
        Rejected: `invalid_request` if the feature does not count seats.
    """
    account = tenant.live.accounts[customer]
    standing = tenant.standing(account, now)
    if standing.status == "paused":
        return gate.paused(customer)
    entitlement = standing.entitlements.get(feature)
    if entitlement is None:
        known = feature in tenant.catalog.features
        return gate.not_entitled(feature) if known else gate.unknown_feature(feature)
    if not isinstance(entitlement, StaticEntitlement) or not isinstance(entitlement.value, int):
        raise Rejected("invalid_request", f"Feature {feature!r} is no number of seats.")
    return entitlement.value


def seats_json(tenant: Tenant, customer: str, feature: str, total: int) -> dict[str, Any]:
    purse = tenant.live.gate.purses.get(customer)
    seats = {} if purse is None else purse.seats.get(feature, {})
    return {
        "feature": feature,
        "limit": str(total),
        "used": str(len(seats)),
        "remaining": str(max(0, total - len(seats))),
        "items": [_held(holder, seat) for holder, seat in sorted(seats.items())],
    }


def _seat_json(
    tenant: Tenant, customer: str, feature: str, holder: str, total: int
) -> dict[str, Any]:
    seats = tenant.live.gate.purse(customer).seats[feature]
    return {
        "feature": feature,
        **_held(holder, seats[holder]),
        "limit": str(total),
        "used": str(len(seats)),
        "remaining": str(max(0, total - len(seats))),
    }


def _held(holder: str, seat: Seat) -> dict[str, Any]:
    return {
        "holder": holder,
        "since": format_instant(seat.since),
        "until": None if seat.until is None else format_instant(seat.until),
    }


def _configure(
    core: Core,
    commands: Commands,
    tenant: Tenant,
    what: str,
    effect: Effect,
    now: int,
    facts: Callable[[], dict[str, Any]],
) -> Told:
    event = command_event(what, new_id(what), effect.customer, msgspec.to_builtins(effect))
    identity, earlier = commands.earlier(tenant, event)
    assert earlier is None, "its id was made just now"
    return commands.record(
        tenant,
        event,
        identity,
        now,
        [effect],
        lambda seq: facts() | {"seq": seq, "position": f"0:{seq}", "as_of": core.as_of()},
    )
