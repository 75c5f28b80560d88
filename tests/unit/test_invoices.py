"""Invoices: lines, totals, order, JSON, digest, states (K4, K5, K10, K12, K15)."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from hashlib import sha256
from typing import Any

import pytest
from msgspec.structs import replace

from taximeter.catalog.prices import Price, parse_price
from taximeter.errors import Refused
from taximeter.instants import parse_instant
from taximeter.invoices import (
    Invoice,
    Kind,
    Priced,
    Status,
    Stretch,
    Terms,
    Usage,
    build_invoice,
    canonical_bytes,
    charges_of,
    digest,
    digest_of,
    dump_invoice,
    issue,
    parse_invoice,
    pay,
    void,
)
from taximeter.invoices.applied import AppliedCredit, AppliedDiscount, AppliedTax, LineDiscount
from taximeter.invoices.invoice import Adjusts, Cover
from taximeter.invoices.states import TRANSITIONS
from taximeter.parties import Party
from taximeter.periods import Anchor, Cadence, Period, Schedule
from taximeter.quantities import E12

TERMS = Terms("acme", "sub_1", "USD")
BERLIN = "Europe/Berlin"
MONTHS = Schedule(
    parse_instant("2026-11-12T10:00:00Z"), Cadence.MONTH, Anchor.CALENDAR, "Europe/Berlin"
)
BASE = {"type": "flat", "amount": 49}
TOKENS = {
    "type": "graduated",
    "meter": "input_tokens",
    "tiers": [{"up_to": 1000, "unit": "0.10"}, {"unit": "0.08", "flat": 2}],
}
EMPTY_TREE = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def prices(**documents: dict[str, Any]) -> tuple[Price, ...]:
    return tuple(parse_price(key, document) for key, document in documents.items())


def used(
    price: str, quantity: str | int, *group: str | None, events: int = 1, mark: str = "sha256:e"
) -> tuple[str, Usage]:
    return price, Usage(0, group, int(Decimal(quantity) * E12), events, mark)


def build(
    plan: Sequence[Price],
    *usage: tuple[str, Usage],
    n: int = 1,
    terms: Terms = TERMS,
    period: Period | None = None,
) -> Invoice:
    """The invoice of one plan that did not change in the period."""
    period = period or MONTHS.nth(n)
    pro = Priced("pro", 3, 0, {price.key: price for price in plan})
    charges = charges_of([Stretch(period, (pro,))], MONTHS.whole(n), BERLIN)
    places = {charge.price.key: place for place, charge in enumerate(charges)}
    counted = [replace(one, charge=places[price]) for price, one in usage]
    return build_invoice("inv_1", terms, charges, counted, period=period, position=91822)


def amounts(invoice: Invoice) -> list[str]:
    return [line["amount"] for line in dump_invoice(invoice)["lines"]]


# --- Lines and totals -------------------------------------------------------------------------


def test_the_json_is_the_one_of_the_interface() -> None:
    invoice = build(
        prices(base=BASE, tokens=TOKENS),
        used("tokens", 2500, events=812, mark="sha256:abc"),
    )
    period = {"start": "2026-11-30T23:00:00Z", "end": "2026-12-31T23:00:00Z"}
    document = dump_invoice(invoice)
    assert document.pop("digest") == digest(invoice)
    assert document == {
        "id": "inv_1",
        "number": None,
        "customer": "acme",
        "subscription": "sub_1",
        "subjects": [],
        "metering_version": 0,
        "status": "draft",
        "currency": "USD",
        "period": period,
        "issued_at": None,
        "lines": [
            {
                "id": "line_1",
                "kind": "flat",
                "description": "base",
                "price": "pro/base@3",
                "meter": None,
                "period": period,
                "quantity": "1",
                "amount": "49.00",
                "group": {},
                "tiers": [],
                "lineage": None,
            },
            {
                "id": "line_2",
                "kind": "usage",
                "description": "tokens",
                "price": "pro/tokens@3",
                "meter": "input_tokens",
                "period": period,
                "quantity": "2500",
                "amount": "222.00",
                "group": {},
                "tiers": [
                    {"quantity": "1000", "unit": "0.10", "amount": "100.00"},
                    {"quantity": "1500", "unit": "0.08", "amount": "122.00", "flat": "2.00"},
                ],
                "lineage": {"events": 812, "position": "0:91822", "digest": "sha256:abc"},
            },
        ],
        "subtotal": "271.00",
        "discount": "0.00",
        "tax": "0.00",
        "credits_applied": "0.00",
        "total": "271.00",
        "amount_due": "271.00",
    }


def test_a_first_period_charges_the_share_of_its_local_days() -> None:
    """12 November 11:00 in Berlin: 19 of 30 days of 49.00 are 31.0333..."""
    line = dump_invoice(build(prices(base=BASE), n=0))["lines"][0]
    assert line["amount"] == "31.03"
    assert line["proration"] == {"days": 19, "of": 30}
    assert line["description"] == "base (19 of 30 days)"


def test_a_last_period_cut_short_charges_the_share_of_its_local_days() -> None:
    december = MONTHS.nth(1)
    cut = Period(december.start, parse_instant("2026-12-11T12:00:00Z"))
    line = dump_invoice(build(prices(base=BASE), period=cut))["lines"][0]
    assert line["proration"] == {"days": 10, "of": 31}
    assert line["amount"] == "15.81"


@pytest.mark.parametrize("timing", ["advance", "arrears"])
def test_a_flat_fee_is_billed_for_the_invoice_s_own_period(timing: str) -> None:
    invoice = build(prices(base=BASE | {"timing": timing}))
    assert (invoice.lines[0].period, invoice.lines[0].amount_minor) == (invoice.period, 4900)


def test_each_line_is_rounded_once_and_totals_are_sums_of_rounded_lines() -> None:
    """Three times 0.005 is 0.03 as lines, though 0.015 would round to 0.02."""
    half = {"type": "per_unit", "meter": "m", "unit": "0.005"}
    invoice = build(prices(a=half, b=half, c=half), used("a", 1), used("b", 1), used("c", 1))
    assert amounts(invoice) == ["0.01", "0.01", "0.01"]
    assert dump_invoice(invoice)["subtotal"] == "0.03"


def test_steps_stay_exact_where_the_line_is_rounded() -> None:
    tiers = [{"up_to": 1, "unit": "0.004"}, {"unit": "0.0011"}]
    plan = prices(t={"type": "graduated", "meter": "m", "tiers": tiers})
    line = dump_invoice(build(plan, used("t", 2)))["lines"][0]
    assert [tier["amount"] for tier in line["tiers"]] == ["0.004", "0.0011"]
    assert line["amount"] == "0.01"


def test_amounts_have_the_digits_of_the_currency() -> None:
    plan = prices(base={"type": "flat", "amount": "49.5"}, tokens=TOKENS)
    yen = build(plan, used("tokens", 5), terms=replace(TERMS, currency="JPY"))
    dinar = build(plan, used("tokens", 5), terms=replace(TERMS, currency="KWD"))
    assert amounts(yen) == ["50", "1"]
    assert amounts(dinar) == ["49.500", "0.500"]
    assert dump_invoice(dinar)["lines"][1]["tiers"][0]["unit"] == "0.100"


def test_a_price_without_usage_keeps_a_line_of_nothing() -> None:
    line = dump_invoice(build(prices(tokens=TOKENS)))["lines"][0]
    assert (line["quantity"], line["amount"], line["tiers"]) == ("0", "0.00", [])
    assert line["lineage"] == {"events": 0, "position": "0:91822", "digest": EMPTY_TREE}


def test_a_negative_aggregate_is_a_line_of_nothing_that_keeps_its_events() -> None:
    line = build(prices(tokens=TOKENS), used("tokens", -5, events=3)).lines[0]
    assert (line.quantity_pico, line.amount_minor) == (0, 0)
    assert line.lineage is not None
    assert line.lineage.events == 3


def test_a_grouped_price_has_a_line_for_each_group_used_and_none_otherwise() -> None:
    plan = prices(tokens=TOKENS | {"group_by": ["model"]})
    assert build(plan).lines == ()
    invoice = build(plan, used("tokens", 10, "opus"), used("tokens", 1000, "haiku"))
    assert [line.group for line in invoice.lines] == [{"model": "haiku"}, {"model": "opus"}]
    assert [line.description for line in invoice.lines] == [
        "tokens (model: haiku)",
        "tokens (model: opus)",
    ]
    assert amounts(invoice) == ["100.00", "1.00"], "tiers count for each group"


def test_lines_follow_the_plan_then_the_group_with_missing_values_first() -> None:
    plan = prices(b=TOKENS | {"group_by": ["model", "region"]}, base=BASE, a=TOKENS)
    groups = [(None, None), (None, "eu"), ("", "eu"), ("a", None), ("a", "eu"), ("é", "eu")]
    usage = [used("b", 1, *group) for group in groups] + [used("a", 1)]
    for seed in range(10):
        random.Random(seed).shuffle(usage)
        invoice = build(plan, *usage)
        assert [tuple(line.group.values()) for line in invoice.lines[:6]] == groups
        assert [line.price for line in invoice.lines[6:]] == ["pro/base@3", "pro/a@3"]
        assert [line.id for line in invoice.lines] == [f"line_{n}" for n in range(1, 9)]


def test_the_order_in_which_usage_arrives_does_not_change_a_byte() -> None:
    plan = prices(tokens=TOKENS | {"group_by": ["model"]}, base=BASE, images=TOKENS)
    usage = [used("tokens", 5, "b"), used("tokens", 7, "a"), used("images", 9)]
    bytes_seen = {canonical_bytes(build(plan, *order)) for order in itertools.permutations(usage)}
    assert len(bytes_seen) == 1


def test_free_units_and_bounds_are_shown_where_they_apply() -> None:
    unit = {"type": "per_unit", "meter": "m", "unit": "0.005"}
    plan = prices(plain=unit, bound=unit | {"free": 2, "minimum": 5})
    plain, bound = dump_invoice(build(plan, used("plain", 5), used("bound", 5)))["lines"]
    assert not {"free", "adjustment", "proration"} & plain.keys()
    assert (bound["free"], bound["adjustment"], bound["amount"]) == ("2", "4.985", "5.00")


def test_a_running_fare_has_no_digest_of_its_events() -> None:
    running = build(prices(tokens=TOKENS), ("tokens", Usage(0, (), 5 * E12, 2, None)))
    lineage = {"events": 2, "position": "0:91822", "digest": None}
    assert dump_invoice(running)["lines"][0]["lineage"] == lineage
    assert parse_invoice(canonical_bytes(running)) == running


def test_an_invoice_names_the_subjects_it_bills() -> None:
    terms = replace(TERMS, subjects=("acme", "user-7"))
    invoice = build(prices(base=BASE), terms=terms)
    assert dump_invoice(invoice)["subjects"] == ["acme", "user-7"]
    assert parse_invoice(canonical_bytes(invoice)) == invoice


def test_an_empty_plan_gives_an_empty_invoice() -> None:
    document = dump_invoice(build(()))
    assert (document["lines"], document["amount_due"]) == ([], "0.00")


def test_totals_follow_the_order_of_the_conventions() -> None:
    vat = AppliedTax("VAT", "DE", "", Fraction(19, 100), 4000, 760)
    invoice = replace(
        build(prices(base=BASE)),
        discounts=(AppliedDiscount("welcome", "Welcome", 900),),
        taxes=(vat,),
        credits=(AppliedCredit("g1", "usd", 2000),),
    )
    document = dump_invoice(invoice)
    assert (document["subtotal"], document["total"], document["amount_due"]) == (
        "49.00",
        "47.60",
        "27.60",
    )


def test_a_tax_that_is_in_the_prices_is_shown_and_not_added() -> None:
    vat = AppliedTax("VAT", "DE", "", Fraction(19, 100), 4118, 782, inclusive=True)
    document = dump_invoice(replace(build(prices(base=BASE)), taxes=(vat,)))
    assert (document["subtotal"], document["tax"], document["total"]) == ("49.00", "7.82", "49.00")


@pytest.mark.parametrize(
    "usage",
    [
        [used("tokens", 1), used("tokens", 2)],
        [used("tokens", 1, "unexpected group")],
    ],
)
def test_usage_that_does_not_fit_the_plan_is_a_defect_and_not_billed(usage: list[Usage]) -> None:
    with pytest.raises(AssertionError):
        build(prices(tokens=TOKENS), *usage)


# --- Document ---------------------------------------------------------------------------------


def samples() -> list[Invoice]:
    bound = TOKENS | {"group_by": ["model"], "free": "0.5", "minimum": "3.3333"}
    plan = prices(base=BASE, tokens=TOKENS, models=bound)
    usage = [used("tokens", 2500), used("models", "7.25", None), used("models", 3, 'ö "\\')]
    draft = build(plan, *usage, n=0)
    final = issue(draft, "2026-000001", parse_instant("2026-12-02T00:00:00.5Z"))
    huge = build(prices(tokens=TOKENS), used("tokens", 10**30))
    return [draft, final, pay(final), void(final), build(()), huge, everything(final)]


def everything(invoice: Invoice) -> Invoice:
    """With each member that most invoices do not need."""
    first, *others = invoice.lines
    old = Period(0, MONTHS.nth(0).start)
    line = replace(
        first,
        subscription="sub_2",
        customer="child",
        tax_category="reduced",
        discounts=(LineDiscount("welcome", 100),),
        adjusts=Adjusts("inv_1", "INV-000001", old, 1000, 900),
    )
    return replace(
        invoice,
        lines=(line, *others),
        discounts=(AppliedDiscount("welcome", "Welcome", 100),),
        taxes=(
            AppliedTax("VAT", "DE", "reduced", Fraction(7, 100), 4800, 336),
            AppliedTax("VAT", "AT", "", Fraction(0), 100, 0, note="reverse_charge"),
        ),
        credits=(AppliedCredit("g1", "usd", 20),),
        covers=(Cover("sub_2", "child", old, ("child",), 3),),
        issuer=Party("Seller", ("Street 1",), "Berlin", "10115", "", "DE", "DE123456789"),
        billed_to=Party("Buyer"),
        due_at=MONTHS.nth(0).end,
    )


@pytest.mark.parametrize("invoice", samples())
def test_an_invoice_reads_back_from_its_bytes(invoice: Invoice) -> None:
    stored = canonical_bytes(invoice)
    assert parse_invoice(stored) == invoice
    assert canonical_bytes(parse_invoice(stored)) == stored


@pytest.mark.parametrize("invoice", samples())
def test_anyone_can_recompute_the_digest_with_any_json_library(invoice: Invoice) -> None:
    document = json.loads(canonical_bytes(invoice))
    claimed = document.pop("digest")
    del document["status"]
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert claimed == f"sha256:{sha256(canonical.encode()).hexdigest()}" == digest(invoice)


def test_a_changed_document_no_longer_matches_its_digest() -> None:
    document = json.loads(canonical_bytes(samples()[0]))
    assert digest_of(document) == document["digest"]
    document["lines"][0]["amount"] = "0.01"
    assert digest_of(document) != document["digest"]


def test_a_later_status_does_not_change_the_digest() -> None:
    document = json.loads(canonical_bytes(samples()[0]))
    document["status"] = "void"
    assert digest_of(document) == document["digest"]


# --- States -----------------------------------------------------------------------------------

MOVES: dict[str, tuple[Status, Callable[[Invoice], Invoice], str]] = {
    "issue": (Status.ISSUED, lambda invoice: issue(invoice, "7", 0), "invoice_not_draft"),
    "pay": (Status.PAID, pay, "invoice_not_issued"),
    "void": (Status.VOID, void, "invoice_final"),
}


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("status", Status)
def test_an_invoice_moves_only_as_its_life_allows(status: Status, move: str) -> None:
    target, act, code = MOVES[move]
    invoice = replace(build(prices(base=BASE)), status=status)
    if status is Status.IN_REVIEW and move == "issue":
        code = "invoice_in_review"
    reopens = move == "issue" and status is not Status.DRAFT  # what a payment taken back does
    if target in TRANSITIONS[status] and not reopens:
        assert act(invoice).status is target
        return
    with pytest.raises(Refused) as caught:
        act(invoice)
    assert caught.value.code == code


def test_the_life_of_an_invoice_is_short() -> None:
    assert {a.value: {b.value for b in targets} for a, targets in TRANSITIONS.items()} == {
        "draft": {"in_review", "issued", "void"},
        "in_review": {"draft", "void"},
        "issued": {"paid", "uncollectible", "void"},
        "paid": {"issued"},
        "uncollectible": {"paid", "issued"},
        "void": set(),
    }


def test_what_is_in_review_is_approved_before_it_is_issued() -> None:
    held = replace(build(prices(base=BASE)), status=Status.IN_REVIEW)
    with pytest.raises(Refused) as caught:
        issue(held, "7", 0)
    assert caught.value.code == "invoice_in_review"


def test_issuing_gives_a_number_and_changes_no_line() -> None:
    draft = build(prices(base=BASE, tokens=TOKENS), used("tokens", 5))
    issued = issue(draft, "2026-000001", 5)
    assert (issued.status, issued.number, issued.issued_at) == (Status.ISSUED, "2026-000001", 5)
    assert issued.lines == draft.lines
    assert draft.status is Status.DRAFT
    assert issued.lines[0].kind is Kind.FLAT


def test_a_line_is_called_as_its_price_is_named() -> None:
    fee = BASE | {"name": "Platform fee"}
    tokens = TOKENS | {"name": "Input tokens", "group_by": ["model"]}
    invoice = build(prices(base=fee, tokens=tokens), used("tokens", 1, "opus"))
    assert [line.description for line in invoice.lines] == [
        "Platform fee",
        "Input tokens (model: opus)",
    ]
