"""
Exports: invoices as rows, for a spreadsheet, a warehouse or a FinOps tool.

    line_table   one row a line
    focus_table  FOCUS 1.2: the sum of BilledCost of an invoice is its amount due
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from taximeter.documents.nets import LineNet, nets_of
from taximeter.documents.paper import Paper, PaperKind
from taximeter.documents.tables import Column, ColumnType, Table
from taximeter.documents.unit_prices import explaining_price
from taximeter.instants import format_instant
from taximeter.invoices.invoice import Kind, Line
from taximeter.money import format_exact, format_minor
from taximeter.quantities import format_quantity

Row: TypeAlias = Mapping[str, str | None]

FOCUS_VERSION: Final = "1.2"


def _table(columns: Iterable[Column], rows: Iterable[Row]) -> Table:
    columns = tuple(columns)
    return Table(columns, tuple(tuple(row.get(one.name) for one in columns) for row in rows))


# --- lines ------------------------------------------------------------------------------------

LINE_COLUMNS: Final = (
    Column("document"), Column("invoice"), Column("number"), Column("status"),
    Column("issued_at", ColumnType.INSTANT), Column("customer"), Column("used_by"),
    Column("subscription"), Column("line"), Column("kind"), Column("description"),
    Column("price"), Column("meter"), Column("group"),
    Column("period_start", ColumnType.INSTANT), Column("period_end", ColumnType.INSTANT),
    Column("quantity", ColumnType.DECIMAL), Column("currency"),
    Column("amount", ColumnType.DECIMAL), Column("discount", ColumnType.DECIMAL),
    Column("tax_category"), Column("events", ColumnType.DECIMAL), Column("position"),
    Column("digest"),
)  # fmt: skip


def line_table(papers: Iterable[Paper]) -> Table:
    """Every line as it is on its document: amounts before tax and credits."""
    return _table(
        LINE_COLUMNS,
        (_line_row(paper, line) for paper in papers for line in paper.invoice.lines),
    )


def _line_row(paper: Paper, line: Line) -> Row:
    invoice = paper.invoice
    currency, lineage = invoice.currency, line.lineage
    return {
        "document": paper.kind.value,
        "invoice": invoice.id,
        "number": invoice.number,
        "status": paper.status.value,
        "issued_at": None if invoice.issued_at is None else format_instant(invoice.issued_at),
        "customer": invoice.customer,
        "used_by": line.customer or invoice.customer,
        "subscription": line.subscription or invoice.subscription,
        "line": line.id,
        "kind": line.kind.value,
        "description": line.description,
        "price": line.price,
        "meter": line.meter,
        "group": _json(line.group) if line.group else None,
        "period_start": format_instant(line.period.start),
        "period_end": format_instant(line.period.end),
        "quantity": format_quantity(line.quantity_pico),
        "currency": currency,
        "amount": format_minor(line.amount_minor, currency),
        "discount": format_minor(line.amount_minor - line.net_minor, currency),
        "tax_category": line.tax_category,
        "events": None if lineage is None else str(lineage.events),
        "position": None if lineage is None else lineage.position,
        "digest": None if lineage is None else lineage.digest,
    }


# --- FOCUS ------------------------------------------------------------------------------------

_FOCUS: Final = """
    BilledCost BillingAccountId BillingAccountName BillingAccountType BillingCurrency
    BillingPeriodEnd BillingPeriodStart ChargeCategory ChargeClass ChargeDescription
    ChargeFrequency ChargePeriodEnd ChargePeriodStart ConsumedQuantity ConsumedUnit ContractedCost
    ContractedUnitPrice EffectiveCost InvoiceId InvoiceIssuerName ListCost ListUnitPrice
    PricingCategory PricingCurrency PricingQuantity PricingUnit ProviderName PublisherName
    ResourceId ResourceType ServiceCategory ServiceName ServiceSubcategory SkuId SkuMeter
    SkuPriceDetails SkuPriceId SubAccountId SubAccountName SubAccountType Tags
    """


def _type_of(name: str) -> ColumnType:
    if name.endswith(("Cost", "UnitPrice", "Quantity")):
        return ColumnType.DECIMAL
    return ColumnType.INSTANT if name.endswith(("PeriodStart", "PeriodEnd")) else ColumnType.TEXT


FOCUS_COLUMNS: Final = tuple(Column(name, _type_of(name)) for name in _FOCUS.split())


def focus_table(papers: Iterable[Paper]) -> Table:
    """
    Charges as FOCUS has them, signed: what is credited is negative.

    A line's BilledCost is what is left of it behind its discounts and without taxes that are in
    its price; its ListCost is the amount before the discounts. Each tax is a row of the category
    Tax, each grant that paid a row of the category Credit.
    """
    return _table(FOCUS_COLUMNS, (row for paper in papers for row in _focus_rows(paper)))


def _focus_rows(paper: Paper) -> Iterator[Row]:
    invoice = paper.invoice
    for line, net in zip(invoice.lines, nets_of(invoice), strict=True):
        yield _base(paper) | _charge(paper, line, net)
    for tax in invoice.taxes:
        if tax.amount_minor:
            name = f"{tax.name} {tax.jurisdiction}".strip()
            yield _base(paper) | _costs(paper, tax.amount_minor) | {
                "ChargeCategory": "Tax",
                "ChargeDescription": f"{name} {format_exact(tax.rate * 100)} %",
                "ChargeFrequency": "Recurring",
            }  # fmt: skip
    for credit in invoice.credits:
        yield _base(paper) | _costs(paper, -credit.amount_minor) | {
            "ChargeCategory": "Credit",
            "ChargeDescription": f"Credit {credit.credit}, grant {credit.grant}"
            if credit.grant
            else "Prepaid credit",
            "ChargeFrequency": "One-Time",
        }  # fmt: skip


def _base(paper: Paper) -> dict[str, str | None]:
    """What all rows of a paper have in common."""
    invoice = paper.invoice
    issuer = (invoice.issuer and invoice.issuer.name) or "unknown"
    period = {
        "PeriodStart": format_instant(invoice.period.start),
        "PeriodEnd": format_instant(invoice.period.end),
    }
    return {
        "BillingAccountId": invoice.customer,
        "BillingAccountName": paper.name_of(invoice.customer),
        "BillingAccountType": "Customer",
        "BillingCurrency": invoice.currency,
        **{f"Billing{name}": at for name, at in period.items()},
        **{f"Charge{name}": at for name, at in period.items()},
        "ChargeClass": "Correction" if paper.kind is PaperKind.CREDIT_NOTE else None,
        "InvoiceId": invoice.number,
        "InvoiceIssuerName": issuer,
        "PricingCurrency": invoice.currency,
        "ProviderName": issuer,
        "PublisherName": issuer,
        "ServiceCategory": "Other",
        "ServiceSubcategory": "Other (Other)",
        "ServiceName": issuer,
        "Tags": "{}",
    }


def _costs(paper: Paper, minor: int, list_minor: int | None = None) -> dict[str, str | None]:
    """The four costs; `list_minor` before discounts, where there were any."""
    sign = -1 if paper.kind is PaperKind.CREDIT_NOTE else 1
    cost = format_minor(sign * minor, paper.invoice.currency)
    listed = cost
    if list_minor is not None:
        listed = format_minor(sign * list_minor, paper.invoice.currency)
    return {"BilledCost": cost, "EffectiveCost": cost, "ContractedCost": listed, "ListCost": listed}


_ONCE: Final = frozenset({Kind.ADJUSTMENT, Kind.ON_ACCOUNT})
_CATEGORIES: Final = {
    Kind.USAGE: "Usage",
    Kind.ADJUSTMENT: "Usage",
    Kind.FLAT: "Purchase",
    Kind.SEAT: "Purchase",
    Kind.COMMITMENT: "Purchase",
}
"""What is reckoned with other lines, such as a minimum, is an Adjustment."""


def _charge(paper: Paper, line: Line, net: LineNet) -> dict[str, str | None]:
    invoice = paper.invoice
    plan = line.price.partition("/")[0]
    quantity = format_quantity(line.quantity_pico)
    row = _costs(paper, net.net_minor, net.listed_minor) | {
        "ChargeCategory": _CATEGORIES.get(line.kind, "Adjustment"),
        "ChargeDescription": line.description,
        "ChargeFrequency": _frequency(line.kind),
        "ChargePeriodStart": format_instant(line.period.start),
        "ChargePeriodEnd": format_instant(line.period.end),
        "PricingCategory": "Standard",
        "PricingCurrency": line.conversions[0].source if line.conversions else invoice.currency,
        "PricingQuantity": quantity,
        "PricingUnit": "Units",
        "ResourceId": line.subscription or invoice.subscription,
        "ResourceType": "Subscription",
        "ServiceName": plan,
        "SkuId": line.price.rpartition("@")[0] or line.price,
        "SkuMeter": line.meter,
        "SkuPriceId": line.price,
        "Tags": _json(line.group),
    }
    if line.kind is Kind.ADJUSTMENT:
        row["ChargeClass"] = "Correction"
    if line.kind is Kind.USAGE:
        metered = line.quantity_pico if line.metered_pico is None else line.metered_pico
        row |= {"ConsumedQuantity": format_quantity(metered), "ConsumedUnit": "Units"}
    price = explaining_price(line, net.listed_minor, invoice.currency)
    if price is not None and "/" not in format_exact(price):
        unit = format_exact(price)
        row |= {"ListUnitPrice": unit, "ContractedUnitPrice": unit}
    if line.customer is not None:
        row |= {
            "SubAccountId": line.customer,
            "SubAccountName": paper.name_of(line.customer),
            "SubAccountType": "Customer",
        }
    return row


def _frequency(kind: Kind) -> str:
    if kind is Kind.USAGE:
        return "Usage-Based"
    return "One-Time" if kind in _ONCE else "Recurring"


def _json(value: Any) -> str:
    return msgspec.json.encode(value, order="sorted").decode()
