"""
Reservations and leases: set units and credit aside, then settle, release or extend (K14).

A lease is a reservation that usage events draw on by naming it: whoever holds one decides within it
without asking, and what all open leases still hold bounds how far such decisions can be off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from taximeter.catalog.features import Cost
from taximeter.credits.cost import cost_pico
from taximeter.entitlements.decide import Decision, beyond_included, largest_allowed
from taximeter.errors import NotFound, Refused, Rejected
from taximeter.events.envelope import Event
from taximeter.gate.effects import Extend, Release, Reserve, Settle
from taximeter.gate.purse import Hold
from taximeter.instants import SECOND, format_instant
from taximeter.meters.definition import Aggregation
from taximeter.quantities import E12, format_quantity
from taximeter.services.core import Core
from taximeter.services.gate.check import Ask, Weighed, metered, usage_event, weigh
from taximeter.services.gate.commands import Answered, Commands, Earlier, Identity, command_event
from taximeter.services.tenant import Tenant

SOURCE = "reservations"
MAX_TTL_S = 86_400
MAX_COUNTED = 1000
"""How many events settling a feature that counts events may record."""


class Wanted(msgspec.Struct, frozen=True):
    """
    A reservation that is asked for.

    Attributes:
        ttl_us: How long it lives unless it is extended.
        allow_partial: Less than the amount will do.
        lease: For decisions at the edge.
    """

    id: str
    ask: Ask
    ttl_us: int
    allow_partial: bool = False
    lease: bool = False

    def to_event(self, customer: str) -> Event:
        """As it stands in the log."""
        ask = self.ask
        return command_event(
            "lease" if self.lease else "reserve",
            self.id,
            customer,
            {
                "feature": ask.feature,
                "amount": format_quantity(ask.amount_pico),
                "ttl_us": self.ttl_us,
                "allow_partial": self.allow_partial,
                "scope": dict(ask.scope),
                "data": dict(ask.data),
            },
        )


def reserve(
    core: Core, commands: Commands, tenant: Tenant, wanted: Wanted, now: int
) -> Answered | Earlier | Decision:
    """
    Set an amount aside, all of it or, if partial will do, as much as there is.

    The same id again gives the first answer.

    Returns:
        The decision alone if it is a refusal.

    Raises:
        Rejected: `feature_not_metered`, `amount_not_countable`, or a refused value in `data`.
        Refused: `event_conflict` if the id was used for another reservation.
    """
    ask = wanted.ask
    account = tenant.account(ask.customer)
    if account is None or ask.feature not in tenant.catalog.features:
        decision = weigh(tenant, ask, now)
        assert isinstance(decision, Decision), "there is nothing to weigh"
        return decision
    _check_amount(tenant, ask, wanted.lease)
    event = wanted.to_event(account.customer)
    identity, earlier = commands.earlier(tenant, event)
    if earlier is not None:
        return earlier
    sample = usage_event(tenant, account.customer, ask.feature, SOURCE, wanted.id, E12, ask)
    weighed = weigh(tenant, ask, now, sample)
    if isinstance(weighed, Decision):
        return weighed
    granted_pico = ask.amount_pico
    if not weighed.decision.allowed:
        granted_pico = _part(tenant, wanted, weighed)
        if not granted_pico:
            return weighed.decision
        smaller = msgspec.structs.replace(ask, amount_pico=granted_pico)
        weighed = weigh(tenant, smaller, now, sample)
        assert isinstance(weighed, Weighed)
        if not weighed.decision.allowed:
            return weighed.decision
    return _open(core, commands, tenant, wanted, weighed, granted_pico, event, identity, now)


def _check_amount(tenant: Tenant, ask: Ask, lease: bool) -> None:
    _, meter = metered(tenant, ask.feature)
    if not ask.amount_pico:
        raise Rejected("invalid_quantity", "A reservation is for more than 0.")
    if meter.aggregation is Aggregation.COUNT and not lease:
        _check_countable(ask.amount_pico)


def _check_countable(amount_pico: int) -> None:
    if amount_pico % E12 or amount_pico > MAX_COUNTED * E12:
        raise Rejected(
            "amount_not_countable",
            f"The feature counts events: reserve or settle a whole number up to {MAX_COUNTED}.",
        )


def _part(tenant: Tenant, wanted: Wanted, weighed: Weighed) -> int:
    """How much of an amount that was refused can be had; 0 if none, or if all is wanted."""
    if not wanted.allow_partial:
        return 0
    room_pico = largest_allowed(weighed.readings, weighed.funds)
    part_pico = min(wanted.ask.amount_pico, room_pico or 0)
    _, meter = metered(tenant, wanted.ask.feature)
    if meter.aggregation is Aggregation.COUNT:
        part_pico -= part_pico % E12
    return part_pico


def _open(
    core: Core,
    commands: Commands,
    tenant: Tenant,
    wanted: Wanted,
    weighed: Weighed,
    granted_pico: int,
    event: Event,
    identity: Identity,
    now: int,
) -> Answered:
    ask, funds, customer = wanted.ask, weighed.funds, weighed.account.customer
    effect = Reserve(
        customer,
        id=wanted.id,
        feature=ask.feature,
        units_pico=granted_pico,
        created_at=now,
        expires_at=now + wanted.ttl_us,
        credit=None if funds is None else funds.credit,
        cost_pico=weighed.decision.credit_cost_pico or 0,
        pools=tuple(parent.customer for parent in tenant.pool_of(customer)),
        scope=dict(ask.scope),
        lease=wanted.lease,
        data=dict(ask.data),
    )

    def answer(seq: int) -> dict[str, Any]:
        hold = tenant.live.gate.hold(wanted.id)
        assert hold is not None, "it was just opened"
        return weighed.decision.to_json(core.as_of()) | _opened(tenant, hold, seq)

    return commands.record(tenant, event, identity, now, [effect], answer)


# --- afterwards ---------------------------------------------------------------------------------


def settle(
    core: Core,
    commands: Commands,
    tenant: Tenant,
    hold_id: str,
    amount_pico: int,
    now: int,
    *,
    allow_overage: bool = False,
    data: Mapping[str, Any] | None = None,
) -> Answered:
    """
    Record what was really used and free the rest.

    Args:
        amount_pico: Not negative; above what is held only with `allow_overage`.
        data: Of the usage event, beside what the reservation gave.

    Raises:
        NotFound: No such reservation.
        Refused: `already_resolved`, `reservation_expired`.
        Rejected: `exceeds_reservation`, `amount_not_countable`.
    """
    hold = open_hold(commands, tenant, hold_id, now)
    if amount_pico > hold.units_pico and not allow_overage:
        raise Rejected(
            "exceeds_reservation",
            f"{format_quantity(hold.units_pico)} is reserved, {format_quantity(amount_pico)} was "
            "used; with allow_overage all of it is booked.",
            reserved=format_quantity(hold.units_pico),
        )
    _, meter = metered(tenant, hold.feature)
    counts = meter.aggregation is Aggregation.COUNT
    if counts and amount_pico:
        _check_countable(amount_pico)
    ask = Ask(hold.customer, hold.feature, amount_pico, hold.scope, {**hold.data, **(data or {})})
    unit = E12 if counts else amount_pico
    event = usage_event(tenant, hold.customer, hold.feature, SOURCE, hold_id, unit, ask)
    if not amount_pico:
        event = command_event("settle", hold_id, hold.customer, {})
    cost = _cost_pico(tenant, hold, ask, event, now)
    effect = Settle(
        hold.customer, id=hold_id, units_pico=amount_pico, cost_pico=cost, overage=allow_overage
    )
    identity, earlier = commands.earlier(tenant, event)
    if earlier is not None:
        raise _resolved(hold_id, "settled")

    def answer(seq: int) -> dict[str, Any]:
        return {
            "id": hold_id,
            "status": "settled",
            "settled": format_quantity(amount_pico),
            **_after(core, tenant, hold, seq),
            "cost": None if hold.credit is None else format_quantity(cost),
        }

    answered = commands.record(
        tenant, event, identity, now, [effect], answer, is_usage=bool(amount_pico)
    )
    for number in range(2, amount_pico // E12 + 1 if counts else 0):
        _record_one_more(commands, tenant, event, f"{hold_id}#{number}", now)
    return answered


def _record_one_more(
    commands: Commands, tenant: Tenant, event: Event, event_id: str, now: int
) -> None:
    """A further event of a settlement that counts several; the settlement has paid for it."""
    further = msgspec.structs.replace(event, id=event_id)
    identity, earlier = commands.earlier(tenant, further)
    if earlier is None:
        commands.record(
            tenant, further, identity, now, (), lambda _seq: {}, is_usage=True, is_paid=True
        )


def _cost_pico(tenant: Tenant, hold: Hold, ask: Ask, event: Event, now: int) -> int:
    """
    Credit for what was used: never more than was set aside for as much, whatever has changed.
    What goes beyond costs no more than it would by itself.
    """
    if hold.credit is None:
        return 0
    weighed = weigh(tenant, ask, now, event)
    if isinstance(weighed, Decision) or weighed.funds is None:
        return hold.cost_pico if ask.amount_pico else 0
    own = [
        msgspec.structs.replace(one, reserved_pico=max(0, one.reserved_pico - hold.units_pico))
        for one in weighed.readings
    ]
    beyond_pico = beyond_included(own, ask.amount_pico)
    found: Cost = weighed.funds.cost
    cost = cost_pico(found, beyond_pico, weighed.funds.cost_case)
    cost = hold.cost_pico if cost is None else cost
    extra_pico = max(0, ask.amount_pico - hold.units_pico)
    extra_cost = cost_pico(found, extra_pico, weighed.funds.cost_case)
    return cost if extra_cost is None else min(cost, hold.cost_pico + extra_cost)


def release(core: Core, commands: Commands, tenant: Tenant, hold_id: str, now: int) -> Answered:
    """
    Give back what is held.

    Raises:
        NotFound: No such reservation.
        Refused: `already_resolved`, `reservation_expired`.
    """
    hold = open_hold(commands, tenant, hold_id, now)
    effect = Release(hold.customer, id=hold_id)
    return _command(
        core,
        commands,
        tenant,
        "release",
        hold_id,
        hold,
        effect,
        now,
        lambda: {"status": "released"},
    )


def extend(
    core: Core,
    commands: Commands,
    tenant: Tenant,
    hold_id: str,
    amount_pico: int,
    ttl_us: int | None,
    now: int,
    *,
    allow_partial: bool = False,
) -> Answered | Decision:
    """
    Hold more, longer, or both.

    Args:
        amount_pico: In addition; not negative.
        ttl_us: From now; None leaves the end as it is.

    Returns:
        The decision if the additional amount is refused; nothing has changed then.
    """
    hold = open_hold(commands, tenant, hold_id, now)
    ask = Ask(hold.customer, hold.feature, amount_pico, hold.scope, hold.data)
    cost = 0
    if amount_pico:
        sample = usage_event(tenant, hold.customer, hold.feature, SOURCE, hold_id, E12, ask)
        weighed = weigh(tenant, ask, now, sample)
        if isinstance(weighed, Weighed) and not weighed.decision.allowed and allow_partial:
            wanted = Wanted(hold_id, ask, 0, allow_partial=True)
            amount_pico = _part(tenant, wanted, weighed)
            if amount_pico:
                ask = msgspec.structs.replace(ask, amount_pico=amount_pico)
                weighed = weigh(tenant, ask, now, sample)
        if isinstance(weighed, Decision):
            return weighed
        if not weighed.decision.allowed:
            return weighed.decision
        cost = weighed.decision.credit_cost_pico or 0
    expires_at = hold.expires_at if ttl_us is None else now + ttl_us
    effect = Extend(
        hold.customer, id=hold_id, expires_at=expires_at, units_pico=amount_pico, cost_pico=cost
    )
    command_id = f"{hold_id}:{hold.extensions + 1}"
    return _command(
        core,
        commands,
        tenant,
        "extend",
        command_id,
        hold,
        effect,
        now,
        lambda: {"status": "open", "extended": format_quantity(amount_pico)},
    )


def _command(
    core: Core,
    commands: Commands,
    tenant: Tenant,
    what: str,
    command_id: str,
    hold: Hold,
    effect: Release | Extend,
    now: int,
    facts: Callable[[], dict[str, Any]],
) -> Answered:
    data = msgspec.to_builtins(effect)
    event = command_event(what, command_id, hold.customer, data)
    identity, earlier = commands.earlier(tenant, event)
    if earlier is not None:
        raise _resolved(hold.id, what)

    def answer(seq: int) -> dict[str, Any]:
        told = hold_json(tenant, hold) if isinstance(effect, Extend) else {"id": hold.id}
        return told | facts() | _after(core, tenant, hold, seq)

    return commands.record(tenant, event, identity, now, [effect], answer)


# --- finding and showing them -------------------------------------------------------------------


def open_hold(commands: Commands, tenant: Tenant, hold_id: str, now: int) -> Hold:
    """
    An open one, at an instant.

    Raises:
        NotFound: There never was one by that id, or nobody remembers it.
        Refused: `already_resolved`, `reservation_expired`.
    """
    gate = tenant.live.gate
    customer = gate.holders.get(hold_id)
    if customer is not None:
        commands.let_time_pass(tenant, [customer], now)
    hold = gate.hold(hold_id)
    if hold is not None and hold.expires_at > now:
        return hold
    if hold is not None:
        raise _resolved(hold_id, "lapsed")
    resolution = gate.resolved.get(hold_id)
    if resolution is None:
        raise NotFound("not_found", f"There is no reservation {hold_id!r}.")
    raise _resolved(hold_id, resolution.status)


def _resolved(hold_id: str, status: str) -> Refused:
    if status == "lapsed":
        return Refused("reservation_expired", f"Reservation {hold_id!r} has lapsed.")
    return Refused(
        "already_resolved", f"Reservation {hold_id!r} was {status} before.", status_was=status
    )


def hold_json(tenant: Tenant, hold: Hold) -> dict[str, Any]:
    """A hold as the interface shows it."""
    return {
        "id": hold.id,
        "customer": hold.customer,
        "feature": hold.feature,
        "status": "open",
        "granted": format_quantity(hold.units_pico),
        "drawn": format_quantity(hold.used_pico),
        "scope": hold.scope,
        "credit": hold.credit,
        "cost": None if hold.credit is None else format_quantity(hold.cost_pico),
        "created_at": format_instant(hold.created_at),
        "expires_at": format_instant(hold.expires_at),
        **(_lease_json(tenant, hold) if hold.lease else {}),
    }


def _lease_json(tenant: Tenant, hold: Hold) -> dict[str, Any]:
    """How far decisions by leases can be off, and what to do when a lease cannot be renewed."""
    feature = tenant.catalog.features.get(hold.feature)
    purse = tenant.live.gate.purse(hold.customer)
    still_open = sum(
        one.units_pico for one in purse.holds.values() if one.lease and one.feature == hold.feature
    )
    return {
        "lease": True,
        "fail": "closed" if feature is None else feature.fail.value,
        "open_leases": format_quantity(still_open),
    }


def _opened(tenant: Tenant, hold: Hold, seq: int) -> dict[str, Any]:
    told = hold_json(tenant, hold) | {"seq": seq, "position": f"0:{seq}"}
    del told["drawn"]
    return told | _wallet_after(tenant, hold)


def _after(core: Core, tenant: Tenant, hold: Hold, seq: int) -> dict[str, Any]:
    return {
        "seq": seq,
        "position": f"0:{seq}",
        "credit": hold.credit,
        **_wallet_after(tenant, hold),
        "as_of": core.as_of(),
    }


def _wallet_after(tenant: Tenant, hold: Hold) -> dict[str, Any]:
    if hold.credit is None:
        return {"balance_after": None, "available_after": None}
    wallet = tenant.live.gate.purse(hold.customer).wallet(hold.credit)
    return {
        "balance_after": format_quantity(wallet.balance_pico),
        "available_after": format_quantity(wallet.available_pico(None)),
    }


def ttl_us(seconds: int) -> int:
    """
    Raises:
        Rejected: `invalid_parameter` outside of 1 second to a day.
    """
    if not 1 <= seconds <= MAX_TTL_S:
        raise Rejected("invalid_parameter", f"ttl_s is from 1 to {MAX_TTL_S} seconds.")
    return seconds * SECOND
