"""
Corrections by query: previewed, made exactly as previewed, approved where that takes two, undone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from taximeter.corrections.facts import MAX_CHANGES, Change
from taximeter.corrections.query import Query, correction_id, patched, position_of, same_data
from taximeter.errors import Refused, TooLarge
from taximeter.ports import Selection, StoredCorrection, StoredEvent
from taximeter.services.core import Core, audit, require_customer
from taximeter.services.corrections.approval import needs_approval, require_another
from taximeter.services.corrections.billed import invoices_with
from taximeter.services.corrections.effect import Effect, effect_of_changes, moved_by
from taximeter.services.corrections.records import (
    COMMITTED,
    COMMITTING,
    PENDING,
    REJECTED,
    REVERTED,
    changed,
    find_correction,
    make,
    new_record,
)
from taximeter.services.corrections.writing import checked
from taximeter.services.gate.ledger import Ledger
from taximeter.services.tenant import Tenant

AT_ONCE = 200


class Preview(NamedTuple):
    """
    Attributes:
        id: By which exactly this can be made.
        unchanged: Selected events that say already what they would be made to say.
        unmatched: Of the changes, those of subjects that nobody claims.
        invoices: Those with lines that hold such events.
    """

    id: str
    position: int
    changes: list[Change]
    unchanged: int
    unmatched: int
    needs_approval: bool
    effect: Effect
    invoices: list[dict[str, Any]]


async def preview(core: Core, tenant: Tenant, query: Query) -> Preview:
    """
    Raises:
        NotFound: No such customer.
        Rejected: The query, or the data it would make, is not valid.
        TooLarge: `batch_too_large`: it selects more than `MAX_CHANGES` events.
    """
    position = await core.upto()
    changes, unchanged = await _changes(core, tenant, query, position)
    live = tenant.live.by_subject
    effect = await effect_of_changes(core, tenant, position, changes)
    return Preview(
        correction_id(position, changes),
        position,
        changes,
        unchanged,
        sum(change.event.subject not in live for change in changes),
        needs_approval(tenant, len(changes), effect.moved_minor),
        effect,
        await invoices_with(core, tenant, changes),
    )


async def _changes(
    core: Core, tenant: Tenant, query: Query, position: int
) -> tuple[list[Change], int]:
    """What a query asks for at a position, and how many events need no change."""
    query.check()
    subjects = None
    if query.customer is not None:
        require_customer(tenant, query.customer)
        subjects = tenant.customers[query.customer].all_subjects
    selection = Selection(
        tenant.name,
        position,
        MAX_CHANGES + 1,
        subjects=subjects,
        type=query.type,
        start=query.start,
        end=query.end,
        filter=query.filter,
        standing=True,
    )
    found = await core.store.select(selection)
    if len(found) > MAX_CHANGES:
        raise TooLarge(
            "batch_too_large",
            f"More than {MAX_CHANGES} events match; narrow it by time and make several.",
            limit=MAX_CHANGES,
        )
    changes = await _asked_of(tenant, query, found)
    return changes, len(found) - len(changes)


async def _asked_of(tenant: Tenant, query: Query, found: Sequence[StoredEvent]) -> list[Change]:
    """What a query does to events, some at a time: others want to be served as well."""
    changes: list[Change] = []
    for start in range(0, len(found), AT_ONCE):
        for stored in found[start : start + AT_ONCE]:
            change = _change(tenant, query, stored)
            if change is not None:
                changes.append(change)
        await asyncio.sleep(0)
    return changes


def _change(tenant: Tenant, query: Query, stored: StoredEvent) -> Change | None:
    """What a query does to one event; None for nothing."""
    change = Change(stored.seq, stored.event, stored.time)
    if query.patch is None:
        return change
    data = patched(stored.event.data, query.patch)
    made = checked(tenant, msgspec.structs.replace(change, data=data))
    assert made.data is not msgspec.UNSET, "an amendment has data"
    return None if same_data(made.data, stored.event.data) else made


async def commit(
    core: Core,
    ledger: Ledger,
    tenant: Tenant,
    query: Query,
    preview_id: str,
    *,
    reason: str,
    by: str,
) -> StoredCorrection:
    """
    Make what was previewed, or let it wait for a second person. Again: what it has become.

    Raises:
        Refused: `correction_changed`: one of the events was corrected since, or the query is not
            the one that was previewed.
    """
    async with core.lock(tenant):
        known = await core.books.run(core.books.books.correction, tenant.name, preview_id)
        if known is not None and known.status != REJECTED:
            return known
        position = position_of(preview_id)
        if position > core.committer.position:
            raise changed()
        changes, _ = await _changes(core, tenant, query, position)
        if not changes or correction_id(position, changes) != preview_id:
            raise changed()
        await _require_standing(core, tenant, changes)
        request = msgspec.to_builtins(query)
        one = new_record(
            core, tenant, preview_id, query.action, changes, by=by, reason=reason, request=request
        )
        return await _make_or_wait(core, ledger, tenant, one, changes)


async def _make_or_wait(
    core: Core, ledger: Ledger, tenant: Tenant, one: StoredCorrection, changes: Sequence[Change]
) -> StoredCorrection:
    moved = await moved_by(core, tenant, changes)
    if not needs_approval(tenant, one.events, moved):
        return await make(core, ledger, tenant, one, changes)
    waiting = msgspec.structs.replace(one, status=PENDING)
    entry = audit(
        tenant, one.made_at, one.made_by, f"events.{one.action}.proposed", one.id,
        reason=one.reason, events=one.events,
    )  # fmt: skip
    await core.books.run(core.books.books.put_correction, waiting, entry)
    return waiting


async def approve(
    core: Core, ledger: Ledger, tenant: Tenant, correction: str, *, by: str
) -> StoredCorrection:
    """
    Make a correction that waits for a second person.

    Raises:
        NotFound: There is none by that id.
        Denied: `four_eyes`: it is one's own.
        Refused: `correction_not_open`; `correction_changed`.
    """
    async with core.lock(tenant):
        one = await find_correction(core, tenant, correction)
        if one.status in (COMMITTED, REVERTED) and one.approved_by == by:
            return one
        if one.status != PENDING:
            raise Refused("correction_not_open", f"It is {one.status}; nothing is to be approved.")
        require_another(one, by)
        if one.reverts is not None:
            changes = await _inverse(core, tenant, await find_correction(core, tenant, one.reverts))
        else:
            query = msgspec.convert(one.request, Query)
            changes = await _asked_of(tenant, query, await _events(core, tenant, one.seqs))
            await _require_standing(core, tenant, changes)
        if tuple(change.seq for change in changes) != one.seqs:
            raise changed()
        one = msgspec.structs.replace(
            one, status=COMMITTING, approved_by=by, approved_at=core.clock.now()
        )
        made = await make(core, ledger, tenant, one, changes)
        await _note_reverted(core, tenant, made)
        return made


async def reject(
    core: Core, tenant: Tenant, correction: str, *, reason: str, by: str
) -> StoredCorrection:
    """
    Let a correction that waits for a second person not be made; who proposed it may do so as well.

    Raises:
        NotFound: There is none by that id.
        Refused: `correction_not_open`.
    """
    async with core.lock(tenant):
        one = await find_correction(core, tenant, correction)
        if one.status == REJECTED:
            return one
        if one.status != PENDING:
            raise Refused("correction_not_open", f"It is {one.status}; nothing is to be rejected.")
        one = msgspec.structs.replace(one, status=REJECTED)
        entry = audit(
            tenant, core.clock.now(), by, f"events.{one.action}.rejected", one.id, reason=reason
        )
        await core.books.run(core.books.books.put_correction, one, entry)
        return one


async def revert(
    core: Core, ledger: Ledger, tenant: Tenant, correction: str, *, reason: str, by: str
) -> StoredCorrection:
    """
    Undo a correction by further facts. Again: the correction that did it.

    Raises:
        NotFound: There is none by that id.
        Refused: `correction_not_open`: it was never made; `correction_changed`: what it made of an
            event was corrected since.
    """
    async with core.lock(tenant):
        one = await find_correction(core, tenant, correction)
        if one.reverted_by is not None:
            return await find_correction(core, tenant, one.reverted_by)
        if one.status != COMMITTED:
            raise Refused("correction_not_open", f"It is {one.status}; nothing is to be undone.")
        changes = await _inverse(core, tenant, one)
        record = new_record(
            core,
            tenant,
            correction_id(one.last, changes),
            "revert",
            changes,
            by=by,
            reason=reason,
            request={"revert": one.id},
            reverts=one.id,
        )
        known = await core.books.run(core.books.books.correction, tenant.name, record.id)
        if known is not None and known.status != REJECTED:
            return known  # it waits for a second person
        made = await _make_or_wait(core, ledger, tenant, record, changes)
        await _note_reverted(core, tenant, made)
        return made


async def _note_reverted(core: Core, tenant: Tenant, made: StoredCorrection) -> None:
    if made.reverts is None or made.status != COMMITTED:
        return
    one = await find_correction(core, tenant, made.reverts)
    undone = msgspec.structs.replace(one, status=REVERTED, reverted_by=made.id)
    await core.books.run(core.books.books.put_correction, undone)


async def _inverse(core: Core, tenant: Tenant, one: StoredCorrection) -> list[Change]:
    """
    What undoes a correction: of each event it was about, what it did is undone.

    Raises:
        Refused: `correction_changed`: it is no more as the correction left it.
    """
    own = range(one.first, one.last + 1)
    before = await _events(core, tenant, one.seqs)
    made = {
        stored.seq: stored
        for stored in await _events(
            core, tenant, [s.replaced_by for s in before if s.replaced_by in own]
        )
    }
    changes = []
    for stored in before:
        gone = stored.retracted_by in own
        new = made.get(stored.replaced_by or 0)
        if new is None and stored.replaced_by is None:
            changes.append(
                Change(stored.seq, stored.event, stored.time, retract=False, data=stored.event.data)
            )
        elif new is not None and new.retracted_by is None:
            data = stored.event.data if gone else msgspec.UNSET
            changes.append(Change(new.seq, new.event, new.time, data=data))
        else:
            raise changed()
    return changes


async def _events(core: Core, tenant: Tenant, seqs: Iterable[int | None]) -> list[StoredEvent]:
    """Events by seq, ascending, with what became of them by now."""
    wanted = tuple(sorted({seq for seq in seqs if seq is not None}))
    if not wanted:
        return []
    selection = Selection(
        tenant.name,
        await core.upto(),
        len(wanted),
        seqs=wanted,
        first=wanted[0],
        last=wanted[-1],
    )
    return await core.store.select(selection)


async def _require_standing(core: Core, tenant: Tenant, changes: Sequence[Change]) -> None:
    """Raise `correction_changed` if one of the events was taken back meanwhile."""
    found = await _events(core, tenant, [change.seq for change in changes])
    if any(stored.retracted_by is not None for stored in found):
        raise changed()
