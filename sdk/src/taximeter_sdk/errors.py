"""
* TaximeterError
  + OverLimit     the gate said no; `decision` says which limit, what is left and when it resets
  + Rejected      the request is wrong; sending it again changes nothing
  + Unavailable   no answer, or "not now": ask again

Every error has a stable `code`, the server's own where the server spoke.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taximeter_sdk.decision import Decision


class TaximeterError(Exception):
    """
    Attributes:
        code: Stable; what to switch on.
        status: Of the HTTP answer; 0 if there was none.
        problem: The problem document of the server, or empty.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        status: int = 0,
        problem: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{detail} [{code}]")
        self.code = code
        self.detail = detail
        self.status = status
        self.problem = dict(problem or {})


class Rejected(TaximeterError):
    """The server will not do this, however often it is asked."""


class Unavailable(TaximeterError):
    """
    Attributes:
        retry_after_s: How long the server wants to be left alone; 0 if it did not say.
    """

    retry_after_s: float = 0.0


class OverLimit(TaximeterError):
    """Refused by a limit, for want of credit, or by the fail policy while the server was away."""

    def __init__(self, decision: Decision, detail: str | None = None, status: int = 0) -> None:
        super().__init__(decision.reason, detail or decision.sentence(), status=status)
        self.decision = decision
