"""
The rated records of a line, read a page at a time.

Where the aggregate after an event follows from the aggregate before it and the event alone (a sum,
a count), a page goes on from a cursor that says both. Anything else is folded from the line's first
event, which costs its whole length a page.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Final

import msgspec

from taximeter.catalog.prices import Percentage, UsagePrice
from taximeter.catalog.rates import converted
from taximeter.errors import Rejected
from taximeter.invoices.rated import Counted, Share, Shares
from taximeter.meters.cells import Layout
from taximeter.meters.counter import Counter
from taximeter.meters.definition import Aggregation, weighs_time
from taximeter.periods import Period
from taximeter.ports import LineScope, StoredEvent
from taximeter.rating import Band
from taximeter.rating.percentage import limits
from taximeter.services.billing.evidence.cited import hours_of_line, usage_price
from taximeter.services.billing.evidence.proof import EVENTS_AT_ONCE, Events, every_event
from taximeter.services.core import Core
from taximeter.services.tenant import Tenant

_RUNNING: Final = (Aggregation.SUM, Aggregation.COUNT)


class RatedRecord(msgspec.Struct, frozen=True):
    """One event of a line, and its share."""

    stored: StoredEvent
    share: Share


class RatedPage(msgspec.Struct, frozen=True):
    """
    Attributes:
        base: What the line costs without any event; `base` + all shares is `exact`.
        exact: The line's amount before it is rounded, if this is the last page. Amounts are in the
            invoice's currency; steps of a price in another one are in that.
        next: Where to go on; None at the end.
    """

    records: list[RatedRecord]
    base: Fraction
    exact: Fraction | None
    next: str | None


async def rated_records(
    core: Core, tenant: Tenant, events: Events, cursor: str | None, limit: int
) -> RatedPage:
    """
    The shares of a line's events, in the order of the log.

    Raises:
        Rejected: `invalid_parameter` for a cursor that is none.
    """
    if events.scope is None:
        nothing = Fraction(0)
        return RatedPage([], nothing, nothing, None)
    place = _Place() if cursor is None else _read(cursor)
    _, price = usage_price(tenant, events.invoice, events.line)
    hours = hours_of_line(tenant, events.invoice, events.line, price)
    factor = Fraction(1) if hours is None else hours.factor
    running = _Running(events.scope, price)
    await running.open(core, events)
    base = Shares(price, events.group, running.counted, factor)
    await running.skip(core, events, place)
    shares = Shares(price, events.group, running.counted, factor)
    records: list[RatedRecord] = []
    found = await core.store.line_events(events.scope, events.group, place.seq, limit)
    conversions = events.line.conversions
    for stored, counted in running.run(found):
        share = shares.next(counted)
        amount = converted(share.amount, conversions)
        records.append(RatedRecord(stored, msgspec.structs.replace(share, amount=amount)))
    last = len(found) < limit
    following = None
    if not last:
        following = _Place(found[-1].seq, running.counted.events, running.counted.value_pico).text
    exact = converted(shares.rated.amount, conversions) if last else None
    return RatedPage(records, converted(base.rated.amount, conversions), exact, following)


class _Place(msgspec.Struct, frozen=True):
    """Behind an event: its seq, and what had been counted with it."""

    seq: int = 0
    events: int = 0
    value_pico: int = 0

    @property
    def text(self) -> str:
        return f"{self.seq}.{self.events}.{self.value_pico}"


def _read(cursor: str) -> _Place:
    parts = cursor.split(".")
    digits = [part.removeprefix("-") for part in parts]
    if len(parts) != 3 or not all(d.isascii() and d.isdigit() and len(d) < 60 for d in digits):
        raise Rejected("invalid_parameter", "That is not a cursor from a `next`.")
    return _Place(*map(int, parts))


class _Running:
    """The aggregate of a line's events so far, by the code that counts them live."""

    def __init__(self, scope: LineScope, price: UsagePrice) -> None:
        self._scope = scope
        self._limits = limits(price) if isinstance(price, Percentage) and price.is_clamped else None
        self._bands = [Band(0, 0)] * (0 if self._limits is None else len(self._limits) + 1)
        counter = Counter(scope.meter, scope.filter)  # its events are those of one group already
        self._layout = Layout([counter])
        self._program = self._layout.programs[scope.meter.event_type]
        self._cells = self._layout.new_cells()
        self._span = scope.period if weighs_time(scope.meter) else None

    @property
    def counted(self) -> Counted:
        events, value_pico = self._layout.cell_value(self._cells, 0, self._span)
        return Counted(value_pico, events, tuple(self._bands))

    async def open(self, core: Core, events: Events) -> None:
        """With what was there before the period, for what weighs time."""
        if self._span is None or self._span.start <= 0:
            return
        scope = msgspec.structs.replace(self._scope, period=Period(0, self._span.start))
        before = msgspec.structs.replace(events, scope=scope)
        async for found in every_event(core, before):
            for stored in found:
                self._add(stored)
        self._cells = self._layout.new_cells(self._span.start, self._cells)

    async def skip(self, core: Core, events: Events, place: _Place) -> None:
        """Count what stands before a place."""
        if self._scope.meter.aggregation in _RUNNING and self._limits is None:
            self._cells[:] = [place.events, place.value_pico]
            return
        after = 0
        while after < place.seq:
            found = await core.store.line_events(self._scope, events.group, after, EVENTS_AT_ONCE)
            for stored in found:
                if stored.seq <= place.seq:
                    self._add(stored)
            if len(found) < EVENTS_AT_ONCE:
                return
            after = found[-1].seq

    def run(self, found: list[StoredEvent]) -> Iterator[tuple[StoredEvent, Counted]]:
        for stored in found:
            self._add(stored)
            yield stored, self.counted

    def _add(self, stored: StoredEvent) -> None:
        values: tuple[Any, ...] | None = self._program.measure_stored(stored.event)
        assert values is not None, "the store gives what counts"
        before = self.counted.value_pico if self._limits is not None else 0
        self._program.add(self._cells, values, stored.time, stored.event.id)
        if self._limits is not None:
            amount_pico = self.counted.value_pico - before
            place = bisect_right(self._limits, amount_pico)
            events, value_pico = self._bands[place]
            self._bands[place] = Band(events + 1, value_pico + amount_pico)
