"""`reconcile`: every stage against the one before it, and what closes a gap."""

from __future__ import annotations

from typing import Any

from taximeter.adapters.cli.common import Server, console, plain_time, print_json
from taximeter.adapters.cli.failures import DIFFERENCE, OK

HERE = Server()


def reconcile(
    customer: str | None = None, *, repair: str | None = None, server: Server = HERE
) -> int:
    """
    Compare everything now: sent, accepted, counted, rated, invoiced, posted, paid. Exits 1 on a
    gap.

    Parameters
    ----------
    customer
        Only this one.
    repair
        Id of a gap: make the replay that closes it.
    """
    client = server.client()
    if repair is not None:
        answer = client.post("/v1/reconciliation/repair", {"gap": repair})
        if server.json:
            print_json(answer)
        else:
            done = "closed" if answer["healed"] else "made, and the gap is still there"
            console().print(f"{answer['repair']}: {done}.", markup=False)
        return OK if answer["healed"] else DIFFERENCE
    body = {} if customer is None else {"customer": customer}
    report = client.post("/v1/reconciliation/run", body)
    if server.json:
        print_json(report)
    else:
        _show(report)
    return OK if report["ok"] else DIFFERENCE


def _show(report: dict[str, Any]) -> None:
    from rich.markup import escape
    from rich.table import Table

    out = console()
    checked = report["checked"]
    if report["ok"]:
        out.print(f"[green]No gap[/] up to position {checked['position']}.")
        return
    table = Table("gap", "between", "cause", "customer", "meter", "period")
    for name in ("expected", "found"):
        table.add_column(name, justify="right")
    table.add_column("repair")
    for gap in report["items"]:
        period = gap["period"] or {}
        table.add_row(
            gap["id"],
            " / ".join(gap["between"]),
            f"[red]{gap['cause']}[/]" if gap["blocks"] else gap["cause"],
            escape(gap["customer"] or "-"),
            escape(gap["meter"] or gap["target"]),
            plain_time(period.get("start")),
            gap["expected"],
            gap["found"],
            gap["repair"] + ("" if gap["automatic"] else " (a person)"),
        )
    out.print(table)
    for gap in report["items"]:
        out.print(f"{gap['id']}  {escape(gap['detail'])}")
    if any(gap["automatic"] for gap in report["items"]):
        out.print("[dim]taximeter reconcile --repair GAP makes the replay that closes one.[/]")
