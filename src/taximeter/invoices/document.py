"""
The invoice as a document: its public JSON, its canonical bytes, its digest.

Canonical JSON has sorted keys, no spaces, and UTF-8 without needless escapes. The digest covers
it without `digest` and `status`, so anyone can check an invoice with any JSON library, also after
it was paid or voided.
"""

from __future__ import annotations

from fractions import Fraction
from hashlib import sha256
from typing import Any, Final

import msgspec

from taximeter.instants import format_instant, parse_instant
from taximeter.invoices.applied import LineDiscount
from taximeter.invoices.document_parts import (
    dump_adjusts,
    dump_parts,
    parse_adjusts,
    parse_minor,
    parse_parts,
    parse_period,
)
from taximeter.invoices.invoice import Invoice, Kind, Line, Lineage, Status
from taximeter.invoices.priced_parts import dump_priced, parse_priced
from taximeter.money import exponent, format_exact, format_minor
from taximeter.quantities import E12, format_quantity
from taximeter.rating import Proration, RatedTier

BESIDE: Final = (
    "digest", "status", "amount_paid", "amount_remaining", "credited", "disputed", "review",
)  # fmt: skip
"""Members that no digest covers: an issued invoice is paid, credited or voided later without
becoming another invoice."""


def dump_invoice(invoice: Invoice) -> dict[str, Any]:
    """The JSON of the HTTP interface, `digest` included; quantities and amounts are text."""
    document = _dump(invoice)
    document["digest"] = digest_of(document)
    return document


def canonical_bytes(invoice: Invoice) -> bytes:
    """`dump_invoice` as canonical JSON: what is stored, and what a final invoice keeps for ever."""
    return _canonical(dump_invoice(invoice))


def digest(invoice: Invoice) -> str:
    """ "sha256:" + hex of the canonical JSON without its `digest` member."""
    return digest_of(_dump(invoice))


def digest_of(document: dict[str, Any]) -> str:
    """
    The digest a decoded document should carry; see `BESIDE` for what it leaves out.
    """
    content = {name: value for name, value in document.items() if name not in BESIDE}
    return f"sha256:{sha256(_canonical(content)).hexdigest()}"


def parse_invoice(document: bytes) -> Invoice:
    """
    Inverse of `canonical_bytes`. Whether the digest is right is a question for `digest_of`.

    Args:
        document: As this module wrote it.
    """
    content = msgspec.json.decode(document)
    currency = content["currency"]
    return Invoice(
        id=content["id"],
        number=content["number"],
        customer=content["customer"],
        subscription=content["subscription"],
        subjects=tuple(content["subjects"]),
        metering_version=content["metering_version"],
        status=Status(content["status"]),
        currency=currency,
        issued_at=None if content["issued_at"] is None else parse_instant(content["issued_at"]),
        period=parse_period(content["period"]),
        lines=tuple(_parse_line(line, currency) for line in content["lines"]),
        **parse_parts(content),
    )


def _canonical(document: dict[str, Any]) -> bytes:
    return msgspec.json.encode(document, order="sorted")


def _dump(invoice: Invoice) -> dict[str, Any]:
    currency = invoice.currency
    return {
        "id": invoice.id,
        "number": invoice.number,
        "customer": invoice.customer,
        "subscription": invoice.subscription,
        "subjects": list(invoice.subjects),
        "metering_version": invoice.metering_version,
        "status": invoice.status.value,
        "currency": currency,
        "period": invoice.period.to_json(),
        "issued_at": None if invoice.issued_at is None else format_instant(invoice.issued_at),
        "lines": [_dump_line(line, currency) for line in invoice.lines],
        "subtotal": format_minor(invoice.subtotal_minor, currency),
        "discount": format_minor(invoice.discount_minor, currency),
        "tax": format_minor(invoice.tax_minor, currency),
        "credits_applied": format_minor(invoice.credits_applied_minor, currency),
        "total": format_minor(invoice.total_minor, currency),
        "amount_due": format_minor(invoice.amount_due_minor, currency),
        **dump_parts(invoice),
    }


