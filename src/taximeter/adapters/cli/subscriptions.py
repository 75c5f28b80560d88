"""`subscriptions`: what customers are on, and to change it."""

from __future__ import annotations

import sys
from typing import Annotated, Any

from cyclopts import App, Parameter

from taximeter.adapters.cli.common import Server, console, plain_time, print_json, segment
from taximeter.errors import Rejected

HERE = Server()
COLOURS = {"active": "green", "trialing": "cyan", "paused": "yellow", "ended": "dim"}
Addons = Annotated[tuple[str, ...], Parameter(name="--addon", consume_multiple=False)]
DryRun = Annotated[bool, Parameter(name="--preview")]

app = App(name="subscriptions", help="What customers are subscribed to, and to change it.")


@app.command(name="list")
def list_subscriptions(
    *, customer: str | None = None, limit: int = 100, server: Server = HERE
) -> int:
    """
    List subscriptions.

    Parameters
    ----------
    customer
        Only those of this customer.
    limit
        At most so many.
    """
    answer = server.client().get("/v1/subscriptions", customer=customer, limit=limit)
    if server.json:
        print_json(answer)
        return 0
    from rich.table import Table

    table = Table("id", "customer", "plan", "state", "period", "next")
    for one in answer["items"]:
        period = one["period"]
        table.add_row(
            one["id"],
            one["customer"],
            _plan(one),
            f"[{COLOURS.get(one['status'], 'default')}]{one['status']}[/]",
            "" if period is None else f"{_day(period['start'])} - {_day(period['end'])}",
            _next(one),
        )
    console().print(table)
    return 0


@app.command
def show(subscription: str, *, server: Server = HERE) -> int:
    """
    Show one, with what is scheduled and all it has been.

    Parameters
    ----------
    subscription
        Its id, as `subscriptions list` shows it.
    """
    client = server.client()
    path = _path(subscription)
    one = client.get(path)
    revisions = client.get(f"{path}/revisions")["items"]
    if server.json:
        print_json(one | {"revisions": revisions})
    else:
        _show(one)
        for revision in revisions:
            detail = revision["detail"]
            console().print(
                f"  revision {revision['revision']}  {plain_time(revision['at'])}  "
                f"{revision['actor']}  {detail.get('did', '')}  {detail.get('reason', '')}",
                markup=False,
            )
    return 0


@app.command
def create(
    customer: str,
    plan: str,
    *,
    start: str | None = None,
    anchor: str | None = None,
    version: int | None = None,
    addon: Addons = (),
    additional: bool = False,
    server: Server = HERE,
) -> int:
    """
    Subscribe a customer to a plan.

    Parameters
    ----------
    customer
        Its key.
    plan
        Key of the plan.
    start
        RFC 3339 instant; else now.
    anchor
        calendar or anniversary. [default: calendar]
    version
        Stay on this catalogue version.
    addon
        An add-on with its quantity, such as boost=2; may be repeated.
    additional
        Have it beside another one to the same plan.
    """
    body: dict[str, Any] = {"customer": customer, "plan": plan, "addons": _quantities(addon)}
    given = {"start": start, "anchor": anchor, "version": version}
    body |= {name: value for name, value in given.items() if value is not None}
    if additional:
        body["additional"] = True
    return _answered(server, server.client().post("/v1/subscriptions", body))


@app.command
def change(
    subscription: str,
    plan: str | None = None,
    *,
    at: str = "now",
    version: int | None = None,
    addon: Addons = (),
    reason: str | None = None,
    preview: DryRun = False,
    server: Server = HERE,
) -> int:
    """
    Another plan, version, or add-ons.

    Parameters
    ----------
    subscription
        Its id.
    plan
        Key of the plan to be on.
    at
        now, period_end or an RFC 3339 instant.
    version
        Stay on this catalogue version.
    addon
        An add-on with its quantity, such as boost=2, boost=0 for none; may be repeated.
    reason
        For the record.
    preview
        Show what it would cost and grant, and change nothing.
    """
    body = {"plan": plan, "version": version, "addons": _quantities(addon), "reason": reason}
    return _act(server, subscription, "change", {"at": at, **body}, preview=preview)


