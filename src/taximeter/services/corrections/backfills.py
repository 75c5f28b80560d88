"""
Imports of history: opened, staged and looked at before they count (`carrying_out` has the rest).

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

from taximeter.errors import NotFound, Refused, Rejected, TooLarge
from taximeter.events.decode import Decoded, decode
from taximeter.events.envelope import Event, Format, Rejection, Verdict
from taximeter.events.identity import identities
from taximeter.events.replay import stored_times
from taximeter.ports import BackfillPart, StoredBackfill
from taximeter.services.core import Core, audit
from taximeter.services.corrections.effect import Added, Effect, effect_of
from taximeter.services.intake.admission import Arrival, Outcome, admit
from taximeter.services.tenant import Tenant

MAX_STAGED_BYTES: Final = 1024**3
PARTS_AT_ONCE: Final = 8
EVENTS_AT_ONCE: Final = 500
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
    require_status(one, "open")
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


def require_status(one: StoredBackfill, *statuses: str) -> None:
    """Raise `backfill_closed` if it is in none of these."""
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
    seen: set[bytes] = set()
    async for part in parts_of(core, one):
        if not part.body:
            continue
        events = decode(part.body, Format.LINES).events
        times = stored_times(events, part.received_at)
        keys, fingerprints = identities(tenant.seed, events, times)
        for start in range(0, len(events), EVENTS_AT_ONCE):
            found: list[tuple[Event, int]] = []
            for row in range(start, min(start + EVENTS_AT_ONCE, len(events))):
                key = keys[row].tobytes()
                verdict, _ = core.sequencer.peek(keys[row : row + 1], fingerprints[row : row + 1])
                if verdict is Verdict.ACCEPTED and key not in seen:
                    seen.add(key)
                    found.append((events[row], times[row]))
            yield found
            await asyncio.sleep(0)


async def parts_of(core: Core, one: StoredBackfill) -> AsyncIterator[BackfillPart]:
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
