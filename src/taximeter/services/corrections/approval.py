"""
Four eyes: corrections above a size are made by two people.
"""

from __future__ import annotations

from collections.abc import Mapping

from taximeter.errors import Denied
from taximeter.ports import StoredCorrection
from taximeter.services.tenant import Tenant


def needs_approval(tenant: Tenant, events: int, moved_minor: Mapping[str, int]) -> bool:
    """
    Whether a correction waits for a second person.

    Args:
        moved_minor: Currency -> by how much it changes fares.
    """
    most = tenant.billing.four_eyes_events
    if most is not None and events > most:
        return True
    from_minor = tenant.billing.four_eyes_minor
    return any(minor >= from_minor[c] for c, minor in moved_minor.items() if c in from_minor)


def require_no_approval(tenant: Tenant, events: int, moved_minor: Mapping[str, int]) -> None:
    """
    Raises:
        Denied: `four_eyes`: it has to be made where somebody else can approve it.
    """
    if needs_approval(tenant, events, moved_minor):
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
