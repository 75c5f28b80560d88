"""`retract`, `amend`, `corrections`, `backfill`: what was counted wrongly is put right."""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from cyclopts import App, Parameter

from taximeter.adapters.cli.common import (
    Server,
    console,
    notice,
    plain_time,
    print_json,
    segment,
)
from taximeter.adapters.cli.failures import DIFFERENCE, OK
from taximeter.adapters.client import Client
from taximeter.errors import Rejected

HERE = Server()
Yes = Annotated[bool, Parameter(name=("--yes", "-y"))]
From = Annotated[str | None, Parameter(name="--from")]
SHOWN = 20

_objects = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)
_encoder = msgspec.json.Encoder(decimal_format="number")

corrections = App(name="corrections", help="Events taken back or given other data, many at once.")
backfill = App(name="backfill", help="History imported as a whole, looked at before it counts.")


# --- one event ----------------------------------------------------------------------------------


def retract(
    id: str, *, reason: str, source: str = "", yes: Yes = False, server: Server = HERE
) -> int:
    """
    Show an event, ask, and take it back: it counts no more.

    Parameters
    ----------
    id
        The event's id.
    reason
        For the record.
    source
        The event's source.
    yes
        Do not ask.
    """
    body = {"id": id, "source": source, "reason": reason}
    return _correct_one(server, "retract", body, None, yes=yes)


def amend(
    id: str, data: str, *, reason: str, source: str = "", yes: Yes = False, server: Server = HERE
) -> int:
    """
    Show an event, ask, and give it other data.

    Parameters
    ----------
    id
        The event's id.
    data
        All of the new data, as a JSON object.
    reason
        For the record.
    source
        The event's source.
    yes
        Do not ask.
    """
    new = _object(data, "DATA")
    body = {"id": id, "source": source, "reason": reason, "data": new}
    return _correct_one(server, "amend", body, new, yes=yes)


def _correct_one(server: Server, action: str, body: dict[str, Any], new: Any, *, yes: bool) -> int:
    client = server.client()
    receipt = client.get("/v1/events/receipt", source=body["source"], id=body["id"])
    if not server.json:
        _show_receipt(receipt, new)
    if not (yes or _confirmed(f"{action.capitalize()} it?")):
        if server.json:
            print_json(receipt)
        notice("Nothing was changed.")
        return DIFFERENCE
    done = client.post(f"/v1/events/{action}", body)
    if server.json:
        print_json(done)
    else:
        console().print(f"{done['status']} at {done['position']}", markup=False)
    return OK


def _show_receipt(receipt: dict[str, Any], new: Any) -> None:
    event, out = receipt["event"], console()
    whose = receipt["customer"] or f"{event['subject']}, whom no customer claims"
    out.print(f"{event['type']} of {whose} at {plain_time(event['time'])}", markup=False)
    out.print(f"  data     {_text(event['data'])}", markup=False)
    if new is not None:
        out.print(f"  becomes  {_text(new)}", markup=False)
    out.print(f"  status   {receipt['status']}", markup=False)
    out.print(f"  meters   {', '.join(receipt['meters']) or '-'}", markup=False)
    for line in receipt["lines"]:
        out.print(f"  billed   invoice {line['invoice']}, line {line['line']}", markup=False)


# --- by query -----------------------------------------------------------------------------------


@corrections.command(name="retract")
def retract_many(
    *,
    reason: str,
    customer: str | None = None,
    type: str | None = None,
    from_: From = None,
    to: str | None = None,
    filter: str | None = None,
    yes: Yes = False,
    server: Server = HERE,
) -> int:
    """
    Show what taking back many events would change, ask, and do it.

    Parameters
    ----------
    reason
        For the record.
    customer
        Whose events.
    type
        Events of this type.
    from_
        Of events at or after this instant.
    to
        Of events before this instant.
    filter
        An expression such as: data.model == "opus"
    yes
        Do not ask.
    """
    query = {"customer": customer, "type": type, "from": from_, "to": to, "filter": filter}
    return _correct_many(server, {"action": "retract", **query, "reason": reason}, yes=yes)


@corrections.command(name="amend")
def amend_many(
    patch: str,
    *,
    reason: str,
    customer: str | None = None,
    type: str | None = None,
    from_: From = None,
    to: str | None = None,
    filter: str | None = None,
    yes: Yes = False,
    server: Server = HERE,
) -> int:
    """
    Show what changing members of many events' data would change, ask, and do it.

    Parameters
    ----------
    patch
        Members to set, as a JSON object; null removes one.
    reason
        For the record.
    customer
        Whose events.
    type
        Events of this type.
    from_
        Of events at or after this instant.
    to
        Of events before this instant.
    filter
        An expression such as: data.model == "opus"
    yes
        Do not ask.
    """
    query = {"customer": customer, "type": type, "from": from_, "to": to, "filter": filter}
    body = {"action": "amend", **query, "patch": _object(patch, "PATCH"), "reason": reason}
    return _correct_many(server, body, yes=yes)


