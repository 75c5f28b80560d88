"""K15: late usage costs what it would have cost on time, in whatever parts it comes."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from taximeter.catalog.prices import Graduated, Tier
from taximeter.invoices.adjustments import Place, adjustment_lines, deltas, place_of
from taximeter.invoices.build import Terms, Usage, build_invoice
from taximeter.invoices.charges import Charge
from taximeter.invoices.discounts import Discount, apply_discounts
from taximeter.invoices.invoice import Invoice, Kind, Line
from taximeter.invoices.plan_lines import PlanTerms, plan_lines
from taximeter.periods import Period
from taximeter.quantities import E12
from taximeter.rating import Proration

PERIOD = Period(0, 31)
MODELS = ("opus", "haiku", None)
PRICE = Graduated(
    key="tokens",
    meter="tokens",
    group_by=("model",),
    tiers=(Tier(up_to_pico=10 * E12, unit=Fraction("0.105")), Tier(None, Fraction("0.0333"))),
)
CHARGE = Charge("pro/tokens@1", "pro", PRICE, PERIOD, 1)
TERMS = PlanTerms("pro", 1, PERIOD, Proration(31, 31), minimum=Fraction(1), maximum=Fraction(4))
OFF = Discount(id="loyal", percent=Fraction(1, 7))

Stage = dict[str | None, int]
STAGES = st.lists(
    st.dictionaries(st.sampled_from(MODELS), st.integers(0, 60), max_size=3), min_size=1, max_size=5
)


def invoice_of(stage: Stage, *, terms: bool, discount: bool) -> Invoice:
    """The period as if all of a stage had come on time; a group without usage has no line."""
    usage = [Usage(0, (model,), units * E12, 1, "sha256:x") for model, units in stage.items()]
    found = build_invoice(
        "inv_1", Terms("acme", "sub_1", "EUR"), [CHARGE], usage, period=PERIOD, position=1
    )
    lines: tuple[Line, ...] = found.lines
    if terms:
        lines = plan_lines([TERMS], lines, "EUR")
    if discount:
        lines, _ = apply_discounts(lines, [OFF], "EUR")
    return Invoice(
        id="inv_1", customer="acme", subscription="sub_1", currency="EUR", period=PERIOD,
        lines=lines, number="INV-000001",
    )  # fmt: skip


def sums(lines: list[Line]) -> dict[Place, int]:
    found: dict[Place, int] = {}
    for line in lines:
        found[place_of(line)] = found.get(place_of(line), 0) + line.net_minor
    return {place: minor for place, minor in found.items() if minor}


@settings(max_examples=100)
@given(STAGES, st.booleans(), st.booleans())
def test_late_is_on_time(stages: list[Stage], terms: bool, discount: bool) -> None:
    """bill(E1) + adjustments(E2) + ... = bill(E1 u E2 u ...), by place and in total."""
    original = invoice_of(stages[0], terms=terms, discount=discount)
    billed = list(original.lines)
    for stage in stages[1:]:
        now = invoice_of(stage, terms=terms, discount=discount)
        lines = adjustment_lines(deltas(now.lines, billed), original, 2)
        assert all(line.kind is Kind.ADJUSTMENT and line.amount_minor for line in lines)
        billed += lines
        assert sums(billed) == sums(list(now.lines))
        assert deltas(now.lines, billed) == (), "zero delta is no line"


@settings(max_examples=50)
@given(STAGES, st.integers(0, 500))
def test_what_was_settled_otherwise_is_not_billed(stages: list[Stage], settled: int) -> None:
    original = invoice_of(stages[0], terms=False, discount=False)
    now = invoice_of(stages[-1], terms=False, discount=False)
    known = {place_of(line): settled for line in now.lines}
    found = deltas(now.lines, original.lines, known)
    for one in found:
        assert one.billed_minor + one.minor == one.rerated_minor
        others = [line for line in original.lines if place_of(line) == one.place]
        expected = sum(line.net_minor for line in others) + known.get(one.place, 0)
        assert one.billed_minor == expected
