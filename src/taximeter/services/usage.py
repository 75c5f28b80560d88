"""
How much was used, when, and by what: exact to the acknowledgement.
"""

from __future__ import annotations

from typing import Any, Final

from taximeter.catalog.durations import format_duration
from taximeter.errors import NotFound, Rejected
from taximeter.instants import format_instant
from taximeter.meters.definition import Meter, check_dimension, is_estimate, weighs_time
from taximeter.meters.filters import parse_filter
from taximeter.meters.sketch import STANDARD_ERROR
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

MAX_OVERLAP: Final = 1500
"""How many windows an event may be in when they roll: 24 hours by the minute are 1440."""


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
    rolling: int | None = None,
    at_least: str | None = None,
) -> dict[str, Any]:
    """
    One meter over [start, end), as the HTTP interface answers it: one item for each window and
    group that has usage, in that order. Without windows and groups there is always one item.

    Args:
        rolling: If given, each window reaches back so many microseconds from its end, however
            short it is, and begins before `start` if need be.

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
    if rolling is not None:
        spans = _rolled(spans, window, rolling)
    upto = await core.upto(at_least)
    now = core.clock.now()
    as_of = {"position": f"0:{upto}", "time": format_instant(now)}
    past = _until(spans, now) if weighs_time(meter) else spans
    query = UsageQuery(tenant.name, meter, past, upto, subjects, group_by, filter)
    rows = await core.store.usage(query)
    items = [
        _item(spans[row.window], group_by, row.group, row.value_pico)
        for row in sorted(rows, key=lambda row: (row.window, [v or "" for v in row.group]))
    ]
    if not items and window is WindowSize.NONE and not group_by:
        items = [_item(Period(start, end), (), (), 0)]
    answer: dict[str, Any] = {
        "meter": meter_key,
        "from": format_instant(start),
        "to": format_instant(end),
        "window": window.value,
    }
    if rolling is not None:
        answer["rolling"] = format_duration(rolling)
    if is_estimate(meter):
        answer["estimate"] = {"standard_error": STANDARD_ERROR}
    return {**answer, "items": items, "as_of": as_of}


def _rolled(spans: tuple[Period, ...], window: WindowSize, rolling: int) -> tuple[Period, ...]:
    if window is WindowSize.NONE:
        raise Rejected("invalid_parameter", "`rolling` needs a `window`: how often it is read.")
    if spans and rolling * len(spans) > MAX_OVERLAP * (spans[-1].end - spans[0].start):
        raise Rejected(
            "too_many_windows",
            f"each instant would be in more than {MAX_OVERLAP} rolling windows; ask for larger "
            "windows or less to roll over",
            limit=MAX_OVERLAP,
        )
    return tuple(Period(max(0, span.end - rolling), span.end) for span in spans)


def _until(spans: tuple[Period, ...], now: int) -> tuple[Period, ...]:
    """What has passed of them: a level that holds now is no usage of tomorrow yet."""
    return tuple(Period(span.start, max(span.start, min(span.end, now))) for span in spans)


def _item(
    span: Period, names: tuple[str, ...], group: tuple[str | None, ...], value_pico: int
) -> dict[str, Any]:
    return {
        **span.to_json(),
        "group": dict(zip(names, group, strict=True)),
        "value": format_quantity(value_pico),
    }
