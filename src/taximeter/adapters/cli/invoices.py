"""`invoices` and `close`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taximeter.adapters.cli.common import Server, console, plain_time, print_json, segment
from taximeter.errors import NotFound

if TYPE_CHECKING:
    from rich.console import RenderableType

    from taximeter.adapters.client import Client

HERE = Server()
PAGE = 100
_COLOURS = {
    "draft": "yellow", "in_review": "magenta", "issued": "cyan", "paid": "green",
    "uncollectible": "red", "void": "dim",
}  # fmt: skip


def invoices(
    invoice: str | None = None,
    *,
    customer: str | None = None,
    status: str | None = None,
    limit: int = 50,
    server: Server = HERE,
) -> int:
    """
    List invoices, newest first, or show one.

    Parameters
    ----------
    invoice
        Id or number of one invoice.
    customer
        Only those of this customer.
    status
        draft, in_review, issued, paid, uncollectible or void.
    limit
        At most so many.
    """
    client = server.client()
    if invoice is not None:
        found = find_invoice(client, invoice)
        if server.json:
            print_json(found)
        else:
            console().print(invoice_page(found))
        return 0
    answer = client.get("/v1/invoices", customer=customer, status=status, limit=limit)
    if server.json:
        print_json(answer)
    else:
        _show_list(answer["items"])
    return 0


def close(*, as_of: str | None = None, server: Server = HERE) -> int:
    """
    Close every period that has ended. Again does nothing more.

    Parameters
    ----------
    as_of
        RFC 3339 instant; periods that end at or before it. Else the server's now.
    """
    answer = server.client().post("/v1/close", {} if as_of is None else {"as_of": as_of})
    if server.json:
        print_json(answer)
    else:
        new = answer["invoices"]
        out = console()
        out.print(f"Closed as of {plain_time(answer['as_of'])}: {len(new)} new draft invoices.")
        for invoice in new:
            out.print(f"  {invoice}", markup=False)
        for one in answer.get("held", ()):
            out.print(f"  {one['customer']} waits: {one['detail']}", markup=False)
    return 0


def find_invoice(client: Client, name: str) -> dict[str, Any]:
    """One invoice by its id, or by the number printed on it."""
    found: dict[str, Any]
    try:
        found = client.get(f"/v1/invoices/{segment(name)}")
    except NotFound:
        invoice_id = _id_of_number(client, name)
        if invoice_id is None:
            raise
        found = client.get(f"/v1/invoices/{segment(invoice_id)}")
    return found


def _id_of_number(client: Client, number: str) -> str | None:
    cursor: str | None = None
    while True:
        page = client.get("/v1/invoices", limit=PAGE, cursor=cursor)
        for item in page["items"]:
            if item.get("number") == number:
                return str(item["id"])
        cursor = page.get("next")
        if cursor is None:
            return None


def _show_list(items: list[dict[str, Any]]) -> None:
    from rich.table import Table

    out = console()
    if not items:
        out.print("No invoices.")
        return
    table = Table("id", "number", "customer", "status", "period")
    table.add_column("total", justify="right")
    table.add_column("due", justify="right")
    for item in items:
        table.add_row(
            item["id"],
            item.get("number") or "-",
            item["customer"],
            coloured_status(item["status"]),
            period_text(item.get("period")),
            money(item.get("total"), item),
            money(item.get("amount_due"), item),
        )
    out.print(table)


def invoice_page(invoice: dict[str, Any]) -> RenderableType:
    """One invoice as a page: who, when, lines, and the sums at the foot."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table

    lines = Table(expand=True, box=None, header_style="dim")
    lines.add_column("description", ratio=1)
    lines.add_column("quantity", justify="right")
    lines.add_column("amount", justify="right")
    for line in invoice.get("lines", []):
        lines.add_row(line_text(line), line.get("quantity") or "", line["amount"])
    sums = Table.grid(expand=True, padding=(0, 1))
    sums.add_column(ratio=1, justify="right", style="dim")
    sums.add_column(justify="right", min_width=14)
    for name in ("subtotal", "discount", "tax", "total", "credits_applied", "amount_due"):
        if _worth_showing(name, invoice.get(name)):
            style = "bold" if name == "amount_due" else ""
            sums.add_row(name.replace("_", " "), money(invoice[name], invoice), style=style)
    head = (
        f"[bold]{_escaped(invoice['customer'])}[/]   {period_text(invoice.get('period'))}   "
        f"{coloured_status(invoice['status'])}\n"
    )
    title = f"Invoice {invoice.get('number') or invoice['id']}"
    foot = _escaped(invoice.get("digest") or "")
    return Panel(Group(head, lines, "", sums), title=title, subtitle=foot, padding=(1, 2))


def line_text(line: dict[str, Any]) -> str:
    """A line's description, which says the group it stands for."""
    return _escaped(line.get("description") or line.get("price") or line.get("kind") or line["id"])


def period_text(period: dict[str, Any] | None) -> str:
    if not period:
        return "-"
    return f"{plain_time(period.get('start'))} – {plain_time(period.get('end'))}"


def money(amount: Any, invoice: dict[str, Any]) -> str:
    return "-" if amount is None else f"{amount} {invoice.get('currency', '')}".strip()


def coloured_status(status: str) -> str:
    colour = _COLOURS.get(status)
    return f"[{colour}]{_escaped(status)}[/]" if colour else _escaped(status)


def _worth_showing(name: str, amount: Any) -> bool:
    always = name in ("subtotal", "total", "amount_due")
    return amount is not None and (always or str(amount).strip("-0.") != "")


def _escaped(text: str) -> str:
    """Names come from outside; square brackets in them are no markup."""
    from rich.markup import escape

    return escape(text)
