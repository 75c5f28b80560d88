"""
Events in: a request's items are decided, made durable, and answered with a verdict each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from taximeter.errors import TaximeterError, Unavailable
from taximeter.events.acceptance import IN_FUTURE
from taximeter.events.decode import decode
from taximeter.events.envelope import Format, Rejection, Verdict
from taximeter.events.identity import identities
from taximeter.instants import SECOND
from taximeter.ports import DeadLetter, StoredEvent
from taximeter.services.core import Core
from taximeter.services.intake.admission import Outcome
from taximeter.services.tenant import Tenant

T = TypeVar("T")

MAX_ERRORS_SHOWN = 1000


def ingest(
    core: Core,
    tenant: Tenant,
    body: bytes,
    form: Format,
    finish: Callable[[Outcome], T],
    *,
    backfill: bool = False,
    received_at: int | None = None,
) -> asyncio.Future[T]:
    """
    Take in the items of a body.

    Args:
        received_at: When that was; None for now.

    Returns:
        Resolves with `finish(outcome)` once all of it is durable, dead letters too; or raises
        `Rejected`: the body as a whole is no event.

    Raises:
        Unavailable: Nothing of it was counted or stored.
    """
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    received_at = core.clock.now() if received_at is None else received_at

    def answered(outcome: Outcome, error: Exception | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        elif outcome.rejected_bodies:
            tenant.rejections.extend(_rejected(outcome))
            core.feed.rejected(tenant, _rejected(outcome))
            keeping = _keep_rejected(core, tenant, outcome, received_at, future, finish)
            core.keep(asyncio.create_task(keeping))
        else:
            _resolve(future, finish, outcome)
        tenant.rate.add(received_at // SECOND, outcome.count(Verdict.ACCEPTED))

    core.sequencer.enqueue(tenant, body, form, received_at, answered, backfill=backfill)
    return future


async def _keep_rejected(
    core: Core,
    tenant: Tenant,
    outcome: Outcome,
    received_at: int,
    future: asyncio.Future[T],
    finish: Callable[[Outcome], T],
) -> None:
    letters = [
        DeadLetter(0, tenant.name, received_at, error.code, error.detail, body, error.id)
        for error, body in zip(_rejected(outcome), outcome.rejected_bodies, strict=True)
    ]
    try:
        await core.books.run(core.books.books.add_dead_letters, letters)
    except Exception as error:
        future.set_exception(error)
    else:
        _resolve(future, finish, outcome)


def _resolve(future: asyncio.Future[T], finish: Callable[[Outcome], T], outcome: Outcome) -> None:
    """Whatever is wrong with one answer, the others of its frame are given."""
    try:
        future.set_result(finish(outcome))
    except Exception as error:
        future.set_exception(error)


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


class Replayed(msgspec.Struct):
    """
    What became of dead letters.

    Attributes:
        next: The last one tried, if there may be more behind it.
    """

    tried: int = 0
    accepted: int = 0
    duplicates: int = 0
    failed: int = 0
    next: int | None = None


async def replay_dead_letters(
    core: Core, tenant: Tenant, *, code: str | None = None, after: int = 0, limit: int = 1000
) -> Replayed:
    """
    Offer pending dead letters again, as a backfill, oldest first. What is accepted now, or was
    accepted meanwhile, is marked replayed; what fails again stays as it is.

    Args:
        code: Only those rejected for this reason.
        after: Only those with a greater id.
        limit: Try at most so many.
    """
    result = Replayed()
    done: list[int] = []
    pending = await _pending(core, tenant, code, after, limit)
    for letter in pending:
        verdict = await _offer(core, tenant, letter)
        result.tried += 1
        if verdict is Verdict.ACCEPTED or verdict is Verdict.DUPLICATE:
            done.append(letter.id)
            result.accepted += verdict is Verdict.ACCEPTED
            result.duplicates += verdict is Verdict.DUPLICATE
        else:
            result.failed += 1
    if done:
        await core.books.run(core.books.books.mark_replayed, done, core.clock.now())
    if len(pending) == limit:
        result.next = pending[-1].id
    return result


async def _pending(
    core: Core, tenant: Tenant, code: str | None, after: int, limit: int
) -> list[DeadLetter]:
    found: list[DeadLetter] = []
    while len(found) < limit:
        page = await core.books.run(
            core.books.books.dead_letters, tenant.name, after=after, limit=limit, pending=True
        )
        found += [letter for letter in page if code in (None, letter.code)]
        if len(page) < limit:
            break
        after = page[-1].id
    return found[:limit]


async def _offer(core: Core, tenant: Tenant, letter: DeadLetter) -> Verdict:
    # Without a time of its own it happened when it was received. One from the future has a time,
    # and is held against the present one.
    at = core.clock.now() if letter.code == IN_FUTURE else letter.received_at
    decided: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def answered(outcome: Outcome, error: Exception | None) -> None:
        if decided.done():
            return
        if error is None:
            decided.set_result(outcome)
        else:
            decided.set_exception(error)

    try:
        core.sequencer.enqueue(tenant, letter.body, Format.OBJECT, at, answered, backfill=True)
        outcome = await decided
    except Unavailable:
        raise
    except TaximeterError:
        return Verdict.REJECTED
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
    if not await core.committer.settled(seq):
        return None
    return await core.store.find(tenant.name, seq)


def _quoted(text: str) -> bytes:
    return msgspec.json.encode(text)
