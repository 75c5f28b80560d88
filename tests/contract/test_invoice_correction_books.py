"""The contracts of `ports.LateBooks` and `ports.CreditNoteBooks`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from taximeter.adapters.books import SqliteBooks
from taximeter.customers import Customer, Segment, Subscription
from taximeter.errors import Refused, Rejected
from taximeter.invoices.credit_note import CreditLine, CreditNote, draft_note, parse_credit_note
from taximeter.invoices.document import canonical_bytes, parse_invoice
from taximeter.invoices.invoice import Invoice, Kind, Line
from taximeter.invoices.states import issue
from taximeter.periods import Anchor, Cadence, Period
from taximeter.ports import (
    ApiKey,
    AuditEntry,
    BilledPeriod,
    CatalogVersion,
    Dispute,
    LateUsage,
    StoredCreditNote,
    StoredInvoice,
)
from taximeter.quantities import E12

NS = "default"
AT = 1_795_000_000_000_000
HOSTILE = "x'); DROP TABLE late_usage; --\" ' 🚕"


@pytest.fixture
def books(tmp_path: Path) -> Iterator[SqliteBooks]:
    books = SqliteBooks(tmp_path / "books.db")
    books.add_key(ApiKey("k", NS, "", "", bytes(32), (), AT))
    books.add_catalog_version(CatalogVersion(NS, 1, b"{}", AT, "me"))
    books.put_customer(NS, Customer("acme"), audit())
    segment = Segment(0, "pro", 1, Cadence.MONTH)
    subscription = Subscription("sub_1", "acme", Anchor.CALENDAR, "UTC", (segment,), created_at=AT)
    books.put_subscription(NS, subscription, audit())
    yield books
    books.close()


def audit(action: str = "do") -> AuditEntry:
    return AuditEntry(0, NS, AT, "me", action, "it", {})


def late(id: str = "late_1", **members: object) -> LateUsage:
    one = LateUsage(
        namespace=NS, id=id, customer="acme", subscription="sub_1", meter="tokens", period_start=0,
        period_end=10, status="pending", policy="adjust", invoice="inv_1", position=5,
        noticed_at=AT, events=1,
    )  # fmt: skip
    return replace(one, **members)


def invoice_of(books: SqliteBooks, minor: int = 1000, subjects: tuple[str, ...] = ()) -> Invoice:
    """Issued, over 10.00."""
    line = Line(
        id="line_1", kind=Kind.FLAT, description="fee", price="pro/fee@1", period=Period(0, 10),
        quantity_pico=E12, amount_minor=minor,
    )  # fmt: skip
    draft = Invoice(
        id="inv_1", customer="acme", subscription="sub_1", currency="EUR", period=Period(0, 10),
        lines=(line,), subjects=subjects,
    )  # fmt: skip

    def stored(invoice: Invoice) -> StoredInvoice:
        return StoredInvoice(
            invoice.id, NS, invoice.number, "acme", "sub_1", invoice.status.value, 0, 10, AT,
            canonical_bytes(invoice),
        )  # fmt: skip

    books.add_invoice(stored(draft), [BilledPeriod("sub_1", 0, 10)], audit())
    issued = books.issue_invoice(
        NS, "inv_1", "INV-", lambda number: stored(issue(draft, number, AT)), audit()
    )
    return parse_invoice(issued.document)


# --- late usage -------------------------------------------------------------------------------


def test_what_is_open_for_a_meter_and_period_is_one_entry(books: SqliteBooks) -> None:
    first = books.note_late(NS, [late(reason=HOSTILE)], 5)
    assert [one.id for one in first] == ["late_1"]
    assert books.note_late(NS, [late("late_2", position=9, retractions=2)], 9) == []
    (found,) = books.open_late(NS)
    assert (found.events, found.retractions, found.position, found.reason) == (2, 2, 9, HOSTILE)
    assert books.late_position(NS) == 9
    other = [late("late_3", meter="images"), late("late_4", period_start=10)]
    assert len(books.note_late(NS, other, 9)) == 2


def test_after_it_is_settled_news_is_another_entry(books: SqliteBooks) -> None:
    books.note_late(NS, [late()], 5)
    (open_,) = books.open_late(NS)
    done = replace(open_, status="written_off", withheld=(("pro/tokens@1", 0, 10, "", "[]", 7),))
    assert books.settle_late([done], ["pending"], audit())
    assert not books.settle_late([done], ["pending"]), "it is not pending any more"
    books.note_late(NS, [late("late_2")], 7)
    assert [one.status for one in books.late_of_period(NS, "sub_1", 0)] == [
        "written_off", "pending",
    ]  # fmt: skip
    assert books.late_of_period(NS, "sub_1", 0)[0].withheld == done.withheld
    newest, oldest = books.late_usage(NS, customer="acme", status=None, before=None, limit=9)
    assert (newest.id, oldest.id) == ("late_2", "late_1")
    page = books.late_usage(NS, customer=None, status=None, before=newest.rank, limit=9)
    assert page == [oldest]
    assert books.late_usage(NS, customer="beta", status=None, before=None, limit=9) == []


def test_what_a_void_invoice_had_settled_is_open_again(books: SqliteBooks) -> None:
    invoice_of(books)
    books.note_late(NS, [late()], 5)
    (one,) = books.open_late(NS)
    books.settle_late([replace(one, status="adjusted", by_invoice="inv_1")], ["pending"])
    assert books.open_late(NS) == []
    assert len(books.open_late(NS, "inv_1")) == 1, "for that draft itself it is"
    stored = books.invoice(NS, "inv_1")
    assert stored is not None
    books.replace_invoice(replace(stored, status="void"), stored.status, audit())
    assert [one.status for one in books.open_late(NS)] == ["adjusted"]


def test_who_was_billed_for_a_subject(books: SqliteBooks) -> None:
    invoice = invoice_of(books, subjects=("acme", HOSTILE))
    assert books.billed_to(NS, ["acme", HOSTILE, "bot"]) == {"acme": {"acme"}, HOSTILE: {"acme"}}
    stored = books.invoice(NS, invoice.id)
    assert stored is not None
    books.replace_invoice(replace(stored, status="void"), stored.status, audit())
    assert books.billed_to(NS, ["acme", HOSTILE]) == {}


# --- credit notes -----------------------------------------------------------------------------


def wish(id: str = "cn_1", status: str = "pending") -> StoredCreditNote:
    return StoredCreditNote(
        namespace=NS, id=id, invoice="inv_1", customer="acme", status=status,
        request={"reason": HOSTILE, "corrects": False}, made_by="me", made_at=AT,
    )  # fmt: skip


def issued(books: SqliteBooks, invoice: Invoice, id: str, minor: int) -> StoredCreditNote:
    def build(number: str, earlier: Sequence[CreditNote]) -> CreditNote:
        line = CreditLine(line="line_1", description="fee", amount_minor=minor)
        return draft_note(invoice, earlier, [line], note_id=id, number=number, at=AT, reason="why")

    return books.issue_credit_note(wish(id), build, audit())


def test_numbers_have_no_gap_and_the_invoice_is_the_most(books: SqliteBooks) -> None:
    invoice = invoice_of(books)
    assert issued(books, invoice, "cn_1", 600).number == "CN-000001"
    with pytest.raises(Rejected, match=r"4\.00 EUR left"):
        issued(books, invoice, "cn_2", 401)
    assert books.credit_note(NS, "cn_2") is None
    second = issued(books, invoice, "cn_3", 400)
    assert second.number == "CN-000002"
    assert second.document is not None
    assert parse_credit_note(second.document).total_minor == 400
    standing = books.invoice_standings(NS, ["inv_1"])["inv_1"]
    assert (standing.open_minor, standing.credited_minor) == (0, 1000)
    found = books.credit_notes(
        NS, invoice="inv_1", customer=None, status="issued", before=None, limit=9
    )
    assert [one.id for one in found] == ["cn_3", "cn_1"]


def test_an_issued_or_rejected_credit_note_is_final(books: SqliteBooks) -> None:
    invoice = invoice_of(books)
    issued(books, invoice, "cn_1", 100)
    books.put_credit_note(wish("cn_2"), audit())
    books.put_credit_note(wish("cn_2", "rejected"), audit())
    for id in ("cn_1", "cn_2"):
        with pytest.raises(Refused, match="already"):
            issued(books, invoice, id, 100)
        with pytest.raises(Refused, match="already"):
            books.put_credit_note(wish(id), audit())


def test_notes_that_correct_count_until_they_are_rejected(books: SqliteBooks) -> None:
    invoice_of(books)
    correcting = replace(wish("cn_1"), request={"reason": "", "corrects": True})
    books.put_credit_note(correcting, audit())
    books.put_credit_note(wish("cn_2"), audit())
    assert [one.id for one in books.correcting_notes(NS, "inv_1")] == ["cn_1"]
    books.put_credit_note(replace(correcting, status="rejected"), audit())
    assert books.correcting_notes(NS, "inv_1") == []


# --- disputes ---------------------------------------------------------------------------------


def test_a_line_is_disputed_once_at_a_time(books: SqliteBooks) -> None:
    invoice_of(books)
    one = Dispute(
        namespace=NS, id="dsp_1", invoice="inv_1", line="line_1", customer="acme", status="open",
        amount_minor=1000, reason=HOSTILE, opened_by="me", opened_at=AT,
    )  # fmt: skip
    assert books.put_dispute(one, None, audit())
    assert not books.put_dispute(replace(one, id="dsp_2"), None, audit())
    assert books.disputed(NS, ["inv_1", "inv_2"]) == {"inv_1": {"line_1": 1000}}
    ended = replace(one, status="rejected", resolved_by="me", resolved_at=AT)
    assert books.put_dispute(ended, "open", audit())
    assert not books.put_dispute(ended, "open", audit())
    assert books.disputed(NS, ["inv_1"]) == {}
    assert books.put_dispute(replace(one, id="dsp_2"), None, audit())
    newest = books.dispute(NS, "inv_1", "line_1")
    assert newest is not None
    assert (newest.id, newest.reason) == ("dsp_2", HOSTILE)
    found = books.disputes(NS, invoice="inv_1", status="rejected", before=None, limit=9)
    assert [one.id for one in found] == ["dsp_1"]
