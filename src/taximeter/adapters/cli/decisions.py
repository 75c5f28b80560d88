"""What a person decides about invoices: issue, hold, approve, make again, void."""

from __future__ import annotations

from typing import Any

from cyclopts import App

from taximeter.adapters.cli.common import Server, console, print_json, segment
from taximeter.adapters.cli.failures import OK
from taximeter.adapters.cli.invoices import find_invoice, money

HERE = Server()


def register(app: App) -> None:
    """Add them to `taximeter invoices`."""
    for command in (issue, hold, approve, refresh, void):
        app.command(command)


def issue(invoice: str, *, server: Server = HERE) -> int:
    """
    Issue a draft: it gets the next number and never changes again.

    Parameters
    ----------
    invoice
        Its id.
    """
    return _do(invoice, "finalize", {}, server)


def hold(invoice: str, *, reason: str, server: Server = HERE) -> int:
    """
    Put a draft in review: nobody issues it before it is approved.

    Parameters
    ----------
    invoice
        Its id.
    reason
        What is to be looked at.
    """
    return _do(invoice, "hold", {"reason": reason}, server)


def approve(invoice: str, *, note: str | None = None, server: Server = HERE) -> int:
    """
    Let an invoice in review go on as a draft.

    Parameters
    ----------
    invoice
        Its id.
    note
        What was found.
    """
    return _do(invoice, "approve", {} if note is None else {"note": note}, server)


def refresh(invoice: str, *, server: Server = HERE) -> int:
    """
    Make a draft again, with what has arrived and was corrected since.

    Parameters
    ----------
    invoice
        Its id.
    """
    return _do(invoice, "refresh", {}, server)


def void(invoice: str, *, reason: str, server: Server = HERE) -> int:
    """
    End a draft, or an issued invoice nobody has paid; its periods can be closed again.

    Parameters
    ----------
    invoice
        Its id or number.
    reason
        For the audit trail.
    """
    return _do(invoice, "void", {"reason": reason}, server)


def _do(name: str, what: str, body: dict[str, Any], server: Server) -> int:
    client = server.client()
    invoice_id = find_invoice(client, name)["id"]
    found = client.post(f"/v1/invoices/{segment(invoice_id)}/{what}", body)
    if server.json:
        print_json(found)
        return OK
    due = money(found["amount_due"], found)
    out = console()
    out.print(f"{found['number'] or found['id']}: {found['status']}, {due} due.", markup=False)
    for reason in found.get("review", {}).get("reasons", ()):
        out.print(f"  in review: {reason}", markup=False)
    return OK
