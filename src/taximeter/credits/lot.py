"""
Lots: the spendable pieces a grant comes in, one for each of its occurrences.
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

import msgspec

from taximeter.credits.grant import OCCURRENCE_MARK, Grant, dump_grant, load_grant
from taximeter.instants import MAX_INSTANT, format_instant
from taximeter.ledger.transaction import WALLET
from taximeter.quantities import format_quantity

NEVER: Final = MAX_INSTANT + 1

Stage: TypeAlias = Literal["pending", "live", "ended"]
"""Not begun yet; spendable; over, and kept only for what holds have reserved of it."""


class Lot:
    """
    One occurrence of a grant, with what is left of it. Changed by its wallet only.

    Attributes:
        number: The occurrence, from 0.
        start, end: When it is spendable, [start, end) in microseconds; `NEVER` for no end. Fixed
            when the lot is made: a later change of time zone rules does not move it.
        free_pico: Left and not reserved.
        held_pico: Left and reserved by holds.
        burn_key: Sorts lots into burn order (K13).
    """

    __slots__ = (
        "account", "burn_key", "end", "features", "free_pico", "grant", "held_pico", "id",
        "number", "stage", "start",
    )  # fmt: skip

    def __init__(self, grant: Grant, number: int, start: int, end: int) -> None:
        self.grant = grant
        self.number = number
        self.id = f"{grant.id}{OCCURRENCE_MARK}{number + 1}" if number else grant.id
        self.account = WALLET + self.id
        self.features = grant.features
        self.start = start
        self.end = end
        self.burn_key = (grant.priority, end, start, self.id)
        self.stage: Stage = "pending"
        self.free_pico = 0
        self.held_pico = 0

    @classmethod
    def of(cls, grant: Grant, number: int) -> Lot:
        """An occurrence that has not begun; it must exist."""
        start, end = grant.occurrence(number), grant.end(number)
        assert start is not None, (grant.id, number)
        return cls(grant, number, start, NEVER if end is None else end)

    def following(self) -> Lot | None:
        """The occurrence that takes over where this one ends; None if it is the last."""
        number = self.number + 1
        if self.grant.occurrence(number) is None:
            return None
        end = self.grant.end(number)
        return Lot(self.grant, number, self.end, NEVER if end is None else end)

    def pays_for(self, feature: str | None) -> bool:
        """Whether it may be spent on a feature; None is a debit of no feature in particular."""
        return not self.features or feature in self.features

    def copy(self) -> Lot:
        twin = Lot.__new__(Lot)
        for name in Lot.__slots__:
            setattr(twin, name, getattr(self, name))
        return twin

    def standing(self) -> LotStanding:
        grant = self.grant
        return LotStanding(
            id=self.id,
            grant=grant.id,
            stage=self.stage,
            remaining_pico=self.free_pico + self.held_pico,
            reserved_pico=self.held_pico,
            amount_pico=grant.amount_pico,
            priority=grant.priority,
            effective_at=self.start,
            expires_at=None if self.end == NEVER else self.end,
            features=grant.features,
            kind=grant.kind,
        )

    def dump(self) -> dict[str, Any]:
        """Plain JSON; ints that may be large as text."""
        return {
            "grant": dump_grant(self.grant),
            "number": self.number,
            "start": str(self.start),
            "end": str(self.end),
            "stage": self.stage,
            "free_pico": str(self.free_pico),
            "held_pico": str(self.held_pico),
        }

    @classmethod
    def load(cls, document: dict[str, Any]) -> Lot:
        """Inverse of `dump`."""
        grant = load_grant(document["grant"])
        lot = cls(grant, document["number"], int(document["start"]), int(document["end"]))
        lot.stage = document["stage"]
        lot.free_pico = int(document["free_pico"])
        lot.held_pico = int(document["held_pico"])
        return lot


class LotStanding(msgspec.Struct, frozen=True):
    """
    What there is to say of a lot at one moment, for a reader.

    Attributes:
        grant: Id of the grant it is an occurrence of.
        remaining_pico: Left of it, reserved or not; a lot that has not begun has nothing yet.
        reserved_pico: The part of it that holds have reserved.
        amount_pico: What its grant gives each time.
        expires_at: Its own end, exclusive; None for never.
    """

    id: str
    grant: str
    stage: Stage
    remaining_pico: int
    reserved_pico: int
    amount_pico: int
    priority: int
    effective_at: int
    expires_at: int | None
    features: tuple[str, ...]
    kind: str

    def to_json(self) -> dict[str, Any]:
        """The documented form: `id` is the grant's, by which it is voided; `lot` its own."""
        return {
            "id": self.grant,
            "lot": self.id,
            "stage": self.stage,
            "remaining": format_quantity(self.remaining_pico),
            "reserved": format_quantity(self.reserved_pico),
            "amount": format_quantity(self.amount_pico),
            "priority": self.priority,
            "effective_at": format_instant(self.effective_at),
            "expires_at": None if self.expires_at is None else format_instant(self.expires_at),
            "features": list(self.features),
            "kind": self.kind,
        }
