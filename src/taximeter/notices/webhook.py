"""
A webhook: an endpoint that is sent notices, the secrets it knows, and how it has been doing.
"""

from __future__ import annotations

from typing import Final

import msgspec

from taximeter.notices.notice import WEBHOOK_DISABLED, matches
from taximeter.notices.signature import Secret

GONE: Final = "gone"
FAILING: Final = "failing"
BY_HAND: Final = "by_hand"


class Webhook(msgspec.Struct, frozen=True):
    """
    Attributes:
        types: Patterns of the types it is sent, such as "usage.*"; "*" for all.
        email: Who is told when it is disabled.
        secrets: The present one first, then those it replaces until they end.
        disabled_at: It is sent nothing since then; None while it is enabled.
        disabled_reason: "gone" (it answered 410), "failing" (for days), or "by_hand".
        failing_since: First failure after its last success; None while all is well.
    """

    id: str
    url: str
    types: tuple[str, ...] = ("*",)
    description: str = ""
    email: tuple[str, ...] = ()
    secrets: tuple[Secret, ...] = ()
    created_at: int = 0
    disabled_at: int | None = None
    disabled_reason: str | None = None
    failing_since: int | None = None

    @property
    def is_enabled(self) -> bool:
        return self.disabled_at is None

    def wants(self, type: str, about: str | None = None) -> bool:
        """Whether it is sent notices of a type; none about its own end."""
        if type == WEBHOOK_DISABLED and about == self.id:
            return False
        return self.is_enabled and any(matches(pattern, type) for pattern in self.types)
