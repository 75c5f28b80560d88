"""
Documents of invoices: what a customer, an accountant or a spreadsheet is given.

A thousand lines take a tenth of a second to lay out: that is done in threads, and checks go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable

import msgspec

from taximeter.documents import credit_notes
from taximeter.documents.cii import cii
from taximeter.documents.einvoice import einvoice_of, missing_of
from taximeter.documents.paper import Paper
from taximeter.documents.sheet import Sheet, sheet_of
from taximeter.documents.tables import Table, csv_bytes
from taximeter.errors import NotFound, Rejected
from taximeter.invoices.credit_note import parse_credit_note
from taximeter.invoices.document import parse_invoice
from taximeter.invoices.invoice import Status
from taximeter.ports import StoredInvoice
from taximeter.ports.press import Press
from taximeter.services.billing.drafting.drafts import find_invoice
from taximeter.services.core import Core
from taximeter.services.tenant import Tenant

PAGE = 500
MAX_ROWS = 100_000


async def invoice_paper(core: Core, tenant: Tenant, invoice_id: str) -> Paper:
    """
    Raises:
        NotFound: There is no such invoice.
    """
    stored = await find_invoice(core, tenant, invoice_id)
    return await asyncio.to_thread(paper_of, tenant, stored)


def paper_of(tenant: Tenant, stored: StoredInvoice) -> Paper:
    invoice = parse_invoice(stored.document)
    subscription = tenant.subscriptions.get(invoice.subscription)
    named = {invoice.customer, *(line.customer for line in invoice.lines)}
    customers = [tenant.customers[key] for key in named if key in tenant.customers]
    return Paper(
        invoice=invoice,
        status=Status(stored.status),
        timezone="UTC" if subscription is None else subscription.timezone,
        digest=msgspec.json.decode(stored.document)["digest"],
        names={customer.key: customer.name for customer in customers},
    )


async def credit_note_paper(core: Core, tenant: Tenant, note_id: str) -> Paper:
    """
    Raises:
        NotFound: There is no such credit note, or it is not issued.
    """
    stored = await core.books.run(core.books.books.credit_note, tenant.name, note_id)
    if stored is None or stored.document is None:
        raise NotFound("not_found", f"There is no issued credit note {note_id!r}.")
    return await _note_paper(core, tenant, stored.invoice, stored.document)


async def _note_paper(core: Core, tenant: Tenant, invoice_id: str, document: bytes) -> Paper:
    billed = await invoice_paper(core, tenant, invoice_id)
    return credit_notes.credit_note_paper(
        parse_credit_note(document),
        billed.invoice,
        timezone=billed.timezone,
        digest=msgspec.json.decode(document)["digest"],
        names=billed.names,
    )


def press_of(core: Core) -> Press:
    assert core.press is not None, "the node sets it"
    return core.press


async def pdf(core: Core, paper: Paper) -> bytes:
    """
    With the e-invoice attached (Factur-X) where all is known that one must say.

    Raises:
        Unavailable: `document_unavailable`.
    """
    sheet, einvoice = await asyncio.to_thread(_laid_out, paper)
    return await press_of(core).pdf(sheet, einvoice)


def _laid_out(paper: Paper) -> tuple[Sheet, bytes | None]:
    return sheet_of(paper), None if any(missing_of(paper)) else cii(einvoice_of(paper))


async def html(core: Core, paper: Paper) -> tuple[bytes, tuple[tuple[str, str], ...]]:
    """The page, and the headers it needs."""
    return await asyncio.to_thread(lambda: press_of(core).html(sheet_of(paper)))


# --- exports ----------------------------------------------------------------------------------


async def issued_papers(core: Core, tenant: Tenant, start: int, end: int) -> list[Paper]:
    """
    Every invoice issued in [start, end) that is not void, and every credit note, oldest first.

    Raises:
        Rejected: `invalid_parameter` if they have more lines than one answer may.
    """
    found: list[Paper] = []
    rows = 0
    async for paper in _all_papers(core, tenant):
        at = paper.invoice.issued_at
        if paper.status is not Status.VOID and at is not None and start <= at < end:
            found.append(paper)
            rows += len(paper.invoice.lines)
            if rows > MAX_ROWS:
                raise Rejected(
                    "invalid_parameter",
                    f"From and to span more than {MAX_ROWS:,} lines; ask for less at a time.",
                )
    found.sort(key=lambda paper: (paper.invoice.issued_at or 0, paper.invoice.number or ""))
    return found


async def _all_papers(core: Core, tenant: Tenant) -> AsyncIterator[Paper]:
    async for stored in _all_invoices(core, tenant):
        yield await asyncio.to_thread(paper_of, tenant, stored)
    async for invoice_id, document in _all_credit_notes(core, tenant):
        yield await _note_paper(core, tenant, invoice_id, document)


async def _all_credit_notes(core: Core, tenant: Tenant) -> AsyncIterator[tuple[str, bytes]]:
    before: int | None = None
    while True:
        page = await core.books.run(
            core.books.books.credit_notes,
            tenant.name,
            invoice=None,
            customer=None,
            status="issued",
            before=before,
            limit=PAGE,
        )
        for stored in page:
            if stored.document is not None:
                yield stored.invoice, stored.document
        if len(page) < PAGE:
            return
        before = page[-1].rank


async def _all_invoices(core: Core, tenant: Tenant) -> AsyncIterator[StoredInvoice]:
    after: str | None = None
    while True:
        page = await core.books.run(
            core.books.books.invoices,
            tenant.name,
            customer=None,
            status=None,
            after=after,
            limit=PAGE,
        )
        for stored in page:
            if stored.number is not None:
                yield stored
        if len(page) < PAGE:
            return
        after = page[-1].id


async def export(
    core: Core, papers: list[Paper], rows: Callable[[Iterable[Paper]], Table], *, parquet: bool
) -> bytes:
    """
    The table of many papers as Parquet or CSV.

    Raises:
        Unavailable: `document_unavailable`.
    """
    if parquet:
        return await press_of(core).parquet(await asyncio.to_thread(rows, papers))
    return await asyncio.to_thread(lambda: csv_bytes(rows(papers)))
