"""
Adjustments: what a period that was billed comes to by now, less everything billed for it (K15).

Both sides are sums by price, part of the period, group and hours, behind the discounts the period
had. So a late event costs what it would have cost on time, with minimum, cap and commitment of its
own period, and several corrections over months add up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Final

import msgspec
from msgspec.structs import replace

from taximeter.invoices.invoice import Adjusts, Invoice, Kind, Line, Lineage
from taximeter.invoices.lineage import merkle_digest
from taximeter.periods import Period

_PREFIX: Final = "adjustment:"
_NO_EVENTS: Final = merkle_digest(())


def adjusting(position: int | str) -> str:
    """The part of an old period that is its correction as of a position of the log."""
    return f"{_PREFIX}{position}"


def is_adjusting(part: str) -> bool:
    """Whether a part of a period corrects what was billed of it."""
    return part.startswith(_PREFIX)


def position_of(part: str) -> int:
    """The position that an adjusting part reflects."""
    return int(part.removeprefix(_PREFIX))


class Place(msgspec.Struct, frozen=True, order=True):
    """What is charged for: lines of one place are one amount, however often they were billed."""

    price: str
    start: int
    end: int
    hours: str
    group: tuple[tuple[str, str], ...]

    @property
    def period(self) -> Period:
        return Period(self.start, self.end)


def place_of(line: Line) -> Place:
    group = tuple(sorted((k, msgspec.json.encode(v).decode()) for k, v in line.group.items()))
    return Place(line.price, line.period.start, line.period.end, line.hours, group)


class Delta(msgspec.Struct, frozen=True):
    """
    One place whose amount is another by now; minor units.

    Attributes:
        line: As the period's own invoice would have it today, or did have it before its usage was
            taken back.
    """

    place: Place
    line: Line
    billed_minor: int
    rerated_minor: int

    @property
    def minor(self) -> int:
        """What is still to be billed; negative: to be given back."""
        return self.rerated_minor - self.billed_minor


def deltas(
    rerated: Sequence[Line],
    billed: Iterable[Line],
    settled: Mapping[Place, int] | None = None,
) -> tuple[Delta, ...]:
    """
    Where a period comes to something else than was billed; zero delta is no delta.

    Args:
        rerated: Its lines with everything that is known by now.
        billed: Lines of all invoices that are not void: of the period, and adjustments to it.
        settled: What was settled otherwise, net: written off, or given back by credit notes.

    Returns:
        In the order of the lines, then what nothing is left of.
    """
    shown: dict[Place, Line] = {}
    now: dict[Place, int] = {}
    for line in rerated:
        place = place_of(line)
        _keep(shown, place, line)
        now[place] = now.get(place, 0) + line.net_minor
    before = dict(settled or {})
    gone: dict[Place, Line] = {}
    for line in billed:
        place = place_of(line)
        _keep(gone, place, line)
        before[place] = before.get(place, 0) + line.net_minor
    places = [*now, *(place for place in gone if place not in now)]
    found = (
        Delta(
            place,
            shown[place] if place in shown else _emptied(gone[place]),
            before.get(place, 0),
            now.get(place, 0),
        )
        for place in places
    )
    return tuple(one for one in found if one.minor)


def _keep(lines: dict[Place, Line], place: Place, line: Line) -> None:
    """Of several lines of a place, the one that has events says the most."""
    if place not in lines or (lines[place].lineage is None and line.lineage is not None):
        lines[place] = line


def _emptied(line: Line) -> Line:
    """A line all of whose events were taken back."""
    lineage = None if line.lineage is None else replace(line.lineage, events=0, digest=_NO_EVENTS)
    return replace(
        line, quantity_pico=0, amount_minor=0, discounts=(), metered_pico=None, free_pico=0,
        tiers=(), adjustment=Fraction(0), lineage=lineage,
    )  # fmt: skip


def adjustment_lines(found: Iterable[Delta], original: Invoice, position: int) -> tuple[Line, ...]:
    """
    A line for each delta. Quantity, tiers and lineage are those of the whole old period, as they
    are by now: they explain `adjusts.rerated_minor`.

    Args:
        original: The invoice that billed the old period first.
        position: Of the log, up to which the usage was read.
    """
    return tuple(_adjustment(one, original, position) for one in found)


def _adjustment(delta: Delta, original: Invoice, position: int) -> Line:
    line, number = delta.line, original.number or original.id
    period = next((c.period for c in original.covered if _bills(c.part, c.period, line)), None)
    lineage = line.lineage
    return replace(
        line,
        id="",
        kind=Kind.ADJUSTMENT,
        description=f"{_named(line)}, correction of {number}",
        amount_minor=delta.minor,
        proration=None,
        seats=None,
        discounts=(),
        subscription=None,
        customer=None,
        lineage=None if lineage is None else Lineage(
            lineage.events, f"0:{position}", lineage.digest
        ),
        adjusts=Adjusts(
            original.id, number, period or line.period, delta.billed_minor, delta.rerated_minor
        ),
    )  # fmt: skip


def _bills(part: str, period: Period, line: Line) -> bool:
    return part == "period" and period.contains(line.period.start)


def _named(line: Line) -> str:
    """What the line is for, without what an earlier correction said of it."""
    return line.description.partition(", correction of ")[0]


def billed_lines(invoice: Invoice, subscription: str, start: int) -> Iterator[Line]:
    """Lines of an invoice for a period of a subscription, whatever part of it they bill."""
    periods = [
        cover.period
        for cover in invoice.covered
        if cover.subscription == subscription and cover.period.start == start
    ]
    for line in invoice.lines:
        mine = (line.subscription or invoice.subscription) == subscription
        if mine and any(period.contains(line.period.start) for period in periods):
            yield line
