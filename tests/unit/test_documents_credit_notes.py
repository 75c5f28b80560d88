"""Credit notes as documents: they look like the invoice they take back a part of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests import papers
from tests.einvoices import problems_of
from tests.papers import fee, invoice, tax

from taximeter.customers import Customer
from taximeter.documents.cii import cii
from taximeter.documents.credit_notes import credit_note_paper
from taximeter.documents.einvoice import einvoice_of
from taximeter.documents.exports import focus_table
from taximeter.documents.paper import Paper
from taximeter.documents.sheet import sheet_of
from taximeter.documents.ubl import ubl
from taximeter.errors import NotFound
from taximeter.invoices.credit_note import (
    CreditLine,
    CreditNote,
    credit_note_bytes,
    draft_note,
    dump_credit_note,
)
from taximeter.invoices.document import canonical_bytes
from taximeter.invoices.invoice import Invoice
from taximeter.ports import StoredCreditNote, StoredInvoice
from taximeter.services.documents import credit_note_paper as credit_note_paper_of
from taximeter.services.documents import issued_papers

LINES = (
    fee(4999, id="a"),
    fee(10000, id="b", tax_category="reduced"),
    fee(333, id="c"),
)


def billed(*, inclusive: bool = False, paid: int = 0) -> Invoice:
    taxes = (
        tax(LINES, inclusive=inclusive),
        tax(LINES, "0.07", category="reduced", inclusive=inclusive),
    )
    return invoice(LINES, taxes=taxes, credits=(papers.credit(paid),) if paid else ())


def note_of(of: Invoice, *amounts: tuple[str, int]) -> CreditNote:
    lines = [
        CreditLine(line=line, description=f"{line} back", amount_minor=n) for line, n in amounts
    ]
    return draft_note(
        of, (), lines, note_id="cn_1", number="CN-000001", at=papers.ISSUED_AT, reason="Outage"
    )


def billed_cost(one: Paper) -> Decimal:
    table = focus_table([one])
    (place,) = (n for n, column in enumerate(table.columns) if column.name == "BilledCost")
    return sum((Decimal(row[place] or 0) for row in table.rows), Decimal())


def test_it_names_the_invoice_and_why() -> None:
    of = billed()
    sheet = sheet_of(credit_note_paper(note_of(of, ("a", 1000)), of, timezone="Europe/Berlin"))
    assert (sheet.title, sheet.name) == ("Credit note", "CN-000001")
    assert ("For invoice", "INV-000042 of 1 Dec 2026") in [(f.label, f.value) for f in sheet.facts]
    assert "Outage" in sheet.remarks
    assert sheet.headline == "EUR 11.90"


def test_what_credit_had_paid_goes_back_into_credit_and_the_rest_is_money() -> None:
    of = billed(paid=16000)
    note = note_of(of, ("a", 4999), ("b", 10000))
    one = credit_note_paper(note, of)
    sums = {row.label: row.amount for row in sheet_of(one).sums}
    assert note.credits_minor > 0
    assert set(sums) >= {"Total credited", "Back into prepaid credit", "Given back"}
    said = einvoice_of(one)
    assert Decimal(said.payable) == Decimal(note.total_minor - note.credits_minor) / 100
    assert billed_cost(one) == -Decimal(said.payable)


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 4999), st.integers(0, 10000), st.integers(0, 333), st.booleans())
def test_any_part_of_an_invoice_given_back_is_a_valid_credit_note(
    first: int, second: int, third: int, inclusive: bool
) -> None:
    of = billed(inclusive=inclusive)
    parts = [(line, n) for line, n in (("a", first), ("b", second), ("c", third)) if n]
    note = note_of(of, *parts)
    one = credit_note_paper(note, of)
    assert one.invoice.total_minor == note.total_minor
    said = einvoice_of(one)
    assert Decimal(said.grand_total) == Decimal(note.total_minor) / 100
    assert problems_of(cii(said)) == problems_of(ubl(said)) == []
    assert billed_cost(one) == -Decimal(note.total_minor) / 100


def test_a_part_of_a_quantity_is_a_part_of_a_quantity() -> None:
    of = billed()
    note = note_of(of, ("a", 1000))
    counted = replace(note, lines=(replace(note.lines[0], quantity_pico=3 * 10**12),))
    (section,) = sheet_of(credit_note_paper(counted, of)).sections
    assert section.lines[0].quantity == "3"


def test_the_paper_is_of_the_stored_note_and_its_invoice() -> None:
    of = billed()
    note = note_of(of, ("a", 1000))
    stored = StoredCreditNote(
        namespace="n", id="cn_1", invoice=of.id, customer="acme", status="issued", request={},
        made_by="key", made_at=0, number=note.number, document=credit_note_bytes(note),
    )  # fmt: skip
    core, tenant = books_of(of, stored)
    found = asyncio.run(credit_note_paper_of(core, tenant, "cn_1"))
    assert found.invoice.number == "CN-000001"
    assert found.digest == dump_credit_note(note)["digest"]
    assert found.name_of("acme") == "Acme Robotics"
    (first, second) = asyncio.run(issued_papers(core, tenant, 0, 2**62))
    assert (first.invoice.number, second.invoice.number) == ("CN-000001", "INV-000042")
    for absent in (None, replace(stored, status="pending", number=None, document=None)):
        core, tenant = books_of(of, absent)
        with pytest.raises(NotFound):
            asyncio.run(credit_note_paper_of(core, tenant, "cn_1"))


def books_of(of: Invoice, stored: StoredCreditNote | None) -> tuple[Any, Any]:
    """A core and a tenant of one invoice and one credit note."""
    kept = StoredInvoice(
        id=of.id, namespace="n", number=of.number, customer="acme", subscription="sub_1",
        status="issued", period_start=0, period_end=1, created_at=0, document=canonical_bytes(of),
    )  # fmt: skip
    books = SimpleNamespace(
        invoice=lambda *_: kept,
        invoices=lambda *_, **__: [kept],
        credit_note=lambda *_: stored,
        credit_notes=lambda *_, **__: [] if stored is None else [stored],
    )

    async def run(call: Callable[..., Any], *given: Any, **named: Any) -> Any:
        return call(*given, **named)

    customers = {"acme": Customer(key="acme", name="Acme Robotics")}
    core = SimpleNamespace(books=SimpleNamespace(books=books, run=run))
    return core, SimpleNamespace(name="n", subscriptions={}, customers=customers)
