"""OASIS UBL 2.1 Invoice and CreditNote: the other syntax of EN 16931, as Peppol carries it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final, TypeAlias

from taximeter.documents.einvoice import (
    DISCOUNT,
    GUIDELINE,
    UNIT,
    Allowance,
    Days,
    EInvoice,
    ELine,
    EParty,
    ETax,
    Vat,
)
from taximeter.documents.paper import PaperKind
from taximeter.documents.words import plain
from taximeter.documents.xmltext import document, element, leaf

Amount: TypeAlias = Callable[[str, str], str]

_SCHEMA: Final = "urn:oasis:names:specification:ubl:schema:xsd"
_NAMESPACES: Final = {
    "xmlns_cac": f"{_SCHEMA}:CommonAggregateComponents-2",
    "xmlns_cbc": f"{_SCHEMA}:CommonBasicComponents-2",
}


def ubl(invoice: EInvoice) -> bytes:
    """UTF-8; the same invoice gives the same bytes."""
    credited = invoice.kind is PaperKind.CREDIT_NOTE
    root = "CreditNote" if credited else "Invoice"
    amount = partial(_amount, invoice.currency)
    due = None if invoice.due is None else invoice.due.isoformat()
    terms = invoice.terms
    if credited and due is not None:  # a credit note has no element of its own for the day
        terms, due = f"Due on {due}", None
    return document(
        element(
            root,
            leaf("cbc:CustomizationID", GUIDELINE),
            leaf("cbc:ID", invoice.number),
            leaf("cbc:IssueDate", invoice.issued.isoformat()),
            leaf("cbc:DueDate", due),
            leaf(f"cbc:{root}TypeCode", "381" if credited else "380"),
            leaf("cbc:Note", " ".join(invoice.notes)),
            leaf("cbc:DocumentCurrencyCode", invoice.currency),
            _period(invoice.days),
            _corrects(invoice),
            _party("cac:AccountingSupplierParty", invoice.seller),
            _party("cac:AccountingCustomerParty", invoice.buyer),
            element("cac:Delivery", leaf("cbc:ActualDeliveryDate", invoice.days.last.isoformat())),
            element("cac:PaymentTerms", leaf("cbc:Note", terms)) if terms else "",
            *_allowances(invoice.allowances, amount),
            element(
                "cac:TaxTotal",
                amount("cbc:TaxAmount", invoice.tax_total),
                *(_tax(tax, amount) for tax in invoice.taxes),
            ),
            element(
                "cac:LegalMonetaryTotal",
                amount("cbc:LineExtensionAmount", invoice.line_total),
                amount("cbc:TaxExclusiveAmount", invoice.tax_basis),
                amount("cbc:TaxInclusiveAmount", invoice.grand_total),
                amount("cbc:AllowanceTotalAmount", invoice.allowance_total),
                amount("cbc:PrepaidAmount", invoice.prepaid),
                amount("cbc:PayableAmount", invoice.payable),
            ),
            *(_line(line, root, amount) for line in invoice.lines),
            xmlns=f"{_SCHEMA}:{root}-2",
            **_NAMESPACES,
        )
    )


def _amount(currency: str, name: str, text: str) -> str:
    return leaf(name, text, currencyID=currency)


def _corrects(invoice: EInvoice) -> str:
    if invoice.corrects is None:
        return ""
    number, issued = invoice.corrects
    return element(
        "cac:BillingReference",
        element(
            "cac:InvoiceDocumentReference",
            leaf("cbc:ID", number),
            leaf("cbc:IssueDate", issued.isoformat()),
        ),
    )


def _party(name: str, seller: EParty) -> str:
    party = seller.party
    lines = [plain(line) for line in party.address]
    rest = ", ".join(lines[2:])
    return element(
        name,
        element(
            "cac:Party",
            leaf("cbc:EndpointID", plain(party.email), schemeID="EM"),
            element("cac:PartyIdentification", leaf("cbc:ID", seller.id)) if seller.id else "",
            element(
                "cac:PostalAddress",
                leaf("cbc:StreetName", "".join(lines[:1])),
                leaf("cbc:AdditionalStreetName", "".join(lines[1:2])),
                leaf("cbc:CityName", plain(party.city)),
                leaf("cbc:PostalZone", plain(party.postal_code)),
                leaf("cbc:CountrySubentity", plain(party.region)),
                element("cac:AddressLine", leaf("cbc:Line", rest)) if rest else "",
                element("cac:Country", leaf("cbc:IdentificationCode", party.country)),
            ),
            _registration(seller.vat_id, "VAT"),
            _registration(seller.tax_id, "FC"),
            element("cac:PartyLegalEntity", leaf("cbc:RegistrationName", plain(party.name))),
        ),
    )


def _registration(number: str | None, scheme: str) -> str:
    if not number:
        return ""
    kind = element("cac:TaxScheme", leaf("cbc:ID", scheme))
    return element("cac:PartyTaxScheme", leaf("cbc:CompanyID", number), kind)


def _line(line: ELine, root: str, amount: Amount) -> str:
    quantity = "CreditedQuantity" if root == "CreditNote" else "InvoicedQuantity"
    return element(
        f"cac:{root}Line",
        leaf("cbc:ID", line.id),
        leaf("cbc:Note", line.note),
        leaf(f"cbc:{quantity}", line.quantity, unitCode=UNIT),
        amount("cbc:LineExtensionAmount", line.net),
        _period(line.days),
        *_allowances(line.allowances, amount),
        element(
            "cac:Item",
            leaf("cbc:Description", line.description),
            leaf("cbc:Name", line.name),
            _vat("cac:ClassifiedTaxCategory", line.vat),
        ),
        element(
            "cac:Price",
            amount("cbc:PriceAmount", line.price),
            leaf("cbc:BaseQuantity", line.base, unitCode=UNIT),
        ),
    )


def _tax(tax: ETax, amount: Amount) -> str:
    return element(
        "cac:TaxSubtotal",
        amount("cbc:TaxableAmount", tax.taxable),
        amount("cbc:TaxAmount", tax.amount),
        _vat("cac:TaxCategory", tax.vat, tax.vat.reason),
    )


def _vat(name: str, vat: Vat, reason: tuple[str | None, str | None] = (None, None)) -> str:
    code, text = reason
    return element(
        name,
        leaf("cbc:ID", vat.code),
        leaf("cbc:Percent", vat.percent),
        leaf("cbc:TaxExemptionReasonCode", code),
        leaf("cbc:TaxExemptionReason", text),
        element("cac:TaxScheme", leaf("cbc:ID", "VAT")),
    )


def _allowances(allowances: Iterable[Allowance], amount: Amount) -> Iterator[str]:
    for one in allowances:
        yield element(
            "cac:AllowanceCharge",
            leaf("cbc:ChargeIndicator", "false"),
            leaf("cbc:AllowanceChargeReasonCode", DISCOUNT),
            leaf("cbc:AllowanceChargeReason", one.reason),
            amount("cbc:Amount", one.amount),
            "" if one.vat is None else _vat("cac:TaxCategory", one.vat),
        )


def _period(days: Days) -> str:
    return element(
        "cac:InvoicePeriod",
        leaf("cbc:StartDate", days.first.isoformat()),
        leaf("cbc:EndDate", days.last.isoformat()),
    )
