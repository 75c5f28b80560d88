"""
Which event is meant: an identity leads to the event that counts for it now.
"""

from __future__ import annotations

from typing import NamedTuple

from taximeter.corrections.facts import SOURCE
from taximeter.errors import NotFound, Rejected
from taximeter.ports import Selection, StoredEvent
from taximeter.services.core import Core
from taximeter.services.intake.ingest import find_receipt
from taximeter.services.tenant import Tenant


class Chain(NamedTuple):
    """
    An event and everything that has stood in for it.

    Attributes:
        links: The event that was named, what stood in for it, and so on.
    """

    links: tuple[StoredEvent, ...]

    @property
    def first(self) -> StoredEvent:
        return self.links[0]

    @property
    def last(self) -> StoredEvent:
        """What counts for the event now; or did last, if that is retracted."""
        return self.links[-1]

    @property
    def stands(self) -> bool:
        return self.last.retracted_by is None

    @property
    def retraction(self) -> int | None:
        """Seq of the newest retraction of any of them."""
        return next((o.retracted_by for o in reversed(self.links) if o.retracted_by), None)


async def chain_of(core: Core, tenant: Tenant, source: str, event_id: str) -> Chain:
    """
    Raises:
        NotFound: No such event was accepted in this namespace.
        Rejected: `invalid_request`: it is no usage event.
    """
    found = await find_receipt(core, tenant, source, event_id)
    if found is None:
        raise NotFound("not_found", f"No event {event_id!r} of source {source!r} was accepted.")
    if found.event.type.startswith("taximeter.") and source.startswith("taximeter/"):
        hint = "revert the correction" if source == SOURCE else "undo it by its own command"
        raise Rejected("invalid_request", f"{event_id!r} is no usage event; {hint}.")
    links: list[StoredEvent] = []
    following: int | None = found.seq
    while following is not None:
        link = await event_at(core, tenant, following)
        assert link is not None, "an accepted event stays in the store"
        links.append(link)
        following = link.replaced_by
    return Chain(tuple(links))


async def event_at(core: Core, tenant: Tenant, seq: int) -> StoredEvent | None:
    """One usage event of the namespace with what became of it by now; None if it is no usage."""
    upto = await core.upto()
    selection = Selection(tenant.name, upto, 1, seqs=(seq,), first=seq, last=seq)
    return next(iter(await core.store.select(selection)), None)
