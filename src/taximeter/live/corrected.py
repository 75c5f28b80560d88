"""
A correction folded: what was taken back counts no more, what stands in for it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from taximeter.corrections.facts import facts_of
from taximeter.events.envelope import Event
from taximeter.gate.effects import Caused, Effect, Reverse
from taximeter.live.state import LiveState


class Corrected(NamedTuple):
    """
    Attributes:
        caused: What the replacements bring about.
        again: Customers whose history has to be folded again: a maximum does not say what it
            would be without one of its events.
    """

    caused: list[Caused]
    again: set[str]


def fold_correction(
    live: LiveState,
    facts: Sequence[Event],
    reversals: Iterable[Effect],
    now: int,
    first_seq: int = 0,
) -> Corrected:
    """
    Args:
        facts: The events of one entry, all of them.
        reversals: What its retractions give back, among any other effects; applied elsewhere.
        now: When the correction was made.
        first_seq: Of the entry; 0 for one whose effects are in the log.
    """
    spent = _spent(reversals)
    caused: list[Caused] = []
    again: set[str] = set()
    for place, fact in enumerate(facts_of(facts)):
        if fact.taken_back:
            if not live.take_back(fact.event, fact.at, now, spent.get(fact.seq, {})):
                again.add(live.by_subject[fact.event.subject].customer)
            continue
        program = live.layout.programs.get(fact.event.type)
        values = program.measure_stored(fact.event) if program is not None else None
        seq = first_seq + place if first_seq else 0
        caused += live.fold(fact.event, fact.at, values, now, seq)
    return Corrected(caused, again)


def _spent(effects: Iterable[Effect]) -> Mapping[int, dict[str, int]]:
    """Event -> feature -> the credit it had cost, whoever paid."""
    spent: dict[int, dict[str, int]] = {}
    for effect in effects:
        if isinstance(effect, Reverse):
            by_feature = spent.setdefault(effect.event, {})
            by_feature[effect.feature] = by_feature.get(effect.feature, 0) + effect.cost_pico
    return spent
