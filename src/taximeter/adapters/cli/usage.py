"""`usage`: a meter over time, as a table."""

from __future__ import annotations

import time
from datetime import date
from typing import Annotated, Any

from cyclopts import Parameter

from taximeter import periods
from taximeter.adapters.cli.common import Server, console, plain_time, print_json, segment
from taximeter.instants import format_instant

HERE = Server()


def usage(
    meter: str,
    *,
    start: Annotated[str | None, Parameter(name="--from")] = None,
    end: Annotated[str | None, Parameter(name="--to")] = None,
    window: str = "day",
    rolling: str | None = None,
    customer: str | None = None,
    group_by: str | None = None,
    filter: str | None = None,
    tz: str = "UTC",
    server: Server = HERE,
) -> int:
    """
    Usage of a meter. Without --from and --to: this month, by day.

    Parameters
    ----------
    meter
        Key of the meter.
    start
        Date (local midnight in --tz) or RFC 3339 instant, inclusive.
    end
        Date or instant, exclusive.
    window
        minute, hour, day, week, month or none.
    rolling
        Let each window reach back so far from its end, like 24h or 7d.
    customer
        Only this customer.
    group_by
        Names of dimensions, separated by commas.
    filter
        Only events for which this expression is true.
    tz
        IANA time zone of days, weeks, months, and of plain dates.
    """
    this_month, next_month = _month_now(tz)
    query = {
        "from": _instant(start, tz) if start else this_month,
        "to": _instant(end, tz) if end else next_month,
        "customer": customer,
        "filter": filter,
        "tz": tz,
    }
    client = server.client()
    path = f"/v1/meters/{segment(meter)}/usage"
    answer = client.get(path, **query, window=window, rolling=rolling, group_by=group_by)
    if server.json:
        print_json(answer)
        return 0
    # Asked for instead of added up: the total of a maximum or of unique values is no sum.
    total = client.get(path, **query, window="none")
    _show(answer, total, group_by.split(",") if group_by else [])
    return 0


def _month_now(tz: str) -> tuple[str, str]:
    today = periods.local_day(time.time_ns() // 1000, periods.check_timezone(tz))
    first = today.replace(day=1)
    following = date(first.year + first.month // 12, first.month % 12 + 1, 1)
    return _midnight(first, tz), _midnight(following, tz)


def _instant(text: str, tz: str) -> str:
    """A plain date as its local midnight; anything else is for the server to judge."""
    try:
        return _midnight(date.fromisoformat(text), tz)
    except ValueError:
        return text


def _midnight(day: date, tz: str) -> str:
    return format_instant(periods.local_midnight(day, tz))


def _show(answer: dict[str, Any], total: dict[str, Any], groups: list[str]) -> None:
    from rich.table import Table

    table = Table(show_footer=True)
    table.add_column("from", footer="total")
    for name in groups:
        table.add_column(name)
    whole = total["items"][0]["value"] if total["items"] else "0"
    table.add_column("value", justify="right", footer=whole)
    for item in answer["items"]:
        values = [str((item.get("group") or {}).get(name, "-")) for name in groups]
        table.add_row(plain_time(item["start"]), *values, item["value"])
    out = console()
    out.print(f"{answer['meter']} by {answer['window']}", markup=False)
    out.print(table)
    as_of = answer.get("as_of") or {}
    out.print(f"as of position {as_of.get('position')}, {plain_time(as_of.get('time'))}")
