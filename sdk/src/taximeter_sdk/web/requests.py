"""
What both kinds of middleware share: whose request it is, and what is counted of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from taximeter_sdk.base import BaseMeter
from taximeter_sdk.quantities import Amount

Mode = Literal["count", "check", "consume"]
MODES = ("count", "check", "consume")


@dataclass(frozen=True)
class Rules:
    """
    Attributes:
        customer: Whose request it is, from the ASGI scope or WSGI environ; None: not metered.
        mode: `count`: one event for each answered request. `check`: refuse what the gate refuses,
            and count what was answered. `consume`: check and count in one step, before.
        feature: Of the gate; with `count` optional, then usage of it is counted.
        type: Of the event that `count` sends without a feature.
    """

    meter: BaseMeter
    customer: Callable[[Any], str | None]
    mode: Mode
    feature: str | None
    type: str
    amount: Amount

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, not {self.mode!r}")
        if self.mode != "count" and self.feature is None:
            raise ValueError(f"mode {self.mode!r} needs a feature")

    def count(self, customer: str, method: str, path: str, status: int) -> None:
        """Count an answered request; a defect of the server (5xx) is not the customer's usage."""
        if self.mode == "consume" or status >= 500:
            return
        data: Mapping[str, Any] = {"method": method, "path": path, "status": status}
        if self.feature is None:
            self.meter.track(customer, self.type, data=data)
        else:
            self.meter.track(customer, feature=self.feature, amount=self.amount, data=data)
