"""
Events in: a request's items are decided, made durable, and answered with a verdict each.
"""

from __future__ import annotations

import asyncio
from typing import Any

from taximeter.errors import TaximeterError
from taximeter.events.decode import decode
from taximeter.events.envelope import Format, Rejection, Verdict
from taximeter.events.identity import identities
from taximeter.instants import SECOND
from taximeter.ports import DeadLetter, StoredEvent
from taximeter.services.core import Core
from taximeter.services.sequencer import Outcome
from taximeter.services.tenant import Tenant

MAX_ERRORS_SHOWN = 1000


def ingest(
    core: Core, tenant: Tenant, body: bytes, form: Format, *, backfill: bool = False
) -> tuple[Outcome, asyncio.Future[Any]]:
    """
    Decide every item now; the future resolves when all is durable, dead letters too.

    Raises:
        Rejected: The body as a whole is no event.
        Unavailable: Nothing of it was counted or stored.
    """
    received_at = core.clock.now()
    outcome = core.sequencer.ingest(tenant, body, form, received_at, backfill=backfill)
    tenant.rate.add(received_at // SECOND, outcome.count(Verdict.ACCEPTED))
    if not outcome.rejected_bodies:
        return outcome, outcome.durable
    tenant.rejections.extend(_rejected(outcome))
    kept = asyncio.ensure_future(_keep_rejected(core, tenant, outcome, received_at))
    return outcome, kept


async def _keep_rejected(core: Core, tenant: Tenant, outcome: Outcome, received_at: int) -> int:
    letters = [
        DeadLetter(0, tenant.name, received_at, error.code, error.detail, body, error.id)
        for error, body in zip(_rejected(outcome), outcome.rejected_bodies, strict=True)
    ]
    position = await outcome.durable
    await core.books.run(core.books.books.add_dead_letters, letters)
    return position


def _rejected(outcome: Outcome) -> list[Rejection]:
    rejected = Verdict.REJECTED.value
    return [error for error in outcome.errors if outcome.verdicts[error.index] == rejected]


def answer(outcome: Outcome, *, receipts: bool = False) -> dict[str, Any]:
    """What the sender is told, once it is durable."""
    result: dict[str, Any] = {
        "received": len(outcome.verdicts),
        "accepted": outcome.count(Verdict.ACCEPTED),
        "duplicates": outcome.count(Verdict.DUPLICATE),
        "conflicts": outcome.count(Verdict.CONFLICT),
        "rejected": outcome.count(Verdict.REJECTED),
        "position": f"0:{outcome.position}",
        "errors": outcome.errors[:MAX_ERRORS_SHOWN],
    }
    if receipts:
        result["receipts"] = [
            {
                "index": index,
                "status": Verdict(verdict).name.lower(),
                "position": f"0:{seq}" if seq else None,
            }
            for index, (verdict, seq) in enumerate(zip(outcome.verdicts, outcome.seqs, strict=True))
        ]
    return result


async def replay_dead_letters(
    core: Core, tenant: Tenant, *, code: str | None = None, limit: int = 1000
) -> dict[str, int]:
    """
    Offer pending dead letters again, as a backfill, oldest first. What is accepted now, or was
    accepted meanwhile, is marked replayed; what fails again stays as it is.
    """
    counts = {"tried": 0, "accepted": 0, "duplicates": 0, "failed": 0}
    pending = await core.books.run(
        core.books.books.dead_letters, tenant.name, after=0, limit=limit, pending=True
    )
    done: list[int] = []
    for letter in pending:
        if code is not None and letter.code != code:
            continue
        counts["tried"] += 1
        verdict = await _offer(core, tenant, letter)
        if verdict is Verdict.ACCEPTED or verdict is Verdict.DUPLICATE:
            done.append(letter.id)
            counts["accepted" if verdict is Verdict.ACCEPTED else "duplicates"] += 1
        else:
            counts["failed"] += 1
    if done:
        await core.books.run(core.books.books.mark_replayed, done, core.clock.now())
    return counts


async def _offer(core: Core, tenant: Tenant, letter: DeadLetter) -> Verdict:
    try:
        outcome = core.sequencer.ingest(
            tenant, letter.body, Format.OBJECT, core.clock.now(), backfill=True
        )
    except TaximeterError:
        return Verdict.REJECTED
    await outcome.durable
    return Verdict(outcome.verdicts[0])


async def find_receipt(
    core: Core, tenant: Tenant, source: str, event_id: str
) -> StoredEvent | None:
    """The accepted event with this identity, or None."""
    probe = decode(
        b'{"id":%s,"source":%s,"type":"?","subject":"?"}' % (_quoted(event_id), _quoted(source)),
        Format.OBJECT,
    )
    keys, fingerprints = identities(tenant.seed, probe.events)
    verdict, seq = core.sequencer.peek(keys, fingerprints)
    if verdict is Verdict.ACCEPTED:
        return None
    await core.committer.durable(seq)
    return await core.store.find(tenant.name, seq)


def _quoted(text: str) -> bytes:
    import msgspec

    return msgspec.json.encode(text)
