"""UN/CEFACT Cross Industry Invoice: EN 16931 as Factur-X and ZUGFeRD carry it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from typing import Final

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

_STANDARD: Final = "urn:un:unece:uncefact:data:standard"
_NAMESPACES: Final = {
    "xmlns_rsm": f"{_STANDARD}:CrossIndustryInvoice:100",
    "xmlns_ram": f"{_STANDARD}:ReusableAggregateBusinessInformationEntity:100",
    "xmlns_qdt": f"{_STANDARD}:QualifiedDataType:100",
    "xmlns_udt": f"{_STANDARD}:UnqualifiedDataType:100",
}
_TYPES: Final = {PaperKind.INVOICE: "380", PaperKind.CREDIT_NOTE: "381"}  # UNCL 1001


def cii(invoice: EInvoice) -> bytes:
    """UTF-8; the same invoice gives the same bytes."""
    context = element(
        "rsm:ExchangedDocumentContext",
        element(
            "ram:GuidelineSpecifiedDocumentContextParameter",
            leaf("ram:ID", GUIDELINE),
        ),
    )
    transaction = element(
        "rsm:SupplyChainTradeTransaction",
        *(_line(line) for line in invoice.lines),
        element(
            "ram:ApplicableHeaderTradeAgreement",
            _party("ram:SellerTradeParty", invoice.seller),
            _party("ram:BuyerTradeParty", invoice.buyer),
        ),
        element(
            "ram:ApplicableHeaderTradeDelivery",
            element(
                "ram:ActualDeliverySupplyChainEvent",
                _at("ram:OccurrenceDateTime", invoice.days.last),
            ),
        ),
        element("ram:ApplicableHeaderTradeSettlement", *_settlement(invoice)),
    )
    return document(
        element("rsm:CrossIndustryInvoice", context, _head(invoice), transaction, **_NAMESPACES)
    )


def _head(invoice: EInvoice) -> str:
    return element(
        "rsm:ExchangedDocument",
        leaf("ram:ID", invoice.number),
        leaf("ram:TypeCode", _TYPES[invoice.kind]),
        _at("ram:IssueDateTime", invoice.issued),
        *(element("ram:IncludedNote", leaf("ram:Content", note)) for note in invoice.notes),
    )


def _line(line: ELine) -> str:
    note = element("ram:IncludedNote", leaf("ram:Content", line.note)) if line.note else ""
    base = leaf("ram:BasisQuantity", line.base, unitCode=UNIT)
    return element(
        "ram:IncludedSupplyChainTradeLineItem",
        element("ram:AssociatedDocumentLineDocument", leaf("ram:LineID", line.id), note),
        element(
            "ram:SpecifiedTradeProduct",
            leaf("ram:Name", line.name),
            leaf("ram:Description", line.description),
        ),
        element(
            "ram:SpecifiedLineTradeAgreement",
            element("ram:NetPriceProductTradePrice", leaf("ram:ChargeAmount", line.price), base),
        ),
        element(
            "ram:SpecifiedLineTradeDelivery",
            leaf("ram:BilledQuantity", line.quantity, unitCode=UNIT),
        ),
        element(
            "ram:SpecifiedLineTradeSettlement",
            _vat("ram:ApplicableTradeTax", line.vat),
            _period(line.days),
            *_allowances(line.allowances),
            element(
                "ram:SpecifiedTradeSettlementLineMonetarySummation",
                leaf("ram:LineTotalAmount", line.net),
            ),
        ),
    )


def _party(name: str, seller: EParty) -> str:
    party = seller.party
    lines = [plain(line) for line in party.address]
    names = ("ram:LineOne", "ram:LineTwo", "ram:LineThree")
    rest = [*lines[:2], ", ".join(lines[2:])]
    return element(
        name,
        leaf("ram:ID", seller.id),
        leaf("ram:Name", plain(party.name)),
        element(
            "ram:PostalTradeAddress",
            leaf("ram:PostcodeCode", plain(party.postal_code)),
            *(leaf(tag, line) for tag, line in zip(names, rest, strict=False)),
            leaf("ram:CityName", plain(party.city)),
            leaf("ram:CountryID", party.country),
            leaf("ram:CountrySubDivisionName", plain(party.region)),
        ),
        _mail(party.email),
        _registration(seller.vat_id, "VA"),
        _registration(seller.tax_id, "FC"),
    )


def _mail(address: str) -> str:
    uri = leaf("ram:URIID", plain(address), schemeID="EM")
    return element("ram:URIUniversalCommunication", uri) if uri else ""


def _registration(number: str | None, scheme: str) -> str:
    found = leaf("ram:ID", number, schemeID=scheme)
    return element("ram:SpecifiedTaxRegistration", found) if found else ""


def _settlement(invoice: EInvoice) -> Iterator[str]:
    yield leaf("ram:InvoiceCurrencyCode", invoice.currency)
    yield from (_tax(tax) for tax in invoice.taxes)
    yield _period(invoice.days)
    yield from _allowances(invoice.allowances)
    if invoice.due is not None or invoice.terms is not None:
        due = "" if invoice.due is None else _at("ram:DueDateDateTime", invoice.due)
        terms = leaf("ram:Description", invoice.terms)
        yield element("ram:SpecifiedTradePaymentTerms", terms, due)
    yield element(
        "ram:SpecifiedTradeSettlementHeaderMonetarySummation",
        leaf("ram:LineTotalAmount", invoice.line_total),
        leaf("ram:AllowanceTotalAmount", invoice.allowance_total),
        leaf("ram:TaxBasisTotalAmount", invoice.tax_basis),
        leaf("ram:TaxTotalAmount", invoice.tax_total, currencyID=invoice.currency),
        leaf("ram:GrandTotalAmount", invoice.grand_total),
        leaf("ram:TotalPrepaidAmount", invoice.prepaid),
        leaf("ram:DuePayableAmount", invoice.payable),
    )
    if invoice.corrects is not None:
        number, issued = invoice.corrects
        yield element(
            "ram:InvoiceReferencedDocument",
            leaf("ram:IssuerAssignedID", number),
            element("ram:FormattedIssueDateTime", _date("qdt", issued)),
        )


def _tax(tax: ETax) -> str:
    code, text = tax.vat.reason
    return element(
        "ram:ApplicableTradeTax",
        leaf("ram:CalculatedAmount", tax.amount),
        leaf("ram:TypeCode", "VAT"),
        leaf("ram:ExemptionReason", text),
        leaf("ram:BasisAmount", tax.taxable),
        leaf("ram:CategoryCode", tax.vat.code),
        leaf("ram:ExemptionReasonCode", code),
        leaf("ram:RateApplicablePercent", tax.vat.percent),
    )


def _vat(name: str, vat: Vat) -> str:
    return element(
        name,
        leaf("ram:TypeCode", "VAT"),
        leaf("ram:CategoryCode", vat.code),
        leaf("ram:RateApplicablePercent", vat.percent),
    )


def _allowances(allowances: Iterable[Allowance]) -> Iterator[str]:
    for one in allowances:
        yield element(
            "ram:SpecifiedTradeAllowanceCharge",
            element("ram:ChargeIndicator", leaf("udt:Indicator", "false")),
            leaf("ram:ActualAmount", one.amount),
            leaf("ram:ReasonCode", DISCOUNT),
            leaf("ram:Reason", one.reason),
            "" if one.vat is None else _vat("ram:CategoryTradeTax", one.vat),
        )


def _period(days: Days) -> str:
    return element(
        "ram:BillingSpecifiedPeriod",
        _at("ram:StartDateTime", days.first),
        _at("ram:EndDateTime", days.last),
    )


def _at(name: str, day: date) -> str:
    return element(name, _date("udt", day))


def _date(prefix: str, day: date) -> str:
    return leaf(f"{prefix}:DateTimeString", f"{day:%Y%m%d}", format="102")
