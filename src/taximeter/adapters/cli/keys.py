"""`keys`: API keys."""

from __future__ import annotations

import time
from typing import Annotated, Any

from cyclopts import App, Parameter

from taximeter.adapters.cli.common import Server, console, notice, plain_time, print_json, segment
from taximeter.errors import Rejected
from taximeter.instants import SECOND, format_instant
from taximeter.settings import read_duration

HERE = Server()

app = App(name="keys", help="List, create and revoke API keys.")


@app.command(name="list")
def list_keys(*, server: Server = HERE) -> int:
    """List keys; never their secrets."""
    answer = server.client().get("/v1/keys")
    if server.json:
        print_json(answer)
        return 0
    from rich.table import Table

    table = Table("id", "name", "begins with", "scopes", "created", "state")
    for key in answer["items"]:
        table.add_row(
            key["id"],
            key["name"],
            key.get("prefix") or "",
            " ".join(key["scopes"]),
            plain_time(key.get("created_at")),
            _state(key),
        )
    console().print(table)
    return 0


@app.command
def create(
    name: str,
    *,
    scope: Annotated[tuple[str, ...], Parameter(consume_multiple=False)] = ("write", "read"),
    expires: str | None = None,
    server: Server = HERE,
) -> int:
    """
    Create a key and print its secret, this once.

    Parameters
    ----------
    name
        What it is for, for people.
    scope
        What it may do; may be repeated. [default: write and read]
    expires
        How long it works, such as 90d; else for ever.
    """
    request: dict[str, Any] = {"name": name, "scopes": list(scope)}
    if expires is not None:
        request["expires_at"] = _from_now(expires)
    key = server.client().post("/v1/keys", request)
    if server.json:
        print_json(key)
        return 0
    notice(f"Key {key['id']} ({', '.join(key['scopes'])}). The secret is shown only now:")
    print(key["secret"])
    return 0


@app.command
def revoke(key: str, *, server: Server = HERE) -> int:
    """
    Revoke a key, at once and for good.

    Parameters
    ----------
    key
        Its id, as `keys list` shows it.
    """
    answer = server.client().post(f"/v1/keys/{segment(key)}/revoke")
    if server.json:
        print_json(answer)
    else:
        console().print(f"Key {key} is revoked.")
    return 0


def _from_now(duration: str) -> str:
    try:
        seconds = read_duration(duration)
    except ValueError as error:
        raise Rejected("invalid_parameter", f"--expires: {error}.") from error
    return format_instant(time.time_ns() // 1000 + seconds * SECOND)


def _state(key: dict[str, Any]) -> str:
    if key.get("revoked_at"):
        return f"[red]revoked {plain_time(key['revoked_at'])}[/]"
    return f"until {plain_time(key['expires_at'])}" if key.get("expires_at") else "[green]valid[/]"
