"""`budget` and `seats`: bounds below a customer, and who has a seat."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import App, Parameter

from taximeter.adapters.cli.common import Server, console, plain_time, print_json, segment
from taximeter.adapters.cli.gate import pair

HERE = Server()
Scope = Annotated[tuple[str, ...], Parameter(consume_multiple=False)]

budget = App(name="budget", help="Bounds beside those of the plan: of a team, a user, a credit.")
seats = App(name="seats", help="Who has a seat of a feature.")


@budget.command(name="list")
def list_budgets(customer: str, *, server: Server = HERE) -> int:
    """
    List the budgets of a customer.

    Parameters
    ----------
    customer
        Its key.
    """
    answer = server.client().get(f"/v1/customers/{segment(customer)}/budgets")
    if server.json:
        print_json(answer)
        return 0
    from rich.table import Table

    table = Table("budget", "of", "for", "limit", "reset", "enforcement")
    for one in answer["items"]:
        table.add_row(
            one["id"], one["feature"] or one["credit"],
            ", ".join(f"{level} {value}" for level, value in one["scope"].items()),
            one["limit"], str(one["reset"]), one["enforcement"],
        )  # fmt: skip
    console().print(table)
    return 0


@budget.command(name="set")
def set_budget(
    customer: str,
    budget_id: Annotated[str, Parameter(name="budget")],
    limit: str,
    *,
    feature: str | None = None,
    credit: str | None = None,
    scope: Scope = (),
    reset: str = "period",
    soft: bool = False,
    server: Server = HERE,
) -> int:
    """
    Set a budget, or replace the one of the same id.

    Parameters
    ----------
    customer
        Its key.
    budget_id
        Your own id for it.
    limit
        In units of the feature, or in credit.
    feature
        Counts usage of this feature; or
    credit
        counts what is spent of this credit.
    scope
        NAME=VALUE of whom it bounds, such as user=u7; may be repeated. The customer without it.
    reset
        period, hour, day, week, month or never.
    soft
        Tell when it is exceeded, and allow it.
    """
    body: dict[str, Any] = {
        "limit": limit,
        "scope": dict(pair("--scope", text) for text in scope),
        "reset": reset,
        "enforcement": "soft" if soft else "hard",
    }
    body |= {name: value for name, value in (("feature", feature), ("credit", credit)) if value}
    answer = server.client().put(_budget(customer, budget_id), body)
    if server.json:
        print_json(answer)
    else:
        console().print(f"{budget_id}: {answer['limit']} each {reset}", markup=False)
    return 0


@budget.command
def remove(
    customer: str, budget_id: Annotated[str, Parameter(name="budget")], *, server: Server = HERE
) -> int:
    """
    Remove a budget.

    Parameters
    ----------
    customer
        Its key.
    budget_id
        Its id.
    """
    return _done(server, _budget(customer, budget_id), f"{budget_id}: removed")


@seats.command(name="list")
def list_seats(customer: str, feature: str, *, server: Server = HERE) -> int:
    """
    Who has a seat.

    Parameters
    ----------
    customer
        Its key.
    feature
        Key of the feature.
    """
    answer = server.client().get(f"/v1/customers/{segment(customer)}/seats/{segment(feature)}")
    if server.json:
        print_json(answer)
        return 0
    out = console()
    out.print(f"{answer['used']} of {answer['limit']} seats taken")
    for one in answer["items"]:
        until = "" if one["until"] is None else f" until {plain_time(one['until'])}"
        out.print(f"  {one['holder']}  since {plain_time(one['since'])}{until}", markup=False)
    return 0


@seats.command
def assign(
    customer: str, feature: str, holder: str, *, ttl: int | None = None, server: Server = HERE
) -> int:
    """
    Assign a seat. Exits 1 if all are taken.

    Parameters
    ----------
    customer
        Its key.
    feature
        Key of the feature.
    holder
        Who gets it.
    ttl
        Seconds after which it is free again by itself.
    """
    body = {} if ttl is None else {"ttl_s": ttl}
    answer = server.client().put(_seat(customer, feature, holder), body)
    if server.json:
        print_json(answer)
    else:
        text = f"{holder}: has a seat; {answer['used']} of {answer['limit']} taken"
        console().print(text, markup=False)
    return 0


@seats.command(name="release")
def release_seat(customer: str, feature: str, holder: str, *, server: Server = HERE) -> int:
    """
    Release a seat.

    Parameters
    ----------
    customer
        Its key.
    feature
        Key of the feature.
    holder
        Who has it.
    """
    return _done(server, _seat(customer, feature, holder), f"{holder}: released")


def _budget(customer: str, budget_id: str) -> str:
    return f"/v1/customers/{segment(customer)}/budgets/{segment(budget_id)}"


def _seat(customer: str, feature: str, holder: str) -> str:
    return f"/v1/customers/{segment(customer)}/seats/{segment(feature)}/{segment(holder)}"


def _done(server: Server, path: str, text: str) -> int:
    answer = server.client().request("DELETE", path).json()
    if server.json:
        print_json(answer)
    else:
        console().print(text, markup=False)
    return 0
