"""`aging`, `journal`, `trial-balance`, `recognition`, `statement`: what the accounts say."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from taximeter.adapters.cli.common import Server, console, plain_time, print_json, segment

HERE = Server()
OK = 0

From = Annotated[str | None, Parameter(name="--from")]


def aging(customer: str | None = None, *, at: str | None = None, server: Server = HERE) -> int:
    """
    What is open on invoices, by how many days it is overdue.

    Parameters
    ----------
    customer
        Only of this one.
    at
        As it stood at this instant. [default: now]
    """
    answer = server.client().get("/v1/accounting/aging", customer=customer, at=at)
    if server.json:
        print_json(answer)
        return OK
    from rich.table import Table

    if not answer["items"]:
        console().print("Nothing is open.")
        return OK
    names = list(answer["totals"][0]["buckets"])
    table = Table("customer", "currency", *names, "total")
    everyone = [{"customer": "all", **total} for total in answer["totals"]]
    for one in [*answer["items"], *everyone]:
        table.add_row(
            one["customer"], one["currency"], *(one["buckets"][name] for name in names),
            one["total"], end_section=one is answer["items"][-1],
        )  # fmt: skip
    console().print(table)
    return OK


def journal(
    *,
    from_: From = None,
    to: str | None = None,
    customer: str | None = None,
    invoice: str | None = None,
    format: Literal["text", "csv"] = "text",
    limit: int = 100,
    server: Server = HERE,
) -> int:
    """
    Every entry of the journal, in the order of its time.

    Parameters
    ----------
    from_
        RFC 3339 instant of the first.
    to
        RFC 3339 instant before which the last is.
    customer
        Only of this one.
    invoice
        Only of this one, by its id.
    format
        csv prints the whole span, a line for each posting.
    limit
        At most so many; not for csv.
    """
    query: dict[str, Any] = {"from": from_, "to": to, "customer": customer, "invoice": invoice}
    client = server.client()
    if format == "csv":
        query = {name: value for name, value in query.items() if value is not None}
        reply = client.request("GET", "/v1/accounting/journal", query=query | {"format": "csv"})
        sys.stdout.write(reply.body.decode())
        return OK
    answer = client.get("/v1/accounting/journal", limit=limit, **query)
    if server.json:
        print_json(answer)
        return OK
    from rich.table import Table

    table = Table("at", "kind", "customer", "about", "account", "debit", "credit", "")
    for entry in answer["items"]:
        first = (
            plain_time(entry["at"]), entry["kind"], entry["customer"],
            entry["cause"].get("number") or entry["source"] or entry["invoice"] or "-",
        )  # fmt: skip
        for number, one in enumerate(entry["postings"]):
            head = ("", "", "", "") if number else first
            table.add_row(
                *head, one["account"], one.get("debit", ""), one.get("credit", ""),
                entry["currency"], end_section=one is entry["postings"][-1],
            )  # fmt: skip
    console().print(table)
    if answer["next"]:
        console().print("There are more: raise --limit, or --from an instant.")
    return OK


def trial_balance(*, at: str | None = None, server: Server = HERE) -> int:
    """
    What stands on each account; debits and credits are the same in each currency.

    Parameters
    ----------
    at
        As it stood at this instant. [default: now]
    """
    answer = server.client().get("/v1/accounting/trial-balance", at=at)
    if server.json:
        print_json(answer)
        return OK
    from rich.table import Table

    table = Table("account", "debit", "credit", "currency")
    for one in answer["items"]:
        table.add_row(one["account"], one["debit"], one["credit"], one["currency"])
    table.add_section()
    for one in answer["totals"]:
        table.add_row("total", one["debit"], one["credit"], one["currency"])
    console().print(table)
    return OK


def recognition(*, from_: From = None, to: str | None = None, server: Server = HERE) -> int:
    """
    Revenue by month: recognised, and of what is billed still to come.

    Parameters
    ----------
    from_
        First month, such as 2026-10. [default: the last]
    to
        Last month. [default: the running one]
    """
    answer = server.client().get("/v1/accounting/recognition", **{"from": from_, "to": to})
    if server.json:
        print_json(answer)
        return OK
    from rich.table import Table

    table = Table("month", "recognised", "to come", "breakage", "total", "currency", "books")
    for one in answer["items"]:
        table.add_row(
            one["month"], one["recognised"], one["scheduled"], one["breakage"], one["total"],
            one["currency"], "closed" if one["closed"] else "open",
        )  # fmt: skip
    console().print(table)
    for one in answer["deferred"]:
        console().print(f"deferred: {one['amount']} {one['currency']}")
    return OK


def close_month(month: str, *, server: Server = HERE) -> int:
    """
    Close a month of the books: what it earned is recognised, and nothing is dated in it any more.

    Parameters
    ----------
    month
        Such as 2026-10; those before it are closed with it.
    """
    answer = server.client().post("/v1/accounting/close", {"month": month})
    if server.json:
        print_json(answer)
    else:
        what = f"{answer['entries']} entries" if answer["entries"] else "nothing was to be booked"
        console().print(f"{answer['month']} is closed: {what}.")
    return OK


def statement(
    customer: str, *, from_: From = None, to: str | None = None, server: Server = HERE
) -> int:
    """
    A customer's account: what was owed, what was paid, what is open.

    Parameters
    ----------
    customer
        Its key.
    from_
        RFC 3339 instant of the first.
    to
        RFC 3339 instant before which the last is.
    """
    query = {"from": from_, "to": to}
    answer = server.client().get(f"/v1/customers/{segment(customer)}/statement", **query)
    if server.json:
        print_json(answer)
        return OK
    from rich.table import Table

    for account in answer["accounts"]:
        table = Table("at", "kind", "about", "amount", "balance")
        table.add_row("", "opening", "", "", account["opening"])
        for one in account["items"]:
            about = one["number"] or one["reference"] or one["invoice"] or ""
            table.add_row(plain_time(one["at"]), one["kind"], about, one["amount"], one["balance"])
        console().print(table)
        console().print(
            f"{account['open']} {account['currency']} is open, {account['on_account']} on account.",
            markup=False,
        )
    if not answer["accounts"]:
        console().print(f"Nothing was ever billed to {customer}, and nothing paid.")
    return OK
