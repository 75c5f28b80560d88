"""`rollouts`: a staged catalogue version for some customers before all."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import App, Parameter

from taximeter.adapters.cli.common import Server, console, notice, plain_time, print_json, segment
from taximeter.adapters.cli.failures import DIFFERENCE, OK

HERE = Server()

rollouts = App(name="rollouts", help="Give a staged catalogue version to some before all.")


@rollouts.command(name="list")
def list_rollouts(*, server: Server = HERE) -> int:
    """List all rollouts."""
    items = server.client().get("/v1/rollouts")["items"]
    if server.json:
        print_json(items)
        return OK
    from rich.table import Table

    table = Table("rollout", "version", "status", "share", "holdout", "since", "reason")
    for one in items:
        table.add_row(
            one["id"],
            str(one["version"]),
            one["status"],
            one["share"],
            one["holdout"],
            plain_time(one["created_at"]),
            one["reason"] or "-",
        )
    console().print(table)
    return OK


@rollouts.command
def show(rollout: str, *, server: Server = HERE) -> int:
    """
    Compare the sides of a rollout: customers, revenue, margin.

    Parameters
    ----------
    rollout
        Its id.
    """
    answer = server.client().get(f"/v1/rollouts/{segment(rollout)}")
    if server.json:
        print_json(answer)
        return OK
    from rich.table import Table

    table = Table("side", "customers", "revenue", "per customer", "cost", "margin")
    for side, one in answer["sides"].items():
        for total in one["totals"] or [{}]:
            currency = total.get("currency", "")
            names = ("revenue", "revenue_per_customer", "cost", "margin")
            amounts = [f"{total[n]} {currency}" if total.get(n) else "-" for n in names]
            table.add_row(side, str(one["customers"]), *amounts)
    console().print(f"Version {answer['version']}, {answer['status']}.")
    console().print(table)
    return OK


@rollouts.command
def put(
    rollout: str,
    *,
    version: int,
    share: str | None = None,
    customer: list[str] | None = None,
    segment_: Annotated[list[str] | None, Parameter(name="--segment")] = None,
    holdout: str | None = None,
    from_: Annotated[str, Parameter(name="--from")] = "now",
    reason: str = "",
    server: Server = HERE,
) -> int:
    """
    Begin a rollout, or take in more customers.

    Parameters
    ----------
    rollout
        Its id.
    version
        The staged version (taximeter apply --staged).
    share
        Of the customers, such as 10%; all without it.
    customer
        Only this one (repeatable).
    segment_
        Only customers with this metadata: NAME=VALUE (repeatable).
    holdout
        Share that never gets it.
    from_
        now, period_end or an instant.
    reason
        For the record.
    """
    body: dict[str, Any] = {"version": version, "from": from_, "reason": reason}
    body |= {"share": share} if share else {}
    body |= {"holdout": holdout} if holdout else {}
    body |= {"customers": customer} if customer is not None else {}
    body |= {"segment": dict(one.partition("=")[::2] for one in segment_)} if segment_ else {}
    return _moved(server, server.client().put(f"/v1/rollouts/{segment(rollout)}", body))


@rollouts.command
def rollback(rollout: str, *, reason: str = "", server: Server = HERE) -> int:
    """
    Take everybody back to what they had, from now on.

    Parameters
    ----------
    rollout
        Its id.
    reason
        For the record.
    """
    path = f"/v1/rollouts/{segment(rollout)}/rollback"
    return _moved(server, server.client().post(path, {"reason": reason}))


@rollouts.command
def complete(rollout: str, *, reason: str = "", server: Server = HERE) -> int:
    """
    Publish the version for all.

    Parameters
    ----------
    rollout
        Its id.
    reason
        For the record.
    """
    path = f"/v1/rollouts/{segment(rollout)}/complete"
    return _moved(server, server.client().post(path, {"reason": reason}))


def _moved(server: Server, answer: dict[str, Any]) -> int:
    if server.json:
        print_json(answer)
    else:
        status = answer["status"].replace("_", " ")
        console().print(f"Rollout {answer['id']}, {status}: {answer['moved']} subscriptions moved.")
        for one in answer["skipped"]:
            notice(f"{one['customer']} ({one['subscription']}): {one['detail']}")
    return DIFFERENCE if answer["skipped"] else OK
