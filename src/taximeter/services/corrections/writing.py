"""
Corrections written: checked like events, appended as one entry, and effective everywhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from taximeter.corrections.entry import entry_of
from taximeter.corrections.facts import MAX_CHANGES, Change, Why
from taximeter.errors import Rejected, TaximeterError, TooLarge
from taximeter.events.decode import decode
from taximeter.events.envelope import Event, Format
from taximeter.gate.effects import encode_effects
from taximeter.gate.reversal import reversals
from taximeter.services.core import Core
from taximeter.services.gate.ledger import Ledger
from taximeter.services.rebuild import begin_again, rebuild
from taximeter.services.tenant import Tenant

_encode = msgspec.json.Encoder(decimal_format="number").encode


class Written(NamedTuple):
    """The seqs of a correction's facts, from first to last."""

    first: int
    last: int


async def write(
    core: Core, ledger: Ledger, tenant: Tenant, changes: Sequence[Change], why: Why
) -> Written | None:
    """
    Append a correction and let everything follow: counters, gauges, credits, the store.

    Called under the lock of the namespace, so that history is folded for one change at a time.

    Args:
        changes: Durable events of this namespace, each once, checked by `checked`.

    Returns:
        When it is durable and every number is right; None, with nothing written, if one of the
        events was corrected meanwhile.

    Raises:
        Unavailable: Nothing was corrected; or it was, and the node is stopping.
    """
    assert 0 < len(changes) <= MAX_CHANGES
    facts = [fact for change in changes for fact in change.facts(why)]
    taken_back = [change.seq for change in changes if change.retract]
    rows = await ledger.caused_by(tenant.name, taken_back)
    given_back = reversals(
        ((row.customer, row.credit, row.transaction) for row in rows), taken_back
    )
    core.committer.admit()
    now = core.clock.now()
    step = core.sequencer.accept_correction(tenant, facts, given_back, now)
    if step is None:
        return None
    missing = begin_again(core, tenant, step.again) if step.again else None
    effects = encode_effects(step.effects) if step.effects else b""
    durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def done(error: TaximeterError | None) -> None:
        if not durable.done():
            durable.set_result(None) if error is None else durable.set_exception(error)

    core.committer.submit(entry_of(tenant.name, now, facts, effects), done)
    _tell(core, tenant, changes)
    await durable
    if missing is not None:
        await rebuild(core, tenant, missing, "correction")
    return Written(step.first_seq, step.first_seq + len(facts) - 1)


def _tell(core: Core, tenant: Tenant, changes: Sequence[Change]) -> None:
    if core.feed.watched(tenant.name):
        accounts = {tenant.live.by_subject.get(change.event.subject) for change in changes}
        for account in accounts:
            if account is not None:
                core.feed.changed(tenant, account.customer)


def checked(tenant: Tenant, change: Change) -> Change:
    """
    A change whose replacement is an event that could have been sent (K18).

    Raises:
        Rejected: What the sender of such an event would be told.
    """
    replacement = change.replacement
    if replacement is None:
        return change
    body = _encode({k: v for k, v in msgspec.structs.asdict(replacement).items() if v is not None})
    event = decode(body, Format.OBJECT).items[0]
    if not isinstance(event, Event):
        raise (TooLarge if event.code == "event_too_large" else Rejected)(event.code, event.detail)
    program = tenant.live.layout.programs.get(event.type)
    if program is not None:
        program.measure(event)
    return msgspec.structs.replace(change, data=event.data)
