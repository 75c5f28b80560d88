"""
Backfills carried out: what is staged is sent the way of every event, what came of it taken back.

Both go on where a stop of the node ended them: a part is sent again, and identity finds what is
there; a span is looked at again, and what is retracted is passed over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

import msgspec

from taximeter.corrections.facts import MAX_CHANGES, Change
from taximeter.corrections.query import correction_id
from taximeter.errors import Denied, Unavailable
from taximeter.events.envelope import Format, Verdict
from taximeter.ports import BackfillPart, Selection, StoredBackfill, StoredEvent
from taximeter.services.core import Core, audit
from taximeter.services.corrections.approval import needs_approval
from taximeter.services.corrections.backfills import find_backfill, parts_of, require_status
from taximeter.services.corrections.chain import event_at
from taximeter.services.corrections.records import make, new_record
from taximeter.services.gate.ledger import Ledger
from taximeter.services.intake.ingest import ingest
from taximeter.services.tenant import Tenant

logger = logging.getLogger(__name__)

PATIENCE_S: Final = 5.0
"""How long a commit or a revert is waited for before it is answered as on its way."""


async def commit(
    core: Core, ledger: Ledger, tenant: Tenant, backfill_id: str, *, by: str
) -> StoredBackfill:
    """
    Let what is staged count. Again: how far it is.

    Raises:
        NotFound: No such backfill.
        Denied: `four_eyes`: of this size, somebody else than who opened it commits it.
        Refused: `backfill_closed`: it was taken back.
    """
    async with core.lock(tenant):
        one = await find_backfill(core, tenant, backfill_id)
        if one.status in ("committing", "committed"):
            return one
        require_status(one, "open")
        _require_another(tenant, one, by)
        now = core.clock.now()
        one = msgspec.structs.replace(one, status="committing", committed_by=by, committed_at=now)
        entry = audit(tenant, now, by, "backfill.commit", one.id, events=one.events)
        await core.books.run(core.books.books.update_backfill, one, entry)
    return await _begun(core, ledger, tenant, one)


async def revert(
    core: Core, ledger: Ledger, tenant: Tenant, backfill_id: str, *, reason: str, by: str
) -> StoredBackfill:
    """
    Take back everything that it brought. Again: how far that is.

    Raises:
        NotFound: No such backfill.
        Denied: `four_eyes`: of this size, somebody else than who committed it takes it back.
        Refused: `backfill_closed`: it was not committed yet.
    """
    async with core.lock(tenant):
        one = await find_backfill(core, tenant, backfill_id)
        if one.status in ("reverting", "reverted"):
            return one
        require_status(one, "committed")
        if needs_approval(tenant, one.accepted, {}) and by == one.committed_by:
            raise Denied("four_eyes", "Who committed a backfill of this size does not revert it.")
        now = core.clock.now()
        one = msgspec.structs.replace(one, status="reverting", reverted_by=by, reverted_at=now)
        entry = audit(tenant, now, by, "backfill.revert", one.id, reason=reason)
        await core.books.run(core.books.books.update_backfill, one, entry)
    return await _begun(core, ledger, tenant, one)


def _require_another(tenant: Tenant, one: StoredBackfill, by: str) -> None:
    if needs_approval(tenant, one.events, {}) and by == one.made_by:
        raise Denied("four_eyes", "Who opened a backfill of this size does not commit it.")


async def go_on(core: Core, ledger: Ledger) -> None:
    """At the start: finish what was on its way."""
    for one in await core.books.run(core.books.books.unfinished_backfills):
        _begin(core, ledger, core.tenant(one.namespace), one)


async def _begun(core: Core, ledger: Ledger, tenant: Tenant, one: StoredBackfill) -> StoredBackfill:
    """Begin, and see whether it is done soon."""
    task = _begin(core, ledger, tenant, one)
    await asyncio.wait({task}, timeout=PATIENCE_S)
    if task.done():
        task.result()
    return await find_backfill(core, tenant, one.id)


def _begin(core: Core, ledger: Ledger, tenant: Tenant, one: StoredBackfill) -> asyncio.Task[None]:
    task = asyncio.create_task(_persist(core, ledger, tenant, one))
    core.keep(task)
    return task


async def _persist(core: Core, ledger: Ledger, tenant: Tenant, one: StoredBackfill) -> None:
    """Until it is finished, or the node has to be started again, which goes on with it."""
    while True:
        try:
            return await _finish(core, ledger, tenant, one)
        except Unavailable as error:
            logger.warning("backfill %s waits: %s", one.id, error.message)
            if error.code in ("storage_failed", "shutting_down"):
                raise
            await asyncio.sleep(error.retry_after_s)
        except Exception:
            logger.exception("backfill %s stopped; it goes on at the next start", one.id)
            raise


async def _finish(core: Core, ledger: Ledger, tenant: Tenant, one: StoredBackfill) -> None:
    if one.status == "committing":
        async for part in parts_of(core, one):
            if part.spans is None:
                await _send(core, tenant, one, part)
        done = "committed"
    else:
        async for part in parts_of(core, one):
            for first, last in part.spans or ():
                await _take_back(core, ledger, tenant, one, first, last)
        done = "reverted"
    one = await find_backfill(core, tenant, one.id)
    one = msgspec.structs.replace(one, status=done)
    await core.books.run(core.books.books.update_backfill, one)


async def _send(core: Core, tenant: Tenant, one: StoredBackfill, part: BackfillPart) -> None:
    """Send a part the way of every event; again after a crash, which finds what is there."""
    books = core.books.books
    if part.sent_from is None:
        part = msgspec.structs.replace(part, sent_from=core.sequencer.position)
        await core.books.run(books.update_backfill_part, one.namespace, one.id, part)
    assert part.sent_from is not None
    outcome = await ingest(
        core, tenant, part.body, Format.LINES, lambda outcome: outcome,
        backfill=True, received_at=part.received_at,
    )  # fmt: skip
    # What is known and lies behind `sent_from` came from an attempt that a crash ended.
    own = [
        seq
        for verdict, seq in zip(outcome.verdicts, outcome.seqs, strict=True)
        if verdict == Verdict.ACCEPTED.value
        or (verdict == Verdict.DUPLICATE.value and seq > part.sent_from)
    ]
    spans = _spans(own)
    part = msgspec.structs.replace(part, body=b"", spans=spans)
    await core.books.run(books.update_backfill_part, one.namespace, one.id, part)
    known = await find_backfill(core, tenant, one.id)
    accepted = sum(last - first + 1 for first, last in spans)
    rejected = outcome.count(Verdict.REJECTED) + outcome.count(Verdict.CONFLICT)
    counted = msgspec.structs.replace(
        known,
        accepted=known.accepted + accepted,
        rejected=known.rejected + rejected,
        duplicates=known.duplicates + part.events - accepted - rejected,
    )
    await core.books.run(books.update_backfill, counted)


def _spans(seqs: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Runs of numbers without a gap, as (first, last)."""
    runs: list[tuple[int, int]] = []
    for seq in sorted(set(seqs)):
        if runs and seq == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], seq)
        else:
            runs.append((seq, seq))
    return tuple(runs)


async def _take_back(
    core: Core, ledger: Ledger, tenant: Tenant, one: StoredBackfill, first: int, last: int
) -> None:
    """Take back the events of a span, and whatever stands in for them."""
    while first <= last:
        async with core.lock(tenant):
            upto = await core.upto()
            found = await core.store.select(
                Selection(tenant.name, upto, MAX_CHANGES, first=first, last=last)
            )
            if not found:
                return
            changes = [
                Change(standing.seq, standing.event, standing.time)
                for stored in found
                if (standing := await _standing(core, tenant, stored)) is not None
            ]
            if changes:
                record = new_record(
                    core,
                    tenant,
                    correction_id(upto, changes),
                    "retract",
                    changes,
                    by=one.reverted_by or one.made_by,
                    reason=f"backfill {one.id} is taken back",
                    request={"backfill": one.id},
                )
                await make(core, ledger, tenant, record, changes)
            first = found[-1].seq + 1


async def _standing(core: Core, tenant: Tenant, stored: StoredEvent) -> StoredEvent | None:
    """What counts for an event now, if anything does."""
    one: StoredEvent | None = stored
    while one is not None and one.retracted_by is not None:
        one = None if one.replaced_by is None else await event_at(core, tenant, one.replaced_by)
    return one
