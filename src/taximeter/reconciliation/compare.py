"""
Two counts of one thing, and which cause their difference has. Pure.
"""

from __future__ import annotations

from fractions import Fraction

import msgspec

from taximeter.quantities import E12
from taximeter.reconciliation.gap import Cause


class Count(msgspec.Struct, frozen=True):
    """How many events counted, and what they came to."""

    events: int = 0
    value_pico: int = 0

    @property
    def value(self) -> Fraction:
        return Fraction(self.value_pico, E12)


def cause_of_counts(expected: Count, found: Count) -> Cause:
    """Why two counts of the same meter differ; they do."""
    assert expected != found, "no gap"
    if found.events < expected.events:
        return Cause.MISSING
    if found.events > expected.events:
        return Cause.DUPLICATE
    return Cause.CODE


class LineFacts(msgspec.Struct, frozen=True):
    """
    What a line says, or should say.

    Attributes:
        digest: Of the events; None for a line without.
        quantity, amount: Exact; the amount is rounded.
        explained: Everything else that explains it, in any form that can be compared.
    """

    events: int
    digest: str | None
    quantity: Fraction
    amount: Fraction
    explained: object = None


def cause_of_line(rated: LineFacts, billed: LineFacts, *, transformed: bool) -> Cause | None:
    """
    Why a line is not what rating its events again gives; None if it is.

    Args:
        transformed: Its price converts units before it rates.
    """
    if billed.events > rated.events:
        return Cause.MISSING  # events that were billed are not there any more
    if billed.events < rated.events:
        return Cause.DUPLICATE
    if billed.digest != rated.digest:
        return Cause.CODE
    if billed.quantity != rated.quantity:
        return Cause.UNIT if transformed else Cause.CODE
    if billed.amount != rated.amount:
        return Cause.RATE
    return None if billed.explained == rated.explained else Cause.RATE


class Fault(msgspec.Struct, frozen=True):
    """
    Which of two counts is wrong, by a third one made from the log alone.

    Attributes:
        store, live: Whether the event store, and the live counters, differ from the log.
    """

    store: bool
    live: bool


def at_fault(live: Count, store: Count, log: Count) -> Fault:
    return Fault(store=store != log, live=live != log)
