"""
A rule at work: compiled once, asked for every event of its types.

What an expression of a rule can do is look at the event: filter and value become one Python
function by the same compiler as a meter's, which puts no text of theirs into what is run. A value
that cannot be read is nothing to the rule, and refuses nobody's event.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final

import msgspec

from taximeter.catalog.features import CUSTOMER
from taximeter.catalog.rules import Mode, Rule
from taximeter.events.envelope import Event
from taximeter.gate.effects import Block, Fire, Throttle
from taximeter.meters.compile import compile_counters
from taximeter.meters.counter import Counter
from taximeter.meters.definition import Aggregation, Meter
from taximeter.quantities import E12
from taximeter.rules.memory import Memory, WindowKey
from taximeter.rules.window import LATE_US

MAX_VALUE_LENGTH: Final = 256
_LEVEL: Final = "level"


class Sighting(msgspec.Struct, frozen=True):
    """
    An event on which a rule would fire.

    Attributes:
        value: Of the level the rule looks at; "" for the customer.
        observed_pico: What the window held with it; None for a rule without one.
    """

    value: str
    observed_pico: int | None


class Watcher:
    """
    One rule of one version of a catalogue, for all customers.

    Args:
        by_path: Where an event names its value of the rule's level; None for the customer.
    """

    def __init__(self, rule: Rule, version: int, by_path: str | None) -> None:
        self.rule = rule
        self.version = version
        self._is_split = by_path is not None
        self._measures = {one: _measure(rule, one, by_path) for one in rule.on}
        over = rule.over
        self._unit_pico = E12 if over is None or over.value is None else 1
        self._key = _window_key(rule, by_path)

    @property
    def author(self) -> str:
        """Who does what the rule does, as others see it."""
        return author(self.rule.key)

    def see(
        self, memory_of: Callable[[], Memory], event: Event, at: int, now: int
    ) -> Sighting | None:
        """
        Look at an event, and count it.

        Args:
            memory_of: Gives the customer's memory; asked only for what passes the filter.
            at: The event's time.
            now: When it was received.
        """
        if at < now - LATE_US:
            return None
        measured = self._measures[event.type](event)
        if measured is None:
            return None
        value, amount = "", measured[0]
        if self._is_split:
            (value,), amount = amount
            if value is None:
                return None
            value = value[:MAX_VALUE_LENGTH]
        over = self.rule.over
        if over is None:
            return Sighting(value, None)
        windows = memory_of().window(self._key, over.window_us)
        observed = windows.add(value, at, amount * self._unit_pico)
        if observed is None or observed <= over.more_than_pico:
            return None
        return Sighting(value, observed)

    def fire(
        self, memory: Memory, sighting: Sighting, customer: str, event: Event, at: int, now: int,
        seq: int,
    ) -> Fire | None:  # fmt: skip
        """What to do about a sighting; None while the rule rests."""
        rule, value = self.rule, sighting.value
        if memory.rests(rule.key, value, now):
            return None
        resting = now + rule.cooldown_us
        memory.rest(rule.key, value, resting)
        is_dry = rule.mode is not Mode.ON
        return Fire(
            customer,
            rule=rule.key,
            version=self.version,
            seq=seq,
            event=event.id,
            at=at,
            resting=resting,
            value=value,
            observed_pico=sighting.observed_pico,
            dry=is_dry,
            imposed=() if is_dry else tuple(self._imposed(customer, now)),
        )

    def _imposed(self, customer: str, now: int) -> Iterable[Block | Throttle]:
        rule, actions = self.rule, self.rule.actions
        for feature in rule.features or ("",):
            if actions.block is not None:
                until = _end(now, actions.block.for_us)
                yield Block(
                    customer, feature=feature, by=self.author, reason=rule.reason, until=until
                )
            if actions.throttle is not None:
                yield Throttle(
                    customer,
                    feature=feature,
                    by=self.author,
                    rate=msgspec.structs.replace(actions.throttle.rate, imposed_by=rule.key),
                    reason=rule.reason,
                    until=_end(now, actions.throttle.for_us),
                )


def author(rule: str) -> str:
    return f"rule {rule}"


@lru_cache(maxsize=1000)
def watcher(rule: Rule, version: int, by_path: str | None) -> Watcher:
    """One for all customers: compiling takes longer than looking at many events."""
    return Watcher(rule, version, by_path)


def level_of(rule: Rule) -> str | None:
    """The scope level a rule keeps apart; None for the customer as a whole."""
    return None if rule.over is None or rule.over.by == CUSTOMER else rule.over.by


def _measure(
    rule: Rule, event_type: str, by_path: str | None
) -> Callable[[Event], tuple[Any, ...] | None]:
    """
    What an event counts for: (amount,), with a level ((value or None,), amount) instead of the
    amount; None if it counts for nothing.
    """
    value = None if rule.over is None else rule.over.value
    meter = Meter(
        f"rule.{rule.key}",
        event_type,
        Aggregation.COUNT if value is None else Aggregation.SUM,
        value,
        dimensions={} if by_path is None else {_LEVEL: by_path},
        filter=rule.when,
    )
    counter = Counter(meter, group_by=() if by_path is None else (_LEVEL,))
    return compile_counters([(0, counter)]).measure_stored


def _window_key(rule: Rule, by_path: str | None) -> WindowKey:
    """Another threshold or action goes on with what was counted, another count does not."""
    over = rule.over
    counted = None if over is None else (over.value, over.window_us)
    text = msgspec.json.encode([rule.on, rule.when, counted, by_path])
    return rule.key, hashlib.sha256(text).hexdigest()[:12]


def _end(now: int, for_us: int | None) -> int | None:
    return None if for_us is None else now + for_us
