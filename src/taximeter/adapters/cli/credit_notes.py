"""`credit-note`: parts of issued invoices taken back; `correct`: an invoice corrected at once."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from taximeter.adapters.cli.common import Server, console, plain_time, print_json, segment
from taximeter.adapters.cli.failures import OK
from taximeter.adapters.cli.invoices import find_invoice
from taximeter.errors import Rejected

HERE = Server()

credit_note = App(name="credit-note", help="Parts of issued invoices taken back.")


@credit_note.command
def create(
    invoice: str,
    /,
    *,
    reason: str,
    line: Annotated[tuple[str, ...], Parameter(name="--line", negative=())] = (),
    amount: str | None = None,
    id: str | None = None,
    server: Server = HERE,
) -> int:
    """
    Take back a part of an invoice, or all that is left of it.

    Parameters
    ----------
    invoice
        Its id or number.
    reason
        Why; the customer reads it.
    line
        A line, or LINE=AMOUNT without tax. May be repeated.
    amount
        Of the whole invoice, with its tax.
    id
        Your own id; the same again gives the same credit note.
    """
    body: dict[str, Any] = {"reason": reason}
    if line:
        body["lines"] = [_line(one) for one in line]
    body |= {name: v for name, v in (("amount", amount), ("id", id)) if v is not None}
    client = server.client()
    path = f"/v1/invoices/{segment(find_invoice(client, invoice)['id'])}/credit-notes"
    return _told(client.post(path, body), server)


@credit_note.command(name="list")
def listed(
    *, invoice: str | None = None, customer: str | None = None, server: Server = HERE
) -> int:
    """
    List credit notes, newest first.

    Parameters
    ----------
    invoice
        Only of this one, by its id or number.
    customer
        Only of this one.
    """
    client = server.client()
    only = None if invoice is None else find_invoice(client, invoice)["id"]
    query = {"invoice": only, "customer": customer}
    asked = {name: value for name, value in query.items() if value is not None}
    answer = client.get("/v1/credit-notes", **asked)
    if server.json:
        print_json(answer)
        return OK
    from rich.table import Table

    table = Table("number", "id", "customer", "invoice", "total", "made", "status",
                  box=None, header_style="bold")  # fmt: skip
    for one in answer["items"]:
        total = f"{one['total']} {one['currency']}" if one["number"] else "-"
        table.add_row(
            one["number"] or "-",
            one["id"],
            one["customer"],
            one["invoice"],
            total,
            plain_time(one["made_at"]),
            one["status"],
        )
    console().print(table if answer["items"] else "No credit notes.")
    return OK


@credit_note.command
def approve(note: str, /, *, server: Server = HERE) -> int:
    """
    Issue a credit note that another key asked for.

    Parameters
    ----------
    note
        Its id.
    """
    return _told(server.client().post(f"/v1/credit-notes/{segment(note)}/approve"), server)


@credit_note.command
def reject(note: str, /, *, reason: str = "", server: Server = HERE) -> int:
    """
    Give up a credit note that waits.

    Parameters
    ----------
    note
        Its id.
    reason
        Why.
    """
    path = f"/v1/credit-notes/{segment(note)}/reject"
    return _told(server.client().post(path, {"reason": reason}), server)


def correct(
    invoice: str,
    /,
    *,
    mode: Literal["adjust", "credit_note"] = "adjust",
    reason: str = "",
    server: Server = HERE,
) -> int:
    """
    Correct an issued invoice now, for what came late, instead of with the next one.

    Parameters
    ----------
    invoice
        Its id or number.
    mode
        adjust: a draft of adjustments alone. credit_note: give back what came out too high.
    reason
        Why; the customer reads it on a credit note.
    """
    client = server.client()
    path = f"/v1/invoices/{segment(find_invoice(client, invoice)['id'])}/correct"
    made = client.post(path, {"mode": mode, "reason": reason})
    if mode == "credit_note":
        return _told(made, server)
    if server.json:
        print_json(made)
    else:
        console().print(f"Draft {made['id']} over {made['total']} {made['currency']}.")
    return OK


def _line(text: str) -> dict[str, str]:
    line, equals, amount = text.partition("=")
    if not line or (equals and not amount):
        raise Rejected("invalid_request", f"--line {text!r}: LINE or LINE=AMOUNT.")
    return {"line": line, "amount": amount} if equals else {"line": line}


def _told(note: dict[str, Any], server: Server) -> int:
    if server.json:
        print_json(note)
    elif note["status"] == "issued":
        console().print(f"{note['number']} over {note['total']} {note['currency']} is issued.")
    elif note["status"] == "pending":
        console().print(f"{note['id']} waits for another key to approve it.")
    else:
        console().print(f"{note['id']} is {note['status']}.")
    return OK
