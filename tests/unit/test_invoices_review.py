"""Drafts that a person should look at."""

from __future__ import annotations

import pytest

from taximeter.invoices.invoice import Invoice, Kind, Line
from taximeter.invoices.review import unusual
from taximeter.periods import Period
from taximeter.quantities import E12


def draft(minor: int, currency: str = "USD") -> Invoice:
    line = Line(
        id="line_1",
        kind=Kind.FLAT,
        description="base",
        price="pro/base@1",
        period=Period(0, 1),
        quantity_pico=E12,
        amount_minor=minor,
    )
    return Invoice(
        id="i", customer="acme", subscription="s", currency=currency, period=Period(0, 1),
        lines=(line,),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("total", "earlier", "held"),
    [
        (10_000, [], False),  # a first invoice
        (30_000, [10_000], False),  # exactly three times is not more than that
        (30_001, [10_000], True),
        (10_000, [30_000], False),
        (9_999, [30_000], True),
        (1_900, [100, 100], True),
        (1_099, [100, 100], False),  # nobody cares for less than 10.00
        (10_000, [10_000, 90_000, 11_000, 9_000], False),  # one outlier is not what is usual
        (-1, [], True),
        (0, [5_000], True),
    ],
)
def test_a_total_far_from_the_usual_is_held(total: int, earlier: list[int], held: bool) -> None:
    assert bool(unusual(draft(total), earlier)) is held


def test_the_reason_names_both_amounts() -> None:
    (reason,) = unusual(draft(400_00), [100_00])
    assert reason == "The total 400.00 USD is more than three times the usual 100.00."


def test_yen_have_no_fraction() -> None:
    assert unusual(draft(9, "JPY"), [1]) == ()
    assert unusual(draft(100, "JPY"), [1]) != ()
