"""
Bringing history into counters that began in the middle: a new meter, a new subscription, a subject
that is claimed, a start without a usable snapshot.

Counting goes on meanwhile. The history up to a fixed position is folded elsewhere, slice by slice,
and merged when it arrives. Until it has, the accounts concerned are marked: a hard limit is not
decided by them, a fare is recounted instead, and a snapshot leaves them out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec

from taximeter.errors import Unavailable
from taximeter.instants import format_instant
from taximeter.live.account import Account, Lane
from taximeter.live.refold import FoldAccount, Folded, FoldSpec
from taximeter.meters.cells import Layout
from taximeter.meters.counter import Counter
from taximeter.services.core import Core
from taximeter.services.tenant import Tenant

logger = logging.getLogger(__name__)
T = TypeVar("T")

SLICE_EVENTS = 500_000


class Rebuild(msgspec.Struct, frozen=True, eq=False):
    """
    History that is missing.

    Attributes:
        accounts: Whose, by customer.
        births: Which counters, as `LiveState.births` had them.
        upto: The position up to which it is missing; later events are counted as they come.
        missing: The mark on the accounts.
    """

    accounts: dict[str, Account]
    counters: tuple[Counter, ...]
    births: dict[str, int]
    upto: int
    missing: frozenset[str]


def begin_rebuild(
    core: Core,
    tenant: Tenant,
    customers: Iterable[str],
    counters: Sequence[Counter],
    *,
    upto: int | None = None,
) -> Rebuild:
    """
    Mark accounts whose history is missing, in the same step that made it missing.

    Args:
        upto: Up to where it is missing; None for all that was sequenced so far.
    """
    missing = frozenset(counter.key for counter in counters)
    accounts = {key: tenant.live.accounts[key] for key in customers}
    for account in accounts.values():
        account.rebuilding += (missing,)
    births = {counter.key: tenant.live.births[counter.key] for counter in counters}
    position = core.sequencer.position if upto is None else upto
    return Rebuild(accounts, tuple(counters), births, position, missing)


def begin_again(
    core: Core, tenant: Tenant, customers: Iterable[str], *, upto: int | None = None
) -> Rebuild:
    """Empty the accounts of customers, and mark them: all of their history is folded again."""
    keys = sorted(customers)
    for key in keys:
        tenant.reset_account(key).seen = True
    return begin_rebuild(core, tenant, keys, tenant.live.layout.counters, upto=upto)


def mark_history(
    core: Core, tenant: Tenant, added: Sequence[Counter], *, but: str | None = None
) -> Rebuild | None:
    """
    Mark everybody whose history new counters lack.

    Args:
        but: A customer who is taken care of.

    Returns:
        None if there is no such history.
    """
    accounts = tenant.live.accounts
    customers = [key for key, account in accounts.items() if account.seen and key != but]
    if not (added and customers):
        return None
    return begin_rebuild(core, tenant, customers, added)


def mark(core: Core, tenant: Tenant, key: str, has_history: bool) -> Rebuild | None:
    """Mark a fresh account that had counted something before, or would have."""
    tenant.live.accounts[key].seen = has_history
    if not has_history:
        return None
    return begin_rebuild(core, tenant, [key], tenant.live.layout.counters)


async def rebuild(core: Core, tenant: Tenant, missing: Rebuild, reason: str) -> None:
    """
    Fold events 1 to `missing.upto` into these counters of these customers.

    If an account is replaced meanwhile (its subscription changed), or a counter is dropped and
    wanted again, whoever did that folds the history again, so what arrives here is passed over.
    If the history cannot be had, the accounts stay marked.
    """
    progress: dict[str, Any] = {
        "namespace": tenant.name,
        "reason": reason,
        "customers": len(missing.accounts),
        "meters": sorted({counter.meter.key for counter in missing.counters}),
        "started_at": format_instant(core.clock.now()),
        "position": "0:0",
        "upto": f"0:{missing.upto}",
    }
    core.rebuilds.append(progress)
    try:
        await core.committer.durable(missing.upto)
        if missing.counters and missing.accounts:
            for after in range(0, missing.upto, SLICE_EVENTS):
                end = min(after + SLICE_EVENTS, missing.upto)
                facts = _facts(tenant, missing.accounts)
                spec = FoldSpec(
                    tenant.name, after, end, missing.counters, facts, corrected=missing.upto
                )
                _merge(tenant, missing, await _ask(partial(core.store.fold, spec)))
                progress["position"] = f"0:{end}"
    except Exception:
        logger.exception("history stays missing: %s", reason)
        raise
    finally:
        core.rebuilds.remove(progress)
    for account in missing.accounts.values():
        marks = list(account.rebuilding)
        marks.remove(missing.missing)
        account.rebuilding = tuple(marks)
    core.changed.set()


async def fill(core: Core, tenant: Tenant, missing: Rebuild | None, reason: str) -> None:
    """Bring the history that a fresh account lacks, if it lacks any."""
    if missing is None:
        core.changed.set()
    else:
        await rebuild(core, tenant, missing, reason)


async def _ask(question: Callable[[], Awaitable[T]]) -> T:
    """The store is asked until it answers: without its history the counters would stay wrong."""
    while True:
        try:
            return await question()
        except Unavailable as error:
            if error.code == "shutting_down":
                raise
            logger.warning("history will be asked for again: %s", error.message)
            await asyncio.sleep(error.retry_after_s)


def _merge(tenant: Tenant, missing: Rebuild, folded: Folded) -> None:
    layout = Layout(missing.counters)
    births = tenant.live.births
    kept = {key for key, birth in missing.births.items() if births.get(key) == birth}
    for customer, lanes in folded.items():
        if tenant.live.accounts.get(customer) is missing.accounts[customer]:
            history = [
                {start: layout.load_cells(dumped) for start, dumped in periods.items()}
                for periods in lanes
            ]
            tenant.live.merge(customer, history, layout, kept)


async def recount_subjects(
    core: Core, tenant: Tenant, customers: Iterable[str], given_up: Iterable[str], upto: int
) -> None:
    """
    After subjects changed hands: who has events, and how many events nobody claims any more.

    Args:
        customers: Those whose subjects changed.
        given_up: Subjects they had.
        upto: The position up to which neither was counted by the fold.
    """
    live = tenant.live
    claimed = {s: live.accounts[c] for c in customers for s in tenant.customers[c].all_subjects}
    await core.committer.durable(upto)
    counts = await _ask(
        lambda: core.store.count_by_subject(tenant.name, upto, (*claimed, *given_up))
    )
    for subject, account in claimed.items():
        account.seen = account.seen or subject in counts
    for subject in given_up:
        if subject in counts and subject not in live.by_subject:
            live.unmatched[subject] = live.unmatched.get(subject, 0) + counts[subject]


def _facts(tenant: Tenant, accounts: Mapping[str, Account]) -> tuple[FoldAccount, ...]:
    return tuple(
        FoldAccount(
            tenant.customers[key],
            tuple(Lane(lane.subscription, lane.schedule) for lane in account.lanes),
        )
        for key, account in accounts.items()
    )
