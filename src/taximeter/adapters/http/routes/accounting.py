"""
Accounts over HTTP: the journal and what it adds up to.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from taximeter.accounting.recognition import format_month, month_of, parse_month
from taximeter.adapters.http.messages import Request, Response, json_response
from taximeter.adapters.http.routes import shapes
from taximeter.adapters.http.routes.paging import limit_of, listed
from taximeter.adapters.http.routes.surroundings import Surroundings
from taximeter.adapters.http.routing import Route
from taximeter.documents.tables import csv_bytes
from taximeter.errors import Rejected
from taximeter.instants import format_instant, parse_instant
from taximeter.services.accounting import reports
from taximeter.services.accounting.export import journal_table
from taximeter.services.billing.drafting.drafts import find_invoice
from taximeter.services.billing.issuing.shown import shown_one
from taximeter.services.core import require_customer

_TAG = ("accounting",)
CSV = "text/csv; charset=utf-8"


class AtParameters(msgspec.Struct, forbid_unknown_fields=True):
    at: str | None = None


class AgingParameters(msgspec.Struct, forbid_unknown_fields=True):
    customer: str | None = None
    at: str | None = None


class SpanParameters(msgspec.Struct, forbid_unknown_fields=True):
    """[from, to); without one, from the first or to the last."""

    from_: str | None = msgspec.field(default=None, name="from")
    to: str | None = None


class JournalParameters(SpanParameters, forbid_unknown_fields=True):
    customer: str | None = None
    invoice: str | None = None
    format: Literal["json", "csv"] = "json"
    limit: int = 100
    cursor: str | None = None


class MonthParameters(msgspec.Struct, forbid_unknown_fields=True):
    """Months such as 2026-10, both included; without, the running one."""

    from_: str | None = msgspec.field(default=None, name="from")
    to: str | None = None


class MonthBody(shapes.Strict):
    month: str


class MonthAnswer(msgspec.Struct):
    """`entries` is how many this call has booked: 0 if the month was closed before."""

    month: str
    closed_at: str
    entries: int


class ReasonBody(shapes.Strict):
    reason: str


class EntryList(msgspec.Struct):
    items: list[dict[str, Any]]
    next: str | None


class AccountingRoutes:
    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._core = around.core

    def routes(self) -> list[Route]:
        return [
            Route(
                "GET", "/v1/accounting/journal", self.journal,
                scope="read", tags=_TAG, summary="Every entry, in the order of its time",
                description="With `format=csv` the whole span as a table, a line for each posting.",
                query=JournalParameters, response=EntryList,
                errors=("not_found", "invalid_timestamp"),
            ),
            Route(
                "GET", "/v1/accounting/trial-balance", self.trial_balance,
                scope="read", tags=_TAG, summary="What stands on each account at an instant",
                query=AtParameters, errors=("invalid_timestamp",),
            ),
            Route(
                "GET", "/v1/accounting/aging", self.aging,
                scope="read", tags=_TAG, summary="What is open, and how long it has been due",
                description="With `at`, as it stood then.",
                query=AgingParameters, errors=("not_found", "invalid_timestamp"),
            ),
            Route(
                "GET", "/v1/accounting/recognition", self.recognition,
                scope="read", tags=_TAG, summary="Revenue by month, recognised and to come",
                query=MonthParameters,
            ),
            Route(
                "POST", "/v1/accounting/close", self.close,
                scope="admin", tags=_TAG, summary="Close a month of the books",
                description="What it has earned is recognised, and nothing is dated in it any "
                "more. Months before it are closed with it. Idempotent.",
                request=MonthBody, response=MonthAnswer, idempotent=True,
                errors=("period_open",), example={"month": "2026-10"},
            ),
            Route(
                "GET", "/v1/customers/{key}/statement", self.statement,
                scope="read", tags=_TAG, summary="A customer's account over a span of time",
                query=SpanParameters, errors=("not_found", "invalid_timestamp"),
            ),
            Route(
                "POST", "/v1/invoices/{id}/uncollectible", self.uncollectible,
                scope="write", tags=_TAG, summary="Give up what is open on an invoice",
                description="It can still be paid, by a payment that names it.",
                request=ReasonBody, response=dict[str, Any], idempotent=True,
                errors=("not_found", "invoice_not_issued"), example={"reason": "insolvent"},
            ),
        ]  # fmt: skip

    async def journal(self, request: Request) -> Response:
        asked, tenant = request.query_as(JournalParameters), self._around.tenant(request)
        if asked.customer is not None:
            require_customer(tenant, asked.customer)
        start, end = _instant(asked.from_), _instant(asked.to)
        wanted: dict[str, Any] = {"customer": asked.customer, "invoice": asked.invoice}
        if asked.format == "csv":
            found = await reports.journal(self._core, tenant, start, end, **wanted)
            table = csv_bytes(journal_table(entry for _, entry in found))
            name = ("Content-Disposition", 'attachment; filename="journal.csv"')
            return Response(200, table, CSV, (name,))
        limit = limit_of(asked.limit)
        after = None if asked.cursor is None else _cursor(asked.cursor)
        found = await reports.journal(
            self._core, tenant, start, end, after=after, limit=limit + 1, **wanted
        )
        following = None
        if len(found) > limit:
            rank, last = found[limit - 1]
            following = f"{last.at}.{rank}"
        return json_response(listed([entry.to_json() for _, entry in found[:limit]], following))

    async def trial_balance(self, request: Request) -> Response:
        at = _instant(request.query_as(AtParameters).at)
        tenant = self._around.tenant(request)
        return json_response(await reports.trial_balance(self._core, tenant, at))

    async def aging(self, request: Request) -> Response:
        asked, tenant = request.query_as(AgingParameters), self._around.tenant(request)
        at = _instant(asked.at)
        return json_response(await reports.aging(self._core, tenant, asked.customer, at))

    async def recognition(self, request: Request) -> Response:
        asked = request.query_as(MonthParameters)
        last = month_of(self._core.clock.now()) if asked.to is None else parse_month(asked.to)
        first = last if asked.from_ is None else parse_month(asked.from_)
        tenant = self._around.tenant(request)
        return json_response(await reports.recognition(self._core, tenant, first, last))

    async def close(self, request: Request) -> Response:
        month = parse_month(request.json(MonthBody).month)
        closed = await reports.close_month(
            self._core,
            self._around.tenant(request),
            self._around.ledger,
            month,
            self._around.actor(request),
        )
        answer = MonthAnswer(
            format_month(closed.month), format_instant(closed.closed_at), closed.entries
        )
        return json_response(answer)

    async def statement(self, request: Request) -> Response:
        asked, tenant = request.query_as(SpanParameters), self._around.tenant(request)
        told = await reports.statement(
            self._core, tenant, request.params["key"], _instant(asked.from_), _instant(asked.to)
        )
        return json_response(told)

    async def uncollectible(self, request: Request) -> Response:
        body, tenant = request.json(ReasonBody), self._around.tenant(request)
        invoice = request.params["id"]
        actor = self._around.actor(request)
        await reports.write_off(self._core, tenant, invoice, body.reason, actor)
        stored = await find_invoice(self._core, tenant, invoice)
        return json_response(await shown_one(self._core, tenant, stored))


def _instant(text: str | None) -> int | None:
    return None if text is None else parse_instant(text)


def _cursor(text: str) -> tuple[int, int]:
    at, _, rank = text.partition(".")
    digits = at.removeprefix("-") + rank
    if not at or not rank or not digits.isascii() or not digits.isdigit() or len(digits) > 36:
        raise Rejected("invalid_parameter", "That is not a cursor from a `next`.")
    return int(at), int(rank)
