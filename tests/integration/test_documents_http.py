"""Documents over HTTP and from the terminal: an invoice as customers and accountants get it."""

from __future__ import annotations

import copy
import csv
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import facturx
import pytest
from tests import papers
from tests.einvoices import problems_of
from tests.integration.scene import CATALOG, Scene, event
from tests.serving import Served, serve

SETTINGS: dict[str, Any] = {
    "issuer": {
        "name": "Lumen Models GmbH", "address": ["Torstraße 1"], "city": "Berlin",
        "postal_code": "10119", "country": "DE", "tax_id": "DE136695976",
    },
    "tax": {
        "registrations": [{"country": "DE", "tax_id": "DE136695976"}],
        "rates": [{"name": "VAT", "country": "DE", "rate": "0.19"}],
    },
}  # fmt: skip
BILLING = {"name": "Acme GmbH", "address": ["Hauptstr. 1"], "city": "Köln", "country": "DE"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("documents"), "--sandbox") as running:
        yield running


def billed(server: Served, *, complete: bool) -> tuple[Scene, dict[str, Any]]:
    """A namespace with one issued invoice of 50.00 before tax."""
    scene = Scene(server)
    scene.set_clock("2026-11-20T12:00:00Z")
    if complete:
        scene.ask("PUT", "/v1/billing/settings", SETTINGS)
    scene.publish()
    scene.customer(name="=Acme & Söhne", **({"billing": BILLING} if complete else {}))
    scene.subscribe(start="2026-10-01T00:00:00Z")
    scene.send([event("1", 5000, time="2026-10-11T00:00:00Z")])
    (draft,) = scene.close()
    return scene, scene.ask("POST", f"/v1/invoices/{draft['id']}/finalize")


@pytest.fixture(scope="module")
def scene(server: Served) -> tuple[Scene, dict[str, Any]]:
    return billed(server, complete=True)


def document(scene: Scene, invoice: dict[str, Any], ending: str, **query: Any) -> bytes:
    reply = scene.raw("GET", f"/v1/invoices/{invoice['id']}.{ending}", **query)
    assert reply.status == 200, reply.text
    assert reply.headers["content-disposition"] == f'inline; filename="INV-000001.{ending}"'
    assert reply.headers["x-content-type-options"] == "nosniff"
    return reply.body


def test_a_complete_invoice_is_a_factur_x_and_the_same_each_time(
    scene: tuple[Scene, dict[str, Any]],
) -> None:
    one, invoice = scene
    pdf = document(one, invoice, "pdf")
    name, xml = facturx.get_xml_from_pdf(pdf, check_xsd=True, check_schematron=False)
    assert (name, problems_of(xml)) == ("factur-x.xml", [])
    assert xml == document(one, invoice, "xml")
    assert document(one, invoice, "pdf") == pdf
    ubl = document(one, invoice, "xml", format="ubl")
    assert problems_of(ubl) == []
    assert b'<cbc:PayableAmount currencyID="USD">59.50<' in ubl


def test_a_page_of_an_invoice_may_load_and_run_nothing(
    scene: tuple[Scene, dict[str, Any]],
) -> None:
    one, invoice = scene
    page = document(one, invoice, "html").decode()
    assert "INV-000001" in page
    assert "59.50" in page
    reply = one.raw("GET", f"/v1/invoices/{invoice['id']}.html")
    assert reply.headers["content-security-policy"].startswith("default-src 'none'; style-src 's")


def test_what_an_e_invoice_lacks_is_said(server: Served) -> None:
    bare, invoice = billed(server, complete=False)
    reply = bare.raw("GET", f"/v1/invoices/{invoice['id']}.xml")
    assert reply.status == 422
    assert (reply.json()["code"], reply.json()["missing"]) == (
        "einvoice_incomplete",
        "issuer.name, issuer.country, billed_to.name, billed_to.country, issuer.tax_id",
    )
    assert document(bare, invoice, "pdf").startswith(b"%PDF-"), "a PDF is made all the same"
    assert bare.raw("GET", f"/v1/invoices/{invoice['id']}.xml", format="docx").status == 422


