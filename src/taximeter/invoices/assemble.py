"""
Assembling: statements of single periods -> the lines of one invoice.

A period may have been billed in part before its end: a fee in advance, usage on account at a
threshold. Its own invoice then has everything as it turned out, less what was billed: so whatever
changed meanwhile comes out right, and nothing is billed twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from taximeter.invoices.adjustments import is_adjusting
from taximeter.invoices.invoice import Cover, Invoice, Kind, Line
from taximeter.periods import Period
from taximeter.quantities import E12

_IN_ADVANCE: Final = (Kind.FLAT, Kind.COMMITMENT)
"""What may be billed exactly so before its period ends."""


class Billed(msgspec.Struct, frozen=True):
    """A line that an earlier invoice has; `invoice` is that one's number, or its id as a draft."""

    invoice: str
    line: Line


def merged(
    statements: Sequence[Invoice], payer: str, parts: Sequence[str] | None = None
) -> Invoice:
    """
    One invoice for what several statements have, which are all in one currency.

    Args:
        statements: At least one; their order is that of the lines.
        payer: Who is billed. Lines say whose they are where that is another customer.
        parts: Of each statement: what of its period it bills.
    """
    first = statements[0]
    assert {one.currency for one in statements} == {first.currency}, "one invoice, one currency"
    parts = ["period"] * len(statements) if parts is None else parts
    covers = tuple(
        Cover(one.subscription, one.customer, one.period, one.subjects, one.metering_version, part)
        for one, part in zip(statements, parts, strict=True)
    )
    if len(statements) == 1 and first.customer == payer and covers[0].part == "period":
        return first
    lines = [
        replace(
            line,
            subscription=None if one.subscription == first.subscription else one.subscription,
            customer=None if one.customer == payer else one.customer,
        )
        for one in statements
        for line in one.lines
    ]
    own = [cover.period for cover in covers if not is_adjusting(cover.part)]
    spans = own or [cover.period for cover in covers]
    period = Period(min(span.start for span in spans), max(span.end for span in spans))
    return replace(
        first, customer=payer, period=period, lines=numbered(lines), covers=covers, subjects=()
    )


def numbered(lines: Sequence[Line]) -> tuple[Line, ...]:
    """The same with ids by their place: "line_1", "line_2", ..."""
    return tuple(replace(line, id=f"line_{n}") for n, line in enumerate(lines, start=1))


def less_billed(lines: Sequence[Line], billed: Sequence[Billed]) -> tuple[Line, ...]:
    """
    Lines of a period as it turned out, less what was billed of it before.

    A fee, or a commitment paid in advance, that was billed exactly so is left out; anything else
    stays, and what else an invoice had for a price is taken off.
    """
    known = Counter(_what(one.line) for one in billed)
    kept: list[Line] = []
    repeated: Counter[object] = Counter()
    for line in lines:
        what = _what(line)
        if line.kind in _IN_ADVANCE and repeated[what] < known[what]:
            repeated[what] += 1
        else:
            kept.append(line)
    left: dict[object, list[Billed]] = {}
    for one in billed:
        what = _what(one.line)
        if repeated[what]:
            repeated[what] -= 1
        else:
            left.setdefault((one.invoice, _where(one.line)), []).append(one)
    kept += [_taken_off(found) for found in left.values() if _sum(found)]
    return numbered(kept)


def _where(line: Line) -> object:
    group = tuple(sorted(line.group.items(), key=str))
    return (line.subscription, line.price, line.period, group, line.tax_category)


def _what(line: Line) -> object:
    """What a line charges for, and how much."""
    return (_where(line), line.kind, line.amount_minor)


def _sum(billed: Sequence[Billed]) -> int:
    return sum(one.line.amount_minor for one in billed)


def _taken_off(billed: Sequence[Billed]) -> Line:
    """What one invoice has for one price, less what it took off itself."""
    line = billed[0].line
    return Line(
        id="",
        kind=Kind.ON_ACCOUNT,
        description=f"{line.description}, billed on {billed[0].invoice}",
        price=line.price,
        meter=line.meter,
        period=line.period,
        quantity_pico=E12,
        amount_minor=-_sum(billed),
        group=line.group,
        subscription=line.subscription,
        customer=line.customer,
        tax_category=line.tax_category,
    )
