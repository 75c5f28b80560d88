"""
Cohorts: who is in a rollout, and on which side of it.

A customer's place between 0 and 1 follows from its key and the rollout's name alone, so anybody
can work it out again, nobody can choose it, and a larger share takes in whoever was in a smaller
one. The holdout is cut from the other end: it never gets the new version, however far the rollout
goes, so that there is always somebody to compare with.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from fractions import Fraction
from hashlib import sha256
from typing import Any, Final

import msgspec

from taximeter.meters.values import dimension_value

_RANGE: Final = 2**64


class Side(StrEnum):
    """Where a customer stands to a rollout."""

    TREATMENT = "treatment"
    HOLDOUT = "holdout"
    CONTROL = "control"


class Cohort(msgspec.Struct, frozen=True):
    """
    Who a rollout is for.

    Attributes:
        share: Of the eligible customers, from 0 to 1; those named are in anyhow.
        customers: Named; None for everybody.
        segment: Metadata a customer must have to be eligible, value by value.
        holdout: Share of the eligible customers who never get it.
    """

    share: Fraction = Fraction(1)
    customers: tuple[str, ...] | None = None
    segment: dict[str, str] = {}
    holdout: Fraction = Fraction(0)

    def eligible(self, customer: str, metadata: Mapping[str, Any]) -> bool:
        if self.customers is not None and customer not in self.customers:
            return False
        return all(dimension_value(metadata.get(k)) == v for k, v in self.segment.items())

    def side(self, rollout: str, customer: str) -> Side:
        """Of an eligible customer."""
        place = place_of(rollout, customer)
        if place >= 1 - self.holdout:
            return Side.HOLDOUT
        return Side.TREATMENT if place < self.share else Side.CONTROL


def place_of(rollout: str, customer: str) -> Fraction:
    """In [0, 1): evenly spread, the same for ever, independent between rollouts."""
    text = msgspec.json.encode([rollout, customer])
    return Fraction(int.from_bytes(sha256(text).digest()[:8]), _RANGE)
