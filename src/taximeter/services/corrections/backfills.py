"""
Imports of history: staged, looked at, committed, and taken back as a whole if need be.

What is staged counts nowhere. Committing sends it the way of every event, part by part in the order
it came, so identity (K11) sees to it that nothing is counted twice, whether it was there before or
the node stopped in the middle. How old an event may be has no bound (K16); events of periods that
are billed already are late events like any other.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from typing import Final, NamedTuple

import msgspec

from taximeter.corrections.facts import MAX_CHANGES, Change
from taximeter.corrections.query import correction_id
from taximeter.errors import Denied, NotFound, Refused, Rejected, TooLarge, Unavailable
from taximeter.events.decode import Decoded, decode
from taximeter.events.envelope import Event, Format, Rejection, Verdict
from taximeter.events.identity import identities
from taximeter.events.replay import stored_times
from taximeter.ports import BackfillPart, Selection, StoredBackfill, StoredEvent
from taximeter.services.core import Core, audit
from taximeter.services.corrections.approval import needs_approval
from taximeter.services.corrections.chain import event_at
from taximeter.services.corrections.effect import Added, Effect, effect_of
from taximeter.services.corrections.records import make, new_record
from taximeter.services.gate.ledger import Ledger
from taximeter.services.intake.admission import Arrival, Outcome, admit
from taximeter.services.intake.ingest import ingest
from taximeter.services.tenant import Tenant

MAX_STAGED_BYTES: Final = 4 * 1024**3
PARTS_AT_ONCE: Final = 8
EVENTS_AT_ONCE: Final = 500
PATIENCE_S: Final = 5.0
"""How long a commit or a revert is waited for before it is answered as on its way."""

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_FLAGS: Final = frozenset({"0", "1", "true", "false"})


class Staged(NamedTuple):
    """What became of the items of one request; `staged` of them wait in the backfill."""

    received: int
    staged: int
    duplicates: int
    errors: list[Rejection]


class Preview(NamedTuple):
    """
    Attributes:
        events: That would be counted.
        known: Staged ones that would not: they are in the log, or staged twice.
        unmatched: Of the events, those of subjects that nobody claims.
        first, last: Their earliest and latest instant; None without any.
    """

    events: int
    known: int
    unmatched: int
    first: int | None
    last: int | None
    effect: Effect


# --- open and stage -----------------------------------------------------------------------------


async def open_backfill(
    core: Core, tenant: Tenant, backfill_id: str, *, reason: str, by: str
) -> StoredBackfill:
    """
    Open a backfill; one that is there already is given as it is.

    Raises:
        Rejected: `invalid_request`: its id is no name.
    """
    if not _ID.fullmatch(backfill_id) or backfill_id.lower() in _FLAGS:
        raise Rejected("invalid_request", "A backfill's id is 1 to 128 letters, digits and . _ : -")
    now = core.clock.now()
    one = StoredBackfill(0, tenant.name, backfill_id, "open", reason, by, now)
    entry = audit(tenant, now, by, "backfill.open", backfill_id, reason=reason)
    await core.books.run(core.books.books.add_backfill, one, entry)
    return await find_backfill(core, tenant, backfill_id)


async def find_backfill(core: Core, tenant: Tenant, backfill_id: str) -> StoredBackfill:
    """
    Raises:
        NotFound: There is none by that id in this namespace.
    """
    found = await core.books.run(core.books.books.backfill, tenant.name, backfill_id)
    if found is None:
        raise NotFound("not_found", f"There is no backfill {backfill_id!r}; open it first.")
    return found


async def stage(core: Core, tenant: Tenant, backfill_id: str, body: bytes, form: Format) -> Staged:
    """
    Keep the events of a request for later, durably. Each is checked as if it were sent now.

    Raises:
        NotFound: No such backfill.
        Refused: `backfill_closed`.
        Rejected: Nothing in the body is an event.
        TooLarge: `body_too_large`: the backfill holds as much as it may.
    """
    one = await find_backfill(core, tenant, backfill_id)
    _require(one, "open")
    if one.bytes + len(body) > MAX_STAGED_BYTES:
        raise TooLarge(
            "body_too_large", "The backfill is full; commit it and open another.",
            limit=MAX_STAGED_BYTES,
        )  # fmt: skip
    now = core.clock.now()
    decoded = decode(body, form)
    arrival = Arrival(tenant, body, form, now, True, _nobody, decoded)
    admissible, errors = admit(arrival)
    keys, fingerprints = identities(tenant.seed, admissible.events, admissible.times)
    lines: list[bytes] = []
    duplicates = 0
    for row, place in enumerate(admissible.places):
        verdict, seq = core.sequencer.peek(keys[row : row + 1], fingerprints[row : row + 1])
        if verdict is Verdict.ACCEPTED:
            lines.append(_line(decoded, place))
        elif verdict is Verdict.DUPLICATE:
            duplicates += 1
        else:
            why = f"An event with this source and id but other content is at position 0:{seq}."
            event_id = admissible.events[row].id
            errors.append(Rejection(place, event_id, "event_conflict", why))
    if lines:
        part = BackfillPart(0, now, len(lines), b"\n".join(lines))
        books = core.books.books
        await core.books.run(books.add_backfill_part, tenant.name, backfill_id, part)
    errors.sort(key=lambda error: error.index)
    return Staged(len(decoded.items), len(lines), duplicates, errors)


def _line(decoded: Decoded, place: int) -> bytes:
    return decoded.raw(place).replace(b"\n", b" ")


def _nobody(_outcome: Outcome, _error: Exception | None) -> None:
    """Nothing is sequenced when something is staged."""


def _require(one: StoredBackfill, *statuses: str) -> None:
    if one.status not in statuses:
        raise Refused("backfill_closed", f"The backfill {one.id!r} is {one.status}.")


# --- look ---------------------------------------------------------------------------------------


async def preview(core: Core, tenant: Tenant, one: StoredBackfill) -> Preview:
    """What committing it would change."""
    count = unmatched = 0
    first: int | None = None
    last: int | None = None
    async for events in _fresh(core, tenant, one):
        count += len(events)
        unmatched += sum(event.subject not in tenant.live.by_subject for event, _ in events)
        times = [at for _, at in events]
        first = min([*times, *([] if first is None else [first])])
        last = max([*times, *([] if last is None else [last])])
    effect = await effect_of(core, tenant, await core.upto(), [], lambda: _fresh(core, tenant, one))
    return Preview(count, one.events - count, unmatched, first, last, effect)


async def _fresh(core: Core, tenant: Tenant, one: StoredBackfill) -> AsyncIterator[Added]:
    """Staged events that are new, each once, some at a time: others want to be served as well."""
    seen: set[tuple[str, str]] = set()
    async for part in _parts(core, one):
        if not part.body:
            continue
        events = decode(part.body, Format.LINES).events
        times = stored_times(events, part.received_at)
        keys, fingerprints = identities(tenant.seed, events, times)
        for start in range(0, len(events), EVENTS_AT_ONCE):
            found: list[tuple[Event, int]] = []
            for row in range(start, min(start + EVENTS_AT_ONCE, len(events))):
                event = events[row]
                verdict, _ = core.sequencer.peek(keys[row : row + 1], fingerprints[row : row + 1])
                name = (event.source, event.id)
                if verdict is Verdict.ACCEPTED and name not in seen:
                    seen.add(name)
                    found.append((event, times[row]))
            yield found
            await asyncio.sleep(0)


async def _parts(core: Core, one: StoredBackfill) -> AsyncIterator[BackfillPart]:
    after = 0
    while True:
        parts: Sequence[BackfillPart] = await core.books.run(
            core.books.books.backfill_parts,
            one.namespace,
            one.id,
            after=after,
            limit=PARTS_AT_ONCE,
        )
        for part in parts:
            yield part
        if len(parts) < PARTS_AT_ONCE:
            return
        after = parts[-1].number


# --- commit and revert --------------------------------------------------------------------------


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
        _require(one, "open")
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
        _require(one, "committed")
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
        core.keep(asyncio.create_task(_finish(core, ledger, core.tenant(one.namespace), one)))


async def _begun(core: Core, ledger: Ledger, tenant: Tenant, one: StoredBackfill) -> StoredBackfill:
    """Begin, and see whether it is done soon."""
    task = asyncio.create_task(_finish(core, ledger, tenant, one))
    core.keep(task)
    await asyncio.wait({task}, timeout=PATIENCE_S)
    if task.done():
        task.result()
    return await find_backfill(core, tenant, one.id)


async def _finish(core: Core, ledger: Ledger, tenant: Tenant, one: StoredBackfill) -> None:
    if one.status == "committing":
        async for part in _parts(core, one):
            if part.spans is None:
                await _send(core, tenant, one, part)
        done = "committed"
    else:
        async for part in _parts(core, one):
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
    outcome = await _accepted(core, tenant, part)
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


async def _accepted(core: Core, tenant: Tenant, part: BackfillPart) -> Outcome:
    while True:
        try:
            return await ingest(
                core, tenant, part.body, Format.LINES, lambda outcome: outcome,
                backfill=True, received_at=part.received_at,
            )  # fmt: skip
        except Unavailable as error:
            if error.code in ("storage_failed", "shutting_down"):
                raise
            await asyncio.sleep(error.retry_after_s)


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
