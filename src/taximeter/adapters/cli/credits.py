"""`grant`, `balance`, `ledger`: a customer's credits from the terminal."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from taximeter.adapters.cli.common import Server, console, plain_time, print_json, segment

HERE = Server()
Many = Parameter(consume_multiple=False)


def grant(
    customer: str,
    credit: str,
    amount: str,
    *,
    id: str | None = None,
    paid: bool = False,
    priority: int | None = None,
    expires: str | None = None,
    feature: Annotated[tuple[str, ...], Many] = (),
    every: str | None = None,
    reason: str | None = None,
    server: Server = HERE,
) -> int:
    """
    Give a customer credit.

    Parameters
    ----------
    customer
        Its key.
    credit
        Name of the credit, such as usd.
    amount
        How much.
    id
        Your own id for it: given again with the same content, it is given once.
    paid
        It was paid for, so it can be refunded.
    priority
        Lower is spent first.
    expires
        RFC 3339 instant at which what is left of it is gone.
    feature
        Pays only for this feature; may be repeated.
    every
        Given anew each P1D, P1W, P1M, ...
    reason
        Kept with it.
    """
    body: dict[str, Any] = {"credit": credit, "amount": amount}
    body["kind"] = "paid" if paid else "promotional"
    given = {
        "id": id,
        "priority": priority,
        "expires_at": expires,
        "features": list(feature) or None,
        "recurrence": every,
        "reason": reason,
    }
    body |= {name: value for name, value in given.items() if value is not None}
    answer = server.client().post(f"/v1/customers/{segment(customer)}/grants", body)
    if server.json:
        print_json(answer)
        return 0
    console().print(
        f"granted {answer['amount']} {answer['credit']} as {answer['id']}; "
        f"{answer['available_after']} available",
        markup=False,
    )
    return 0


def balance(
    customer: str, credit: str | None = None, *, at: str | None = None, server: Server = HERE
) -> int:
    """
    What is left of a customer's credits, grant by grant in the order they burn.

    Parameters
    ----------
    customer
        Its key.
    credit
        Only of this credit.
    at
        RFC 3339 instant: the balance as it was then.
    """
    answer = server.client().get(f"/v1/customers/{segment(customer)}/balance", credit=credit, at=at)
    if server.json:
        print_json(answer)
        return 0
    wallets = answer["items"] if credit is None else [answer]
    if not wallets:
        console().print("no credit was ever given")
    for wallet in wallets:
        _show_wallet(wallet)
    return 0


def _show_wallet(wallet: dict[str, Any]) -> None:
    out = console()
    if "available" not in wallet:
        out.print(f"{wallet['balance']} {wallet['credit']} at {plain_time(wallet['at'])}")
        return
    beyond = "" if wallet["overage"] == "0" else f", {wallet['overage']} used beyond all credit"
    out.print(
        f"{wallet['available']} {wallet['credit']} available "
        f"({wallet['balance']} less {wallet['reserved']} reserved{beyond})",
        markup=False,
    )
    if not wallet["grants"]:
        return
    from rich.table import Table

    table = Table("grant", "left", "of", "reserved", "priority", "expires", "only for")
    for one in wallet["grants"]:
        table.add_row(
            one["id"],
            one["remaining"],
            one["amount"],
            one["reserved"],
            str(one["priority"]),
            plain_time(one["expires_at"]),
            ", ".join(one["features"]),
        )
    out.print(table)


def ledger(
    customer: str,
    credit: str | None = None,
    *,
    from_: Annotated[str | None, Parameter(name="--from")] = None,
    to: str | None = None,
    limit: int = 100,
    server: Server = HERE,
) -> int:
    """
    Every change of a customer's credits, in order, with its cause.

    Parameters
    ----------
    customer
        Its key.
    credit
        Only of this credit.
    from_
        RFC 3339 instant of the first.
    to
        RFC 3339 instant before which the last is.
    limit
        At most so many.
    """
    query = {"credit": credit, "from": from_, "to": to, "limit": limit}
    answer = server.client().get(f"/v1/customers/{segment(customer)}/ledger", **query)
    if server.json:
        print_json(answer)
        return 0
    from rich.table import Table

    table = Table("no", "at", "kind", "cause", "amount", "credit", "balance")
    for one in answer["items"]:
        cause = " ".join(f"{name}={value}" for name, value in one["cause"].items() if value)
        table.add_row(
            str(one["ordinal"]), plain_time(one["at"]), one["kind"], cause,
            one["amount"], one["credit"], one["balance_after"],
        )  # fmt: skip
    console().print(table)
    if answer["next"]:
        console().print("there is more: --limit, or --from an instant")
    return 0
