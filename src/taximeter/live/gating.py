"""
What a usage event does beside being counted: it fills gauges and burns credit.

Most events do neither. For an account whose plan asks for it, hooks are made once from what it is
entitled to and hold until that may change; the fold runs those of the event's type.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import msgspec

from taximeter.catalog.features import Cost
from taximeter.credits.cost import cost_pico
from taximeter.entitlements.rate import RateGauge
from taximeter.events.envelope import Event
from taximeter.gate.effects import Burn
from taximeter.gate.purse import Key, Purse
from taximeter.meters.paths import read
from taximeter.meters.values import dimension_value
from taximeter.periods import Period
from taximeter.rules.watcher import Watcher


class Gauge(Protocol):
    """Usage of one limit for one level value."""

    def add(self, at: int, pico: int) -> None: ...
    def prune(self, now: int) -> bool: ...
    def dump(self) -> Any: ...


class Periods(Protocol):
    """The billing periods of a subscription."""

    def covers(self, at: int) -> bool: ...
    def containing(self, at: int) -> Period: ...


class PeriodGauge:
    """Usage by billing period: late events go to their own."""

    __slots__ = ("_schedule", "_used")

    def __init__(self, schedule: Periods, dumped: Any = None) -> None:
        self._schedule = schedule
        self._used: dict[int, int] = {int(start): int(pico) for start, pico in dumped or ()}

    def add(self, at: int, pico: int) -> None:
        if self._schedule.covers(at):
            start = self._schedule.containing(at).start
            self._used[start] = self._used.get(start, 0) + pico

    def used_pico(self, now: int) -> int:
        """In the period that holds an instant; never below zero."""
        return max(0, self._used.get(self._schedule.containing(now).start, 0))

    def resets_at(self, now: int) -> int:
        return self._schedule.containing(now).end

    def prune(self, now: int) -> bool:
        """Forget periods that ended; whether anything is left."""
        if self._schedule.covers(now):
            start = self._schedule.containing(now).start
            self._used = {at: pico for at, pico in self._used.items() if at >= start}
        return bool(self._used)

    def dump(self) -> list[list[str]]:
        return [[str(start), str(pico)] for start, pico in sorted(self._used.items())]


class Maker(msgspec.Struct, frozen=True):
    """
    Makes the gauges of a limit.

    Attributes:
        terms: What it is made by: the limit and the zone, the rate, or the periods.
    """

    kind: Callable[..., Gauge]
    terms: tuple[Any, ...]

    def make(self, dumped: Any = None) -> Gauge:
        """An empty gauge, or one that goes on from what another was dumped as."""
        return self.kind(*self.terms, dumped)


class Held(NamedTuple):
    """A gauge and what it was made by."""

    maker: Maker
    gauge: Gauge

    def prune(self, now: int) -> bool:
        return self.gauge.prune(now)

    def dump(self) -> Any:
        return self.gauge.dump()


class Gauged(msgspec.Struct, frozen=True):
    """
    A limit whose usage is kept in gauges, one for each value of its level.

    Attributes:
        key: Names the limit among the gauges of the purse; a gauge's key has the values behind it.
        scope: Where an event names each level: ((level, path), ...); () for the customer itself.
        only: Values that the levels must have; a budget's. None: each value has its own gauge.
        in_credit: It counts what is spent, not units.
    """

    key: Key
    maker: Maker
    scope: tuple[tuple[str, str], ...] = ()
    only: tuple[str, ...] | None = None
    in_credit: bool = False

    def gauge_in(self, purse: Purse, values: tuple[str, ...]) -> Gauge:
        """
        The gauge for these values, made if it is the first use. What was used stays when a limit
        is raised, a plan or a zone changes: it is then taken over by one of the new terms.
        """
        key = (*self.key, *values)
        held: Held | None = purse.gauges.get(key)
        if held is not None and (held.maker is self.maker or held.maker == self.maker):
            return held.gauge
        dumped = purse.dormant.pop(key, None) if held is None else held.gauge.dump()
        made = purse.gauges[key] = Held(self.maker, self.maker.make(dumped))
        return made.gauge

    def peek(self, purse: Purse | None, values: tuple[str, ...]) -> Any:
        """The gauge for these values; one that is not kept if nothing was used yet."""
        key = (*self.key, *values)
        if purse is not None and (key in purse.gauges or key in purse.dormant):
            return self.gauge_in(purse, values)
        return self.maker.make()

    def values_of(self, event: Event) -> tuple[str, ...] | None:
        """The event's value of each level; None if it does not concern this limit."""
        values: list[str] = []
        for place, (_, path) in enumerate(self.scope):
            value = dimension_value(read(event, path))
            if value is None or (self.only is not None and self.only[place] != value):
                return None
            values.append(value)
        return tuple(values)