@app.command
def cancel(
    subscription: str,
    *,
    at: str = "now",
    reason: str | None = None,
    preview: DryRun = False,
    server: Server = HERE,
) -> int:
    """
    End it, now or later.

    Parameters
    ----------
    subscription
        Its id.
    at
        now, period_end or an RFC 3339 instant.
    reason
        For the record.
    preview
        Show what it would mean, and change nothing.
    """
    return _act(server, subscription, "cancel", {"at": at, "reason": reason}, preview=preview)


@app.command
def uncancel(subscription: str, *, server: Server = HERE) -> int:
    """
    Take back an end that has not come yet.

    Parameters
    ----------
    subscription
        Its id.
    """
    return _act(server, subscription, "uncancel", {})


@app.command
def renew(
    subscription: str,
    *,
    term: str | None = None,
    auto: bool = False,
    reason: str | None = None,
    server: Server = HERE,
) -> int:
    """
    Another term behind the planned end.

    Parameters
    ----------
    subscription
        Its id.
    term
        Length such as P1Y or P6M; else the agreed one.
    auto
        Go on term by term from now on.
    reason
        For the record.
    """
    body = {"term": term, "auto_renew": True if auto else None, "reason": reason}
    return _act(server, subscription, "renew", body)


@app.command
def pause(
    subscription: str,
    *,
    at: str = "now",
    until: str | None = None,
    reason: str | None = None,
    server: Server = HERE,
) -> int:
    """
    Pause it: nothing may be used, no fee is charged.

    Parameters
    ----------
    subscription
        Its id.
    at
        now, period_end or an RFC 3339 instant.
    until
        RFC 3339 instant at which it goes on by itself.
    reason
        For the record.
    """
    body = {"at": at, "until": until, "reason": reason}
    return _act(server, subscription, "pause", body)


@app.command
def resume(subscription: str, *, at: str = "now", server: Server = HERE) -> int:
    """
    End a pause.

    Parameters
    ----------
    subscription
        Its id.
    at
        now, period_end or an RFC 3339 instant.
    """
    return _act(server, subscription, "resume", {"at": at})


@app.command
def migrate(
    plan: str,
    *,
    version: int | None = None,
    at: str = "now",
    customer: Annotated[tuple[str, ...], Parameter(consume_multiple=False)] = (),
    dry_run: bool = False,
    server: Server = HERE,
) -> int:
    """
    Bring a plan's subscribers to a version of it. Exits 1 if one could not be migrated.

    Parameters
    ----------
    plan
        Key of the plan.
    version
        Catalogue version; else the newest.
    at
        now, period_end or never: stay for good on what the running period is billed by.
    customer
        Only this customer; may be repeated.
    dry_run
        Show what it would do, and change nothing.
    """
    body: dict[str, Any] = {"at": at, "dry_run": dry_run}
    body |= {} if version is None else {"version": version}
    body |= {"customers": list(customer)} if customer else {}
    answer = server.client().post(f"/v1/plans/{segment(plan)}/migrate", body)
    if server.json:
        print_json(answer)
    else:
        _show_migration(answer)
    return 1 if any("error" in effect for effect in answer["items"]) else 0


# --- to act, and to print ---------------------------------------------------------------------


def _act(
    server: Server, subscription: str, action: str, body: dict[str, Any], *, preview: bool = False
) -> int:
    client = server.client()
    body = {name: value for name, value in body.items() if value not in (None, {})}
    if preview:
        found = client.post(f"{_path(subscription)}/preview", {"action": action, **body})
        print_json(found) if server.json else _show_preview(found)
        return 0
    return _answered(server, client.post(f"{_path(subscription)}/{action}", body))


def _answered(server: Server, one: dict[str, Any]) -> int:
    print_json(one) if server.json else _show(one)
    return 0


