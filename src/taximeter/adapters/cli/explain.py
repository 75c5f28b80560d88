"""`explain`: why an amount is what it is, down to the events; and from an event back to amounts."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from taximeter.adapters.cli.common import Server, console, plain_time, print_json, segment
from taximeter.adapters.cli.failures import DIFFERENCE, OK
from taximeter.adapters.cli.invoices import find_invoice, line_text, money, period_text
from taximeter.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.tree import Tree

    from taximeter.adapters.client import Client

HERE = Server()


def explain(
    invoice: str,
    line: str | None = None,
    *,
    events: Annotated[int, Parameter(name=("--events", "-n"))] = 10,
    source: str = "",
    server: Server = HERE,
) -> int:
    """
    From an invoice to its lines, their tiers and their events, with what each event cost;
    recounted. Exits 1 if the recount gives something else. Or from an event to the lines that
    billed it.

    Parameters
    ----------
    invoice
        Id or number of the invoice, or the id of an event.
    line
        Id of one line, to see its events; else all lines without events.
    events
        How many of the line's events to show.
    source
        Of the event.
    """
    client = server.client()
    try:
        found = find_invoice(client, invoice)
    except NotFound:
        if line is not None:
            raise
        return _explain_event(client, invoice, source, server)
    path = f"/v1/invoices/{segment(found['id'])}"
    report = client.get(f"{path}/verify")
    lines = found.get("lines", [])
    answer: dict[str, Any] = {"invoice": found, "verify": report}
    if line is not None:
        lines = [item for item in lines if item["id"] == line]
        if not lines:
            raise NotFound("not_found", f"The invoice has no line {line!r}.", line=line)
        answer |= {"line": lines[0]}
        answer["events"] = _page(client, path, lines[0], "events", events)
        answer["rated"] = _page(client, path, lines[0], "rated", events)
    if server.json:
        print_json(answer)
    else:
        out = console()
        out.print(f"Invoice {found.get('number') or found['id']}, {found['customer']}")
        for item in lines:
            out.print(_tree(item, found, answer.get("events"), answer.get("rated")))
        out.print(f"total {money(found['total'], found)}, due {money(found['amount_due'], found)}")
        out.print(_verdict(report))
    return OK if is_verified(report) else DIFFERENCE


def is_verified(report: dict[str, Any]) -> bool:
    """Whether the recount gave the same as the invoice says."""
    return bool(report.get("ok"))


def _explain_event(client: Client, event_id: str, source: str, server: Server) -> int:
    try:
        receipt = client.get("/v1/events/receipt", id=event_id, source=source)
    except NotFound:
        text = f"There is neither an invoice nor an event {event_id!r} of the source {source!r}."
        raise NotFound("not_found", text) from None
    billed = []
    for one in receipt["lines"]:
        invoice = client.get(f"/v1/invoices/{segment(one['invoice'])}")
        line = next(line for line in invoice["lines"] if line["id"] == one["line"])
        billed.append({"invoice": invoice, "line": line})
    if server.json:
        print_json(receipt | {"billed": billed})
    else:
        _show_event(receipt, billed)
    return OK


def _show_event(receipt: dict[str, Any], billed: list[dict[str, Any]]) -> None:
    from rich.markup import escape
    from rich.tree import Tree

    tree = Tree(f"[bold]Event[/] {_event_text(receipt)}  {escape(receipt['status'])}")
    tree.add(f"counted by {escape(', '.join(receipt['meters']) or 'no meter')}")
    for one in billed:
        invoice, line = one["invoice"], one["line"]
        name = escape(invoice.get("number") or invoice["id"])
        tree.add(
            f"invoice {name}, {line_text(line)}  {money(line['amount'], invoice)}  "
            f"[dim]taximeter explain {name} {escape(line['id'])}[/]"
        )
    if not billed:
        tree.add("on no invoice yet")
    console().print(tree)


def _page(
    client: Client, path: str, line: dict[str, Any], what: str, limit: int
) -> list[dict[str, Any]]:
    if not line.get("lineage"):
        return []  # a flat fee has no events behind it
    page = client.get(f"{path}/lines/{segment(line['id'])}/{what}", limit=limit)
    items: list[dict[str, Any]] = page["items"]
    return items


def _tree(
    line: dict[str, Any],
    invoice: dict[str, Any],
    events: list[dict[str, Any]] | None,
    rated: list[dict[str, Any]] | None,
) -> Tree:
    from rich.tree import Tree

    tree = Tree(
        f"[bold]{line_text(line)}[/]  {money(line['amount'], invoice)}  [dim]{line['id']}[/]"
    )
    if line.get("price"):
        tree.add(f"price {line['price']}, {period_text(line.get('period'))}")
    if line.get("quantity") is not None:
        tree.add(f"quantity {line['quantity']}" + _of_meter(line))
    if line.get("free"):
        tree.add(f"{line['free']} of them free")
    for tier in line.get("tiers") or ():
        tree.add(_tier_text(tier))
    if line.get("multiplier"):
        tree.add(f"x {line['multiplier']} by its {'hours' if 'hours' in line else 'multipliers'}")
    if line.get("seats"):
        tree.add(_seats_text(line["seats"]))
    if line.get("adjustment"):
        tree.add(f"minimum or maximum: {line['adjustment']}")
    for one in line.get("conversions") or ():
        since = f" since {one['effective_at']}" if "effective_at" in one else ""
        tree.add(
            f"x {one['rate']}: {one['from']} to {one['to']}{since}, "
            f"as of catalogue version {one['catalog_version']}"
        )
    for text in _behind_the_price(line, invoice):
        tree.add(text)
    lineage = line.get("lineage")
    if lineage:
        branch = tree.add(
            f"{lineage['events']} events up to position {lineage['position']} "
            f"[dim]{lineage['digest']}[/]"
        )
        for event, share in zip_longest(events or (), rated or ()):
            branch.add(_event_text(event) + ("" if share is None else _share_text(share)))
        hidden = int(lineage["events"]) - len(events or ())
        if events and hidden > 0:
            branch.add(f"[dim]and {hidden} more[/]")
    return tree


def _behind_the_price(line: dict[str, Any], invoice: dict[str, Any]) -> Iterator[str]:
    """What is taken off what its price makes of it."""
    from rich.markup import escape

    names = {one["id"]: one["name"] or one["id"] for one in invoice.get("discounts") or ()}
    for one in line.get("discounts") or ():
        yield f"less {one['amount']} by the discount {escape(names.get(one['id'], one['id']))}"
    corrected = line.get("adjusts")
    if corrected:
        yield (
            f"comes to {corrected['rerated']} by now, behind discounts; "
            f"{corrected['billed']} were billed, first on {escape(corrected['number'])}"
        )


def _share_text(share: dict[str, Any]) -> str:
    steps = " + ".join(f"{tier['quantity']} x {tier['unit']}" for tier in share["tiers"])
    return f"  [cyan]{share['amount']}[/]" + (f" [dim]= {steps}[/]" if steps else "")


def _of_meter(line: dict[str, Any]) -> str:
    metered = f" of {line['metered']}" if line.get("metered") else ""
    return f"{metered} of meter {line['meter']}" if line.get("meter") else ""


def _tier_text(tier: dict[str, Any]) -> str:
    units = tier["packages"] + " packages" if "packages" in tier else tier.get("quantity")
    text = f"{units} x {tier.get('unit', '0')}"
    if tier.get("flat") not in (None, "0"):
        text += f" + {tier['flat']}"
    return f"{text} = {tier.get('amount')}"


def _seats_text(seats: dict[str, str]) -> str:
    unit = "seconds" if seats["mode"] == "time_weighted" else "days"
    return (
        f"{seats['mode']}: {seats['unit']} x {seats['charged']} / {seats['of']} seat-{unit}, "
        f"at most {seats['peak']} at once"
    )


def _event_text(item: dict[str, Any]) -> str:
    from rich.markup import escape

    event = item.get("event") or item
    data = " ".join(f"{name}={value}" for name, value in (event.get("data") or {}).items())
    when = plain_time(item.get("time") or event.get("time"))
    return escape(f"{item.get('position') or item.get('seq', '')} {when} {event.get('id')} {data}")


def _verdict(report: dict[str, Any]) -> str:
    if is_verified(report):
        return "[green]Recounted from the events: the same.[/]"
    wrong = [str(line["line"]) for line in report.get("lines", ()) if not line["ok"]]
    where = f" Lines that differ: {', '.join(wrong)}." if wrong else ""
    return f"[red]Recounted from the events: NOT the same.[/]{where}"
