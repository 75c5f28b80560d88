"""`export`: everything a namespace holds, as plain files with their digests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from cyclopts import Parameter

from taximeter.adapters.cli.common import FILE, Server, console, notice, print_json, segment
from taximeter.adapters.cli.failures import DIFFERENCE, OK
from taximeter.errors import Rejected

if TYPE_CHECKING:
    from taximeter.adapters.client import Client

HERE = Server()
MANIFEST: Final = "manifest.json"
EVENTS_A_FILE: Final = 50_000
PAGE: Final = 1000
PATIENCE_S: Final = 60.0
ATTRIBUTES: Final = (
    "id", "source", "type", "subject", "time",
    "taximeterposition", "taximeterreceived", "taximeterretractedat",
)  # fmt: skip

_LISTS: Final = {
    "coupons": "/v1/coupons",
    "invoices": "/v1/invoices",
    "credit_notes": "/v1/credit-notes",
    "late_usage": "/v1/late-usage",
    "payments": "/v1/payments",
    "journal": "/v1/accounting/journal",
}
"""Files of what the API lists page by page."""

_encode = msgspec.json.Encoder(decimal_format="number", order="sorted").encode


class Kept(msgspec.Struct, frozen=True):
    """A file of the export."""

    sha256: str
    items: int


class Manifest(msgspec.Struct):
    """
    What an export holds, and where it goes on.

    Attributes:
        upto: Position that the events reach once they are all there.
        cursor: They are fetched from the newest down; those below this seq are still missing.
        floor: Down to where an earlier export has them.
    """

    format: int = 1
    namespace: str = ""
    upto: int = 0
    cursor: int | None = None
    floor: int = 0
    files: dict[str, Kept] = {}


def export(
    directory: Annotated[Path, FILE],
    *,
    format: Literal["jsonl", "parquet"] = "jsonl",
    check: Annotated[bool, Parameter(name="--check")] = False,
    server: Server = HERE,
) -> int:
    """
    Save all events (as CloudEvents), and what the books hold: customers and their discounts,
    subscriptions, every version of the catalogue and of the settings, coupons, invoices, credit
    notes, late usage, payments, ledgers, the journal. Run again, it goes on where it was
    interrupted, or adds what is new.

    Parameters
    ----------
    directory
        Where to; `manifest.json` in it names every file with its SHA-256.
    format
        Of the events.
    check
        Only read the files again and compare them with the manifest. Exits 1 on a difference.
    """
    manifest = _read(directory)
    if check:
        return _check(directory, manifest, server)
    client = server.client(patience_s=PATIENCE_S)
    directory.mkdir(parents=True, exist_ok=True)
    _begin(client, directory, manifest)
    for name, lines in _events(client, manifest):
        _write(directory, manifest, name, lines, format)
    manifest.floor, manifest.cursor = manifest.upto, None
    for name, lines in _books(client):
        _write(directory, manifest, name, lines, "jsonl")
    _save(directory, manifest)
    if server.json:
        print_json(manifest)
    else:
        items = sum(kept.items for kept in manifest.files.values())
        text = f"{items} items in {len(manifest.files)} files, up to position 0:{manifest.upto}."
        console().print(text, markup=False)
    return OK


# --- the manifest -----------------------------------------------------------------------------


def _read(directory: Path) -> Manifest:
    path = directory / MANIFEST
    if not path.exists():
        if directory.exists() and any(directory.iterdir()):
            raise Rejected(
                "invalid_file", f"{directory} has files, and no {MANIFEST} of an export."
            )
        return Manifest()
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except msgspec.MsgspecError as error:
        raise Rejected("invalid_file", f"{path} is not the manifest of an export.") from error


def _begin(client: Client, directory: Path, manifest: Manifest) -> None:
    status = client.get("/v1/status")
    if manifest.namespace not in ("", status["namespace"]):
        detail = f"{directory} is an export of {manifest.namespace!r}, not {status['namespace']!r}."
        raise Rejected("invalid_file", detail)
    manifest.namespace = status["namespace"]
    if manifest.cursor is None:
        manifest.upto = int(status["log"]["position"].partition(":")[2])
        manifest.cursor = manifest.upto + 1
    else:
        notice(f"Going on below position 0:{manifest.cursor}.")


def _save(directory: Path, manifest: Manifest) -> None:
    content = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    _replace(directory / MANIFEST, content)


def _replace(path: Path, content: bytes) -> None:
    """At once, so that a kill leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_bytes(content)
    os.replace(fresh, path)


