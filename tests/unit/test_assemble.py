"""Assembling invoices: several statements on one, and what was billed before (K10, K20)."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from taximeter.invoices.assemble import Billed, less_billed, merged
from taximeter.invoices.document import canonical_bytes, parse_invoice
from taximeter.invoices.invoice import Invoice, Kind, Line
from taximeter.periods import Period
from taximeter.quantities import E12

NOV, DEC = Period(0, 30), Period(30, 61)


def line(kind: Kind, price: str, minor: int, period: Period = NOV, **members: Any) -> Line:
    return Line(
        id="x",
        kind=kind,
        description=price,
        price=f"pro/{price}@1",
        period=period,
        quantity_pico=E12,
        amount_minor=minor,
        **members,
    )


BASE = line(Kind.FLAT, "base", 4900)
TOKENS = line(Kind.USAGE, "tokens", 1000, meter="tokens")


def statement(subscription: str, *lines: Line, customer: str = "acme", **members: Any) -> Invoice:
    return Invoice(
        id="inv_1",
        customer=customer,
        subscription=subscription,
        currency="USD",
        period=members.pop("period", NOV),
        lines=lines,
        subjects=(customer,),
        metering_version=2,
        **members,
    )


def test_a_statement_of_its_own_payer_is_the_invoice() -> None:
    alone = statement("sub_1", BASE)
    assert merged([alone], "acme") is alone


def test_lines_of_several_subscriptions_say_whose_they_are() -> None:
    both = merged([statement("sub_1", BASE, TOKENS), statement("sub_2", TOKENS)], "acme")
    assert [(one.id, one.subscription) for one in both.lines] == [
        ("line_1", None),
        ("line_2", None),
        ("line_3", "sub_2"),
    ]
    assert [(one.subscription, one.subjects) for one in both.covers] == [
        ("sub_1", ("acme",)),
        ("sub_2", ("acme",)),
    ]
    assert both.subtotal_minor == 6900
    assert parse_invoice(canonical_bytes(both)) == both


def test_a_parent_pays_for_a_child_whose_lines_name_it() -> None:
    paid = merged([statement("sub_1", TOKENS, customer="child")], "parent")
    assert (paid.customer, paid.lines[0].customer) == ("parent", "child")
    assert [cover.customer for cover in paid.covers] == ["child"]


def test_the_next_fee_stands_beside_the_usage_of_the_period_before() -> None:
    ahead = statement("sub_1", replace(BASE, period=DEC), period=DEC)
    bill = merged([statement("sub_1", TOKENS), ahead], "acme", ["period", "advance"])
    assert [(one.period, one.part) for one in bill.covers] == [(NOV, "period"), (DEC, "advance")]
    assert bill.period == Period(0, 61)


def test_a_fee_that_was_billed_in_advance_is_not_billed_again() -> None:
    left = less_billed([BASE, TOKENS], [Billed("INV-1", BASE)])
    assert [one.price for one in left] == ["pro/tokens@1"]


def test_a_fee_that_turned_out_smaller_is_billed_anew_less_what_was_billed() -> None:
    half = replace(BASE, amount_minor=2450, period=Period(0, 15))
    left = less_billed([half, TOKENS], [Billed("INV-1", BASE)])
    assert [(one.kind, one.amount_minor) for one in left] == [
        (Kind.FLAT, 2450),
        (Kind.USAGE, 1000),
        (Kind.ON_ACCOUNT, -4900),
    ]
    assert left[2].description == "base, billed on INV-1"
    assert [one.id for one in left] == ["line_1", "line_2", "line_3"]


def test_usage_billed_on_account_shows_in_full_and_is_taken_off() -> None:
    first = replace(TOKENS, amount_minor=600, period=Period(0, 12))
    left = less_billed([TOKENS], [Billed("INV-1", first)])
    assert [one.amount_minor for one in left] == [1000, -600]


def test_two_equal_fees_billed_once_leave_one() -> None:
    left = less_billed([BASE, BASE], [Billed("INV-1", BASE)])
    assert [one.amount_minor for one in left] == [4900]


KINDS = st.sampled_from([Kind.FLAT, Kind.USAGE])
LINES = st.lists(
    st.builds(line, KINDS, st.sampled_from(["base", "tokens"]), st.integers(-500, 500)), max_size=6
)


@given(LINES, LINES)
def test_what_was_billed_and_what_is_left_come_to_the_whole(
    lines: list[Line], before: list[Line]
) -> None:
    left = less_billed(lines, [Billed("INV-1", one) for one in before])
    total = sum(one.amount_minor for one in itertools.chain(left, before))
    assert total == sum(one.amount_minor for one in lines)