def test_billed_cost_of_an_invoice_is_its_amount_due(scene: tuple[Scene, dict[str, Any]]) -> None:
    one, invoice = scene
    reply = one.raw("GET", "/v1/exports/focus")
    rows = list(csv.DictReader(io.StringIO(reply.text)))
    assert {row["InvoiceId"] for row in rows} == {"INV-000001"}
    assert sum(Decimal(row["BilledCost"]) for row in rows) == Decimal(invoice["amount_due"])
    assert [row["ChargeCategory"] for row in rows] == ["Usage", "Tax"]
    assert rows[0]["BillingAccountName"] == "'=Acme & Söhne", "no spreadsheet computes it"


def test_exports_span_what_was_issued_in_them_as_csv_and_parquet(
    scene: tuple[Scene, dict[str, Any]], tmp_path: Path
) -> None:
    one, invoice = scene
    at = {"from": invoice["issued_at"], "to": "2027-01-01T00:00:00Z"}
    rows = list(csv.DictReader(io.StringIO(one.raw("GET", "/v1/exports/invoice-lines", **at).text)))
    assert [(row["number"], row["amount"]) for row in rows] == [("INV-000001", "50.00")]
    before = {"from": "2026-01-01T00:00:00Z", "to": invoice["issued_at"]}
    assert one.raw("GET", "/v1/exports/invoice-lines", **before).text.count("\r\n") == 1
    path = tmp_path / "lines.parquet"
    path.write_bytes(one.raw("GET", "/v1/exports/invoice-lines", format="parquet", **at).body)
    found = duckdb.sql(f"SELECT number, amount::VARCHAR FROM '{path}'").fetchall()
    assert found == [("INV-000001", "50.000000000000")]
    wrong = {"from": at["to"], "to": at["from"]}
    assert one.raw("GET", "/v1/exports/focus", **wrong).json()["code"] == "invalid_parameter"


def terminal(
    server: Served, scene: Scene, *words: str, cwd: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "taximeter", "invoices", *words, "--url", server.url]
    environment = {"TAXIMETER_KEY": scene.key, "PATH": ""}
    if "PYTHONPATH" in os.environ:
        environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True)


def test_documents_are_saved_from_the_terminal(
    server: Served, scene: tuple[Scene, dict[str, Any]], tmp_path: Path
) -> None:
    one, invoice = scene

    run = partial(terminal, server, one, cwd=tmp_path)
    done = run("pdf", "INV-000001")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "INV-000001.pdf").read_bytes() == document(one, invoice, "pdf")
    assert b"INV-000001.pdf" in done.stderr
    assert run("xml", invoice["id"], "-o", "-").stdout == document(one, invoice, "xml")
    assert run("pdf", "nobody").returncode == 2
    refused = run("pdf", "INV-000001", "-o", "no/such/place.pdf")
    assert refused.returncode == 2
    assert b"cannot be written" in refused.stderr