def _write(directory: Path, manifest: Manifest, name: str, items: list[Any], format: str) -> None:
    path = directory / f"{name}.{format}"
    if format == "parquet":
        _to_parquet(path, items)
        content = path.read_bytes()
    else:
        content = b"".join(_encode(item) + b"\n" for item in items)
        _replace(path, content)
    manifest.files[str(path.relative_to(directory))] = Kept(sha256(content).hexdigest(), len(items))
    _save(directory, manifest)


def _check(directory: Path, manifest: Manifest, server: Server) -> int:
    wrong = [
        name
        for name, kept in sorted(manifest.files.items())
        if not (directory / name).is_file()
        or sha256((directory / name).read_bytes()).hexdigest() != kept.sha256
    ]
    if server.json:
        print_json({"ok": not wrong, "files": len(manifest.files), "differences": wrong})
    else:
        for name in wrong:
            console().print(f"{name} is not as it was exported.", markup=False)
        console().print(f"{len(manifest.files)} files, {len(wrong)} differ.", markup=False)
    return DIFFERENCE if wrong else OK


# --- what is exported -------------------------------------------------------------------------


def _events(client: Client, manifest: Manifest) -> Iterator[tuple[str, list[Any]]]:
    """Files of events, the newest first; each is complete before the manifest knows of it."""
    assert manifest.cursor is not None, "begun"
    while manifest.cursor > manifest.floor + 1:
        items: list[dict[str, Any]] = []
        cursor: str | None = str(manifest.cursor)
        while cursor is not None and len(items) < EVENTS_A_FILE:
            page = client.get("/v1/events", limit=PAGE, cursor=cursor)
            fresh = [one for one in page["items"] if _seq(one) > manifest.floor]
            items += fresh
            cursor = page["next"] if len(fresh) == len(page["items"]) else None
        manifest.cursor = manifest.floor + 1 if cursor is None else int(cursor)
        if items:
            first, last = _seq(items[-1]), _seq(items[0])
            name = f"events/{first:020}-{last:020}"
            yield name, [_cloudevent(one) for one in reversed(items)]


def _seq(item: dict[str, Any]) -> int:
    return int(item["position"].partition(":")[2])


def _cloudevent(item: dict[str, Any]) -> dict[str, Any]:
    """With extension attributes for what the log says of it."""
    event: dict[str, Any] = {k: v for k, v in item["event"].items() if v is not None}
    event["taximeterposition"] = item["position"]
    event["taximeterreceived"] = item["received_at"]
    corrected = item.get("corrected")
    if corrected is not None:
        event["taximeterretractedat"] = corrected["position"]
    return event


def _books(client: Client) -> Iterator[tuple[str, list[Any]]]:
    customers = list(_all(client, "/v1/customers"))
    # Events may have been taken back after they were exported.
    taken_back = _all(client, "/v1/events", type="taximeter.retraction")
    yield "retractions", [_cloudevent(one) for one in taken_back]
    yield "customers", customers
    yield "subscriptions", list(_all(client, "/v1/subscriptions"))
    yield "catalog", list(_versions(client, "/v1/catalog"))
    yield "billing_settings", list(_versions(client, "/v1/billing/settings"))
    for name, path in _LISTS.items():
        yield name, list(_all(client, path))
    for name in ("discounts", "ledger"):
        yield (
            name,
            [
                one
                for customer in customers
                for one in _all(client, f"/v1/customers/{segment(customer['key'])}/{name}")
            ],
        )


def _versions(client: Client, path: str) -> Iterator[dict[str, Any]]:
    """Each version, oldest first, with its document."""
    for one in sorted(_all(client, f"{path}/versions"), key=lambda one: int(one["version"])):
        yield one | {"document": client.get(path, version=one["version"])}


def _all(client: Client, path: str, **query: Any) -> Iterator[dict[str, Any]]:
    cursor: str | None = None
    while True:
        page = client.get(path, limit=PAGE, cursor=cursor, **query)
        yield from page["items"]
        cursor = page.get("next")
        if cursor is None:
            return


def _to_parquet(path: Path, events: list[dict[str, Any]]) -> None:
    """One column an attribute, `data` as JSON text: a table has no exact type for any number."""
    import duckdb
    import numpy as np

    columns = {}
    for name in (*ATTRIBUTES, "data"):
        texts = np.empty(len(events), dtype=object)
        texts[:] = [_text(event.get(name)) for event in events]
        columns[name] = texts
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    with duckdb.connect() as db:
        db.register("events", columns)
        target = str(fresh).replace("'", "''")
        db.execute(f"COPY (SELECT * FROM events) TO '{target}' (FORMAT parquet, COMPRESSION zstd)")
    os.replace(fresh, path)


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else _encode(value).decode()
