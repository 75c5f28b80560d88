"""
How much was used, when, and by what: exact to the acknowledgement.
"""

from __future__ import annotations

from typing import Any

from taximeter.errors import NotFound
from taximeter.instants import format_instant
from taximeter.meters.definition import Meter, check_dimension
from taximeter.meters.filters import parse_filter
from taximeter.periods import (
    Anchor,
    Cadence,
    Period,
    Schedule,
    WindowSize,
    check_timezone,
    windows,
)
from taximeter.ports import UsageQuery
from taximeter.quantities import format_quantity
from taximeter.services.core import Core, require_customer
from taximeter.services.tenant import Tenant


def find_meter(tenant: Tenant, key: str) -> Meter:
    meter = tenant.catalog.meters.get(key)
    if meter is None:
        raise NotFound("not_found", f"There is no meter {key!r}.")
    return meter


def month_until(now: int, timezone: str) -> Period:
    """The running calendar month of a zone, up to but without the next microsecond."""
    month = Schedule(0, Cadence.MONTH, Anchor.CALENDAR, check_timezone(timezone)).containing(now)
    return Period(month.start, now + 1)


async def usage(
    core: Core,
    tenant: Tenant,
    meter_key: str,
    *,
    start: int,
    end: int,
    window: WindowSize,
    timezone: str,
    customer: str | None = None,
    group_by: tuple[str, ...] = (),
    filter: str | None = None,
    at_least: str | None = None,
) -> dict[str, Any]:
    """
    One meter over [start, end), as the HTTP interface answers it: one item for each window and
    group that has usage, in that order. Without windows and groups there is always one item.

    Raises:
        NotFound: No such meter or customer.
        Rejected: `too_many_windows`, `invalid_filter`, `unknown_timezone`, `invalid_parameter`.
    """
    meter = find_meter(tenant, meter_key)
    check_timezone(timezone)
    for name in group_by:
        check_dimension(meter, name)
    if filter is not None:
        parse_filter(filter)
    subjects = None
    if customer is not None:
        require_customer(tenant, customer)
        subjects = tenant.customers[customer].all_subjects
    spans = windows(start, end, window, timezone)
    upto = await core.upto(at_least)
    as_of = {"position": f"0:{upto}", "time": format_instant(core.clock.now())}
    query = UsageQuery(tenant.name, meter, spans, upto, subjects, group_by, filter)
    rows = await core.store.usage(query)
    items = [
        _item(spans[row.window], group_by, row.group, row.value_pico)
        for row in sorted(rows, key=lambda row: (row.window, [v or "" for v in row.group]))
    ]
    if not items and window is WindowSize.NONE and not group_by:
        items = [_item(Period(start, end), (), (), 0)]
    return {
        "meter": meter_key,
        "from": format_instant(start),
        "to": format_instant(end),
        "window": window.value,
        "items": items,
        "as_of": as_of,
    }


def _item(
    span: Period, names: tuple[str, ...], group: tuple[str | None, ...], value_pico: int
) -> dict[str, Any]:
    return {
        **span.to_json(),
        "group": dict(zip(names, group, strict=True)),
        "value": format_quantity(value_pico),
    }
