"""
Credits: grants, what is given back or moved, top-ups, and what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from taximeter.credits.grant import Grant, dump_grant, parse_grant
from taximeter.credits.wallet import Wallet
from taximeter.errors import NotFound, Refused, Rejected
from taximeter.gate.effects import Effect, Issue, Refund, SetTopUp, Transfer, Void
from taximeter.gate.purse import Purse
from taximeter.gate.state import Issued
from taximeter.gate.topup import TopUp
from taximeter.instants import SECOND, format_instant
from taximeter.meters.reading import suggestion
from taximeter.quantities import format_quantity, parse_quantity
from taximeter.services.core import Core, require_customer
from taximeter.services.customers import new_id
from taximeter.services.gate.commands import Answered, Commands, Earlier, command_event
from taximeter.services.tenant import Tenant

Told = Answered | Earlier


def grant(
    core: Core,
    commands: Commands,
    tenant: Tenant,
    customer: str,
    document: dict[str, Any],
    now: int,
    *,
    actor: str,
) -> Told:
    """
    Give credit. The same id and content again gives the first answer.

    Args:
        document: As of `credits.grant.parse_grant`; without an id it gets one.

    Raises:
        NotFound: No such customer.
        Rejected: As of `parse_grant`.
        Refused: `event_conflict`: the id was used for another grant.
    """
    require_customer(tenant, customer)
    if (first := _given_before(commands, tenant, customer, document)) is not None:
        return first
    asked = dict(document)
    reason = asked.pop("reason", None)
    given = parse_grant(
        asked,
        at=now,
        cause=actor if reason is None else f"{actor}: {reason}",
        timezone=tenant.customers[customer].timezone,
        new_id=new_id("grant"),
    )
    asked["id"] = given.id
    event = command_event("grant", given.id, customer, asked)
    identity, earlier = commands.earlier(tenant, event)
    if earlier is not None:
        return earlier
    _check_features(tenant, given)
    commands.let_time_pass(tenant, [customer], now)
    if given.expires_at is not None and given.expires_at <= now:
        raise Rejected("invalid_request", "expires_at: has passed already")

    def answer(seq: int) -> dict[str, Any]:
        return grant_json(given, customer) | after(core, tenant, customer, given.credit, seq)

    return commands.record(tenant, event, identity, now, [Issue(customer, given)], answer)


def _check_features(tenant: Tenant, given: Grant) -> None:
    """A misspelled feature would be credit that pays for nothing. Without a catalogue yet, any."""
    known = tenant.catalog.features
    for feature in given.features if known else ():
        if feature not in known:
            raise Rejected(
                "invalid_request",
                f"features: the catalogue has no feature {feature!r}{suggestion(feature, known)}",
            )


def _given_before(
    commands: Commands, tenant: Tenant, customer: str, document: dict[str, Any]
) -> Told | None:
    """The first answer, also if the grant has expired since and could not be given now."""
    asked = {name: value for name, value in document.items() if name != "reason"}
    if not isinstance(asked.get("id"), str):
        return None
    return commands.earlier(tenant, command_event("grant", asked["id"], customer, asked))[1]


def void(
    core: Core, commands: Commands, tenant: Tenant, grant_id: str, reason: str, now: int
) -> Told:
    """
    End a grant early: what is left of it and not held goes back.

    Raises:
        NotFound: No such grant.
        Refused: `grant_ended`.
    """
    issued = find_grant(tenant, grant_id)
    commands.let_time_pass(tenant, [issued.customer], now)
    wallet = _running(tenant, issued, now)
    before = wallet.balance_pico

    def facts() -> dict[str, Any]:
        return {"id": grant_id, "voided": format_quantity(before - wallet.balance_pico)}

    given = issued.grant
    effect = Void(issued.customer, credit=given.credit, grant=grant_id, reason=reason)
    return _command(core, commands, tenant, "void", grant_id, effect, given.credit, now, facts)


def refund(
    core: Core,
    commands: Commands,
    tenant: Tenant,
    grant_id: str,
    refund_id: str | None,
    amount_pico: int,
    reason: str,
    now: int,
) -> Told:
    """
    Give paid credit back: only what is neither spent nor held.

    Raises:
        NotFound: No such grant.
        Refused: `grant_ended`, `insufficient_credit`.
        Rejected: `invalid_request` for credit nobody paid for.
    """
    issued = find_grant(tenant, grant_id)
    given = issued.grant
    if given.kind != "paid":
        raise Rejected("invalid_request", f"Grant {grant_id!r} is promotional: nobody paid for it.")
    effect = Refund(
        issued.customer,
        credit=given.credit,
        grant=grant_id,
        amount_pico=amount_pico,
        reason=reason,
    )
    found_id = refund_id or new_id("refund")
    facts = {"id": found_id, "grant": grant_id, "refunded": format_quantity(amount_pico)}

    def check() -> None:
        wallet = _running(tenant, issued, now)
        free_pico = wallet.refundable_pico(grant_id)
        if amount_pico > free_pico:
            raise _too_little(given.credit, free_pico, amount_pico, "can be refunded of this grant")

    return _command(
        core, commands, tenant, "refund", found_id, effect, given.credit, now,
        lambda: facts, check,
    )  # fmt: skip


def transfer(
    core: Core,
    commands: Commands,
    tenant: Tenant,
    customer: str,
    to: str,
    credit: str,
    amount_pico: int,
    transfer_id: str | None,
    now: int,
) -> Told:
    """
    Move free credit to another customer; what is moved keeps its terms.

    Raises:
        NotFound: No such customer.
        Refused: `insufficient_credit`.
        Rejected: `invalid_request` for a transfer to oneself.
    """
    require_customer(tenant, customer)
    require_customer(tenant, to)
    if to == customer:
        raise Rejected("invalid_request", "to: a transfer goes to another customer")
    found_id = transfer_id or new_id("transfer")
    effect = Transfer(customer, to=to, credit=credit, amount_pico=amount_pico, id=found_id)
    target = tenant.live.gate.purse(to)

    def facts() -> dict[str, Any]:
        return {
            "id": found_id,
            "from": customer,
            "to": to,
            "credit": credit,
            "amount": format_quantity(amount_pico),
            "to_balance_after": format_quantity(target.wallet(credit).balance_pico),
        }

    def check() -> None:
        commands.let_time_pass(tenant, [customer, to], now)
        free_pico = tenant.live.gate.purse(customer).wallet(credit).transferable_pico
        if amount_pico > free_pico:
            raise _too_little(credit, free_pico, amount_pico, "can be moved")

    return _command(core, commands, tenant, "transfer", found_id, effect, credit, now, facts, check)


def set_top_up(
    core: Core,
    commands: Commands,
    tenant: Tenant,
    customer: str,
    credit: str,
    top_up: TopUp | None,
    now: int,
) -> Told:
    """Make automatic top-ups of a credit, change them, or (None) end them."""
    require_customer(tenant, customer)
    effect = SetTopUp(customer, credit=credit, top_up=top_up)
    facts = {"customer": customer} | ({"credit": credit} if top_up is None else top_up_json(top_up))
    return _command(
        core, commands, tenant, "auto-top-up", new_id("set"), effect, credit, now, lambda: facts
    )


# --- recording ----------------------------------------------------------------------------------


def _command(
    core: Core,
    commands: Commands,
    tenant: Tenant,
    what: str,
    command_id: str,
    effect: Effect,
    credit: str,
    now: int,
    facts: Callable[[], dict[str, Any]],
    check: Callable[[], None] | None = None,
) -> Told:
    """
    Args:
        check: Raises what keeps it from happening; not asked for one that was given before.
    """
    data = msgspec.to_builtins(effect)
    event = command_event(what, command_id, effect.customer, data)
    identity, earlier = commands.earlier(tenant, event)
    if earlier is not None:
        return earlier
    if check is not None:
        commands.let_time_pass(tenant, [effect.customer], now)
        check()

    def answer(seq: int) -> dict[str, Any]:
        return facts() | after(core, tenant, effect.customer, credit, seq)

    return commands.record(tenant, event, identity, now, [effect], answer)


def after(core: Core, tenant: Tenant, customer: str, credit: str, seq: int) -> dict[str, Any]:
    """What every answer about credit ends with."""
    wallet = tenant.live.gate.purse(customer).wallet(credit)
    return {
        "credit": credit,
        "seq": seq,
        "position": f"0:{seq}",
        "balance_after": format_quantity(wallet.balance_pico),
        "available_after": format_quantity(wallet.available_pico(None)),
        "as_of": core.as_of(),
    }


def find_grant(tenant: Tenant, grant_id: str) -> Issued:
    found = tenant.live.gate.grants.get(grant_id)
    if found is None:
        raise NotFound("not_found", f"There is no grant {grant_id!r}.")
    return found


def _running(tenant: Tenant, issued: Issued, now: int) -> Wallet:
    given = issued.grant
    if given.id in tenant.live.gate.voided:
        raise Refused("grant_ended", f"Grant {given.id!r} was voided before.")
    if given.expires_at is not None and given.expires_at <= now:
        raise Refused(
            "grant_ended", f"Grant {given.id!r} expired at {format_instant(given.expires_at)}."
        )
    return tenant.live.gate.purse(issued.customer).wallet(given.credit)


def _too_little(credit: str, free_pico: int, amount_pico: int, what: str) -> Refused:
    return Refused(
        "insufficient_credit",
        f"{format_quantity(free_pico)} {credit} {what}, {format_quantity(amount_pico)} asked for.",
        credit=credit,
        available=format_quantity(free_pico),
    )


def positive(value: Any, name: str) -> int:
    """
    An amount from a request, in pico, above 0.

    Raises:
        Rejected: `invalid_amount`.
    """
    try:
        pico = parse_quantity(value)
    except Rejected as error:
        raise Rejected("invalid_amount", f"{name}: {error.message}") from None
    if pico <= 0:
        raise Rejected("invalid_amount", f"{name}: is not above 0")
    return pico


# --- showing ------------------------------------------------------------------------------------


def grant_json(given: Grant, customer: str) -> dict[str, Any]:
    return dump_grant(given) | {"customer": customer}


def top_up_json(top_up: TopUp) -> dict[str, Any]:
    lifetime = top_up.lifetime_us
    return {
        "credit": top_up.credit,
        "below": format_quantity(top_up.below_pico),
        "amount": format_quantity(top_up.amount_pico),
        "cooldown_s": top_up.cooldown_us // SECOND,
        "max_per_day": top_up.max_per_day,
        "lifetime_s": None if lifetime is None else lifetime // SECOND,
    }


def credits_of(purse: Purse | None, credit: str | None) -> Iterable[str]:
    """The credits a customer has or had; or the one that is asked for."""
    if credit is not None:
        return [credit]
    return sorted(purse.wallets) if purse is not None else []


def balance_json(tenant: Tenant, customer: str, credit: str) -> dict[str, Any]:
    """What a customer has of one credit now, grant by grant in burn order."""
    purse = tenant.live.gate.purses.get(customer)
    wallet = None if purse is None else purse.wallets.get(credit)
    if purse is None or wallet is None:
        wallet = Wallet(credit, customer)
    return {
        "customer": customer,
        "credit": credit,
        "balance": format_quantity(wallet.balance_pico),
        "available": format_quantity(wallet.available_pico(None)),
        "reserved": format_quantity(wallet.reserved_pico),
        "overdraft": format_quantity(wallet.overdraft_pico),
        "overage": format_quantity(0 if purse is None else purse.overage.get(credit, 0)),
        "grants": [lot.to_json() for lot in wallet.lots()],
        "holds": _holds_json(purse, credit),
    }


def _holds_json(purse: Purse | None, credit: str) -> list[dict[str, Any]]:
    if purse is None:
        return []
    return [
        {
            "id": hold.id,
            "feature": hold.feature,
            "cost": format_quantity(hold.cost_pico),
            "expires_at": format_instant(hold.expires_at),
        }
        for hold in purse.holds.values()
        if hold.credit == credit
    ]
