"""
What a plan says of all its lines together: a commitment, a minimum, a maximum (K10).

    lines of prices -> commitment -> minimum true-up or cap        (then discounts, tax, credits)

All of it is reckoned with rounded lines, so that what a customer adds up is what is compared. An
amount for a period is prorated by days like a fee (K4); one for a term is not. A line belongs to
the plan it cites in the part of the period it begins in; add-ons belong to their plan.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from fractions import Fraction
from typing import Final

import msgspec

from taximeter.catalog.plan_terms import Commitment, CommitmentMode, Per
from taximeter.invoices.invoice import Kind, Line
from taximeter.money import format_minor, round_minor
from taximeter.periods import Period
from taximeter.quantities import E12
from taximeter.rating import Proration

_OF_PRICES: Final = frozenset({Kind.FLAT, Kind.USAGE, Kind.SEAT})
_DRAWS: Final = frozenset({Kind.USAGE, Kind.SEAT})


class TermPlace(StrEnum):
    """Where a period stands in the term of a commitment."""

    FIRST = "first"
    INSIDE = "inside"
    LAST = "last"
    ONLY = "only"


class PlanTerms(msgspec.Struct, frozen=True):
    """
    What holds for a plan's lines in a part of a period.

    Attributes:
        name: Of the plan, as its lines cite it; `version` the catalogue version it is of.
        days: That are charged, of those of the whole period.
        minimum, maximum: For a whole period, in the invoice's currency; exact, as is the amount of
            the commitment.
        tax_category: Of the lines that are added.
        place: Only for a commitment per term, as is
        drawn_before_minor: what invoices for earlier periods of the term have drawn.
    """

    name: str
    version: int
    period: Period
    days: Proration
    minimum: Fraction | None = None
    maximum: Fraction | None = None
    commitment: Commitment | None = None
    tax_category: str = ""
    place: TermPlace = TermPlace.ONLY
    drawn_before_minor: int = 0

    @property
    def has_term(self) -> bool:
        """Whether earlier periods matter."""
        return self.commitment is not None and self.commitment.per is Per.TERM

    def counts(self, line: Line) -> bool:
        """Whether a line is one of the plan's in this part of the period."""
        plan = line.price.partition("/")[0].partition("+")[0]
        return (
            line.kind in _OF_PRICES
            and plan == self.name
            and self.period.start <= line.period.start < self.period.end
        )


def drawn_minor(commitment: Commitment, plan: str, lines: Sequence[Line]) -> int:
    """What lines of a plan draw from its commitment, or count towards it."""
    return sum(line.amount_minor for line in lines if _draws(commitment, plan, line))


def _draws(commitment: Commitment, plan: str, line: Line) -> bool:
    name, _, key = line.price.rpartition("@")[0].partition("/")
    mine = line.kind in _DRAWS and name.partition("+")[0] == plan
    return mine and (not commitment.prices or key in commitment.prices)


def plan_lines(
    terms: Sequence[PlanTerms], lines: Sequence[Line], currency: str
) -> tuple[Line, ...]:
    """
    The lines of a period, and behind them what its plans add or take off.

    Args:
        terms: Of each plan the period is billed by.
        lines: Of the period's prices, whole: fees billed ahead among them.
    """
    added: list[Line] = []
    for one in terms:
        mine = [line for line in lines if one.counts(line)]
        more = [*_prepaid_lines(one, currency), *_commitment_lines(one, mine, currency)]
        more += _bound_lines(one, [*mine, *more], currency)
        added += more
    return _behind(lines, added)


def prepaid_lines(
    terms: Sequence[PlanTerms], lines: Sequence[Line], currency: str
) -> tuple[Line, ...]:
    """Lines for fees in advance, and behind them what of commitments is paid in advance."""
    return _behind(lines, [line for one in terms for line in _prepaid_lines(one, currency)])


def is_prepaid(terms: Sequence[PlanTerms]) -> bool:
    """Whether a commitment is paid in this period, which can be when that begins."""
    return any(_pays_now(one) for one in terms)


def _behind(lines: Sequence[Line], added: Sequence[Line]) -> tuple[Line, ...]:
    numbered = (
        msgspec.structs.replace(line, id=f"line_{len(lines) + n}")
        for n, line in enumerate(added, start=1)
    )
    return (*lines, *numbered)


def _pays_now(terms: PlanTerms) -> bool:
    commitment = terms.commitment
    if commitment is None or commitment.mode is not CommitmentMode.PREPAID:
        return False
    return commitment.per is Per.PERIOD or terms.place in (TermPlace.FIRST, TermPlace.ONLY)


def _prepaid_lines(terms: PlanTerms, currency: str) -> Iterator[Line]:
    if terms.commitment is not None and _pays_now(terms):
        prorated = not terms.has_term
        whole = _minor(terms, terms.commitment.amount, currency, prorated=prorated)
        yield _line(terms, Kind.COMMITMENT, "commitment, prepaid", whole, prorated=prorated)


def _commitment_lines(terms: PlanTerms, lines: Sequence[Line], currency: str) -> Iterator[Line]:
    commitment = terms.commitment
    if commitment is None:
        return
    drawn = drawn_minor(commitment, terms.name, lines)
    per_term = commitment.per is Per.TERM
    whole = _minor(terms, commitment.amount, currency, prorated=not per_term)
    before = terms.drawn_before_minor if per_term else 0
    left = max(0, whole - before)
    of = f"of {format_minor(whole, currency)} {currency}"
    is_last = not per_term or terms.place in (TermPlace.LAST, TermPlace.ONLY)
    if commitment.mode is CommitmentMode.PREPAID:
        if min(drawn, left) > 0:
            text = f"drawn from the commitment {of}"
            yield _line(terms, Kind.COMMITMENT, text, -min(drawn, left))
    elif is_last and left > drawn:
        text = f"short of the commitment {of}"
        yield _line(terms, Kind.COMMITMENT, text, left - drawn, prorated=not per_term)


def _bound_lines(terms: PlanTerms, lines: Sequence[Line], currency: str) -> Iterator[Line]:
    total = sum(line.amount_minor for line in lines)
    if terms.minimum is not None:
        minimum = _minor(terms, terms.minimum, currency)
        if total < minimum:
            text = f"minimum of {format_minor(minimum, currency)} {currency}"
            yield _line(terms, Kind.MINIMUM, text, minimum - total, prorated=True)
            return
    if terms.maximum is not None:
        maximum = _minor(terms, terms.maximum, currency)
        if total > maximum:
            text = f"maximum of {format_minor(maximum, currency)} {currency}"
            yield _line(terms, Kind.MAXIMUM, text, maximum - total, prorated=True)


def _minor(terms: PlanTerms, amount: Fraction, currency: str, *, prorated: bool = True) -> int:
    share = terms.days.share if prorated else Fraction(1)
    return round_minor(amount * share, currency)


def _line(
    terms: PlanTerms, kind: Kind, text: str, amount_minor: int, *, prorated: bool = False
) -> Line:
    partial = prorated and terms.days.partial
    days = f" ({terms.days.days} of {terms.days.of} days)" if partial else ""
    return Line(
        id="",
        kind=kind,
        description=f"{text}{days}",
        price=f"{terms.name}/{kind.value}@{terms.version}",
        period=terms.period,
        quantity_pico=E12,
        amount_minor=amount_minor,
        proration=terms.days if partial else None,
        tax_category=terms.tax_category,
    )
