"""
What follows when a rule has fired.

That it fired, and what it blocks or throttles, is part of the event's own entry in the log. The
rest is done here once that entry is on disk: the notice, the record with its audit lines, the
review, the change of plan. Each has a name that follows from rule and event, so that after a crash
all of it can be done again without being done twice. No snapshot knows of a fire that is not
recorded, so replaying the tail of the log always finds what is missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Any, Final

from msgspec.structs import replace

from taximeter.catalog.rules import Rule
from taximeter.errors import Refused, TaximeterError, Unavailable
from taximeter.gate.effects import Fire
from taximeter.instants import DAY, format_instant
from taximeter.live.state import Fired
from taximeter.notices.notice import RULE_FIRED
from taximeter.ports import AuditEntry, RuleFire
from taximeter.quantities import format_quantity
from taximeter.rules.watcher import author
from taximeter.services.core import Core, audit
from taximeter.services.notices.service import publish
from taximeter.services.subscriptions.service import Change, change
from taximeter.services.tenant import Tenant

logger = logging.getLogger(__name__)

DONE: Final = "done"
DRY_RUN: Final = "dry_run"
PENDING: Final = "pending"
FIRES_PER_WRITE: Final = 500
SETTLE_S: Final = 1.0
POLL_S: Final = 0.005
TRY_AGAIN_S: Final = 1.0
LAST_WORDS_S: Final = 2.0
DRY_FIRES_KEPT: Final = 90 * DAY
FORGET_EVERY_S: Final = 3600.0

_Taken = tuple[Tenant, Fired]


class RuleService:
    """
    Attributes:
        fires: (namespace, rule, mode) -> how many were recorded since the start.
        open_reviews: By namespace.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self.fires: dict[tuple[str, str, str], int] = {}
        self.open_reviews: dict[str, int] = {}
        self._has_pending = True  # a crash may have left some
        self._woken = asyncio.Event()
        self._recording = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Do first what a crash may have left undone."""
        await self.count_reviews()
        self._core.sequencer.on_fired = self._woken.set
        self._woken.set()
        self._tasks = [asyncio.create_task(self._work()), asyncio.create_task(self._forget())]

    async def stop(self) -> None:
        """Record what has fired; what cannot be recorded now is found again in the log."""
        self._core.sequencer.on_fired = None
        with contextlib.suppress(TaximeterError, TimeoutError):
            await asyncio.wait_for(self.catch_up(), LAST_WORDS_S)
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def catch_up(self) -> None:
        """
        Record everything that has fired until now.

        Raises:
            Unavailable: It cannot be recorded; it is kept for the next time.
        """
        async with self._recording:
            while taken := self._take():
                try:
                    if not self._tasks:
                        raise Unavailable("shutting_down", "Fires of rules are no longer recorded.")
                    await self._record(taken)
                except BaseException:
                    for tenant, fired in reversed(taken):
                        tenant.live.fired.insert(0, fired)
                    raise

    async def settle(self) -> None:
        """
        Let what has just fired be recorded, for who wants to read of it. While the disk takes
        nothing, reading goes on without it.
        """
        deadline = time.monotonic() + SETTLE_S
        while self._is_behind and time.monotonic() < deadline:
            await asyncio.sleep(POLL_S)

    @property
    def _is_behind(self) -> bool:
        waiting = any(tenant.live.fired for tenant in self._core.tenants.values())
        return waiting or self._recording.locked()

    async def _work(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            try:
                await self.catch_up()
                await self._change_plans()
            except Exception as error:
                if not isinstance(error, TaximeterError):
                    logger.exception("what follows from a rule was not done")
                else:
                    logger.warning("what follows from a rule is put off: %s", error.message)
                await asyncio.sleep(TRY_AGAIN_S)
                self._woken.set()

    def _take(self) -> list[_Taken]:
        taken: list[_Taken] = []
        for tenant in self._core.tenants.values():
            waiting = tenant.live.fired
            room = FIRES_PER_WRITE - len(taken)
            taken += [(tenant, fired) for fired in waiting[:room]]
            del waiting[:room]
        return taken

    # --- recording --------------------------------------------------------------------------

    async def _record(self, taken: list[_Taken]) -> None:
        # Nobody is told of an event that a crash could still take back.
        await self._core.committer.flushed()
        recorded: list[tuple[RuleFire, list[AuditEntry]]] = []
        for tenant, fired in taken:
            rule = tenant.catalogs[fired.fire.version].rules[fired.fire.rule]
            row = _row(tenant, rule, fired)
            if row.mode != DRY_RUN and rule.actions.notify:
                data = notice_data(rule, row)
                publish(self._core, tenant, RULE_FIRED, row.customer, data, f"rule:{row.id}")
            recorded.append((row, _audits(tenant, rule, fired, row)))
        # A notice is in the books before the fire is, or a crash between would lose it.
        if self._core.notices is not None:
            await self._core.notices.settled()
        fresh = await self._core.books.run(self._core.books.books.add_fires, recorded)
        for row, _ in recorded:
            if row.id in fresh:
                key = (row.namespace, row.rule, row.mode)
                self.fires[key] = self.fires.get(key, 0) + 1
        self._has_pending |= any(row.pending for row, _ in recorded)
        if any(row.review for row, _ in recorded):
            await self.count_reviews()

    async def count_reviews(self) -> None:
        """After one was opened or closed."""
        books = self._core.books
        self.open_reviews = await books.run(books.books.open_reviews)

    # --- changes of plan --------------------------------------------------------------------

    async def _change_plans(self) -> None:
        books = self._core.books
        while self._has_pending:
            self._has_pending = False
            try:
                for fire in await books.run(books.books.pending_fires):
                    await self._conclude(fire, await self._change_plan(fire))
            except BaseException:
                self._has_pending = True
                raise

    async def _conclude(self, fire: RuleFire, outcome: str) -> None:
        tenant, now = self._core.tenant(fire.namespace), self._core.clock.now()
        done = replace(fire, outcomes=fire.outcomes | {"change_plan": outcome}, pending=False)
        entry = _audit(tenant, fire, "change_plan", now, outcome=outcome)
        await self._core.books.run(self._core.books.books.conclude_fire, done, entry)

    async def _change_plan(self, fire: RuleFire) -> str:
        """What came of it; a crash after it was made finds it made."""
        core, tenant = self._core, self._core.tenant(fire.namespace)
        rule = tenant.catalogs[fire.version].rules[fire.rule]
        wanted = rule.actions.change_plan
        assert wanted is not None, "it is pending"
        now = core.clock.now()
        reason = f"{author(rule.key)} ({fire.id})"
        running = [one for one in tenant.of_customer(fire.customer) if one.runs_at(now)]
        for subscription in running:
            books = core.books
            made = await books.run(books.books.subscription_revisions, tenant.name, subscription.id)
            if any(revision.detail.get("reason") == reason for revision in made):
                return DONE
        of_plans = [
            one for one in running if not rule.plans or one.segment_at(now).plan in rule.plans
        ]
        if not of_plans:
            return "failed: the customer has no subscription that the rule concerns"
        step = Change(at=wanted.at, plan=wanted.to, reason=reason)
        try:
            await change(core, tenant, of_plans[0].id, step, author(rule.key))
        except Unavailable:
            raise
        except Refused as error:
            return "unchanged" if error.code == "subscription_unchanged" else _failed(error)
        except TaximeterError as error:
            return _failed(error)
        return DONE

    async def _forget(self) -> None:
        """What was only tried out is not kept for ever; what was done is."""
        while True:
            before = self._core.clock.now() - DRY_FIRES_KEPT
            try:
                await self._core.books.run(self._core.books.books.forget_dry_fires, before)
            except TaximeterError as error:
                logger.warning("old dry runs were not removed: %s", error.message)
            await asyncio.sleep(FORGET_EVERY_S)


def fire_id(fire: Fire) -> str:
    return f"{fire.rule}@{fire.version}:{fire.seq}"


def notice_data(rule: Rule, fire: RuleFire) -> dict[str, Any]:
    """Members of a `rule.fired` notice."""
    over = rule.over
    return {
        "customer": fire.customer,
        "rule": fire.rule,
        "catalog_version": fire.version,
        "fire": fire.id,
        "event": fire.event,
        "position": f"0:{fire.seq}",
        "actions": list(rule.actions.names),
        "reason": rule.reason or None,
        "by": None if over is None else over.by,
        "value": fire.value or None,
        "observed": fire.observed,
        "more_than": None if over is None else format_quantity(over.more_than_pico),
    }


def _row(tenant: Tenant, rule: Rule, fired: Fired) -> RuleFire:
    fire, actions = fired.fire, rule.actions
    outcomes = dict.fromkeys(actions.names, DRY_RUN if fire.dry else DONE)
    for one in () if fire.dry else fire.imposed:
        if one.until is not None:
            outcomes[type(one).__name__.lower()] = f"until {format_instant(one.until)}"
    is_pending = actions.change_plan is not None and not fire.dry
    if is_pending:
        outcomes["change_plan"] = PENDING
    return RuleFire(
        rank=0,
        namespace=tenant.name,
        id=fire_id(fire),
        rule=fire.rule,
        version=fire.version,
        seq=fire.seq,
        customer=fire.customer,
        value=fire.value,
        event=fire.event,
        event_at=fire.at,
        at=fired.at,
        mode=DRY_RUN if fire.dry else "on",
        observed=None if fire.observed_pico is None else format_quantity(fire.observed_pico),
        outcomes=outcomes,
        pending=is_pending,
        review="open" if actions.review and not fire.dry else None,
    )


def _audits(tenant: Tenant, rule: Rule, fired: Fired, row: RuleFire) -> list[AuditEntry]:
    """A line for each action; that of a change of plan says what came of it, so it comes later."""
    if fired.fire.dry:
        return []
    return [
        _audit(tenant, row, name, fired.at, outcome=row.outcomes[name])
        for name in rule.actions.names
        if name != "change_plan"
    ]


def _audit(tenant: Tenant, fire: RuleFire, action: str, at: int, **detail: str) -> AuditEntry:
    return audit(
        tenant,
        at,
        author(fire.rule),
        f"rule.{action}",
        fire.customer,
        rule=fire.rule,
        catalog_version=fire.version,
        fire=fire.id,
        event=fire.event,
        position=f"0:{fire.seq}",
        **detail,
    )


def _failed(error: TaximeterError) -> str:
    return f"failed: {error.code}: {error.message}"
