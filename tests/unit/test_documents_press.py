"""
The press: PDF/A-3 with the e-invoice in it, the same bytes each time, and text that stays text.
"""

from __future__ import annotations

import asyncio
import io
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import facturx
import msgspec
import pypdf
import pytest
from tests import papers
from tests.einvoices import problems_of
from tests.papers import fee, invoice, paper, usage

from taximeter.adapters.documents import press as press_module
from taximeter.adapters.documents import worker
from taximeter.adapters.documents.press import ProcessPress
from taximeter.documents.cii import cii
from taximeter.documents.einvoice import einvoice_of
from taximeter.documents.paper import Paper
from taximeter.documents.sheet import sheet_of
from taximeter.documents.tables import Column, ColumnType, Table
from taximeter.errors import Unavailable
from taximeter.instants import parse_instant
from taximeter.invoices.invoice import Status
from taximeter.quantities import E12
from taximeter.rating import RatedTier

HOSTILE = (
    '<script>alert(1)</script> {{7*7}} #import "x" $x^2$ #eval("7*7") \\u{41} '
    "<img src=http://169.254.169.254/> file:///etc/passwd @import url(x) *b* _i_ `c` // ~ = h"
)


def pdf_of(one: Paper, einvoice: bytes | None = None) -> bytes:
    """As the process makes it, here without one."""
    return worker.typeset(worker.PdfJob(msgspec.json.encode(sheet_of(one)).decode(), einvoice))


def text_of(pdf: bytes) -> str:
    """As an independent reader extracts it, without the places where a long word may break."""
    pages = pypdf.PdfReader(io.BytesIO(pdf)).pages
    text = " ".join(page.extract_text() for page in pages).replace("\u200b", "")
    return " ".join(text.split())


@pytest.fixture(scope="module")
def complete() -> bytes:
    one = paper()
    return pdf_of(one, cii(einvoice_of(one)))


def test_everything_a_customer_looks_for_is_on_the_page(complete: bytes) -> None:
    text = text_of(complete)
    for wanted in (
        "INV-000042", "Lumen Models GmbH", "DE123456789", "Acme Robotics S.A.", "2e étage",
        "1 Dec 2026", "15 Dec 2026", "1 Nov 2026 – 30 Nov 2026", "1,000 × 0.10 = 100.00",
        "20 included", "Acme Labs", "VAT 19 % DE", "EUR 59,009.57", "Page 1 of 1", "0:91822",
        papers.DIGEST, "812 events",
    ):  # fmt: skip
        assert wanted in text, wanted


def test_the_pdf_is_a_factur_x_for_an_independent_reader(complete: bytes) -> None:
    name, xml = facturx.get_xml_from_pdf(complete, check_xsd=True, check_schematron=False)
    assert name == "factur-x.xml"
    assert xml == cii(einvoice_of(paper()))
    assert problems_of(xml) == []
    reader = pypdf.PdfReader(io.BytesIO(complete), strict=True)
    metadata = reader.xmp_metadata
    assert metadata is not None
    told = metadata.stream.get_data().decode()
    assert "<pdfaid:part>3</pdfaid:part><pdfaid:conformance>B</pdfaid:conformance>" in told
    for name, value in {
        "DocumentFileName": "factur-x.xml",
        "DocumentType": "INVOICE",
        "Version": "1.0",
        "ConformanceLevel": "EN 16931",
    }.items():
        assert f"<fx:{name}>{value}</fx:{name}>" in told
        assert f"<pdfaProperty:name>{name}</pdfaProperty:name>" in told
    catalog: Any = reader.trailer["/Root"]
    (attached,) = catalog["/AF"]
    assert attached.get_object()["/AFRelationship"] == "/Alternative"


def test_a_final_document_has_the_same_bytes_every_time(complete: bytes) -> None:
    """K20."""
    one = paper()
    assert pdf_of(one, cii(einvoice_of(one))) == complete
    paid = paper(status=Status.PAID)
    assert pdf_of(paid, cii(einvoice_of(paid))) == complete, "payment changes nothing on it"


def test_a_draft_and_a_void_are_marked() -> None:
    assert "DRAFT" in text_of(pdf_of(paper(papers.draft())))
    assert "VOID" in text_of(pdf_of(paper(status=Status.VOID)))
    assert "DRAFT" not in text_of(pdf_of(paper()))


def test_a_credit_note_says_what_it_corrects() -> None:
    text = text_of(pdf_of(papers.credit_note()))
    for wanted in (
        "Credit note",
        "CN-000001",
        "INV-000042 of 1 Dec 2026",
        "Outage",
        "Total credited",
    ):
        assert wanted in text, wanted


def test_a_discount_on_all_lines_is_told_once_and_one_on_a_line_at_the_line() -> None:
    first, second = papers.LINES[:2]
    wide = invoice((papers.discounted(first, ("all", 9)), papers.discounted(second, ("all", 2))))
    narrow = invoice((papers.discounted(first, ("some", 9)), second))
    assert "all deal −0.11" in text_of(pdf_of(paper(wide)))
    assert "all deal:" not in text_of(pdf_of(paper(wide)))
    assert "some deal: −0.09" in text_of(pdf_of(paper(narrow)))


def test_text_from_outside_is_shown_literally_and_does_nothing() -> None:
    pdf = pdf_of(paper(invoice((fee(100, description=HOSTILE), fee(1, id="\u202e<b>")))))
    flat = re.sub(r"\s+", "", text_of(pdf))
    assert re.sub(r"\s+", "", HOSTILE) in flat
    assert "49" not in flat.replace("0049", "")
    for forbidden in (b"/JavaScript", b"/JS", b"/EmbeddedFile", b"/URI", b"/Launch"):
        assert forbidden not in pdf