def _correct_many(server: Server, query: dict[str, Any], *, yes: bool) -> int:
    client = server.client()
    body = {name: value for name, value in query.items() if value is not None}
    shown = client.post("/v1/corrections/preview", body)
    if not server.json:
        _show_preview(shown)
    if not shown["events"]:
        if server.json:
            print_json(shown)
        return OK
    if not (yes or _confirmed(f"{query['action'].capitalize()} {shown['events']} events?")):
        if server.json:
            print_json(shown)
        notice("Nothing was changed.")
        return DIFFERENCE
    made = client.post("/v1/corrections", body | {"preview": shown["preview"]})
    _say(made, as_json=server.json)
    return OK


def _show_preview(shown: dict[str, Any]) -> None:
    out = console()
    out.print(f"{shown['events']} events as of {shown['position']}", markup=False)
    if shown["unchanged"]:
        out.print(f"{shown['unchanged']} more say already what they would be made to say")
    if shown["unmatched"]:
        out.print(f"{shown['unmatched']} of them belong to nobody")
    _show_effect(shown)
    for invoice in shown["invoices"]:
        name = invoice["number"] or invoice["id"]
        out.print(f"billed on {name} ({invoice['status']}), which stays as it is", markup=False)
    if shown["needs_approval"]:
        out.print("It will wait for a second person.")


def _show_effect(shown: dict[str, Any]) -> None:
    if not shown["effect"]:
        return
    for fare in shown["fares"][:SHOWN]:
        start = plain_time(fare["period"]["start"])
        amounts = f"{fare['before']} to {fare['after']} {fare['currency']}"
        console().print(f"fare of {fare['customer']} from {start}: {amounts}", markup=False)
    from rich.table import Table

    table = Table("customer", "meter", "period", "before", "after")
    for one in shown["effect"][:SHOWN]:
        start, end = (plain_time(one["period"][name]) for name in ("start", "end"))
        table.add_row(
            one["customer"], one["meter"], f"{start} - {end}", one["before"], one["after"]
        )
    console().print(table)
    more = len(shown["effect"][SHOWN:]) + shown["more"]
    if more:
        console().print(f"and {more} more")


@corrections.command(name="list")
def list_corrections(*, status: str | None = None, limit: int = 100, server: Server = HERE) -> int:
    """
    List corrections, newest first.

    Parameters
    ----------
    status
        Only pending, rejected, committed or reverted ones.
    limit
        At most so many.
    """
    answer = server.client().get("/v1/corrections", status=status, limit=limit)
    if server.json:
        print_json(answer)
        return OK
    from rich.table import Table

    table = Table("id", "made", "what", "events", "status", "by", "reason")
    for one in answer["items"]:
        table.add_row(
            one["id"],
            plain_time(one["made_at"]),
            one["action"],
            str(one["events"]),
            one["status"],
            one["made_by"],
            one["reason"],
        )
    console().print(table)
    return OK


@corrections.command
def show(correction: str, *, server: Server = HERE) -> int:
    """
    Show one correction.

    Parameters
    ----------
    correction
        Its id, as `corrections list` shows it.
    """
    one = server.client().get(_path("corrections", correction))
    if server.json:
        print_json(one)
        return OK
    for name, value in one.items():
        if value is not None:
            shown = _text(value) if isinstance(value, dict) else value
            console().print(f"{name:<12} {shown}", markup=False)
    return OK


@corrections.command
def approve(correction: str, *, server: Server = HERE) -> int:
    """
    Approve a correction of somebody else.

    Parameters
    ----------
    correction
        Its id.
    """
    made = server.client().post(_path("corrections", correction, "approve"), {})
    _say(made, as_json=server.json)
    return OK


@corrections.command
def reject(correction: str, *, reason: str, server: Server = HERE) -> int:
    """
    Let a correction that waits for a second person not be made.

    Parameters
    ----------
    correction
        Its id.
    reason
        For the record.
    """
    made = server.client().post(_path("corrections", correction, "reject"), {"reason": reason})
    _say(made, as_json=server.json)
    return OK


@corrections.command
def revert(correction: str, *, reason: str, yes: Yes = False, server: Server = HERE) -> int:
    """
    Undo a correction: what was taken back comes back, what was changed is as it was.

    Parameters
    ----------
    correction
        Its id.
    reason
        For the record.
    yes
        Do not ask.
    """
    client = server.client()
    one = client.get(_path("corrections", correction))
    if not server.json:
        what = f"{one['action']} of {one['events']} events, {one['status']}: {one['reason']}"
        console().print(what, markup=False)
    if not (yes or _confirmed("Undo it?")):
        if server.json:
            print_json(one)
        notice("Nothing was changed.")
        return DIFFERENCE
    made = client.post(_path("corrections", correction, "revert"), {"reason": reason})
    _say(made, as_json=server.json)
    return OK