def _show(one: dict[str, Any]) -> None:
    out = console()
    out.print(f"{one['id']}  {one['customer']}  {_plan(one)}  {one['status']}", markup=False)
    if one["period"] is not None:
        period = one["period"]
        out.print(f"  period {plain_time(period['start'])} - {plain_time(period['end'])}")
    if one["trial_end"] is not None and one["status"] == "trialing":
        out.print(f"  trial until {plain_time(one['trial_end'])}")
    for planned in one["scheduled"]:
        out.print(
            f"  from {plain_time(planned['at'])}: {_plan(planned)} {planned['status']}",
            markup=False,
        )
    if one["end"] is not None:
        out.print(f"  ends {plain_time(one['end'])}")


def _show_preview(found: dict[str, Any]) -> None:
    from rich.table import Table

    out = console()
    out.print(f"Would hold from {plain_time(found['effective_at'])}. Nothing was changed.")
    table = Table("period", "before", "after", "difference")
    for invoice in found["invoices"]:
        before, after = invoice["before"], invoice["after"]
        period = (after or before)["period"]
        difference = invoice["difference"] or {"amount": "", "currency": ""}
        table.add_row(
            f"{_day(period['start'])} - {_day(period['end'])}",
            _total(before),
            _total(after),
            f"{difference['amount']} {difference['currency']}".strip(),
        )
    out.print(table)
    before, after = found["entitlements"]["before"], found["entitlements"]["after"]
    for feature in sorted(before.keys() | after.keys()):
        if before.get(feature) != after.get(feature):
            out.print(
                f"  {feature}: {_granted(before.get(feature))} -> {_granted(after.get(feature))}",
                markup=False,
            )


def _show_migration(answer: dict[str, Any]) -> None:
    out = console()
    verb = "would go" if answer["dry_run"] else "went"
    out.print(f"{len(answer['items'])} subscriptions {verb} to version {answer['version']}.")
    for effect in answer["items"]:
        if "error" in effect:
            print(f"  {effect['customer']}: {effect['error']['detail']}", file=sys.stderr)
        else:
            changed = ", ".join(change["path"] for change in effect["changes"]) or "nothing"
            out.print(
                f"  {effect['customer']}  {effect['subscription']}  "
                f"from {plain_time(effect['effective_at'])}: {changed}",
                markup=False,
            )


def _granted(entitlement: Any) -> str:
    """What is granted of a feature, on one line."""
    if isinstance(entitlement, dict):
        return ", ".join(f"{name} {value}" for name, value in entitlement.items())
    if isinstance(entitlement, bool):
        return "yes" if entitlement else "no"
    return "-" if entitlement is None else str(entitlement)


def _total(invoice: dict[str, Any] | None) -> str:
    return "" if invoice is None else f"{invoice['total']} {invoice['currency']}"


def _plan(one: dict[str, Any]) -> str:
    addons = "".join(f" + {number} {key}" for key, number in one["addons"].items())
    pinned = f" (version {one['version']})" if one["pinned"] else ""
    return f"{one['plan']}{addons}{pinned}"


def _next(one: dict[str, Any]) -> str:
    if one["scheduled"]:
        first = one["scheduled"][0]
        return f"{_day(first['at'])} {_plan(first)} {first['status']}"
    return "" if one["end"] is None or one["status"] == "ended" else f"{_day(one['end'])} ends"


def _day(instant: str) -> str:
    return instant[:10]


def _path(subscription: str) -> str:
    return f"/v1/subscriptions/{segment(subscription)}"


def _quantities(addons: tuple[str, ...]) -> dict[str, int]:
    """ "boost=2" """
    found: dict[str, int] = {}
    for text in addons:
        key, equals, number = text.partition("=")
        if not (equals and number.isascii() and number.isdigit()):
            raise Rejected("invalid_parameter", f"--addon: {text!r} is not like boost=2.")
        found[key] = int(number)
    return found
