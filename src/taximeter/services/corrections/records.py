"""
Each correction on record, with who and why, around its entry in the log.

The record says "committing" before the entry is written and "committed" after it. If the node stops
in between, the log decides at the next start: whether the first of its facts is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from taximeter.corrections.facts import SOURCE, Change, Why
from taximeter.errors import NotFound, Refused
from taximeter.events.envelope import Event, Verdict
from taximeter.events.identity import identities
from taximeter.ports import AuditEntry, StoredCorrection
from taximeter.services.core import Core, audit
from taximeter.services.corrections.writing import write
from taximeter.services.gate.ledger import Ledger
from taximeter.services.tenant import Tenant

PENDING: Final = "pending"
REJECTED: Final = "rejected"
COMMITTING: Final = "committing"
COMMITTED: Final = "committed"
REVERTED: Final = "reverted"


def new_record(
    core: Core,
    tenant: Tenant,
    correction_id: str,
    action: str,
    changes: Sequence[Change],
    *,
    by: str,
    reason: str,
    request: dict[str, Any],
    status: str = COMMITTING,
    reverts: str | None = None,
) -> StoredCorrection:
    """What is put on record of a correction before it is made."""
    return StoredCorrection(
        rank=0,
        namespace=tenant.name,
        id=correction_id,
        action=action,
        status=status,
        reason=reason,
        made_by=by,
        made_at=core.clock.now(),
        events=len(changes),
        request=request,
        seqs=tuple(change.seq for change in changes),
        reverts=reverts,
    )


async def find_correction(core: Core, tenant: Tenant, correction_id: str) -> StoredCorrection:
    """
    Raises:
        NotFound: There is none by that id in this namespace.
    """
    found = await core.books.run(core.books.books.correction, tenant.name, correction_id)
    if found is None:
        raise NotFound("not_found", f"There is no correction {correction_id!r}.")
    return found


async def make(
    core: Core, ledger: Ledger, tenant: Tenant, one: StoredCorrection, changes: Sequence[Change]
) -> StoredCorrection:
    """
    Write a correction into the log, on record. Called under the lock of the namespace.

    Raises:
        Refused: `correction_changed`: one of its events was corrected meanwhile.
    """
    books = core.books.books
    why = Why(one.id, one.made_by, one.reason)
    facts = [fact for change in changes for fact in change.facts(why)]
    begun = msgspec.structs.replace(
        one,
        status=COMMITTING,
        fact=facts[0].id,
        facts=len(facts),
        after=core.sequencer.position,
    )
    await core.books.run(books.put_correction, begun)
    written = await write(core, ledger, tenant, changes, why)
    if written is None:
        await core.books.run(books.drop_correction, tenant.name, one.id)
        raise changed()
    made = msgspec.structs.replace(begun, status=COMMITTED, first=written.first, last=written.last)
    await core.books.run(books.put_correction, made, made_entry(core, tenant, made))
    return made


async def settle_unfinished(core: Core) -> None:
    """At the start: whatever a crash left as "committing" is in the log, or was never made."""
    books = core.books.books
    for one in await core.books.run(books.unfinished_corrections):
        tenant = core.tenant(one.namespace)
        probe = Event(id=one.fact, type="?", subject="?", source=SOURCE)
        verdict, seq = core.sequencer.peek(*identities(tenant.seed, [probe]))
        if verdict is not Verdict.ACCEPTED and seq > one.after:
            made = msgspec.structs.replace(
                one, status=COMMITTED, first=seq, last=seq + one.facts - 1
            )
            await core.books.run(books.put_correction, made, made_entry(core, tenant, made))
        elif one.approved_by is not None:
            again = msgspec.structs.replace(one, status=PENDING, approved_by=None, approved_at=None)
            await core.books.run(books.put_correction, again)
        else:
            await core.books.run(books.drop_correction, one.namespace, one.id)


def made_entry(core: Core, tenant: Tenant, one: StoredCorrection) -> AuditEntry:
    """What the audit trail says of it."""
    detail = {"reason": one.reason, "events": one.events, "position": f"0:{one.last}"}
    if one.approved_by is not None:
        detail["approved_by"] = one.approved_by
    return audit(tenant, core.clock.now(), one.made_by, f"events.{one.action}", one.id, **detail)


def changed() -> Refused:
    return Refused(
        "correction_changed",
        "What it is about was corrected meanwhile, or is something else; preview it again.",
    )
