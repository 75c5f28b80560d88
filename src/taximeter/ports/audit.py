"""Who did what, when."""

from __future__ import annotations

from typing import Any

import msgspec


class AuditEntry(msgspec.Struct, frozen=True):
    """Who did what, when; `id` is 0 until stored."""

    id: int
    namespace: str
    at: int
    actor: str
    action: str
    target: str
    detail: dict[str, Any]
