"""
One customer's page: what it may use, what it has used day by day, what that costs so far.
"""

from __future__ import annotations

import asyncio
from fractions import Fraction
from typing import Any

import msgspec

from taximeter.adapters.console.happenings import MAX_SHOWN, Happening, stored_happening
from taximeter.adapters.console.rows import customer_row
from taximeter.catalog.features import BooleanEntitlement, MeteredEntitlement
from taximeter.catalog.prices import UsagePrice
from taximeter.customers import Subscription
from taximeter.errors import NotFound
from taximeter.instants import format_instant
from taximeter.invoices.document import dump_invoice
from taximeter.meters.definition import Aggregation
from taximeter.money import format_exact
from taximeter.periods import Period, WindowSize, local_day, windows
from taximeter.ports import EventsQuery
from taximeter.services.billing.drafting.fare import preview
from taximeter.services.billing.issuing.shown import shown
from taximeter.services.core import Core, require_customer
from taximeter.services.subscriptions.views import subscription_json
from taximeter.services.tenant import Tenant
from taximeter.services.usage import usage
from taximeter.subscriptions.timeline import calendar_months

MAX_CHARTS = 12
MAX_INVOICES = 24
_ADDITIVE = (Aggregation.COUNT, Aggregation.SUM)


class Bar(msgspec.Struct, frozen=True):
    """One local day. `permille` of the chart's height, at least 8 if there was any usage."""

    day: str
    value: str
    permille: int
    is_future: bool


class Chart(msgspec.Struct, frozen=True):
    """
    Usage of one meter, a bar a day.

    Attributes:
        total: What the days sum to, or their highest for a meter whose days cannot be added.
        caption: Says which of the two it is.
    """

    meter: str
    unit: str
    total: str
    caption: str
    bars: tuple[Bar, ...]


async def overview(core: Core, tenant: Tenant, key: str) -> dict[str, Any]:
    """
    Everything that is at hand at once.

    Raises:
        NotFound: No such customer.
    """
    require_customer(tenant, key)
    now = core.clock.now()
    subscription = tenant.running(key, now)
    stored = await core.books.run(
        core.books.books.invoices,
        tenant.name,
        customer=key,
        status=None,
        after=None,
        limit=MAX_INVOICES,
    )
    return {
        "customer": tenant.customers[key],
        "row": await customer_row(core, tenant, key),
        "grants": grants(tenant, key, now),
        "subscription": subscription and subscription_json(tenant, subscription, now),
        "invoices": await shown(core, tenant, stored),
        "fare": await fare(core, tenant, key),
        "now": format_instant(now),
    }


def grants(tenant: Tenant, key: str, now: int) -> list[tuple[str, str]]:
    """Entitlements without a number that moves: (feature, what is granted)."""
    granted = tenant.standing(tenant.live.accounts[key], now).entitlements
    found = []
    for feature, entitlement in sorted(granted.items()):
        if isinstance(entitlement, BooleanEntitlement):
            found.append((feature, "yes" if entitlement.enabled else "no"))
        elif not isinstance(entitlement, MeteredEntitlement):
            found.append((feature, str(entitlement.value)))
    return found


async def fare(core: Core, tenant: Tenant, key: str) -> dict[str, Any] | None:
    """The running fare as an invoice document, or None without a subscription."""
    try:
        return dump_invoice(await preview(core, tenant, key, None))
    except NotFound:
        return None


async def events(core: Core, tenant: Tenant, key: str) -> list[Happening]:
    """The customer's last events, newest first."""
    require_customer(tenant, key)
    found = await core.store.events(
        EventsQuery(
            namespace=tenant.name,
            upto=await core.upto(),
            subjects=tenant.customers[key].all_subjects,
            limit=MAX_SHOWN,
        )
    )
    return [stored_happening(one, key) for one in found]


async def charts(core: Core, tenant: Tenant, key: str) -> list[Chart]:
    """Usage of the running period by local day, for each meter that matters to the customer."""
    require_customer(tenant, key)
    now = core.clock.now()
    subscription = tenant.running(key, now)
    if subscription is None:
        timezone = tenant.customers[key].timezone
        period = calendar_months(timezone).containing(now)
    else:
        timezone = subscription.timezone
        period = tenant.timeline(subscription).containing(now)
    meters = _meters_of(tenant, subscription, now)[:MAX_CHARTS]
    answers = await asyncio.gather(
        *(
            usage(
                core,
                tenant,
                meter,
                start=period.start,
                end=period.end,
                window=WindowSize.DAY,
                timezone=timezone,
                customer=key,
            )
            for meter in meters
        )
    )
    days = windows(period.start, period.end, WindowSize.DAY, timezone)
    return [
        _chart(tenant, meter, answer["items"], days, timezone, now)
        for meter, answer in zip(meters, answers, strict=True)
    ]


def _meters_of(tenant: Tenant, subscription: Subscription | None, now: int) -> list[str]:
    """Meters of the plan's prices and features; all of them without a subscription."""
    if subscription is None:
        return sorted(tenant.catalog.meters)
    terms = tenant.plans.current(subscription.segment_at(now))
    prices = [price for part in terms.parts for price in part.prices.values()]
    priced = [price.meter for price in prices if isinstance(price, UsagePrice)]
    features = [tenant.catalog.features[name].meter for name in terms.entitlements]
    wanted = {meter for meter in (*priced, *features) if meter in tenant.catalog.meters}
    return sorted(meter for meter in wanted if meter is not None)


def _chart(
    tenant: Tenant,
    meter_key: str,
    items: list[dict[str, Any]],
    days: tuple[Period, ...],
    timezone: str,
    now: int,
) -> Chart:
    meter = tenant.catalog.meters[meter_key]
    values = {item["start"]: Fraction(item["value"]) for item in items}
    by_day = [values.get(format_instant(day.start), Fraction(0)) for day in days]
    highest = max(by_day, default=Fraction(0))
    is_additive = meter.aggregation in _ADDITIVE
    total = sum(by_day, Fraction(0)) if is_additive else highest
    bars = tuple(
        Bar(
            day=_day_name(day.start, timezone),
            value=format_exact(value),
            permille=_height(value, highest),
            is_future=day.start > now,
        )
        for day, value in zip(days, by_day, strict=True)
    )
    caption = "this period" if is_additive else f"highest day ({meter.aggregation.value})"
    return Chart(meter_key, meter.unit or "", format_exact(total), caption, bars)


def _height(value: Fraction, highest: Fraction) -> int:
    if value <= 0:
        return 0
    return max(8, int(1000 * value / highest))


def _day_name(at: int, timezone: str) -> str:
    day = local_day(at, timezone)
    return f"{day.day} {day:%b}"