def _say(made: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(made)
    elif made["status"] == "pending":
        console().print(f"{made['id']} waits for a second person.", markup=False)
    elif made["position"] is None:
        console().print(f"{made['id']} is {made['status']}.", markup=False)
    else:
        console().print(f"{made['id']} is {made['status']} at {made['position']}.", markup=False)


# --- backfills ----------------------------------------------------------------------------------


@backfill.command(name="open")
def open_backfill(id: str, *, reason: str, server: Server = HERE) -> int:
    """
    Open a backfill. Load events into it with `taximeter ingest FILE --stage ID`.

    Parameters
    ----------
    id
        Your name for it.
    reason
        For the record.
    """
    _say_backfill(server.client().post("/v1/backfills", {"id": id, "reason": reason}), server)
    return OK


@backfill.command(name="list")
def list_backfills(*, limit: int = 100, server: Server = HERE) -> int:
    """
    List backfills, newest first.

    Parameters
    ----------
    limit
        At most so many.
    """
    answer = server.client().get("/v1/backfills", limit=limit)
    if server.json:
        print_json(answer)
        return OK
    from rich.table import Table

    table = Table("id", "made", "status", "staged", "accepted", "reason")
    for one in answer["items"]:
        numbers = (str(one["staged"]), str(one["accepted"]))
        table.add_row(one["id"], plain_time(one["made_at"]), one["status"], *numbers, one["reason"])
    console().print(table)
    return OK


@backfill.command(name="show")
def show_backfill(id: str, *, server: Server = HERE) -> int:
    """
    Show a backfill, and what committing it would change.

    Parameters
    ----------
    id
        Its name.
    """
    one = server.client().get(_path("backfills", id))
    if server.json:
        print_json(one)
    else:
        _show_backfill(one)
    return OK


def _show_backfill(one: dict[str, Any]) -> None:
    out = console()
    out.print(f"{one['id']} is {one['status']}: {one['reason']}", markup=False)
    shown = one.get("preview")
    if shown is None:
        counts = f"{one['accepted']} accepted, {one['duplicates']} known before"
        out.print(f"{one['staged']} staged, {counts}, {one['rejected']} rejected")
        return
    out.print(f"{shown['events']} events would count, {shown['known']} are known already")
    if shown["first"]:
        first, last = plain_time(shown["first"]), plain_time(shown["last"])
        out.print(f"from {first} to {last}; {shown['unmatched']} belong to nobody")
    _show_effect(shown)


@backfill.command
def commit(id: str, *, yes: Yes = False, server: Server = HERE) -> int:
    """
    Show what a backfill would change, ask, and let it count.

    Parameters
    ----------
    id
        Its name.
    yes
        Do not ask.
    """
    return _finish(server, id, "commit", {}, "Commit it?", yes=yes)


@backfill.command(name="revert")
def revert_backfill(id: str, *, reason: str, yes: Yes = False, server: Server = HERE) -> int:
    """
    Take back everything a backfill brought.

    Parameters
    ----------
    id
        Its name.
    reason
        For the record.
    yes
        Do not ask.
    """
    return _finish(server, id, "revert", {"reason": reason}, "Take it back?", yes=yes)


def _finish(
    server: Server, id: str, what: str, body: dict[str, Any], question: str, *, yes: bool
) -> int:
    client = server.client()
    one = client.get(_path("backfills", id))
    if not server.json:
        _show_backfill(one)
    if not (yes or _confirmed(question)):
        if server.json:
            print_json(one)
        notice("Nothing was changed.")
        return DIFFERENCE
    _say_backfill(client.post(_path("backfills", id, what), body), server)
    return OK


def _say_backfill(one: dict[str, Any], server: Server) -> None:
    if server.json:
        print_json(one)
    else:
        _show_backfill(one)


def stage_into(client: Client, id: str, reason: str | None) -> None:
    """Open the backfill that a load goes into, if a reason for one is given."""
    if reason is not None:
        client.post("/v1/backfills", {"id": id, "reason": reason})


# --- what they share ----------------------------------------------------------------------------


def _confirmed(question: str) -> bool:
    """Whether the person says yes; nobody does where there is no terminal."""
    if not sys.stdin.isatty():
        return False
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _path(kind: str, name: str, *rest: str) -> str:
    return "/".join(("", "v1", kind, segment(name), *rest))


def _object(text: str, name: str) -> Any:
    try:
        return _objects.decode(text)
    except msgspec.MsgspecError as error:
        raise Rejected("invalid_parameter", f"{name} is no JSON object: {error}.") from error


def _text(value: Any) -> str:
    return _encoder.encode(value).decode()
