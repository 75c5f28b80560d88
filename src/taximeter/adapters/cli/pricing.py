"""`backtest`, `simulate`, `costs` and `rollouts`: prices before they are everybody's."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from taximeter.adapters.cli.catalog import read_file
from taximeter.adapters.cli.common import FILE, Server, console, notice, plain_time, print_json
from taximeter.adapters.cli.failures import OK
from taximeter.adapters.client import Client
from taximeter.catalog.yaml_reader import read_document
from taximeter.errors import Rejected

HERE = Server()
_POLL_S = 0.5

costs = App(name="costs", help="What usage costs you: the dated rates that margins come from.")


def backtest(
    file: Annotated[Path | None, FILE] = None,
    /,
    *,
    version: int | None = None,
    last: str = "90d",
    customer: list[str] | None = None,
    limit: Annotated[int, Parameter(name=("--limit", "-n"))] = 20,
    server: Server = HERE,
) -> int:
    """
    Try a catalogue on the usage of the past. Changes nothing.

    Parameters
    ----------
    file
        The catalogue to try, YAML or JSON; - for stdin.
    version
        Instead of a file: a version that is published or staged.
    last
        How far to look back, such as 90d.
    customer
        Only this one (repeatable).
    limit
        How many customers to list: those whose bill changes most.
    """
    if (file is None) == (version is None):
        raise Rejected("invalid_parameter", "Give a FILE to try, or --version of one there is.")
    body = {
        "catalog": None if file is None else _document(file),
        "version": version,
        "last": last,
        "customers": customer,
        "limit": limit,
    }
    client = server.client()
    job = client.post("/v1/backtests", {k: v for k, v in body.items() if v is not None})
    result = _finished(client, job)
    if server.json:
        print_json(result)
        return OK
    _show_totals(result)
    _show_customers(result)
    for one in result["not_placed"]:
        lacks = ", ".join(one["lacks"])
        notice(f"{one['customer']} ({one['subscription']}) was left out: it lacks {lacks}.")
    return OK


def simulate(
    customer: str | None = None,
    *,
    plan: str | None = None,
    file: Annotated[Path | None, FILE] = None,
    usage: list[str] | None = None,
    periods: int = 3,
    growth: str = "0%",
    learn: int = 3,
    server: Server = HERE,
) -> int:
    """
    The invoices of periods to come. Changes nothing.

    Parameters
    ----------
    customer
        Whose; without one, give --plan and --usage.
    plan
        As if on this plan from the next period on.
    file
        As if by this catalogue; - for stdin.
    usage
        Instead of what was used in the past: METER=QUANTITY (repeatable).
    periods
        How many.
    growth
        Of usage from one period to the next, such as 10%.
    learn
        How many past periods to learn the usage from.
    """
    body: dict[str, Any] = {"periods": periods, "growth": growth, "learn": learn}
    body |= {"customer": customer} if customer else {}
    body |= {"plan": plan} if plan else {}
    body |= {"catalog": _document(file)} if file is not None else {}
    if usage is not None:
        body["usage"] = dict(one.partition("=")[::2] for one in usage)
    answer = server.client().post("/v1/simulations", body)
    if server.json:
        print_json(answer)
        return OK
    from rich.table import Table

    table = Table("period", "line", "quantity", "amount")
    for invoice in answer["invoices"]:
        first = plain_time(invoice["period"]["start"])
        for line in invoice["lines"]:
            table.add_row(first, line["description"], line["quantity"], line["amount"])
            first = ""
        table.add_row("", "[bold]total[/]", "", f"[bold]{invoice['total']}[/]", end_section=True)
    console().print(table)
    for total in answer["totals"]:
        console().print(f"Revenue of {periods} periods: {total['revenue']} {total['currency']}")
    return OK


@costs.command(name="show")
def show_costs(*, server: Server = HERE) -> int:
    """List the rates."""
    rates = server.client().get("/v1/cost-rates")["rates"]
    if server.json:
        print_json(rates)
        return OK
    from rich.table import Table

    table = Table("meter", "match", "unit", "since")
    for one in rates:
        match = ", ".join(f"{name}: {value}" for name, value in one["match"].items())
        since = plain_time(one["effective_at"]) if one["effective_at"] else "always"
        table.add_row(one["meter"], match or "-", f"{one['unit']} {one['currency']}", since)
    console().print(table)
    return OK


@costs.command(name="put")
def put_costs(file: Annotated[Path, FILE], /, *, reason: str = "", server: Server = HERE) -> int:
    """
    Replace the list.

    Parameters
    ----------
    file
        A document with `rates`, YAML or JSON; - for stdin.
    reason
        For the audit trail.
    """
    answer = server.client().put("/v1/cost-rates", {**_document(file), "reason": reason})
    if server.json:
        print_json(answer["rates"])
    else:
        console().print(f"{len(answer['rates'])} rates are in force.")
    return OK


def _document(file: Path) -> dict[str, Any]:
    content, content_type = read_file(file)
    return read_document(content, "json" if content_type.endswith("json") else "yaml")


def _finished(client: Client, job: dict[str, Any]) -> dict[str, Any]:
    """Wait for the end of a job, telling the person how far it is."""
    while job["status"] == "running":
        if job["total"]:
            notice(f"{job['done']} of {job['total']} periods")
        time.sleep(_POLL_S)
        job = client.get(f"/v1/backtests/{job['id']}")
    result: dict[str, Any] = job["result"]
    return result


def _show_totals(result: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table("", "customers", "before", "after", "difference", "margin before", "after")
    for one in result["totals"]:
        table.add_row(
            one["currency"],
            f"{one['customers']} ({one['pay_less']} less, {one['pay_more']} more)",
            *_sides(one),
        )
    console().print(table)


def _show_customers(result: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table("customer", "periods", "before", "after", "difference", "margin before", "after")
    for one in result["customers"]:
        table.add_row(one["customer"], str(one["periods"]), *_sides(one))
    console().print(table)


def _sides(one: dict[str, Any]) -> list[str]:
    names = ("before", "after", "difference", "margin_before", "margin_after")
    return [one[name] or "-" for name in names]
