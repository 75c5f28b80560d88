"""Bringing history back when the store hesitates, fails, or is overtaken."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from taximeter.catalog.document import parse_catalog
from taximeter.customers import Customer
from taximeter.errors import TaximeterError, Unavailable
from taximeter.events.acceptance import AcceptanceWindow
from taximeter.events.envelope import Event
from taximeter.live.refold import Folded, FoldSpec, refold
from taximeter.services.rebuild import (
    Rebuild,
    begin_rebuild,
    mark_history,
    rebuild,
    recount_subjects,
)
from taximeter.services.tenant import Tenant

JANUARY = 1_767_225_600_000_000
CATALOG = {"meters": {"n": {"event_type": "t", "aggregation": "sum", "value": "data.n"}}}
BUSY = Unavailable("rebuilding", "The store is starting.", retry_after_s=0)


class FakeStore:
    """Holds events; raises `errors` first."""

    def __init__(self) -> None:
        self.happened: list[tuple[Event, int]] = []
        self.specs: list[FoldSpec] = []
        self.errors: list[TaximeterError] = []
        self.asked = 0
        self.before_answer: Callable[[], None] = lambda: None

    async def fold(self, spec: FoldSpec) -> Folded:
        self._hesitate()
        self.specs.append(spec)
        folded = refold(spec, self.happened[spec.after : spec.upto])
        await asyncio.sleep(0)
        self.before_answer()
        return folded

    async def count_by_subject(
        self, namespace: str, upto: int, subjects: Sequence[str]
    ) -> dict[str, int]:
        self._hesitate()
        past = [event.subject for event, _ in self.happened[:upto]]
        return {subject: past.count(subject) for subject in subjects if subject in past}

    def _hesitate(self) -> None:
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)


class Stage:
    """A tenant with a store behind it, and as much of a core as a rebuild needs."""

    def __init__(self) -> None:
        self.store = FakeStore()
        self.tenant = Tenant("x", bytes(32), AcceptanceWindow())
        self.tenant.add_catalog(1, parse_catalog(CATALOG), 0)
        self.tenant.live.set_counters(self.tenant.wanted_counters())
        self.tenant.put_customer(Customer("acme", subjects=("u1",)))
        self.core: Any = SimpleNamespace(
            store=self.store,
            clock=SimpleNamespace(now=lambda: JANUARY),
            committer=SimpleNamespace(durable=self._durable),
            sequencer=self,
            rebuilds=[],
            changed=asyncio.Event(),
        )

    async def _durable(self, position: int) -> None:
        await asyncio.sleep(0)

    @property
    def position(self) -> int:
        return len(self.store.happened)

    def happens(self, n: Any, subject: str = "acme") -> None:
        event = Event(str(self.position), "t", subject, data={"n": n})
        self.store.happened.append((event, JANUARY))
        self.tenant.live.fold_stored([(event, JANUARY)])

    def used(self) -> int:
        account = self.tenant.live.accounts["acme"]
        cells = account.cells_at(JANUARY, self.tenant.live.layout.new_cells)
        assert cells is not None
        return self.tenant.live.layout.cell_value(cells, 0)[1] // 10**12

    def forget(self) -> Rebuild:
        """A fresh account, as after a change of the customer."""
        self.tenant.reset_account("acme")
        counters = self.tenant.live.layout.counters
        return begin_rebuild(self.core, self.tenant, ["acme"], counters)

    @property
    def is_marked(self) -> bool:
        return bool(self.tenant.live.accounts["acme"].rebuilding)


def play(scenario: Callable[[Stage], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(10):
            await scenario(Stage())

    asyncio.run(run())


def test_history_is_added_to_what_was_counted_meanwhile() -> None:
    async def scenario(stage: Stage) -> None:
        stage.happens(3)
        stage.happens(4, "u1")
        missing = stage.forget()
        stage.happens(10)
        assert (stage.used(), stage.is_marked) == (10, True)
        await rebuild(stage.core, stage.tenant, missing, "a test")
        assert (stage.used(), stage.is_marked) == (17, False)
        assert stage.core.rebuilds == []
        assert stage.core.changed.is_set()

    play(scenario)


def test_slices_of_one_history_are_all_corrected_up_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is taken back in a later slice counts in no earlier one."""
    monkeypatch.setattr("taximeter.services.rebuild.SLICE_EVENTS", 2)

    async def scenario(stage: Stage) -> None:
        for n in range(5):
            stage.happens(n)
        missing = stage.forget()
        await rebuild(stage.core, stage.tenant, missing, "test")
        assert [(one.after, one.upto, one.corrected) for one in stage.store.specs] == [
            (0, 2, 5),
            (2, 4, 5),
            (4, 5, 5),
        ]

    play(scenario)


