"""`alerts` and `webhooks`: what is watched, and who is told."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import App, Parameter

from taximeter.adapters.cli.common import Server, console, notice, plain_time, print_json, segment
from taximeter.adapters.cli.failures import DIFFERENCE, OK

HERE = Server()
Several = Parameter(consume_multiple=False)
_COLOURS = {"delivered": "green", "enabled": "green", "failed": "red", "disabled": "red"}

alerts = App(name="alerts", help="List, put and delete alerts.")
webhooks = App(name="webhooks", help="List, put, test and delete webhooks; see their deliveries.")


# --- alerts -------------------------------------------------------------------------------------


@alerts.command(name="list")
def list_alerts(*, server: Server = HERE) -> int:
    """List alerts."""
    items = _all(server, "/v1/alerts")
    if server.json:
        print_json(items)
        return OK
    from rich.table import Table

    table = Table("id", "on", "of", "lines", "customer", "email")
    for one in items:
        lines = " ".join(one.get("thresholds") or [f"within {one.get('within')}"])
        of = one.get("feature") or one.get("credit") or one.get("budget") or "any"
        email = " ".join(one["email"])
        table.add_row(one["id"], one["on"], of, lines, one["customer"] or "all", email)
    console().print(table)
    return OK


@alerts.command(name="put")
def put_alert(
    alert: str,
    on: str,
    name: str,
    *,
    at: Annotated[tuple[str, ...], Several] = (),
    within: str | None = None,
    window: str | None = None,
    customer: str | None = None,
    email: Annotated[tuple[str, ...], Several] = (),
    server: Server = HERE,
) -> int:
    """
    Add or replace an alert.

    Parameters
    ----------
    alert
        Its id.
    on
        usage, balance, budget or forecast.
    name
        The feature, credit type or budget.
    at
        A threshold, such as 80% or 5000; may be repeated.
    within
        How far a forecast looks ahead, such as 3d.
    window
        Another window than that of the main limit, such as week or first_use:5h.
    customer
        Only this one; else all.
    email
        An address to tell beside the webhooks; may be repeated.
    """
    named_by = {"balance": "credit", "budget": "budget"}.get(on, "feature")
    document: dict[str, Any] = {"on": on, named_by: name, "customer": customer}
    document["email"] = list(email)
    if at or on != "forecast":
        document["thresholds"] = list(at)
    if within is not None:
        document["within"] = within
    if window is not None:
        document["window"] = window
    answer = server.client().put(f"/v1/alerts/{segment(alert)}", document)
    if server.json:
        print_json(answer)
    else:
        console().print(f"Alert {alert} is on.")
    return OK


@alerts.command(name="delete")
def delete_alert(alert: str, *, server: Server = HERE) -> int:
    """
    Delete an alert.

    Parameters
    ----------
    alert
        Its id.
    """
    return _delete(server, f"/v1/alerts/{segment(alert)}", f"Alert {alert} is deleted.")


# --- webhooks -----------------------------------------------------------------------------------


@webhooks.command(name="list")
def list_webhooks(*, server: Server = HERE) -> int:
    """List webhooks; never their secrets."""
    items = _all(server, "/v1/webhooks")
    if server.json:
        print_json(items)
        return OK
    from rich.table import Table

    table = Table("id", "url", "types", "state", "failing since")
    for one in items:
        reason = f" ({one['disabled_reason']})" if one["disabled_reason"] else ""
        state = f"[{_COLOURS[one['status']]}]{one['status']}{reason}[/]"
        since = _second(one["failing_since"])
        table.add_row(one["id"], one["url"], " ".join(one["types"]), state, since)
    console().print(table)
    return OK


@webhooks.command(name="put")
def put_webhook(
    webhook: str,
    url: str,
    *,
    type: Annotated[tuple[str, ...], Several] = ("*",),
    email: Annotated[tuple[str, ...], Several] = (),
    disabled: bool = False,
    server: Server = HERE,
) -> int:
    """
    Add, replace or enable a webhook. Prints the secret of a new one, this once.

    Parameters
    ----------
    webhook
        Its id.
    url
        Where notices are sent.
    type
        A type it is sent, such as usage.*; may be repeated. [default: all]
    email
        An address to tell when it is disabled; may be repeated.
    disabled
        Send it nothing.
    """
    document = {"url": url, "types": list(type), "email": list(email), "enabled": not disabled}
    answer = server.client().put(f"/v1/webhooks/{segment(webhook)}", document)
    return _show_secret(server, answer, f"Webhook {webhook} is {answer['status']}.")


@webhooks.command
def rotate(webhook: str, *, overlap: str | None = None, server: Server = HERE) -> int:
    """
    Give a webhook a new secret, and print it.

    Parameters
    ----------
    webhook
        Its id.
    overlap
        How long the one before goes on signing beside it, such as 24h or 0s. [default: 24h]
    """
    path = f"/v1/webhooks/{segment(webhook)}/rotate"
    answer = server.client().post(path, {} if overlap is None else {"overlap": overlap})
    until = _second(answer["previous_secret_until"])
    return _show_secret(server, answer, f"The secret before signs until {until}.")


@webhooks.command(name="test")
def send_test(webhook: str, *, server: Server = HERE) -> int:
    """
    Send a webhook a test. Exits 1 if that fails.

    Parameters
    ----------
    webhook
        Its id.
    """
    return _sent(server, server.client().post(f"/v1/webhooks/{segment(webhook)}/test"))


@webhooks.command
def deliveries(
    webhook: str,
    *,
    status: str | None = None,
    limit: Annotated[int, Parameter(name=("--limit", "-n"))] = 20,
    server: Server = HERE,
) -> int:
    """
    List a webhook's deliveries, newest first.

    Parameters
    ----------
    webhook
        Its id.
    status
        pending, delivered or failed.
    limit
        How many.
    """
    path = f"/v1/webhooks/{segment(webhook)}/deliveries"
    answer = server.client().get(path, status=status, limit=limit)
    if server.json:
        print_json(answer)
        return OK
    from rich.table import Column, Table

    id_column = Column("id", no_wrap=True)
    table = Table(id_column, "type", "made", "state", "attempts", "last", "next attempt")
    for one in answer["items"]:
        state = one["status"]
        coloured = f"[{_COLOURS[state]}]{state}[/]" if state in _COLOURS else state
        table.add_row(
            one["id"],
            one["type"],
            _second(one["created_at"]),
            coloured,
            str(len(one["attempts"])),
            _last(one),
            _second(one["next_attempt_at"]),
        )
    console().print(table)
    return OK


@webhooks.command
def resend(delivery: str, *, server: Server = HERE) -> int:
    """
    Send a delivery again, now. Exits 1 if that fails.

    Parameters
    ----------
    delivery
        Its id, as `webhooks deliveries` shows it.
    """
    return _sent(server, server.client().post(f"/v1/deliveries/{segment(delivery)}/resend"))


@webhooks.command
def resend_failed(webhook: str, *, since: str | None = None, server: Server = HERE) -> int:
    """
    Send a webhook all that has failed again.

    Parameters
    ----------
    webhook
        Its id.
    since
        Only what was told at or after this instant, such as 2026-11-20T00:00:00Z.
    """
    path = f"/v1/webhooks/{segment(webhook)}/resend"
    answer = server.client().post(path, {} if since is None else {"since": since})
    if server.json:
        print_json(answer)
    else:
        console().print(f"{answer['resent']} deliveries are sent again.")
    return OK


@webhooks.command(name="delete")
def delete_webhook(webhook: str, *, server: Server = HERE) -> int:
    """
    Delete a webhook and the log of its deliveries.

    Parameters
    ----------
    webhook
        Its id.
    """
    return _delete(server, f"/v1/webhooks/{segment(webhook)}", f"Webhook {webhook} is deleted.")


# --- shared -------------------------------------------------------------------------------------


def _all(server: Server, path: str) -> list[dict[str, Any]]:
    client = server.client()
    items: list[dict[str, Any]] = []
    cursor = None
    while True:
        answer = client.get(path, limit=1000, cursor=cursor)
        items += answer["items"]
        cursor = answer["next"]
        if cursor is None:
            return items


def _delete(server: Server, path: str, done: str) -> int:
    server.client().request("DELETE", path)
    if server.json:
        print_json({"deleted": True})
    else:
        console().print(done)
    return OK


def _show_secret(server: Server, answer: dict[str, Any], text: str) -> int:
    if server.json:
        print_json(answer)
        return OK
    notice(text)
    if answer.get("secret"):
        notice("The secret is shown only now:")
        print(answer["secret"])
    return OK


def _sent(server: Server, delivery: dict[str, Any]) -> int:
    if server.json:
        print_json(delivery)
    else:
        console().print(f"{delivery['status']}: {_last(delivery)}")
    return OK if delivery["status"] == "delivered" else DIFFERENCE


def _second(instant: str | None) -> str:
    return plain_time(None if instant is None else f"{instant[:19]}Z")


def _last(delivery: dict[str, Any]) -> str:
    """The last attempt in a few words."""
    if not delivery["attempts"]:
        return "not tried yet"
    last = delivery["attempts"][-1]
    return str(last["error"] or f"{last['status']} in {last['duration_ms']} ms")
