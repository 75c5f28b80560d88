"""`rules`: what rules did, what they would do, and what people make of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from taximeter.adapters.cli.common import (
    Server,
    console,
    plain_time,
    print_json,
    segment,
)
from taximeter.adapters.cli.failures import OK
from taximeter.errors import Rejected

HERE = Server()
Limit = Annotated[int, Parameter(name=("--limit", "-n"))]
_COLOURS = {"on": "green", "dry_run": "yellow", "off": "dim"}

rules = App(name="rules", help="See what rules do, try them out, review what they did.")


@rules.command(name="list")
def list_rules(*, server: Server = HERE) -> int:
    """List the rules of the catalogue, with how often they fired in the last 24 hours."""
    items = server.client().get("/v1/rules")["items"]
    if server.json:
        print_json(items)
        return OK
    from rich.table import Table

    table = Table("rule", "mode", "on", "does", "fired today", "would have")
    for one in items:
        rule, fires = one["rule"], one["fires_today"]
        table.add_row(
            one["key"],
            f"[{_COLOURS[one['mode']]}]{one['mode']}[/]",
            " ".join([rule["on"]] if isinstance(rule["on"], str) else rule["on"]),
            " ".join(_names(rule["do"])),
            str(fires["on"]),
            str(fires["dry_run"]),
        )
    console().print(table)
    return OK


@rules.command
def fires(
    rule: str,
    *,
    customer: str | None = None,
    mode: str | None = None,
    limit: Limit = 20,
    server: Server = HERE,
) -> int:
    """
    List when a rule fired, newest first.

    Parameters
    ----------
    rule
        Its key.
    customer
        Only for this one.
    mode
        Only what was done (on), or only what would have been (dry_run).
    limit
        How many.
    """
    answer = server.client().get(
        f"/v1/rules/{segment(rule)}/fires", customer=customer, mode=mode, limit=limit
    )
    return _show_fires(server, answer)


@rules.command(name="dry-run")
def dry_run(
    rule: str,
    *,
    file: Path | None = None,
    from_: Annotated[str | None, Parameter(name="--from")] = None,
    to: str | None = None,
    server: Server = HERE,
) -> int:
    """
    Try a rule out on the events received in a span of time. Changes nothing.

    Parameters
    ----------
    rule
        Its key.
    file
        A catalogue file to take the rule from; else the published catalogue.
    from_
        Begin of the span. [default: 7 days before its end]
    to
        End of the span, exclusive. [default: now]
    """
    body: dict[str, Any] = {"rule": rule if file is None else _of_file(file, rule)}
    body |= {name: at for name, at in (("from", from_), ("to", to)) if at is not None}
    trial = server.client().post("/v1/rules/dry-run", body)
    if server.json:
        print_json(trial)
        return OK
    from rich.table import Table

    table = Table("customer", "fires", "first", "last", "for example")
    for one in trial["items"]:
        sample = one["samples"][0]
        who = f" by {sample['value']}" if sample["value"] else ""
        observed = f", {sample['observed']} in the window" if sample["observed"] else ""
        table.add_row(
            one["customer"],
            str(one["fires"]),
            plain_time(one["first_at"]),
            plain_time(one["last_at"]),
            f"event {sample['event']}{who}{observed}",
        )
    if trial["items"]:
        console().print(table)
    span = f"{plain_time(trial['from'])} to {plain_time(trial['to'])}"
    console().print(
        f"{span}: of {_many(trial['events'], 'event')} it would have fired on {trial['fires']}, "
        f"of {_many(trial['customers'], 'customer')}, to {', '.join(trial['would'])}."
    )
    if not trial["complete"]:
        console().print("There were too many events for one go; go on with --from.")
    return OK


@rules.command
def reviews(*, status: str = "open", limit: Limit = 20, server: Server = HERE) -> int:
    """
    List what rules want somebody to look at.

    Parameters
    ----------
    status
        open, approved or dismissed.
    limit
        How many.
    """
    return _show_fires(server, server.client().get("/v1/reviews", status=status, limit=limit))


@rules.command
def approve(review: str, *, note: str = "", server: Server = HERE) -> int:
    """
    Say that a rule was right: what it has imposed stays.

    Parameters
    ----------
    review
        Its id, as `rules reviews` shows it.
    note
        Why, for the record.
    """
    return _resolve(server, review, "approve", note)


@rules.command
def dismiss(review: str, *, note: str = "", server: Server = HERE) -> int:
    """
    Say that a rule was wrong: what it has imposed on the customer is lifted.

    Parameters
    ----------
    review
        Its id, as `rules reviews` shows it.
    note
        Why, for the record.
    """
    return _resolve(server, review, "dismiss", note)


@rules.command
def blocks(customer: str, *, server: Server = HERE) -> int:
    """
    Show what a customer may not use, or only slowly.

    Parameters
    ----------
    customer
        Its key.
    """
    items = server.client().get(f"/v1/customers/{segment(customer)}/blocks")["items"]
    if server.json:
        print_json(items)
    else:
        for one in items:
            console().print(_imposed(one))
        if not items:
            console().print(f"{customer} is not held back.")
    return OK


@rules.command
def unblock(
    customer: str, *, feature: str | None = None, reason: str = "", server: Server = HERE
) -> int:
    """
    Lift blocks and throttles of a customer.

    Parameters
    ----------
    customer
        Its key.
    feature
        Only those of this feature.
    reason
        Why, for the record.
    """
    body = {"feature": feature, "reason": reason}
    answer = server.client().post(f"/v1/customers/{segment(customer)}/unblock", body)
    if server.json:
        print_json(answer)
    else:
        for one in answer["lifted"]:
            console().print(f"Lifted: {_imposed(one)}")
        if not answer["lifted"]:
            console().print("There was nothing to lift.")
    return OK


# --- shared -------------------------------------------------------------------------------------


def _resolve(server: Server, review: str, verb: str, note: str) -> int:
    fire = server.client().post(f"/v1/reviews/{segment(review)}/{verb}", {"note": note})
    if server.json:
        print_json(fire)
    else:
        console().print(f"{fire['id']} of {fire['customer']} is {fire['review']}.")
    return OK


def _show_fires(server: Server, answer: dict[str, Any]) -> int:
    if server.json:
        print_json(answer)
        return OK
    from rich.table import Table

    table = Table("id", "mode", "customer", "who", "event", "at", "what came of it", "review")
    for one in answer["items"]:
        table.add_row(
            one["id"],
            f"[{_COLOURS[one['mode']]}]{one['mode']}[/]",
            one["customer"],
            one["value"] or "-",
            one["event"],
            plain_time(one["at"]),
            "; ".join(f"{action}: {outcome}" for action, outcome in one["outcomes"].items()),
            one["review"] or "-",
        )
    console().print(table)
    if answer["next"]:
        console().print("There are more: raise --limit.")
    return OK


def _imposed(one: dict[str, Any]) -> str:
    what = one["feature"] or "everything"
    pace = f" to {one['limit']} in {one['per_s']} s" if one["kind"] == "throttle" else ""
    until = f"until {plain_time(one['until'])}" if one["until"] else "until it is lifted"
    reason = f": {one['reason']}" if one["reason"] else ""
    return f"{one['kind']} of {what}{pace} by {one['by']}, {until}{reason}"


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _names(do: list[Any]) -> list[str]:
    return [one if isinstance(one, str) else next(iter(one)) for one in do]


def _of_file(file: Path, rule: str) -> dict[str, Any]:
    from taximeter.adapters.cli.catalog import read_file
    from taximeter.catalog.yaml_reader import read_document

    content, media_type = read_file(file)
    form: Literal["json", "yaml"] = "json" if media_type.endswith("json") else "yaml"
    written = read_document(content, form).get("rules")
    found = written.get(rule) if isinstance(written, dict) else None
    if not isinstance(found, dict):
        raise Rejected("invalid_file", f"{file} has no rule {rule!r}.")
    return found
