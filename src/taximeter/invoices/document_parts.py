"""
Parts of an invoice document beside its lines: discounts, taxes, credits, what it covers, parties.

Each is there only if it says something. `document` has the invoice itself.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import msgspec

from taximeter.instants import format_instant, parse_instant
from taximeter.invoices.applied import AppliedCredit, AppliedDiscount, AppliedTax
from taximeter.invoices.invoice import Adjusts, Cover, Invoice
from taximeter.money import format_exact, format_minor, round_minor
from taximeter.parties import Party
from taximeter.periods import Period


def dump_parts(invoice: Invoice) -> dict[str, Any]:
    """Further members of an invoice's document; none for an invoice without."""
    currency = invoice.currency
    parts: dict[str, Any] = {
        "due_at": None if invoice.due_at is None else format_instant(invoice.due_at),
        "discounts": [
            {"id": one.id, "name": one.name, "amount": format_minor(one.amount_minor, currency)}
            for one in invoice.discounts
        ],
        "taxes": [dump_tax(tax, currency) for tax in invoice.taxes],
        "credits": [
            {
                "grant": one.grant,
                "credit": one.credit,
                "amount": format_minor(one.amount_minor, currency),
            }
            for one in invoice.credits
        ],
        "covers": [_dump_cover(cover) for cover in invoice.covers],
        "issuer": dump_party(invoice.issuer),
        "billed_to": dump_party(invoice.billed_to),
    }
    return {name: value for name, value in parts.items() if value}


def parse_parts(content: dict[str, Any]) -> dict[str, Any]:
    """The same members as arguments of `Invoice`."""
    currency = content["currency"]
    return {
        "due_at": None if content.get("due_at") is None else parse_instant(content["due_at"]),
        "discounts": tuple(
            AppliedDiscount(one["id"], one["name"], parse_minor(one["amount"], currency))
            for one in content.get("discounts", ())
        ),
        "taxes": tuple(parse_tax(tax, currency) for tax in content.get("taxes", ())),
        "credits": tuple(
            AppliedCredit(one["grant"], one["credit"], parse_minor(one["amount"], currency))
            for one in content.get("credits", ())
        ),
        "covers": tuple(_parse_cover(cover) for cover in content.get("covers", ())),
        "issuer": parse_party(content.get("issuer")),
        "billed_to": parse_party(content.get("billed_to")),
    }


def dump_adjusts(adjusts: Adjusts, currency: str) -> dict[str, Any]:
    return {
        "invoice": adjusts.invoice,
        "number": adjusts.number,
        "period": adjusts.period.to_json(),
        "billed": format_minor(adjusts.billed_minor, currency),
        "rerated": format_minor(adjusts.rerated_minor, currency),
    }


def parse_adjusts(content: dict[str, Any], currency: str) -> Adjusts:
    return Adjusts(
        invoice=content["invoice"],
        number=content["number"],
        period=parse_period(content["period"]),
        billed_minor=parse_minor(content["billed"], currency),
        rerated_minor=parse_minor(content["rerated"], currency),
    )


def parse_period(content: dict[str, str]) -> Period:
    return Period(parse_instant(content["start"]), parse_instant(content["end"]))


def parse_minor(text: str, currency: str) -> int:
    """Exact: the text was written with the currency's digits, so nothing is rounded here."""
    return round_minor(Fraction(text), currency)


def dump_tax(tax: AppliedTax, currency: str) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": tax.name,
        "jurisdiction": tax.jurisdiction,
        "category": tax.category,
        "rate": format_exact(tax.rate),
        "taxable": format_minor(tax.taxable_minor, currency),
        "amount": format_minor(tax.amount_minor, currency),
        "inclusive": tax.inclusive,
    }
    return document if tax.note is None else document | {"note": tax.note}


def parse_tax(content: dict[str, Any], currency: str) -> AppliedTax:
    return AppliedTax(
        name=content["name"],
        jurisdiction=content["jurisdiction"],
        category=content["category"],
        rate=Fraction(content["rate"]),
        taxable_minor=parse_minor(content["taxable"], currency),
        amount_minor=parse_minor(content["amount"], currency),
        inclusive=content["inclusive"],
        note=content.get("note"),
    )


def _dump_cover(cover: Cover) -> dict[str, Any]:
    return {
        "subscription": cover.subscription,
        "customer": cover.customer,
        "period": cover.period.to_json(),
        "subjects": list(cover.subjects),
        "metering_version": cover.metering_version,
        "part": cover.part,
    }


def _parse_cover(content: dict[str, Any]) -> Cover:
    return Cover(
        subscription=content["subscription"],
        customer=content["customer"],
        period=parse_period(content["period"]),
        subjects=tuple(content["subjects"]),
        metering_version=content["metering_version"],
        part=content["part"],
    )


def dump_party(party: Party | None) -> dict[str, Any] | None:
    """Only what is known of it."""
    if party is None:
        return None
    return {name: value for name, value in msgspec.to_builtins(party).items() if value}


def parse_party(content: dict[str, Any] | None) -> Party | None:
    return None if content is None else msgspec.convert(content, Party)
