"""`invoices`: the list, and the documents of one or of many as files."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from taximeter.adapters.cli import decisions
from taximeter.adapters.cli.common import FILE, Server, notice, print_json, segment
from taximeter.adapters.cli.invoices import find_invoice, invoices
from taximeter.errors import NotFound, Rejected

if TYPE_CHECKING:
    from taximeter.adapters.client import Client
    from taximeter.adapters.client.client import Reply

HERE = Server()
Output = Annotated[Path | None, Parameter(name=("--output", "-o")), FILE]

app = App(name="invoices", help="List invoices, show one, or save it as a file.")
app.default(invoices)
decisions.register(app)


@app.command
def pdf(invoice: str, *, output: Output = None, server: Server = HERE) -> int:
    """
    Save an invoice as PDF.

    Parameters
    ----------
    invoice
        Its id or number, or that of a credit note.
    output
        A file, or - for stdout. Else NUMBER.pdf here.
    """
    return _save(invoice, "pdf", output, server)


@app.command
def html(invoice: str, *, output: Output = None, server: Server = HERE) -> int:
    """
    Save an invoice as a page by itself.

    Parameters
    ----------
    invoice
        Its id or number, or that of a credit note.
    output
        A file, or - for stdout. Else NUMBER.html here.
    """
    return _save(invoice, "html", output, server)


@app.command
def xml(
    invoice: str,
    *,
    format: Literal["cii", "ubl"] = "cii",
    output: Output = None,
    server: Server = HERE,
) -> int:
    """
    Save an invoice as e-invoice (EN 16931); says what is missing for one.

    Parameters
    ----------
    invoice
        Its id or number, or that of a credit note.
    format
        cii, as in Factur-X and ZUGFeRD, or ubl, as in Peppol.
    output
        A file, or - for stdout. Else NUMBER.xml here.
    """
    return _save(invoice, "xml", output, server, format=format)


@app.command
def csv(invoice: str, *, output: Output = None, server: Server = HERE) -> int:
    """
    Save the lines of an invoice as CSV.

    Parameters
    ----------
    invoice
        Its id or number, or that of a credit note.
    output
        A file, or - for stdout. Else NUMBER.csv here.
    """
    return _save(invoice, "csv", output, server)


@app.command
def lines(
    *,
    from_: Annotated[str | None, Parameter(name="--from")] = None,
    to: str | None = None,
    format: Literal["csv", "parquet"] = "csv",
    output: Output = None,
    server: Server = HERE,
) -> int:
    """
    Save the lines of all invoices issued in a span.

    Parameters
    ----------
    from_
        RFC 3339 instant; issued then or later.
    to
        RFC 3339 instant; issued before it. Else the server's now.
    output
        A file, or - for stdout. Else invoice-lines.csv here.
    """
    return _export("invoice-lines", from_, to, format, output, server)


@app.command
def focus(
    *,
    from_: Annotated[str | None, Parameter(name="--from")] = None,
    to: str | None = None,
    format: Literal["csv", "parquet"] = "csv",
    output: Output = None,
    server: Server = HERE,
) -> int:
    """
    Save all invoices issued in a span as FOCUS 1.2 cost and usage.

    Parameters
    ----------
    from_
        RFC 3339 instant; issued then or later.
    to
        RFC 3339 instant; issued before it. Else the server's now.
    output
        A file, or - for stdout. Else focus.csv here.
    """
    return _export("focus", from_, to, format, output, server)


def _save(name: str, ending: str, output: Path | None, server: Server, **query: Any) -> int:
    client = server.client()
    reply = client.request("GET", f"{_path_of(client, name)}.{ending}", query=query)
    return _write(reply, output, server)


def _path_of(client: Client, name: str) -> str:
    """
    Of an invoice or a credit note by its id or number.

    Raises:
        NotFound: It is neither.
    """
    try:
        return f"/v1/invoices/{segment(find_invoice(client, name)['id'])}"
    except NotFound as neither:
        cursor: str | None = None
        while True:
            page = client.get("/v1/credit-notes", cursor=cursor)
            for note in page["items"]:
                if name in (note["id"], note.get("number")):
                    return f"/v1/credit-notes/{segment(note['id'])}"
            cursor = page.get("next")
            if cursor is None:
                raise neither from None


def _export(
    name: str, start: str | None, end: str | None, kind: str, output: Path | None, server: Server
) -> int:
    query = {"from": start, "to": end, "format": kind}
    return _write(
        server.client().request("GET", f"/v1/exports/{name}", query=query), output, server
    )


def _write(reply: Reply, output: Path | None, server: Server) -> int:
    if output is not None and str(output) == "-":
        sys.stdout.buffer.write(reply.body)
        return 0
    path = output or Path(_name_of(reply))
    try:
        path.write_bytes(reply.body)
    except OSError as error:
        raise Rejected("invalid_file", f"{path} cannot be written: {error.strerror}.") from error
    if server.json:
        print_json({"file": str(path), "bytes": len(reply.body)})
    else:
        notice(f"{path}  {len(reply.body):,} bytes")
    return 0


def _name_of(reply: Reply) -> str:
    """As the server names the file; never a path."""
    told = reply.headers.get("content-disposition", "")
    found = re.search(r'filename="([A-Za-z0-9][A-Za-z0-9._-]*)"', told)
    return found[1] if found else "invoice"
