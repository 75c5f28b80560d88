"""
Papers to show: an invoice of two subscriptions, made different by what a test is about.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from taximeter.documents.paper import Corrected, Paper, PaperKind
from taximeter.instants import parse_instant
from taximeter.invoices.applied import AppliedCredit, AppliedDiscount, AppliedTax, LineDiscount
from taximeter.invoices.invoice import Invoice, Kind, Line, Lineage, Status
from taximeter.money import round_minor
from taximeter.parties import Party
from taximeter.periods import Period
from taximeter.quantities import E12
from taximeter.rating import RatedTier

# November in Berlin.
PERIOD = Period(parse_instant("2026-10-31T23:00:00Z"), parse_instant("2026-11-30T23:00:00Z"))
ISSUED_AT = parse_instant("2026-12-01T08:00:00Z")
DUE_AT = parse_instant("2026-12-15T08:00:00Z")
DIGEST = "sha256:" + "9f3c" * 16
ISSUER = Party(
    name="Lumen Models GmbH",
    address=("Torstraße 1",),
    city="Berlin",
    postal_code="10119",
    country="DE",
    tax_id="DE123456789",
    email="billing@lumen.example",
)
BUYER = Party(
    name="Acme Robotics S.A.",
    address=("12 rue de la Paix", "Bâtiment C", "2e étage", "Porte 7"),
    city="Paris",
    postal_code="75002",
    country="FR",
    tax_id="FR12345678901",
    email="ap@acme.example",
)


def fee(amount_minor: int, **members: Any) -> Line:
    members = {"id": "line_1", "description": "base", "price": "pro/base@3"} | members
    return Line(
        kind=members.pop("kind", Kind.FLAT),
        period=members.pop("period", PERIOD),
        quantity_pico=members.pop("quantity_pico", E12),
        amount_minor=amount_minor,
        **members,
    )


def usage(amount_minor: int, quantity: int, *tiers: RatedTier, **members: Any) -> Line:
    return fee(
        amount_minor,
        **{"id": "line_2", "description": "tokens (model: opus)", "price": "pro/tokens@3"}
        | {"kind": Kind.USAGE, "quantity_pico": quantity * E12, "meter": "tokens", "tiers": tiers}
        | {"lineage": Lineage(812, "0:91822", "sha256:" + "ab12" * 16)}
        | members,
    )


TIERED = usage(
    15700, 2500, RatedTier(1000 * E12, Fraction("0.1")), RatedTier(1500 * E12, Fraction("0.038"))
)
PLAIN = usage(
    4938187, 1234567, RatedTier(1234547 * E12, Fraction("0.04")),
    id="line_3", description="images", price="pro/images@3", meter="images", free_pico=20 * E12,
    subscription="sub_2", customer="acme-labs",
)  # fmt: skip
LINES = (fee(4900), TIERED, PLAIN)


def tax(
    lines: Sequence[Line],
    rate: str = "0.19",
    *,
    category: str = "",
    inclusive: bool = False,
    note: str | None = None,
    currency: str = "EUR",
) -> AppliedTax:
    """On the discounted lines of a category, rounded once (K6)."""
    base = sum(line.net_minor for line in lines if line.tax_category == category)
    exact = Fraction(rate)
    digits = {"JPY": 0, "KWD": 3}.get(currency, 2)
    amount = exact * base / (1 + exact) if inclusive else exact * base
    minor = round_minor(amount / 10**digits, currency)
    taxable = base - minor if inclusive else base
    return AppliedTax("VAT", "DE", category, exact, taxable, minor, inclusive, note)


def discounted(line: Line, *parts: tuple[str, int]) -> Line:
    import msgspec

    return msgspec.structs.replace(line, discounts=tuple(LineDiscount(*part) for part in parts))


def invoice(lines: Sequence[Line] = LINES, **members: Any) -> Invoice:
    """An issued one, taxed at 19 % unless `taxes` says otherwise."""
    given: dict[str, int] = {}
    for line in lines:
        for one in line.discounts:
            given[one.id] = given.get(one.id, 0) + one.amount_minor
    made: dict[str, Any] = {
        "id": "inv_01abc",
        "customer": "acme",
        "subscription": "sub_1",
        "currency": "EUR",
        "period": PERIOD,
        "lines": tuple(lines),
        "status": Status.ISSUED,
        "number": "INV-000042",
        "issued_at": ISSUED_AT,
        "due_at": DUE_AT,
        "taxes": (tax(lines),),
        "discounts": tuple(AppliedDiscount(id, f"{id} deal", n) for id, n in given.items()),
        "issuer": ISSUER,
        "billed_to": BUYER,
    }
    return Invoice(**made | members)


def draft(lines: Sequence[Line] = LINES, **members: Any) -> Invoice:
    unknown = {"number": None, "issued_at": None, "due_at": None, "issuer": None}
    return invoice(
        lines, **unknown | {"billed_to": None, "taxes": (), "status": Status.DRAFT} | members
    )


def paper(of: Invoice | None = None, **members: Any) -> Paper:
    of = of or invoice()
    names = {"acme": "Acme Robotics", "acme-labs": "Acme Labs"}
    made = {"status": of.status, "timezone": "Europe/Berlin", "digest": DIGEST, "names": names}
    return Paper(invoice=of, **made | members)


def credit_note(of: Invoice | None = None) -> Paper:
    lines = (fee(1000, description="base, given back"),)
    of = of or invoice(lines, id="cn_1", number="CN-000001", due_at=None)
    return paper(
        of,
        kind=PaperKind.CREDIT_NOTE,
        corrects=Corrected("INV-000042", ISSUED_AT),
        reason="Outage of 3 November",
    )


def credit(minor: int, grant: str = "welcome") -> AppliedCredit:
    return AppliedCredit(grant, "eur", minor)