def test_a_store_that_cannot_answer_yet_is_asked_again() -> None:
    async def scenario(stage: Stage) -> None:
        stage.happens(3)
        missing = stage.forget()
        stage.store.errors = [BUSY, BUSY, Unavailable("overloaded", "Busy.", retry_after_s=0)]
        await rebuild(stage.core, stage.tenant, missing, "a test")
        assert (stage.used(), stage.is_marked, stage.store.asked) == (3, False, 4)

    play(scenario)


@pytest.mark.parametrize("code", ["shutting_down", "log_damaged"])
def test_if_the_history_cannot_be_had_the_account_stays_marked(code: str) -> None:
    async def scenario(stage: Stage) -> None:
        stage.happens(3)
        missing = stage.forget()
        kind = Unavailable if code == "shutting_down" else TaximeterError
        stage.store.errors = [kind(code, "No.")]
        with pytest.raises(TaximeterError):
            await rebuild(stage.core, stage.tenant, missing, "a test")
        assert stage.is_marked
        assert stage.core.rebuilds == []

    play(scenario)


def test_a_rebuild_that_is_cut_off_leaves_its_mark() -> None:
    async def scenario(stage: Stage) -> None:
        stage.happens(3)
        missing = stage.forget()
        task = asyncio.create_task(rebuild(stage.core, stage.tenant, missing, "a test"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert stage.is_marked

    play(scenario)


def test_what_arrives_for_an_account_that_was_replaced_is_passed_over() -> None:
    async def scenario(stage: Stage) -> None:
        stage.happens(3)
        first = stage.forget()
        second: list[Rebuild] = []
        stage.store.before_answer = lambda: second.append(stage.forget()) if not second else None
        await rebuild(stage.core, stage.tenant, first, "overtaken")
        assert (stage.used(), stage.is_marked) == (0, True)
        await rebuild(stage.core, stage.tenant, second[0], "the newer one")
        assert (stage.used(), stage.is_marked) == (3, False)

    play(scenario)


def test_a_counter_dropped_and_wanted_again_meanwhile_gets_its_history_once() -> None:
    async def scenario(stage: Stage) -> None:
        stage.happens(3)
        live, wanted = stage.tenant.live, stage.tenant.wanted_counters()
        live.set_counters([])
        first = mark_history(stage.core, stage.tenant, live.set_counters(wanted))
        live.set_counters([])
        second = mark_history(stage.core, stage.tenant, live.set_counters(wanted))
        assert first is not None
        assert second is not None
        await rebuild(stage.core, stage.tenant, first, "overtaken")
        assert (stage.used(), stage.is_marked) == (0, True)
        await rebuild(stage.core, stage.tenant, second, "the newer one")
        assert (stage.used(), stage.is_marked) == (3, False)

    play(scenario)


def test_only_who_has_events_and_only_new_counters_need_history() -> None:
    async def scenario(stage: Stage) -> None:
        counters = stage.tenant.live.layout.counters
        assert mark_history(stage.core, stage.tenant, counters) is None
        stage.happens(1)
        assert mark_history(stage.core, stage.tenant, []) is None
        assert mark_history(stage.core, stage.tenant, counters, but="acme") is None
        found = mark_history(stage.core, stage.tenant, counters)
        assert found is not None
        assert list(found.accounts) == ["acme"]
        assert not stage.tenant.live.accounts["acme"].is_exact(counters[0].key)
        assert stage.tenant.live.accounts["acme"].is_exact("another")

    play(scenario)


def test_subjects_that_were_given_up_are_counted_as_unmatched() -> None:
    async def scenario(stage: Stage) -> None:
        for subject in ("u1", "u1", "acme"):
            stage.happens(1, subject)
        upto = stage.position
        stage.tenant.put_customer(Customer("acme"))
        stage.happens(1, "u1")
        stage.store.errors = [BUSY]
        await recount_subjects(stage.core, stage.tenant, ["acme"], {"u1", "never"}, upto)
        assert stage.tenant.live.unmatched == {"u1": 3}
        assert stage.tenant.live.accounts["acme"].seen
        stage.tenant.put_customer(Customer("new"))
        await recount_subjects(stage.core, stage.tenant, ["new"], set(), upto)
        assert not stage.tenant.live.accounts["new"].seen

    play(scenario)
