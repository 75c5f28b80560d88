"""
Documents of invoices, and exports of many: PDF, HTML, e-invoices, CSV, Parquet.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from typing import Final, Literal

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
            Route(
                "GET", "/v1/invoices/{id}.pdf", self.pdf,
                scope="read", tags=_TAGS, summary="An invoice as PDF",
                description="PDF/A-3; a draft is marked as one.",
                response_type=PDF, errors=("not_found", "document_unavailable"),
            ),
            Route(
                "GET", "/v1/invoices/{id}.html", self.html,
                scope="read", tags=_TAGS, summary="An invoice as a page by itself",
                response_type=HTML, errors=("not_found",),
            ),
            Route(
                "GET", "/v1/invoices/{id}.xml", self.xml,
                scope="read", tags=_TAGS, summary="An invoice as e-invoice (EN 16931)",
                description="CII, as in Factur-X and ZUGFeRD, or UBL 2.1, as in Peppol.",
                query=XmlParameters, response_type=XML,
                errors=("not_found", "einvoice_incomplete"),
            ),
            Route(
                "GET", "/v1/invoices/{id}.csv", self.csv,
                scope="read", tags=_TAGS, summary="The lines of an invoice as CSV",
                response_type=CSV, errors=("not_found",),
            ),
            Route(
                "GET", "/v1/exports/invoice-lines", self.lines,
                scope="read", tags=_TAGS, summary="The lines of all invoices issued in a span",
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

    async def pdf(self, request: Request) -> Response:
        paper = await self._paper(request)
        return _file(await documents.pdf(self._core, paper), PDF, _name(paper), "pdf")

    async def html(self, request: Request) -> Response:
        paper = await self._paper(request)
        page, headers = await documents.html(self._core, paper)
        answer = _file(page, HTML, _name(paper), "html")
        answer.headers = (*answer.headers, *headers)
        return answer

    async def xml(self, request: Request) -> Response:
        write = _SYNTAXES[request.query_as(XmlParameters).format]
        paper = await self._paper(request)
        made = await asyncio.to_thread(lambda: write(einvoice_of(paper)))
        return _file(made, XML, _name(paper), "xml")

    async def csv(self, request: Request) -> Response:
        paper = await self._paper(request)
        made = await documents.export(self._core, [paper], line_table, parquet=False)
        return _file(made, CSV, _name(paper), "csv")

    async def lines(self, request: Request) -> Response:
        return await self._export(request, "invoice-lines", line_table)

    async def focus(self, request: Request) -> Response:
        return await self._export(request, "focus", focus_table)

    async def _paper(self, request: Request) -> Paper:
        return await documents.invoice_paper(
            self._core, self._around.tenant(request), request.params["id"]
        )

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
