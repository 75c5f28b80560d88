"""
May they? Answered from memory, exact to the last event that was sequenced.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from taximeter.catalog.features import Feature, FeatureType, Limit, MeteredEntitlement
from taximeter.entitlements import decide as gate
from taximeter.entitlements.decide import Decision, Reason
from taximeter.entitlements.rate import RateFields
from taximeter.entitlements.readings import Funds, Reading
from taximeter.errors import Rejected, Unavailable
from taximeter.events.envelope import Event
from taximeter.gate.purse import Blocked
from taximeter.instants import format_instant
from taximeter.live.account import Account
from taximeter.meters.definition import Aggregation, Meter, amount_path
from taximeter.quantities import E12, format_quantity
from taximeter.services.gate.allowances import Allowance, allowance_of
from taximeter.services.gate.commands import canonical
from taximeter.services.gate.constraints import NO_SCOPE, Constraints, is_plain, plain_reading
from taximeter.services.tenant import Tenant


class Ask(msgspec.Struct, frozen=True):
    """
    What somebody wants to use.

    Attributes:
        customer: Its key, or a subject it claims.
        amount_pico: Not negative.
        scope: Level below the customer -> who asks.
        data: Of the usage event as it would be, for costs that go by a dimension.
    """

    customer: str
    feature: str
    amount_pico: int
    scope: Mapping[str, str] = NO_SCOPE
    data: Mapping[str, Any] = {}


class Weighed(msgspec.Struct, frozen=True):
    """
    A decision about a metered feature with what it was made from.

    Attributes:
        account: Of the customer.
    """

    account: Account
    allowance: Allowance
    readings: list[Reading]
    funds: Funds | None
    decision: Decision


def check(tenant: Tenant, ask: Ask, now: int) -> Decision:
    """
    Decide without changing anything.

    Raises:
        Unavailable: `rebuilding`: a hard limit cannot be held while history is missing.
    """
    account = tenant.account(ask.customer)
    if account is not None and account.customer not in tenant.live.gate.purses:
        plain: PlainCheck | None = account.plain_checks.get(ask.feature)
        if plain is not None and now < plain.until and not account.rebuilding:
            # Nearly every check: a customer with nothing but its plan, asked about before.
            reading = plain_reading(plain.allowance, plain.limit, now)
            return gate.decide(ask.feature, (reading,), ask.amount_pico)
    weighed = weigh(tenant, ask, now)
    if not isinstance(weighed, Weighed):
        return weighed
    allowance = weighed.allowance
    if is_plain(tenant, weighed.account, allowance):
        until = tenant.standing(weighed.account, now).until
        weighed.account.plain_checks[ask.feature] = PlainCheck(
            allowance, allowance.entitlement.main, until
        )
    return weighed.decision


class PlainCheck(msgspec.Struct, frozen=True):
    """A feature that one limit of the billing period bounds and nothing else, before `until`."""

    allowance: Allowance
    limit: Limit | None
    until: int


def weigh(tenant: Tenant, ask: Ask, now: int, event: Event | None = None) -> Weighed | Decision:
    """
    Decide, and keep what it was decided from; a mere decision for what is not metered or not
    there.
    """
    account = tenant.account(ask.customer)
    if account is None:
        return gate.unknown_customer(ask.customer)
    feature = tenant.catalog.features.get(ask.feature)
    if feature is None:
        return gate.unknown_feature(ask.feature)
    found = _allowance(tenant, account, feature, now)
    if isinstance(found, Decision):
        return found
    weighed = _weigh(tenant, account, found, ask, now, event)
    if account.rebuilding and weighed.decision.reason is Reason.WITHIN_LIMIT:
        _require_exact(tenant, account, feature)
    return weighed


def _allowance(
    tenant: Tenant, account: Account, feature: Feature, now: int
) -> Allowance | Decision:
    """What decides about a feature; a decision if no amount of it could matter."""
    standing = tenant.standing(account, now)
    purse = tenant.live.gate.purses.get(account.customer)
    if purse is not None and purse.blocked:
        blocked = purse.block_of(feature.key, now)
        if blocked is not None:
            return _blocked(feature.key, blocked)
    if standing.status == "paused":
        return gate.paused(account.customer)
    entitlement = standing.entitlements.get(feature.key)
    if entitlement is not None and not isinstance(entitlement, MeteredEntitlement):
        return gate.enabled(entitlement)
    if feature.meter is not None:
        allowance = allowance_of(tenant, account, feature.key, now)
        if allowance is not None:
            return allowance
    if standing.status == "none":
        return gate.no_subscription(account.customer)
    return gate.not_entitled(feature.key)


def _blocked(feature: str, blocked: Blocked) -> Decision:
    why = f": {blocked.reason}" if blocked.reason else ""
    help = "It has to be unblocked by hand."
    if blocked.until is not None:
        help = f"It ends at {format_instant(blocked.until)}, or when it is unblocked by hand."
    return Decision(
        False,
        Reason.PAUSED,
        resets_at=blocked.until,
        detail=f"{feature} is blocked by {blocked.by} since {format_instant(blocked.since)}{why}.",
        help=help,
    )


def _weigh(
    tenant: Tenant,
    account: Account,
    allowance: Allowance,
    ask: Ask,
    now: int,
    event: Event | None,
) -> Weighed:
    feature = allowance.feature
    if is_plain(tenant, account, allowance):
        readings = [plain_reading(allowance, allowance.entitlement.main, now)]
        decision = gate.decide(feature, readings, ask.amount_pico)
        return Weighed(account, allowance, readings, None, decision)
    if event is None and ask.data:
        event = usage_event(tenant, account.customer, feature, "check", "", E12, ask)
    constraints = Constraints(tenant, account, allowance, now, ask.scope, event, ask.amount_pico)
    readings, funds = constraints.readings(), constraints.funds()
    decision = gate.decide(feature, readings, ask.amount_pico, funds)
    return Weighed(account, allowance, readings, funds, decision)


def _require_exact(tenant: Tenant, account: Account, feature: Feature) -> None:
    counter = tenant.feature_counters.get(feature.key)
    if counter is not None and not account.is_exact(counter):
        raise Unavailable(
            "rebuilding", f"The usage of {account.customer!r} is being counted again."
        )


def entitlements(tenant: Tenant, customer: str, now: int) -> dict[str, Decision]:
    """
    Every feature of the catalogue with what the customer may do now, as far as it is known: while
    an account is being rebuilt, numbers are still growing.
    """
    account = tenant.account(customer)
    assert account is not None, "the caller has looked"
    found: dict[str, Decision] = {}
    for key, feature in tenant.catalog.features.items():
        allowance = _allowance(tenant, account, feature, now)
        if isinstance(allowance, Decision):
            found[key] = allowance
        else:
            ask = Ask(account.customer, key, 0)
            found[key] = _weigh(tenant, account, allowance, ask, now, None).decision
    return found


def rate_fields(tenant: Tenant, ask: Ask, now: int) -> list[RateFields]:
    """What to tell a client about each rate it is under; the feature has an allowance."""
    account = tenant.account(ask.customer)
    assert account is not None, "it was decided about"
    allowance = allowance_of(tenant, account, ask.feature, now)
    assert allowance is not None, "it was decided about"
    return Constraints(tenant, account, allowance, now, ask.scope).rate_fields()


# --- the usage that would be recorded -----------------------------------------------------------


def metered(tenant: Tenant, feature: str) -> tuple[Feature, Meter]:
    """
    A feature whose usage can be recorded, with its meter.

    Raises:
        Rejected: `feature_not_metered`.
    """
    found = tenant.catalog.features.get(feature)
    if found is None or found.type is not FeatureType.METERED or found.meter is None:
        raise Rejected("feature_not_metered", f"Feature {feature!r} is not metered.")
    return found, tenant.catalog.meters[found.meter]


def usage_event(
    tenant: Tenant,
    customer: str,
    feature: str,
    source: str,
    event_id: str,
    amount_pico: int,
    ask: Ask,
) -> Event:
    """
    The usage event that records an amount of a feature: the amount at its meter's value path, the
    scope where the catalogue says that events have it.

    Raises:
        Rejected: `feature_not_metered`, `amount_not_countable`, or a refused value in `data`.
    """
    _, meter = metered(tenant, feature)
    data: dict[str, Any] = dict(ask.data)
    for level, value in ask.scope.items():
        path = tenant.scope_path(level).split(".")
        if path[0] == "data" and len(path) > 1:
            data = _with(data, path[1:], value, replace=False)
    if meter.aggregation is Aggregation.COUNT:
        if amount_pico != E12:
            raise Rejected(
                "amount_not_countable",
                f"Meter {meter.key!r} counts events: consume one at a time.",
            )
    else:
        data = _with_amount(data, meter, amount_pico)
    event = Event(
        id=event_id or "check",
        type=meter.event_type,
        subject=customer,
        source=f"taximeter/{source}",
        data=data,
    )
    return canonical(event)


def _with_amount(data: dict[str, Any], meter: Meter, amount_pico: int) -> dict[str, Any]:
    """The data with the amount at the meter's value path."""
    path = (amount_path(meter) or "").split(".")
    if path[0] != "data":
        raise Rejected(
            "feature_not_metered",
            f"Meter {meter.key!r} has no single place in the data for an amount.",
        )
    amount: int | Decimal = amount_pico // E12
    if amount_pico % E12:
        amount = Decimal(format_quantity(amount_pico))
    return _with(data, path[1:], amount, replace=True)


def _with(data: dict[str, Any], path: list[str], value: Any, *, replace: bool) -> dict[str, Any]:
    """A copy with a value at a path; objects on the way are made."""
    result = dict(data)
    inner = result
    for name in path[:-1]:
        below = inner.get(name)
        inner[name] = inner = dict(below) if isinstance(below, dict) else {}
    if replace or path[-1] not in inner:
        inner[path[-1]] = value
    return result
