"""
Holds: credit set aside for one feature until what was really used is known (K14).
"""

from __future__ import annotations

from typing import Any

from taximeter.credits.lots import Lots, Part


class Hold:
    """
    What one hold has reserved of which lots. It lowers what is free, not the balance.

    Attributes:
        parts: Lot id -> pico, above 0, in the order they will be spent.
        held_pico: Their sum.
    """

    __slots__ = ("feature", "held_pico", "parts")

    def __init__(self, feature: str | None) -> None:
        self.feature = feature
        self.parts: dict[str, int] = {}
        self.held_pico = 0

    def add(self, parts: list[Part]) -> None:
        """Hold what was taken from its lots; spent after what is held already."""
        for lot, pico in parts:
            self.parts[lot.id] = self.parts.get(lot.id, 0) + pico
            self.held_pico += pico
            lot.held_pico += pico

    def draw(self, amount_pico: int, lots: Lots) -> list[Part]:
        """Take from the parts, first to last, exactly an amount; at most what is held."""
        drawn: list[Part] = []
        while amount_pico:
            lot_id, pico = next(iter(self.parts.items()))
            if pico <= amount_pico:
                del self.parts[lot_id]
            else:
                pico = amount_pico
                self.parts[lot_id] -= pico
            amount_pico -= pico
            self.held_pico -= pico
            drawn.append((lots.unhold(lot_id, pico), pico))
        return drawn

    def copy(self) -> Hold:
        twin = Hold(self.feature)
        twin.parts = dict(self.parts)
        twin.held_pico = self.held_pico
        return twin

    def dump(self) -> dict[str, Any]:
        """Plain JSON; amounts as text."""
        return {
            "feature": self.feature,
            "parts": [[lot_id, str(pico)] for lot_id, pico in self.parts.items()],
        }

    @classmethod
    def load(cls, document: dict[str, Any]) -> Hold:
        """Inverse of `dump`."""
        hold = cls(document["feature"])
        hold.parts = {lot_id: int(pico) for lot_id, pico in document["parts"]}
        hold.held_pico = sum(hold.parts.values())
        return hold
