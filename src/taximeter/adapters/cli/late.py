"""`late-usage` and `rerate`: what came after its period was billed, and what it changes."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import App, Parameter

from taximeter.adapters.cli.common import Server, console, plain_time, print_json, segment
from taximeter.adapters.cli.failures import DIFFERENCE, OK

HERE = Server()

late_usage = App(name="late-usage", help="Usage that came after its period was billed.")


@late_usage.default
def listed(
    *,
    customer: str | None = None,
    status: str | None = None,
    limit: int = 100,
    server: Server = HERE,
) -> int:
    """
    List it, newest first, with what became of it.

    Parameters
    ----------
    customer
        Only of this one.
    status
        pending, held, adjusted, repriced, written_off, credited or no_effect.
    limit
        How many at most.
    """
    query = {"customer": customer, "status": status, "limit": limit}
    asked = {name: value for name, value in query.items() if value is not None}
    answer = server.client().get("/v1/late-usage", **asked)
    if server.json:
        print_json(answer)
        return OK
    from rich.table import Table

    table = Table("id", "customer", "meter", "period", "events", "quantity", "amount", "status",
                  box=None, header_style="bold")  # fmt: skip
    for one in answer["items"]:
        table.add_row(
            one["id"],
            one["customer"],
            one["meter"],
            plain_time(one["period"]["start"]),
            f"+{one['events']} -{one['retractions']}",
            one["quantity"] or "?",
            "?" if one["amount"] is None else f"{one['amount']} {one['currency']}",
            one["status"],
        )
    console().print(table if answer["items"] else "Nothing came late.")
    return OK


@late_usage.command
def release(late_id: str, /, *, reason: str = "", server: Server = HERE) -> int:
    """
    Bill what was held with the next invoice.

    Parameters
    ----------
    late_id
        As the list shows it.
    reason
        Why.
    """
    return _decide(late_id, "release", reason, server)


@late_usage.command(name="write-off")
def write_off(late_id: str, /, *, reason: str = "", server: Server = HERE) -> int:
    """
    Never bill it.

    Parameters
    ----------
    late_id
        As the list shows it.
    reason
        Why.
    """
    return _decide(late_id, "write-off", reason, server)


def _decide(late_id: str, what: str, reason: str, server: Server) -> int:
    path = f"/v1/late-usage/{segment(late_id)}/{what}"
    found = server.client().post(path, {"reason": reason})
    if server.json:
        print_json(found)
    else:
        amount = "" if found["amount"] is None else f", {found['amount']} {found['currency']}"
        console().print(f"{found['id']} is {found['status']}{amount}.")
    return OK


def rerate(
    customer: str,
    period: str,
    /,
    *,
    catalog: Annotated[int | None, Parameter(name="--catalog")] = None,
    server: Server = HERE,
) -> int:
    """
    Show what billed periods would come to now; it changes nothing.

    Exits with 1 if there is a difference.

    Parameters
    ----------
    customer
        Whose.
    period
        A month such as 2026-10, or START..END.
    catalog
        By the prices of this version, instead of those the periods are pinned to.
    """
    start, dots, end = period.partition("..")
    body: dict[str, Any] = {"customer": customer, "period": period}
    if dots:
        body["period"] = {"start": start, "end": end}
    if catalog is not None:
        body["catalog_version"] = catalog
    found = server.client().post("/v1/rerate", body)
    if server.json:
        print_json(found)
    else:
        _show(found)
    return DIFFERENCE if any(_is_some(one["delta"]) for one in found["lines"]) else OK


def _is_some(amount: str) -> bool:
    """Whether an amount is not zero."""
    return bool(amount.strip("-0."))


def _show(found: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table("period", "price", "billed", "now", "difference", "cause",
                  box=None, header_style="bold")  # fmt: skip
    for one in found["lines"]:
        values = ", ".join(f"{name}: {value}" for name, value in one["group"].items())
        table.add_row(
            plain_time(one["period"]["start"]),
            f"{one['price']} ({values})" if values else one["price"],
            one["billed"],
            one["rerated"],
            one["delta"],
            one["cause"] or "",
        )
    console().print(table if found["lines"] else "No billing period has ended then.")
    for total in found["totals"]:
        console().print(
            f"{total['billed']} {total['currency']} billed, {total['rerated']} now: "
            f"{total['delta']}"
        )
