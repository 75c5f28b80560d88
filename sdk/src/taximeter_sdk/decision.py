"""
A decision of the gate: true if allowed, and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal

from taximeter_sdk import clock
from taximeter_sdk.quantities import read_pico, to_decimal

DecidedBy = Literal["server", "lease", "fail_open", "fail_closed"]
UNAVAILABLE: Final = "server_unavailable"
"""The one reason that is not the server's: nobody could be asked."""


class Decision:
    """
    The answer to "may they?". Use it as a condition: `if not decision: ...`.

    Quantities are Decimal, and None where they make no sense.

    Attributes:
        allowed: The same as its truth.
        reason: A stable code of the gate, or `server_unavailable`.
        decided_by: `server`; `lease`: in this process; `fail_open`, `fail_closed`: by the
            feature's fail policy, since the server did not answer.
        level: Where the deciding limit sits: "customer", or a scope.
        detail: A refusal in a sentence for people.
        hint: What would help, if the server said so.
        retry_after: Seconds after which asking again may help; None if time does not help.
        seq, balance_after: Of a consume: its place in the log, and what was left after it.
        error: Why the server could not be asked.
        answer: The server's answer as it came; empty if it was not asked.
    """

    # Defaults stand on the class: a leased decision sets only what differs, within its 2 us.
    allowed: bool = False
    reason: str = UNAVAILABLE
    decided_by: DecidedBy = "server"
    feature: str = ""
    level: str = "customer"
    value: Any = None
    detail: str | None = None
    hint: str | None = None
    seq: int | None = None
    error: Exception | None = None
    answer: Mapping[str, Any] = {}
    _left_pico: int | None = None
    _bound_pico: int = 0
    _synced_at: float | None = None
    _retry_after: float | None = None

    def __bool__(self) -> bool:
        return self.allowed

    def __repr__(self) -> str:
        left = "" if self._left_pico is None else f", left {self.left}"
        verdict = "allowed" if self.allowed else "refused"
        return f"<Decision {verdict}: {self.reason}{left}, by {self.decided_by}>"

    @property
    def left(self) -> Decimal | None:
        """
        What may still be used, without the amount asked for. By lease: of the slice this process
        holds; the customer may have more.
        """
        return None if self._left_pico is None else to_decimal(self._left_pico)

    @property
    def limit(self) -> Decimal | None:
        return self._quantity("limit")

    @property
    def used(self) -> Decimal | None:
        return self._quantity("used")

    @property
    def reserved(self) -> Decimal | None:
        return self._quantity("reserved")

    @property
    def overage(self) -> Decimal | None:
        return self._quantity("overage")

    @property
    def balance_after(self) -> Decimal | None:
        return self._quantity("balance_after")

    @property
    def resets_at(self) -> datetime | None:
        """When usage starts at zero again."""
        return clock.read_instant(self.answer.get("resets_at"))

    @property
    def as_of(self) -> Mapping[str, Any]:
        """The log position and time the answer reflects."""
        as_of: Mapping[str, Any] = self.answer.get("as_of") or {}
        return as_of

    @property
    def overshoot_bound(self) -> Decimal:
        """
        The most by which this customer's usage of the feature can pass its limit because of leases:
        the sum of all open ones, as the server said last. Zero for an answer of the server.
        """
        return to_decimal(self._bound_pico)

    @property
    def staleness_s(self) -> float:
        """Seconds since the server's numbers behind this answer; 0 for its own answer."""
        return 0.0 if self._synced_at is None else max(0.0, clock.elapsed() - self._synced_at)

    @property
    def retry_after(self) -> float | None:
        if self._retry_after is not None:
            return self._retry_after
        resets_at = None if self.allowed else self.resets_at
        if resets_at is None:
            return None
        now = clock.read_instant(self.as_of.get("time")) or datetime.now(resets_at.tzinfo)
        return max(0.0, (resets_at - now).total_seconds())

    def sentence(self) -> str:
        """Why, for people: the server's words if there are any."""
        if self.detail:
            return self.detail
        if self.reason == UNAVAILABLE:
            verdict = "allowed" if self.allowed else "refused"
            return f"{self.feature}: {verdict} by its fail policy, the server did not answer."
        return f"{self.feature}: {self.reason.replace('_', ' ')}."

    def _quantity(self, name: str) -> Decimal | None:
        value = self.answer.get(name)
        return None if value is None else Decimal(str(value))


def from_answer(feature: str, answer: Mapping[str, Any]) -> Decision:
    """The decision in an answer of the server, or in its problem document."""
    decision = Decision()
    decision.allowed = bool(answer.get("allowed", False))
    decision.reason = str(answer.get("reason") or answer.get("code") or "")
    decision.feature = feature
    decision.level = str(answer.get("level") or "customer")
    decision.value = answer.get("value")
    decision.detail = answer.get("detail")
    decision.hint = answer.get("help")
    decision.seq = answer.get("seq")
    decision.answer = answer
    decision._left_pico = read_pico(answer.get("remaining"))
    retry_after = answer.get("retry_after_s", answer.get("retry_after"))
    if retry_after is not None:
        decision._retry_after = float(retry_after)
    return decision


def failed(feature: str, *, opened: bool, error: Exception) -> Decision:
    """What the fail policy says while the server is away."""
    decision = Decision()
    decision.allowed = opened
    decision.decided_by = "fail_open" if opened else "fail_closed"
    decision.feature = feature
    decision.error = error
    decision._retry_after = float(getattr(error, "retry_after_s", 0.0)) or 1.0
    return decision
