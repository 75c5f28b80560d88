"""
One event taken back, or given other data.

Both find the event by its identity and act on what counts for it now, so what was amended can be
amended again. Asking again for what is so already is answered as it was the first time.
"""

from __future__ import annotations

from typing import Any

import msgspec

from taximeter.corrections.facts import SOURCE, Change, why_of
from taximeter.corrections.query import correction_id, same_data
from taximeter.errors import Refused, Rejected
from taximeter.ports import StoredEvent
from taximeter.services.core import Core
from taximeter.services.corrections.approval import require_no_approval
from taximeter.services.corrections.chain import Chain, chain_of
from taximeter.services.corrections.effect import moved_by
from taximeter.services.corrections.records import make, new_record
from taximeter.services.corrections.writing import checked
from taximeter.services.gate.ledger import Ledger
from taximeter.services.tenant import Tenant


async def retract(
    core: Core,
    ledger: Ledger,
    tenant: Tenant,
    source: str,
    event_id: str,
    *,
    reason: str,
    by: str,
) -> dict[str, Any]:
    """
    Take an event back. One that was taken back before is answered alike.

    Raises:
        NotFound: No such event.
        Denied: `four_eyes`: it takes a second person.
    """
    async with core.lock(tenant):
        chain = await chain_of(core, tenant, source, event_id)
        if not chain.stands:
            return await _told(core, tenant, chain)
        change = Change(chain.last.seq, chain.last.event, chain.last.time)
        await _make(core, ledger, tenant, "retract", chain, change, reason, by)
        return await _told(core, tenant, await chain_of(core, tenant, source, event_id))


async def amend(
    core: Core,
    ledger: Ledger,
    tenant: Tenant,
    source: str,
    event_id: str,
    data: dict[str, Any] | None,
    *,
    reason: str,
    by: str,
) -> dict[str, Any]:
    """
    Give an event other data. One that was amended to just that before is answered alike.

    Raises:
        NotFound: No such event.
        Refused: `already_retracted`.
        Rejected: The data is none that an event could have, or is what the event says anyway.
        Denied: `four_eyes`: it takes a second person.
    """
    async with core.lock(tenant):
        chain = await chain_of(core, tenant, source, event_id)
        last = chain.last
        if not chain.stands:
            raise Refused(
                "already_retracted",
                f"{event_id!r} was retracted at 0:{last.retracted_by}; what counts no more "
                "cannot be amended. Revert that correction first, or send a new event.",
                position=f"0:{last.retracted_by}",
            )
        change = checked(tenant, Change(last.seq, last.event, last.time, data=data))
        assert change.data is not msgspec.UNSET, "an amendment has data"
        if same_data(change.data, last.event.data):
            if chain.first.seq == last.seq:
                raise Rejected("invalid_request", "`data` is what the event says already.")
            return await _told(core, tenant, chain)
        await _make(core, ledger, tenant, "amend", chain, change, reason, by)
        return await _told(core, tenant, await chain_of(core, tenant, source, event_id))


async def _make(
    core: Core,
    ledger: Ledger,
    tenant: Tenant,
    action: str,
    chain: Chain,
    change: Change,
    reason: str,
    by: str,
) -> None:
    require_no_approval(tenant, 1, await moved_by(core, tenant, [change]))
    one = new_record(
        core,
        tenant,
        correction_id(change.seq, [change]),
        action,
        [change],
        by=by,
        reason=reason,
        request={"source": chain.first.event.source, "id": chain.first.event.id},
    )
    await make(core, ledger, tenant, one, [change])


async def _told(core: Core, tenant: Tenant, chain: Chain) -> dict[str, Any]:
    """The answer: how it stands, since which position, by which correction."""
    first, last = chain.first, chain.last
    told: dict[str, Any] = {
        "status": "amended" if chain.stands else "retracted",
        "position": f"0:{last.retracted_by or last.seq}",
        "corrected": _named(first),
    }
    if last.seq != first.seq:
        told["replacement"] = _named(last)
    assert chain.retraction is not None, "it was corrected"
    return told | await why_json(core, tenant, chain.retraction)


async def why_json(core: Core, tenant: Tenant, retraction: int) -> dict[str, Any]:
    """Who took an event back, and why, from the fact itself."""
    fact = await core.store.find(tenant.name, retraction)
    if fact is None or fact.event.source != SOURCE or "correction" not in (fact.event.data or {}):
        return {}
    why = why_of(fact.event)
    return {"correction": why.correction, "by": why.by, "reason": why.reason}


def _named(stored: StoredEvent) -> dict[str, Any]:
    return {
        "source": stored.event.source,
        "id": stored.event.id,
        "position": f"0:{stored.seq}",
    }