class Pool(msgspec.Struct, frozen=True):
    """A parent whose allowances are shared, with the gauges this usage fills there."""

    purse: Purse
    gauges: tuple[Gauged, ...]


class Hook(msgspec.Struct, frozen=True):
    """
    What usage of one metered feature does.

    Attributes:
        index: Of its counter among the values that `Program.measure` gives.
        unit_pico: What a measured value is multiplied with: 10^12 for a meter that counts.
        included_pico: (instant) -> units that the period includes before credit is spent; None:
            credit pays from the first unit.
        used_pico: (instant) -> units counted in that period; with the event if `is_counted`.
        held_pico: (instant) -> units of that period that open holds keep: they were promised to
            others, who do not pay for what was included when they asked.
        cost_path: Where the event has the dimension that the cost goes by.
        pools: Parents, nearest first.
    """

    feature: str
    index: int
    unit_pico: int
    gauges: tuple[Gauged, ...] = ()
    credit: str | None = None
    cost: Cost | None = None
    cost_path: str | None = None
    included_pico: Callable[[int], int] | None = None
    used_pico: Callable[[int], int] | None = None
    held_pico: Callable[[int], int] | None = None
    is_counted: bool = True
    pools: tuple[Pool, ...] = ()
    pool_keys: tuple[str, ...] = ()

    def run(self, purse: Purse, event: Event, at: int, seq: int, measured: Any) -> Burn | None:
        """
        Fill the gauges with one counted event.

        Returns:
            What it burns, to be applied with the entry; None if nothing.
        """
        units_pico: int = measured * self.unit_pico
        lease = self._lease(purse, event)
        own_pico = 0 if lease is None else purse.holds[lease].units_pico
        cost = self._cost_pico(event, at, units_pico, own_pico)
        _fill(purse, self.gauges, event, at, units_pico, cost)
        for pool in self.pools:
            _fill(pool.purse, pool.gauges, event, at, units_pico, cost)
        if not cost and lease is None:
            return None
        return Burn(
            purse.customer,
            feature=self.feature,
            seq=seq,
            units_pico=max(0, units_pico),
            credit=self.credit,
            cost_pico=cost,
            pools=self.pool_keys,
            lease=lease,
        )

    def undo(self, purse: Purse, event: Event, at: int, measured: Any, spent_pico: int) -> None:
        """
        Empty the gauges of one event that counts no more; rates apart.

        Args:
            spent_pico: The credit it had cost.
        """
        units_pico = -measured * self.unit_pico
        _fill(purse, _limits(self.gauges), event, at, units_pico, -spent_pico)
        for pool in self.pools:
            _fill(pool.purse, _limits(pool.gauges), event, at, units_pico, -spent_pico)

    def _lease(self, purse: Purse, event: Event) -> str | None:
        """The open lease of this feature that the event names."""
        name = None if event.data is None else event.data.get("lease_id")
        hold = purse.holds.get(name) if name.__class__ is str else None
        if hold is None or not hold.lease or hold.feature != self.feature:
            return None
        return hold.id

    def _cost_pico(self, event: Event, at: int, units_pico: int, own_pico: int) -> int:
        """
        Credit for the units that the period does not include; a correction downwards frees none.

        Args:
            own_pico: Held by the lease that the event draws on.
        """
        if self.cost is None or units_pico <= 0:
            return 0
        if self.included_pico is not None and self.used_pico is not None:
            included, used = self.included_pico(at), self.used_pico(at)
            if self.held_pico is not None:
                used += max(0, self.held_pico(at) - own_pico)
            used += 0 if self.is_counted else units_pico
            units_pico = max(0, used - included) - max(0, used - units_pico - included)
        dimension = None
        if self.cost_path is not None:
            dimension = dimension_value(read(event, self.cost_path))
        return cost_pico(self.cost, units_pico, dimension) or 0


class Hooks(msgspec.Struct, frozen=True):
    """
    Attributes:
        by_type: Event type -> hooks.
        until: They hold before this instant.
        rules: Event type -> the rules that look at it.
    """

    by_type: dict[str, tuple[Hook, ...]]
    until: int
    rules: dict[str, tuple[Watcher, ...]] = {}


def _limits(gauges: tuple[Gauged, ...]) -> tuple[Gauged, ...]:
    """Those of amounts, not of speed: what a rate has let through has passed."""
    return tuple(gauged for gauged in gauges if gauged.maker.kind is not RateGauge)


def _fill(
    purse: Purse, gauges: tuple[Gauged, ...], event: Event, at: int, units: int, cost: int
) -> None:
    for gauged in gauges:
        values = gauged.values_of(event)
        if values is not None:
            gauged.gauge_in(purse, values).add(at, cost if gauged.in_credit else units)
