"""`apply` and `diff`: the catalogue as code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from taximeter.adapters.cli.common import FILE, Server, console, notice, print_json
from taximeter.adapters.cli.failures import DIFFERENCE, OK
from taximeter.adapters.client import Client
from taximeter.errors import Rejected

HERE = Server()


def diff(file: Annotated[Path, FILE], /, *, server: Server = HERE) -> int:
    """
    Show what a catalogue file would change. Exits 1 if it would change anything.

    Parameters
    ----------
    file
        The catalogue, YAML or JSON; - for stdin.
    """
    plan = _put(server.client(), read_file(file), dry_run=True)
    if server.json:
        print_json(plan)
    else:
        _show(plan["changes"])
    return DIFFERENCE if plan["changes"] else OK


def apply(
    file: Annotated[Path, FILE],
    /,
    *,
    yes: Annotated[bool, Parameter(name=("--yes", "-y"))] = False,
    staged: bool = False,
    reason: str = "",
    server: Server = HERE,
) -> int:
    """
    Show the changes of a catalogue file, ask, and apply them as a new version.

    Parameters
    ----------
    file
        The catalogue, YAML or JSON; - for stdin.
    yes
        Do not ask. Nobody is asked when stdin is not a terminal.
    staged
        For nobody yet, but to be rolled out (taximeter rollouts).
    reason
        For the record.
    """
    client, document = server.client(), read_file(file)
    plan = _put(client, document, dry_run=True)
    if not server.json:
        _show(plan["changes"])
    if not plan["changes"]:
        if server.json:
            print_json(plan)
        return OK
    if not (yes or server.json or _confirmed()):
        notice("Nothing was applied.")
        return DIFFERENCE
    applied = _put(client, document, dry_run=False, staged=staged, reason=reason)
    if server.json:
        print_json(applied)
    else:
        what = "Staged: nobody is on" if staged else "Applied: the catalogue is at"
        console().print(f"{what} version {applied['version']}.")
    return OK


def read_file(file: Path) -> tuple[bytes, str]:
    """The file's bytes, unchanged, and their media type: the server reads numbers exactly."""
    try:
        content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise Rejected("invalid_file", f"{file} cannot be read: {error.strerror}.") from error
    return content, "application/json" if file.suffix == ".json" else "application/yaml"


def _put(
    client: Client,
    document: tuple[bytes, str],
    *,
    dry_run: bool,
    staged: bool = False,
    reason: str = "",
) -> dict[str, Any]:
    content, content_type = document
    answer: dict[str, Any] = client.request(
        "PUT",
        "/v1/catalog",
        query={
            "dry_run": 1 if dry_run else None,
            "staged": 1 if staged else None,
            "reason": reason or None,
        },
        body=content,
        content_type=content_type,
    ).json()
    return answer


def _confirmed() -> bool:
    if not sys.stdin.isatty():
        return True
    notice("Apply these changes? [y/N] ")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


_SIGNS = {"added": ("+", "green"), "removed": ("-", "red"), "changed": ("~", "yellow")}


def _show(changes: list[Any]) -> None:
    """One line a change: {"kind": added|changed|removed, "path", "before", "after", "refolds"}."""
    from rich.text import Text

    out = console()
    if not changes:
        out.print("No difference.")
    for change in changes:
        sign, colour = _SIGNS[change["kind"]]
        both = (change.get("before"), change.get("after"))
        values = " -> ".join(_value(value) for value in both if value is not None)
        recounted = "  (its history is counted anew)" if change.get("refolds") else ""
        out.print(
            Text(f"{sign} {change['path']}  {values}{recounted}", style=colour), soft_wrap=True
        )


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value
    import msgspec

    return msgspec.json.encode(value).decode()