def test_an_invoice_with_something_of_everything_is_valid_and_adds_up(server: Served) -> None:
    """A parent pays for its child; two rates in the prices, a discount, prepaid credit, tiers."""
    one = Scene(server)
    one.set_clock("2026-11-21T12:00:00Z")
    registration = {"country": "DE", "tax_id": "DE136695976", "inclusive": True}
    rates = [
        {"name": "VAT", "country": "DE", "rate": "0.19"},
        {"name": "VAT", "country": "DE", "rate": "0.07", "category": "data"},
    ]
    rich = {"consolidate": "customer", "apply_credits": {"usd": "USD"}}
    taxes = {"tax": {"registrations": [registration], "rates": rates}}
    one.ask("PUT", "/v1/billing/settings", SETTINGS | rich | taxes)
    catalog = copy.deepcopy(CATALOG)
    tiers = [{"up_to": 1000, "unit": "0.1"}, {"unit": "0.07", "flat": "1.5"}]
    catalog["plans"]["pro"] |= {
        "prices": {
            "tokens": {
                "type": "graduated", "meter": "tokens", "tiers": tiers, "tax_category": "data",
            },
            "base": {"type": "flat", "amount": "49.99"},
        },
    }  # fmt: skip
    one.publish(catalog)
    one.customer(billing=BILLING)
    one.customer("kid", parent="acme", paid_by_parent=True)
    for customer in ("acme", "kid"):
        one.subscribe(customer, start="2026-11-01T00:00:00Z")
        one.send(event(customer, 2777, subject=customer))
    discount = {"percent": 15, "duration": "forever", "name": "Fünfzehn Prozent"}
    one.ask("POST", "/v1/customers/acme/discounts", discount, status=201)
    grant = {"id": "g1", "credit": "usd", "amount": 20}
    one.ask("POST", "/v1/customers/acme/grants", grant, status=201)
    one.set_clock("2026-12-02T12:00:00Z")
    (draft,) = one.close()
    invoice = one.ask("POST", f"/v1/invoices/{draft['id']}/finalize")
    assert len(invoice["taxes"]) == 2
    assert Decimal(invoice["discount"]) > 0
    assert invoice["credits_applied"] == "20.00"
    for syntax in ("cii", "ubl"):
        xml = document(one, invoice, "xml", format=syntax)
        assert problems_of(xml) == []
        assert f">{invoice['amount_due']}<".encode() in xml
    rows = list(csv.DictReader(io.StringIO(one.raw("GET", "/v1/exports/focus").text)))
    assert sum(Decimal(row["BilledCost"]) for row in rows) == Decimal(invoice["amount_due"])
    assert {row["SubAccountId"] for row in rows} == {"", "kid"}


def test_a_credit_note_has_the_same_documents_and_is_in_the_exports(server: Served) -> None:
    one, invoice = billed(server, complete=True)
    wish = {"reason": "Outage", "lines": [{"line": invoice["lines"][0]["id"], "amount": "20.00"}]}
    note = one.ask("POST", f"/v1/invoices/{invoice['id']}/credit-notes", wish, status=201)

    def document_of(ending: str) -> bytes:
        reply = one.raw("GET", f"/v1/credit-notes/{note['id']}.{ending}")
        assert reply.status == 200, reply.text
        assert f'filename="CN-000001.{ending}"' in reply.headers["content-disposition"]
        return reply.body

    name, xml = facturx.get_xml_from_pdf(document_of("pdf"), check_xsd=True, check_schematron=False)
    assert (name, problems_of(xml)) == ("factur-x.xml", [])
    assert xml == document_of("xml")
    assert b"INV-000001" in xml, "it cites the invoice"
    assert b"credited to you" in document_of("html")
    assert b"20.00" in document_of("csv")
    rows = csv.DictReader(io.StringIO(one.raw("GET", "/v1/exports/focus").text))
    given_back = sum(Decimal(r["BilledCost"]) for r in rows if r["InvoiceId"] == "CN-000001")
    assert given_back == Decimal("-23.80")
    assert one.raw("GET", "/v1/credit-notes/nobody.pdf").status == 404
    saved = terminal(server, one, "pdf", "CN-000001", "-o", "-")
    assert saved.stdout == document_of("pdf")


def test_void_invoices_are_in_no_export(server: Served) -> None:
    one, invoice = billed(server, complete=False)
    one.ask("POST", f"/v1/invoices/{invoice['id']}/void", {"reason": "by mistake"})
    assert one.raw("GET", "/v1/exports/focus").text.count("\r\n") == 1
    assert papers.DIGEST not in document(one, invoice, "html").decode()
