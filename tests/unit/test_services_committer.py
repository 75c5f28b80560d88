"""Group commit on a log that can be slow, full or broken."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence

import pytest

from taximeter.errors import TaximeterError, Unavailable
from taximeter.events.entry import Entry
from taximeter.events.envelope import Format
from taximeter.ports import LoggedEntry
from taximeter.services.intake import committer as module
from taximeter.services.intake.committer import Committer

FULL = Unavailable("storage_full", "The disk is full.")
FAILED = Unavailable("storage_failed", "The disk failed.")


class FakeLog:
    """A log in a list. `errors` are raised by the next appends; `gate` holds appends back."""

    def __init__(self) -> None:
        self.position = 0
        self.frames: list[list[Entry]] = []
        self.errors: list[BaseException] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def append(self, entries: Sequence[Entry]) -> int:
        self.entered.set()
        assert self.gate.wait(10)
        if self.errors:
            raise self.errors.pop(0)
        self.frames.append(list(entries))
        self.position += sum(entry.accepted for entry in entries)
        return self.position

    def read(self, after: int, upto: int | None = None) -> Iterator[LoggedEntry]:
        raise NotImplementedError

    @property
    def bodies(self) -> list[list[bytes]]:
        return [[entry.body for entry in frame] for frame in self.frames]


def entry(body: bytes = b"{}", accepted: int = 1) -> Entry:
    return Entry("default", 0, Format.OBJECT, bytes(accepted) or b"\x01", body)


class Stage:
    """A committer with the outcomes of what was submitted to it."""

    def __init__(self) -> None:
        self.log = FakeLog()
        self.committer = Committer(self.log)
        self.told: list[tuple[bytes, str | None, int]] = []

    def submit(self, body: bytes = b"{}", accepted: int = 1) -> None:
        def done(error: TaximeterError | None) -> None:
            code = None if error is None else error.code
            self.told.append((body, code, self.log.position))

        self.committer.submit(entry(body, accepted), done)

    async def until_told(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.told) < count:
                await asyncio.sleep(0.001)


def play(scenario: Callable[[Stage], Awaitable[None]]) -> Stage:
    async def run() -> Stage:
        stage = Stage()
        async with asyncio.timeout(20):
            await scenario(stage)
            await stage.committer.close()
        return stage

    return asyncio.run(run())


def test_nothing_is_acknowledged_before_it_is_on_disk() -> None:
    async def scenario(stage: Stage) -> None:
        stage.log.gate.clear()
        stage.submit(b"a")
        await asyncio.to_thread(stage.log.entered.wait, 60)
        await asyncio.sleep(0.01)
        assert stage.told == []
        assert stage.committer.position == 0
        stage.log.gate.set()
        await stage.until_told(1)

    stage = play(scenario)
    assert stage.told == [(b"a", None, 1)]
    assert stage.committer.position == 1


def test_all_that_came_while_a_frame_was_written_is_the_next_frame() -> None:
    async def scenario(stage: Stage) -> None:
        stage.log.gate.clear()
        stage.submit(b"first")
        await asyncio.to_thread(stage.log.entered.wait, 60)
        for n in range(500):
            stage.submit(b"%d" % n)
        stage.log.gate.set()
        await stage.until_told(501)

    stage = play(scenario)
    assert stage.log.bodies == [[b"first"], [b"%d" % n for n in range(500)]]
    assert [body for body, _, _ in stage.told] == [b"first", *(b"%d" % n for n in range(500))]


def test_requests_of_one_turn_of_the_loop_share_a_frame() -> None:
    async def scenario(stage: Stage) -> None:
        stage.submit(b"a")
        stage.submit(b"b")
        await stage.until_told(2)

    assert play(scenario).log.bodies == [[b"a", b"b"]]


def test_barriers_open_in_the_order_of_positions_and_not_before() -> None:
    async def scenario(stage: Stage) -> None:
        opened: list[int] = []

        async def wait(position: int) -> None:
            await stage.committer.durable(position)
            opened.append(position)
            assert stage.committer.position >= position

        stage.log.gate.clear()
        stage.submit(accepted=3)
        await asyncio.to_thread(stage.log.entered.wait, 60)
        stage.submit(accepted=2)
        waiting = [asyncio.create_task(wait(p)) for p in (5, 3, 1, 4)]
        await asyncio.sleep(0.01)
        assert opened == []
        stage.log.entered.clear()
        stage.log.gate.set()
        await asyncio.gather(*waiting)
        assert opened[:2] == [3, 1]
        assert sorted(opened[2:]) == [4, 5]
        await stage.committer.durable(5)  # at once

    play(scenario)


def test_after_a_failed_sync_nothing_is_acknowledged_any_more() -> None:
    async def scenario(stage: Stage) -> None:
        stage.submit(b"good")
        await stage.until_told(1)
        stage.log.errors = [FAILED]
        stage.log.gate.clear()
        stage.submit(b"lost")
        await asyncio.to_thread(stage.log.entered.wait, 60)
        stage.submit(b"behind it")
        barrier = asyncio.create_task(stage.committer.durable(2))
        reader = asyncio.create_task(stage.committer.settled(2))
        await asyncio.sleep(0)
        stage.log.gate.set()
        await stage.until_told(3)
        with pytest.raises(Unavailable) as caught:
            await barrier
        assert caught.value.code == "storage_failed"
        assert await reader is False
        # The disk is well again, and still nobody is told that anything is safe.
        for ask in (stage.committer.admit, stage.committer.ready):
            with pytest.raises(Unavailable):
                ask()
        stage.submit(b"later")
        await stage.until_told(4)
        with pytest.raises(Unavailable):
            await stage.committer.durable(2)
        assert await stage.committer.settled(1) is True

    stage = play(scenario)
    assert [(body, code) for body, code, _ in stage.told] == [
        (b"good", None),
        (b"lost", "storage_failed"),
        (b"behind it", "storage_failed"),
        (b"later", "storage_failed"),
    ]
    assert stage.log.bodies == [[b"good"]]


def test_a_defect_in_the_log_counts_as_its_failure() -> None:
    async def scenario(stage: Stage) -> None:
        stage.log.errors = [ValueError("a frame too large")]
        stage.submit()
        await stage.until_told(1)
        assert stage.committer.failure is not None

    assert play(scenario).told == [(b"{}", "storage_failed", 0)]


def test_a_full_disk_refuses_and_then_writes_what_was_decided_once_and_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "RETRY_FULL_DISK_S", 0.01)

    async def scenario(stage: Stage) -> None:
        stage.log.errors = [FULL, FULL, FULL]
        stage.log.gate.clear()
        stage.submit(b"a")
        await asyncio.to_thread(stage.log.entered.wait, 60)
        stage.submit(b"b")
        patient = asyncio.create_task(stage.committer.durable(2))
        reader = asyncio.create_task(stage.committer.settled(2))
        await asyncio.sleep(0)
        stage.log.gate.set()
        await stage.until_told(2)
        with pytest.raises(Unavailable) as caught:
            stage.committer.admit()
        assert caught.value.code == "storage_full"
        assert await reader is False
        assert await stage.committer.settled(2) is False
        await patient
        assert stage.committer.position == 2
        stage.committer.ready()
        stage.submit(b"c")
        await stage.until_told(3)

    stage = play(scenario)
    assert stage.log.bodies == [[b"a", b"b"], [b"c"]]
    codes = [code for _, code, _ in stage.told]
    assert codes == ["storage_full", "storage_full", None]


def test_what_piled_up_is_written_in_frames_of_a_bounded_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "RETRY_FULL_DISK_S", 0.01)
    monkeypatch.setattr(module, "MAX_FRAME_BYTES", 10)

    async def scenario(stage: Stage) -> None:
        stage.log.errors = [FULL, FULL]
        stage.log.gate.clear()
        stage.submit(b"12345678")
        await asyncio.to_thread(stage.log.entered.wait, 60)
        for body in (b"1234", b"5678", b"a larger one than that", b"x"):
            stage.submit(body)
        stage.log.gate.set()
        await stage.committer.flushed()
        stage.submit(b"last")
        await stage.until_told(6)

    stage = play(scenario)
    assert stage.log.bodies == [
        [b"12345678"], [b"1234", b"5678"], [b"a larger one than that"], [b"x"], [b"last"],
    ]  # fmt: skip
    assert [code for _, code, _ in stage.told] == ["storage_full"] * 5 + [None]


def test_entries_that_accept_nothing_are_flushed_too() -> None:
    async def scenario(stage: Stage) -> None:
        stage.submit(accepted=1)
        await stage.committer.durable(1)
        stage.log.gate.clear()
        stage.log.entered.clear()
        stage.submit(b"", accepted=0)
        await stage.committer.durable(1)
        flushed = asyncio.create_task(stage.committer.flushed())
        await asyncio.to_thread(stage.log.entered.wait, 60)
        assert not flushed.done()
        stage.log.gate.set()
        await flushed
        assert len(stage.log.frames) == 2

    play(scenario)


def test_too_much_waiting_work_is_refused() -> None:
    async def scenario(stage: Stage) -> None:
        stage.committer = Committer(stage.log, max_pending_bytes=10)
        stage.log.gate.clear()
        stage.submit(b"in flight, no longer waiting")
        await asyncio.to_thread(stage.log.entered.wait, 60)
        stage.committer.admit()
        stage.submit(b"12345678901")
        with pytest.raises(Unavailable) as caught:
            stage.committer.admit()
        assert caught.value.code == "overloaded"
        stage.log.gate.set()
        await stage.until_told(2)
        stage.committer.admit()

    play(scenario)


def test_closing_writes_what_is_pending() -> None:
    async def scenario(stage: Stage) -> None:
        stage.submit(b"a")
        stage.submit(b"b")

    stage = play(scenario)
    assert stage.log.bodies == [[b"a", b"b"]]
    assert len(stage.told) == 2


def test_a_defect_of_those_who_are_told_does_not_stop_the_writing() -> None:
    def broken(position: int, entries: int, seconds: float) -> None:
        raise ValueError("a defect")

    async def scenario(stage: Stage) -> None:
        stage.committer = Committer(stage.log, on_commit=broken)
        for n in range(3):
            stage.submit(b"%d" % n)
            await stage.until_told(n + 1)

    assert len(play(scenario).log.frames) == 3
