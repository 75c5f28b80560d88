"""
Four eyes: corrections above a size are made by two people.
"""

from __future__ import annotations

from taximeter.errors import Denied
from taximeter.ports import StoredCorrection
from taximeter.services.tenant import Tenant


def needs_approval(tenant: Tenant, events: int) -> bool:
    """Whether a correction of so many events waits for a second person."""
    most = tenant.billing.four_eyes_events
    return most is not None and events > most


def require_no_approval(tenant: Tenant, events: int) -> None:
    """
    Raises:
        Denied: `four_eyes`: it has to be made where somebody else can approve it.
    """
    if needs_approval(tenant, events):
        raise Denied(
            "four_eyes",
            "A correction of this size takes a second person; make it through /v1/corrections.",
            events=events,
        )


def require_another(one: StoredCorrection, by: str) -> None:
    """
    Raises:
        Denied: `four_eyes`: who made a correction does not approve it.
    """
    if by == one.made_by:
        raise Denied("four_eyes", "Who made a correction does not approve it.", made_by=by)