def _dump_line(line: Line, currency: str) -> dict[str, Any]:
    """Members that explain a special case (free units, a bound, a part of a period) are there
    only in that case; of a line's and a tier's alike."""
    digits = exponent(currency)
    document: dict[str, Any] = {
        "id": line.id,
        "kind": line.kind.value,
        "description": line.description,
        "price": line.price,
        "meter": line.meter,
        "period": line.period.to_json(),
        "quantity": format_quantity(line.quantity_pico),
        "amount": format_minor(line.amount_minor, currency),
        "group": line.group,
        "tiers": [_dump_tier(tier, digits) for tier in line.tiers],
        "lineage": None if line.lineage is None else msgspec.to_builtins(line.lineage),
    }
    if line.metered_pico is not None:
        document["metered"] = format_quantity(line.metered_pico)
    if line.free_pico:
        document["free"] = format_quantity(line.free_pico)
    if line.multiplier != 1:
        document["multiplier"] = format_exact(line.multiplier)
    if line.adjustment:
        document["adjustment"] = format_exact(line.adjustment, digits)
    if line.proration is not None:
        document["proration"] = msgspec.to_builtins(line.proration)
    if line.metering_version is not None:
        document["metering_version"] = line.metering_version
    document.update(dump_priced(line, digits))
    document.update(_dump_beside(line, currency))
    return document


_ALONE: Final = (None, None, "", (), None)


def _dump_beside(line: Line, currency: str) -> dict[str, Any]:
    """Where a line belongs on an invoice that has more than one subscription's usage lines."""
    if (
        line.subscription,
        line.customer,
        line.tax_category,
        line.discounts,
        line.adjusts,
    ) == _ALONE:
        return {}
    beside: dict[str, Any] = {
        "subscription": line.subscription,
        "customer": line.customer,
        "tax_category": line.tax_category,
        "discounts": [
            {"id": one.id, "amount": format_minor(one.amount_minor, currency)}
            for one in line.discounts
        ],
        "adjusts": None if line.adjusts is None else dump_adjusts(line.adjusts, currency),
    }
    return {name: value for name, value in beside.items() if value}


def _dump_tier(tier: RatedTier, digits: int) -> dict[str, str]:
    document = {
        "quantity": format_quantity(tier.quantity_pico),
        "unit": format_exact(tier.unit, digits),
        "amount": format_exact(tier.amount, digits),
    }
    if tier.flat:
        document["flat"] = format_exact(tier.flat, digits)
    if tier.packages is not None:
        document["packages"] = str(tier.packages)
    return document


def _parse_line(content: dict[str, Any], currency: str) -> Line:
    lineage, proration = content["lineage"], content.get("proration")
    metered = content.get("metered")
    return Line(
        id=content["id"],
        kind=Kind(content["kind"]),
        description=content["description"],
        price=content["price"],
        meter=content["meter"],
        period=parse_period(content["period"]),
        quantity_pico=_parse_pico(content["quantity"]),
        amount_minor=parse_minor(content["amount"], currency),
        group=content["group"],
        metered_pico=None if metered is None else _parse_pico(metered),
        free_pico=_parse_pico(content.get("free", "0")),
        tiers=tuple(_parse_tier(tier) for tier in content["tiers"]),
        multiplier=Fraction(content.get("multiplier", 1)),
        adjustment=Fraction(content.get("adjustment", 0)),
        proration=None if proration is None else msgspec.convert(proration, Proration),
        lineage=None if lineage is None else msgspec.convert(lineage, Lineage),
        metering_version=content.get("metering_version"),
        subscription=content.get("subscription"),
        customer=content.get("customer"),
        tax_category=content.get("tax_category", ""),
        discounts=tuple(
            LineDiscount(one["id"], parse_minor(one["amount"], currency))
            for one in content.get("discounts", ())
        ),
        adjusts=None
        if content.get("adjusts") is None
        else parse_adjusts(content["adjusts"], currency),
        **parse_priced(content),
    )


def _parse_tier(content: dict[str, str]) -> RatedTier:
    return RatedTier(
        quantity_pico=_parse_pico(content["quantity"]),
        unit=Fraction(content["unit"]),
        flat=Fraction(content.get("flat", 0)),
        packages=int(content["packages"]) if "packages" in content else None,
    )


def _parse_pico(text: str) -> int:
    """Unlike a quantity that arrives, the sum of many has no limit of digits."""
    return int(Fraction(text) * E12)
