"""
From what a customer is entitled to, to what its usage events do beside being counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from taximeter.instants import MAX_INSTANT
from taximeter.live.account import Account
from taximeter.live.gating import Hooks

if TYPE_CHECKING:
    from taximeter.services.tenant import Tenant


def make_hooks(tenant: Tenant, account: Account, now: int) -> Hooks:
    """Those that hold from an instant on."""
    return Hooks({}, MAX_INSTANT)
