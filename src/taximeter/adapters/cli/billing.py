"""`billing`: how invoices are made, who changed it, and which taxes apply to whom."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from cyclopts import App

from taximeter.adapters.cli.catalog import read_file
from taximeter.adapters.cli.common import (
    FILE,
    Server,
    console,
    plain_time,
    print_json,
    segment,
)
from taximeter.adapters.cli.failures import DIFFERENCE, OK
from taximeter.catalog.yaml_reader import read_document
from taximeter.errors import Rejected

HERE = Server()
_BESIDE = ("version", "changed_at", "changed_by", "reason")

app = App(name="billing", help="How invoices are made, and which taxes apply to whom.")


@app.command
def settings(
    file: Annotated[Path | None, FILE] = None,
    /,
    *,
    reason: str = "",
    version: int | None = None,
    server: Server = HERE,
) -> int:
    """
    Show the billing settings, or put those of a file in their place.

    Parameters
    ----------
    file
        The settings, YAML or JSON, as this command prints them; - for stdin.
    reason
        Why they change.
    version
        Show this version; with a file: the version it was made from.
    """
    client = server.client()
    if file is None:
        found = client.get(
            "/v1/billing/settings", **({} if version is None else {"version": version})
        )
    else:
        body = _read(file)
        body |= {"reason": reason} if reason else {}
        body |= {} if version is None else {"version": version}
        found = client.put("/v1/billing/settings", body)
    if server.json:
        print_json(found)
        return OK
    if file is not None:
        console().print(f"The billing settings are at version {found['version']}.")
        return OK
    shown = {name: value for name, value in found.items() if name not in _BESIDE}
    print(msgspec.yaml.encode(shown).decode(), end="")
    return OK


@app.command
def versions(*, server: Server = HERE) -> int:
    """Who changed the billing settings when, and why; newest first."""
    answer = server.client().get("/v1/billing/settings/versions")
    if server.json:
        print_json(answer)
        return OK
    from rich.table import Table

    table = Table("version", "when", "who", "why")
    for one in answer["items"]:
        when = plain_time(one["changed_at"])
        table.add_row(str(one["version"]), when, one["changed_by"], one["reason"])
    console().print(table)
    return OK


@app.command
def tax(customer: str, *, category: str = "", at: str | None = None, server: Server = HERE) -> int:
    """
    Which tax rates apply to a customer. Exits 1 if that cannot be said.

    Parameters
    ----------
    customer
        Its key.
    category
        Of what is sold, as prices name it; the standard one without.
    at
        An instant; now without.
    """
    query: dict[str, Any] = {"category": category} | ({} if at is None else {"at": at})
    answer = server.client().get(f"/v1/customers/{segment(customer)}/taxes", **query)
    if server.json:
        print_json(answer)
    else:
        _show_rates(answer)
    return OK if answer["unknown"] is None else DIFFERENCE


def _read(file: Path) -> dict[str, Any]:
    content, media_type = read_file(file)
    form: Literal["json", "yaml"] = "json" if media_type.endswith("json") else "yaml"
    try:
        return read_document(content, form)
    except Rejected as error:
        if error.code != "catalog_invalid":
            raise
        text = "has no settings in it" if not content.strip() else "cannot be read as settings"
        raise Rejected("invalid_file", f"{file} {text}; see: taximeter billing settings") from None


def _show_rates(answer: dict[str, Any]) -> None:
    out = console()
    if answer["unknown"] is not None:
        out.print(answer["unknown"], markup=False)
    elif not answer["rates"]:
        out.print("no tax")
    for one in answer["rates"]:
        how = one["note"] or ("in the price" if one["inclusive"] else "on top of the price")
        how = how.replace("_", " ")
        out.print(f"{one['name']} {one['jurisdiction']}  {one['rate']}  {how}", markup=False)