def test_words_that_no_font_of_the_package_has_still_make_a_page() -> None:
    text = "请求 שלום مرحبا हिन्दी 한국 😀 👩‍👩‍👧"
    pdf = pdf_of(paper(invoice((fee(100, description=text),))))
    assert pdf.startswith(b"%PDF-1.7")
    assert "שלום" in text_of(pdf) or "םולש" in text_of(pdf)


def test_accents_and_other_alphabets_are_in_the_fonts_of_the_package() -> None:
    pdf = pdf_of(paper(invoice((fee(100, description="Žluťoučký Ελληνικά Кириллица Łódź ½ € ‰"),))))
    assert b"pdfaid:part" in pdf, "so it is PDF/A on every machine"


def test_hundreds_of_lines_break_over_pages_with_their_head_on_each() -> None:
    tier = RatedTier(3 * E12, Fraction(1))
    lines = [usage(300, 3, tier, id=f"line_{n}", description=f"calls {n}") for n in range(200)]
    reader = pypdf.PdfReader(io.BytesIO(pdf_of(paper(invoice(lines)))))
    assert len(reader.pages) > 3
    assert all("DESCRIPTION" in page.extract_text() for page in reader.pages[:3])
    assert f"Page 2 of {len(reader.pages)}" in reader.pages[1].extract_text()


# --- the process ------------------------------------------------------------------------------


def test_a_name_of_a_megabyte_takes_neither_time_nor_memory() -> None:
    """At most 5 seconds and 300 MiB, measured in the process itself."""
    one = paper(invoice((fee(100, description="A" * 1_000_000),)))
    job = worker.PdfJob(msgspec.json.encode(sheet_of(one)).decode(), None)
    script = (
        "import sys; from taximeter.adapters.documents.worker import main; main(); "
        "print(*(l for l in open('/proc/self/status') if 'VmHWM' in l), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=msgspec.msgpack.encode(job),
        capture_output=True,
        timeout=5,
    )
    assert "AAAA…" in text_of(done.stdout).replace(" ", "")
    assert int(done.stderr.split()[1]) < 300 * 1024


def test_a_final_pdf_is_kept_and_a_draft_is_not(tmp_path: Path) -> None:
    press = ProcessPress(tmp_path / "documents")

    async def both() -> tuple[bytes, bytes]:
        await press.pdf(sheet_of(paper(papers.draft())), None)
        made = await press.pdf(sheet_of(paper()), None)
        (kept,) = (tmp_path / "documents").iterdir()
        kept.write_bytes(b"as it was kept")
        return made, await press.pdf(sheet_of(paper()), None)

    made, again = asyncio.run(both())
    assert made == pdf_of(paper()), "the process makes the same"
    assert again == b"as it was kept"


def test_what_takes_too_long_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(press_module, "TIMEOUT_S", 0.01)
    with pytest.raises(Unavailable, match="too long"):
        asyncio.run(ProcessPress(tmp_path).pdf(sheet_of(paper()), None))


def test_a_crowd_is_refused_before_it_waits_for_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(press_module, "MAX_WAITING", 2)
    draft = sheet_of(paper(papers.draft()))

    async def crowd() -> list[bytes | BaseException]:
        press = ProcessPress(tmp_path)
        return await asyncio.gather(
            *(press.pdf(draft, None) for _ in range(3)), return_exceptions=True
        )

    *made, refused = asyncio.run(crowd())
    assert [isinstance(one, bytes) for one in made] == [True, True]
    assert isinstance(refused, Unavailable)


def test_an_engine_that_fails_is_a_document_that_cannot_be_made(tmp_path: Path) -> None:
    table = Table((Column("n", ColumnType.DECIMAL),), (("no number",),))
    with pytest.raises(Unavailable) as refused:
        asyncio.run(ProcessPress(tmp_path).parquet(table))
    assert refused.value.code == "document_unavailable"


def test_parquet_has_exact_decimals_and_instants(tmp_path: Path) -> None:
    columns = (
        Column("text"), Column("n", ColumnType.DECIMAL), Column("at", ColumnType.INSTANT),
    )  # fmt: skip
    big = "12345678901234567890123456.000000000001"
    rows = (("=1+1", big, "2026-11-01T00:00:00.000001Z"), (None, None, None))
    made = worker.write_parquet(Table(columns, rows))
    assert made[:4] == made[-4:] == b"PAR1"
    path = tmp_path / "rows.parquet"
    path.write_bytes(made)
    query = f"SELECT text, n::VARCHAR, epoch_us(\"at\") FROM '{path}'"
    assert duckdb.connect().execute(query).fetchall() == [
        ("=1+1", big, parse_instant("2026-11-01T00:00:00.000001Z")),
        (None, None, None),
    ]
    empty = worker.write_parquet(Table(columns, ()))
    assert empty[:4] == b"PAR1"


# --- the page ---------------------------------------------------------------------------------


def test_the_page_says_the_same_and_may_load_and_run_nothing(tmp_path: Path) -> None:
    one = paper(invoice((fee(100, description=HOSTILE),)))
    page, headers = ProcessPress(tmp_path).html(sheet_of(one))
    text = page.decode()
    assert "<script" not in text
    assert "<img" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; {{7*7}}" in text
    policy = dict(headers)["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "sandbox" in policy
