"""`payments`: money received, and what it pays."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import App, Parameter

from taximeter.adapters.cli.common import Server, console, plain_time, print_json, segment
from taximeter.errors import Rejected

HERE = Server()
OK = 0

payments = App(name="payments", help="Money received, and which invoices it pays.")

_Invoices = Annotated[tuple[str, ...], Parameter(name="--invoice", consume_multiple=False)]


@payments.command(name="list")
def list_payments(*, customer: str | None = None, limit: int = 20, server: Server = HERE) -> int:
    """
    List payments, newest first.

    Parameters
    ----------
    customer
        Only of this one.
    limit
        At most so many.
    """
    answer = server.client().get("/v1/payments", customer=customer, limit=limit)
    if server.json:
        print_json(answer)
        return OK
    from rich.table import Table

    table = Table("id", "customer", "received", "amount", "pays", "on account", "status")
    for one in answer["items"]:
        pays = ", ".join(f"{part['number']} {part['amount']}" for part in one["invoices"])
        table.add_row(
            one["id"],
            one["customer"],
            plain_time(one["at"]),
            f"{one['amount']} {one['currency']}",
            pays or "-",
            one["unallocated"],
            one["status"],
        )
    console().print(table)
    if answer["next"]:
        console().print("There are more: raise --limit.")
    return OK


@payments.command
def show(payment: str, *, server: Server = HERE) -> int:
    """
    Show one payment.

    Parameters
    ----------
    payment
        Its id.
    """
    return _show(server, server.client().get(f"/v1/payments/{segment(payment)}"))


@payments.command
def record(
    customer: str,
    amount: str,
    currency: str,
    *,
    id: str | None = None,
    at: str | None = None,
    reference: str = "",
    invoice: _Invoices = (),
    server: Server = HERE,
) -> int:
    """
    Record a payment. It pays the invoices named, else the oldest due first.

    Parameters
    ----------
    customer
        Who paid.
    amount
        Such as 157.00.
    currency
        Such as USD.
    id
        With an id of your own it is recorded once, however often it is run.
    at
        When the money was received. [default: now]
    reference
        Of the bank or the processor.
    invoice
        INVOICE or INVOICE=AMOUNT, by id or number; may be repeated.
    """
    body: dict[str, Any] = {
        "customer": customer, "amount": amount, "currency": currency, "reference": reference,
    }  # fmt: skip
    body |= {name: value for name, value in (("id", id), ("at", at)) if value is not None}
    if invoice:
        body["invoices"] = _named(invoice)
    return _show(server, server.client().post("/v1/payments", body))


@payments.command
def allocate(payment: str, *, invoice: _Invoices = (), server: Server = HERE) -> int:
    """
    Pay invoices with what is left of a payment: those named, else the oldest due first.

    Parameters
    ----------
    payment
        Its id.
    invoice
        INVOICE or INVOICE=AMOUNT, by id or number; may be repeated.
    """
    body = {"invoices": _named(invoice)} if invoice else {}
    return _do(server, payment, "allocate", body)


@payments.command
def refund(
    payment: str, amount: str | None = None, *, reason: str = "", server: Server = HERE
) -> int:
    """
    Note that what pays no invoice was paid back.

    Parameters
    ----------
    payment
        Its id.
    amount
        How much. [default: all that is left]
    reason
        Why, for the record.
    """
    body: dict[str, Any] = {"reason": reason}
    if amount is not None:
        body["amount"] = amount
    return _do(server, payment, "refund", body)


@payments.command
def reverse(payment: str, *, reason: str, server: Server = HERE) -> int:
    """
    Undo a payment that bounced: the invoices it paid are open again.

    Parameters
    ----------
    payment
        Its id.
    reason
        Why, for the record.
    """
    return _do(server, payment, "reverse", {"reason": reason})


def _named(invoices: tuple[str, ...]) -> list[dict[str, str]]:
    named = []
    for text in invoices:
        invoice, equals, amount = text.partition("=")
        if not invoice or (equals and not amount):
            raise Rejected(
                "invalid_parameter", f"--invoice {text}: write INVOICE or INVOICE=AMOUNT."
            )
        named.append({"invoice": invoice} | ({"amount": amount} if equals else {}))
    return named


def _do(server: Server, payment: str, verb: str, body: dict[str, Any]) -> int:
    return _show(server, server.client().post(f"/v1/payments/{segment(payment)}/{verb}", body))


def _show(server: Server, payment: dict[str, Any]) -> int:
    if server.json:
        print_json(payment)
        return OK
    out, currency = console(), payment["currency"]
    out.print(
        f"{payment['id']}: {payment['amount']} {currency} of {payment['customer']}, received "
        f"{plain_time(payment['at'])}, {payment['status']}",
        markup=False,
    )
    for part in payment["invoices"]:
        out.print(f"  pays {part['amount']} of {part['number']}", markup=False)
    if payment["refunded"].strip("0."):
        out.print(f"  paid back: {payment['refunded']}")
    if payment["unallocated"].strip("0."):
        out.print(f"  on account: {payment['unallocated']}")
    if payment["reason"]:
        out.print(f"  reversed: {payment['reason']}", markup=False)
    return OK
