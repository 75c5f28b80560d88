"""
A rule tried out on history: when it would have fired, had it been there.

The same watcher runs over the same events in the same order, each at the instant it was received,
so a trial finds exactly what running would have found; what the rule would have changed by acting
is not played back.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

import msgspec

from taximeter.catalog.rules import Mode, Rule
from taximeter.events.envelope import Event
from taximeter.gate.effects import Fire
from taximeter.periods import Period
from taximeter.rules.memory import Memory
from taximeter.rules.watcher import Watcher
from taximeter.rules.window import AHEAD_US, LATE_US

MAX_CUSTOMERS: Final = 100
MAX_SAMPLES: Final = 5
MAX_EVENTS: Final = 2_000_000
"""Others wait for the store meanwhile."""


class TrialAccount(msgspec.Struct, frozen=True):
    """
    Attributes:
        spans: When the rule concerned the customer, ascending and apart; None for always.
    """

    customer: str
    subjects: tuple[str, ...]
    spans: tuple[Period, ...] | None = None


class TrialSpec(msgspec.Struct, frozen=True):
    """
    Attributes:
        by_path: As of `Watcher`.
        start: Fires on events received before are not told, but the windows are full by then.
        end: Exclusive, as of when an event was received.
        upto: Log position.
    """

    namespace: str
    rule: Rule
    by_path: str | None
    accounts: tuple[TrialAccount, ...]
    start: int
    end: int
    upto: int

    @property
    def warm_from(self) -> int:
        """Events received before cannot matter."""
        window_us = 0 if self.rule.over is None else self.rule.over.window_us
        return self.start - window_us - LATE_US - AHEAD_US - self.rule.cooldown_us


class Tried(msgspec.Struct):
    """
    One customer on whose events the rule would have fired.

    Attributes:
        samples: The first few.
    """

    customer: str
    fires: int
    first_at: int
    last_at: int
    samples: list[Fire]


class Trial(msgspec.Struct):
    """
    Attributes:
        events: Of the rule's types in the time asked about, of known customers.
        customers: How many it would have fired for; `tried` has those with most fires.
        stopped_at: When the first event was received that was one too many; None if all were
            looked at.
    """

    events: int
    fires: int
    customers: int
    tried: list[Tried]
    stopped_at: int | None = None


def run_trial(spec: TrialSpec, received: Iterable[tuple[int, Event, int, int]]) -> Trial:
    """
    Args:
        received: (seq, event, its time, when it was received) in the order of the log, from
            `spec.warm_from` on.
    """
    watcher = Watcher(msgspec.structs.replace(spec.rule, mode=Mode.DRY_RUN), 0, spec.by_path)
    accounts = {subject: one for one in spec.accounts for subject in one.subjects}
    memories: dict[str, Memory] = {}
    found: dict[str, Tried] = {}
    events = 0
    stopped_at = None
    for number, (seq, event, at, now) in enumerate(received):
        if number >= MAX_EVENTS:
            stopped_at = now
            break
        account = accounts.get(event.subject)
        if account is None or not _concerns(account, now):
            continue
        events += now >= spec.start
        memory = memories.setdefault(account.customer, Memory())
        sighting = watcher.see(lambda memory=memory: memory, event, at, now)  # type: ignore[misc]
        if sighting is None:
            continue
        fire = watcher.fire(memory, sighting, account.customer, event, at, now, seq)
        if fire is not None and now >= spec.start:
            _note(found, fire, now)
    most = sorted(found.values(), key=lambda one: (-one.fires, one.customer))
    fires = sum(one.fires for one in most)
    return Trial(events, fires, len(most), most[:MAX_CUSTOMERS], stopped_at)


def _concerns(account: TrialAccount, now: int) -> bool:
    if account.spans is None:
        return True
    place = bisect_right(account.spans, now, key=lambda span: span.start)
    return place > 0 and now < account.spans[place - 1].end


def _note(found: dict[str, Tried], fire: Fire, now: int) -> None:
    one = found.get(fire.customer)
    if one is None:
        one = found[fire.customer] = Tried(fire.customer, 0, now, now, [])
    one.fires += 1
    one.last_at = now
    if len(one.samples) < MAX_SAMPLES:
        one.samples.append(fire)
