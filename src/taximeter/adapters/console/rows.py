"""
One line of the customers table: plan, metered entitlements, running fare.
"""

from __future__ import annotations

import msgspec

from taximeter.catalog.features import CUSTOMER, Enforcement, MeteredEntitlement
from taximeter.entitlements.decide import Decision
from taximeter.entitlements.readings import Kind, Reading
from taximeter.errors import NotFound
from taximeter.instants import format_instant
from taximeter.money import exponent, format_minor
from taximeter.quantities import format_quantity
from taximeter.services.billing.drafting.fare import preview
from taximeter.services.core import Core
from taximeter.services.gate.check import Ask, check
from taximeter.services.tenant import Tenant

NEAR_PERMILLE = 800  # of a limit: worth a look
_MAX_EXPONENT = 4  # of any currency; makes fares of different currencies comparable as numbers


class Gauge(msgspec.Struct, frozen=True):
    """
    Usage of one metered feature in its running window.

    Attributes:
        used, limit: Plain decimal text; no limit is None.
        permille: Share of the limit, 0 to 1000 even when it is exceeded; None without a limit.
        percent: The same for people, beyond 100 too: "83%".
        state: `ok`, `near`, `full` (a hard limit is reached), `over` (a soft one is exceeded),
            `credit` (what is included is used, credit pays), `open` (no limit).
    """

    feature: str
    used: str
    limit: str | None
    permille: int | None
    percent: str
    state: str
    resets_at: str | None


class Row(msgspec.Struct, frozen=True):
    """
    Attributes:
        plan: "" without a subscription.
        fare: Total of the running fare in its currency; None where there is none.
        rank: Orders rows by fare, whatever the currency.
        events: How often its counters counted in the running period.
        note: What keeps the numbers from being final, or "".
        version: Another one when anything on the customer's page may look different.
    """

    key: str
    name: str
    plan: str
    gauges: tuple[Gauge, ...]
    fare: str | None
    currency: str
    rank: int
    events: int
    note: str
    version: int = 0


async def customer_row(core: Core, tenant: Tenant, key: str) -> Row:
    """
    Raises:
        NotFound: No such customer.
    """
    customer = tenant.customers.get(key)
    if customer is None:
        raise NotFound("not_found", f"There is no customer {key!r}.")
    account = tenant.live.accounts[key]
    plan = tenant.standing(account, core.clock.now()).plan
    fare, currency, rank = await _fare(core, tenant, key)
    note = "recounting" if account.rebuilding else "" if plan else "no subscription"
    return Row(
        key=key,
        name=customer.name,
        plan=plan or "",
        gauges=gauges(core, tenant, key),
        fare=fare,
        currency=currency,
        rank=rank,
        events=sum(account.cells[::2]),
        note=note,
    )


async def _fare(core: Core, tenant: Tenant, key: str) -> tuple[str | None, str, int]:
    try:
        invoice = await preview(core, tenant, key, None)
    except NotFound:
        return None, "", -1
    minor, currency = invoice.total_minor, invoice.currency
    rank = minor * 10 ** (_MAX_EXPONENT - exponent(currency))
    return format_minor(minor, currency), currency, rank


def gauges(core: Core, tenant: Tenant, key: str) -> tuple[Gauge, ...]:
    """Every metered feature the customer's plan grants, by name."""
    now = core.clock.now()
    granted = tenant.standing(tenant.live.accounts[key], now).entitlements
    found = []
    for feature in sorted(granted):
        entitlement = granted[feature]
        if isinstance(entitlement, MeteredEntitlement):
            decision = check(tenant, Ask(key, feature, 0), now)
            found.append(gauge(feature, entitlement, decision))
    return tuple(found)


def gauge(feature: str, entitlement: MeteredEntitlement, decision: Decision) -> Gauge:
    """Where a feature stands: its main limit, or another window of the customer that is fuller
    and near its end, because that is the one to be reached."""
    main = entitlement.main
    name, enforcement = feature, Enforcement.HARD if main is None else main.enforcement
    used_pico, limit_pico = decision.used_pico or 0, decision.limit_pico
    resets_at = decision.resets_at
    permille = None if limit_pico is None else _share(used_pico, limit_pico)
    for one in decision.limits:
        share = _own_share(one)
        if share is not None and share >= NEAR_PERMILLE and share > (permille or 0):
            name, enforcement, permille = f"{feature} ({one.key})", one.enforcement, share
            used_pico, limit_pico, resets_at = one.used_pico, one.limit_pico, one.resets_at
    # Beyond what is included credit pays: the limit is passed, not closed.
    is_paid = entitlement.credit is not None and name == feature
    state = _state(enforcement is Enforcement.HARD, used_pico, limit_pico, permille)
    if is_paid and limit_pico is not None and used_pico >= limit_pico:
        state = "credit"
    return Gauge(
        feature=name,
        used=format_quantity(used_pico),
        limit=None if limit_pico is None else format_quantity(limit_pico),
        permille=None if permille is None else min(1000, permille),
        percent="" if permille is None else f"{permille // 10}%",
        state=state,
        resets_at=None if resets_at is None else format_instant(resets_at),
    )


def _own_share(reading: Reading) -> int | None:
    """Of a window of the customer as a whole."""
    if reading.kind is not Kind.LIMIT or reading.level != CUSTOMER or reading.limit_pico is None:
        return None
    return _share(reading.used_pico, reading.limit_pico)


def _share(used_pico: int, limit_pico: int) -> int:
    """Thousandths of a limit, rounded down; a limit of nothing is always reached."""
    return used_pico * 1000 // limit_pico if limit_pico else 1000


def _state(is_hard: bool, used_pico: int, limit_pico: int | None, permille: int | None) -> str:
    if limit_pico is None or permille is None:
        return "open"
    if is_hard and used_pico >= limit_pico:
        return "full"
    if used_pico > limit_pico:
        return "over"
    return "near" if permille >= NEAR_PERMILLE else "ok"
