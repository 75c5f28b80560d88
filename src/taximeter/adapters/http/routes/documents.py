"""
Documents of invoices, and exports of many: PDF, HTML, e-invoices, CSV, Parquet.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Final, Literal, TypeAlias

import msgspec

from taximeter.adapters.http.messages import Request, Response
from taximeter.adapters.http.routes.surroundings import Surroundings, instant
from taximeter.adapters.http.routing import Route
from taximeter.documents.cii import cii
from taximeter.documents.einvoice import einvoice_of
from taximeter.documents.exports import focus_table, line_table
from taximeter.documents.paper import Paper
from taximeter.documents.tables import Table
from taximeter.documents.ubl import ubl
from taximeter.errors import Rejected
from taximeter.services import documents
from taximeter.services.core import Core
from taximeter.services.tenant import Tenant

Load: TypeAlias = Callable[[Core, Tenant, str], Awaitable[Paper]]

CSV: Final = "text/csv; charset=utf-8"
HTML: Final = "text/html; charset=utf-8"
PDF: Final = "application/pdf"
XML: Final = "application/xml"
PARQUET: Final = "application/vnd.apache.parquet"
_TAGS: Final = ("documents",)
_SYNTAXES: Final = {"cii": cii, "ubl": ubl}


class ExportParameters(msgspec.Struct, rename={"from_": "from"}, forbid_unknown_fields=True):
    """`from` and `to`: instants; what was issued in [from, to)."""

    from_: str | None = None
    to: str | None = None
    format: Literal["csv", "parquet"] = "csv"


class XmlParameters(msgspec.Struct, forbid_unknown_fields=True):
    format: Literal["cii", "ubl"] = "cii"


class DocumentRoutes:
    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._core = around.core

    def routes(self) -> list[Route]:
        return [
            *self._of("invoices", "an invoice", documents.invoice_paper),
            *self._of("credit-notes", "a credit note", documents.credit_note_paper),
            Route(
                "GET", "/v1/exports/invoice-lines", self.lines,
                scope="read", tags=_TAGS, summary="The lines of all that was issued in a span",
                description="Of invoices and credit notes; void ones are left out.",
                query=ExportParameters, response_type=CSV,
                errors=("invalid_timestamp", "document_unavailable"),
            ),
            Route(
                "GET", "/v1/exports/focus", self.focus,
                scope="read", tags=_TAGS, summary="The same as FOCUS 1.2 cost and usage",
                description="The sum of BilledCost of an invoice is its amount due.",
                query=ExportParameters, response_type=CSV,
                errors=("invalid_timestamp", "document_unavailable"),
            ),
        ]  # fmt: skip

    def _of(self, path: str, what: str, load: Load) -> list[Route]:
        """All documents of one kind of paper."""
        base = f"/v1/{path}/{{id}}"
        return [
            Route(
                "GET", f"{base}.pdf", partial(self.pdf, load),
                scope="read", tags=_TAGS, summary=f"{what.capitalize()} as PDF",
                description="PDF/A-3, with the e-invoice in it where all is known; a draft is "
                "marked as one.",
                response_type=PDF, errors=("not_found", "document_unavailable"),
            ),
            Route(
                "GET", f"{base}.html", partial(self.html, load),
                scope="read", tags=_TAGS, summary=f"{what.capitalize()} as a page by itself",
                response_type=HTML, errors=("not_found",),
            ),
            Route(
                "GET", f"{base}.xml", partial(self.xml, load),
                scope="read", tags=_TAGS, summary=f"{what.capitalize()} as e-invoice (EN 16931)",
                description="CII, as in Factur-X and ZUGFeRD, or UBL 2.1, as in Peppol.",
                query=XmlParameters, response_type=XML,
                errors=("not_found", "einvoice_incomplete"),
            ),
            Route(
                "GET", f"{base}.csv", partial(self.csv, load),
                scope="read", tags=_TAGS, summary=f"The lines of {what} as CSV",
                response_type=CSV, errors=("not_found",),
            ),
        ]  # fmt: skip

    async def pdf(self, load: Load, request: Request) -> Response:
        paper = await self._paper(load, request)
        return _file(await documents.pdf(self._core, paper), PDF, _name(paper), "pdf")

    async def html(self, load: Load, request: Request) -> Response:
        paper = await self._paper(load, request)
        page, headers = await documents.html(self._core, paper)
        answer = _file(page, HTML, _name(paper), "html")
        answer.headers = (*answer.headers, *headers)
        return answer

    async def xml(self, load: Load, request: Request) -> Response:
        write = _SYNTAXES[request.query_as(XmlParameters).format]
        paper = await self._paper(load, request)
        made = await asyncio.to_thread(lambda: write(einvoice_of(paper)))
        return _file(made, XML, _name(paper), "xml")

    async def csv(self, load: Load, request: Request) -> Response:
        paper = await self._paper(load, request)
        made = await documents.export(self._core, [paper], line_table, parquet=False)
        return _file(made, CSV, _name(paper), "csv")

    async def _paper(self, load: Load, request: Request) -> Paper:
        return await load(self._core, self._around.tenant(request), request.params["id"])

    async def lines(self, request: Request) -> Response:
        return await self._export(request, "invoice-lines", line_table)

    async def focus(self, request: Request) -> Response:
        return await self._export(request, "focus", focus_table)

    async def _export(
        self, request: Request, name: str, rows: Callable[[Iterable[Paper]], Table]
    ) -> Response:
        query = request.query_as(ExportParameters)
        start, end = instant(query.from_, 0), instant(query.to, self._core.clock.now() + 1)
        if end < start:
            raise Rejected("invalid_parameter", "`to` lies before `from`.")
        tenant = self._around.tenant(request)
        papers = await documents.issued_papers(self._core, tenant, start, end)
        parquet = query.format == "parquet"
        made = await documents.export(self._core, papers, rows, parquet=parquet)
        return _file(made, PARQUET if parquet else CSV, name, query.format)


def _name(paper: Paper) -> str:
    return paper.invoice.number or paper.invoice.id


def _file(content: bytes, content_type: str, name: str, ending: str) -> Response:
    """Shown by a browser that can, else saved under the name printed on it."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", name)
    headers = (
        ("Content-Disposition", f'inline; filename="{safe}.{ending}"'),
        ("X-Content-Type-Options", "nosniff"),
        ("Cache-Control", "private, no-cache"),
    )
    return Response(200, content, content_type, headers)
