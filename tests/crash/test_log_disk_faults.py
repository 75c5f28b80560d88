"""Each system call of the log failing, one after the other, as SQLite tests its own."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest
from tests.crash.log_faults import FaultyDisk, contents, entry, memory_directory, open_log

from taximeter.adapters.log import SegmentLog
from taximeter.adapters.log.disk import Disk
from taximeter.errors import Unavailable
from taximeter.events.entry import Entry

APPENDS = 40  # fills three small segments


@pytest.fixture
def tmp_path():
    with memory_directory() as directory:
        yield directory


class Outcome:
    """What a caller saw of a log: what was acknowledged, what was refused, and how."""

    def __init__(self) -> None:
        self.acknowledged: list[Entry] = []
        self.full: list[Entry] = []
        self.failed: list[Entry] = []


def use(directory: Path, disk: Disk) -> Outcome:
    """Open, append, close; entries refused for want of space are tried once more."""
    outcome = Outcome()
    try:
        log = open_log(directory, disk, segment_bytes=2048)
    except Unavailable:
        return outcome
    for number in range(APPENDS):
        batch = [entry(number, size=60), entry(1000 + number, accepted=0, rejected=1)]
        if not append(log, batch, outcome) and log.failed is None:
            append(log, batch, outcome)
    log.close()
    return outcome


def append(log: SegmentLog, batch: list[Entry], outcome: Outcome) -> bool:
    before = log.position
    was_failed = log.failed
    try:
        log.append(batch)
    except Unavailable as error:
        code = error.code
    else:
        assert was_failed is None, "a failed log accepted an append"
        outcome.acknowledged += batch
        return True
    assert log.position == before
    assert code == ("storage_failed" if log.failed else "storage_full")
    (outcome.failed if log.failed else outcome.full).extend(batch)
    return False


def every_nth(tmp_path: Path, **fault: object):
    """One run for each n, until there is no nth call any more."""
    for nth in range(1, 1000):
        disk = FaultyDisk(nth=nth, **fault)
        directory = tmp_path / str(nth)
        outcome = use(directory, disk)
        log = open_log(directory)
        found = contents(log)
        log.close()
        yield disk, outcome, found
        if not disk.fired:
            assert len(outcome.acknowledged) == 2 * APPENDS
            return
    raise AssertionError("the calls never ended")


SYNCS = frozenset({"fdatasync", "sync_directory"})
SPACE = frozenset({"pwrite", "allocate"})


@pytest.mark.parametrize("persistent", [False, True], ids=["once", "for ever"])
@pytest.mark.parametrize("calls", [SYNCS, frozenset({"pwrite"}), frozenset({"rename", "truncate"})])
def test_an_io_error_ends_appending_and_loses_nothing_acknowledged(tmp_path, calls, persistent):
    for disk, outcome, found in every_nth(tmp_path, calls=calls, persistent=persistent):
        sent = outcome.acknowledged + outcome.failed[:2]
        assert found in (outcome.acknowledged, sent), f"call {disk.nth}"
        assert not disk.synced_again, f"call {disk.nth}: a failed sync was tried again"
        assert not outcome.full


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("persistent", [False, True], ids=["once", "for ever"])
def test_a_full_disk_refuses_and_keeps_nothing_of_what_it_refused(tmp_path, error, persistent):
    faults = every_nth(tmp_path, calls=SPACE, error=error, persistent=persistent)
    for disk, outcome, found in faults:
        if outcome.failed:
            # Only the mark's own write can do that: its frame is durable, and must not be repeated.
            assert found == outcome.acknowledged + outcome.failed[:2]
        else:
            assert found == outcome.acknowledged, f"call {disk.nth}"
            if not persistent and len(outcome.acknowledged) < 2 * APPENDS:
                assert outcome.acknowledged == [], "space came back, but not all was accepted"


def test_no_space_at_a_sync_is_a_failed_sync(tmp_path):
    for disk, outcome, found in every_nth(tmp_path, calls=SYNCS, error=errno.ENOSPC):
        assert found[: len(outcome.acknowledged)] == outcome.acknowledged
        assert not disk.synced_again


def test_short_writes_are_completed(tmp_path):
    for _, outcome, found in every_nth(tmp_path, calls=frozenset({"pwrite"}), short=True):
        assert found == outcome.acknowledged
        assert len(found) == 2 * APPENDS


def test_interrupted_writes_are_completed(tmp_path):
    for _, outcome, found in every_nth(tmp_path, calls=frozenset({"pwrite"}), error=errno.EINTR):
        # The half that an interrupted write left is simply written again.
        assert found == outcome.acknowledged
        assert len(found) == 2 * APPENDS


def test_a_short_write_that_then_finds_the_disk_full_leaves_no_trace(tmp_path):
    class Fills(Disk):
        full = False

        def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
            if self.full and bytes(data).strip(b"\0"):
                if len(data) < 200:
                    raise OSError(errno.ENOSPC, "No space left on device")
                data = memoryview(data)[:150]
            return super().pwrite(fd, data, offset)

    disk = Fills()
    log = open_log(tmp_path, disk)
    log.append([entry(1)])
    disk.full = True
    with pytest.raises(Unavailable, match="full"):
        log.append([entry(2, size=300)])
    end = log.segments()[-1].bytes
    assert not log.segments()[-1].path.read_bytes()[end:].strip(b"\0")
    disk.full = False
    log.append([entry(3)])
    log.close()
    log = open_log(tmp_path)
    assert contents(log) == [entry(1), entry(3)]
    log.close()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB."""
    mount = tmp_path / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(mount)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("mounting a small tmpfs needs root")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def test_a_really_full_disk_refuses_until_space_is_freed(small_disk):
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(400_000))
    log = open_log(small_disk / "log", Disk(), segment_bytes=128 * 1024)
    acknowledged: list[Entry] = []

    def fill() -> None:
        for number in range(10_000):
            log.append([entry(number, size=1000)])
            acknowledged.append(entry(number, size=1000))

    with pytest.raises(Unavailable) as refused:
        fill()
    assert refused.value.code == "storage_full"
    assert refused.value.retry_after_s >= 1
    assert log.failed is None
    assert contents(log) == acknowledged
    ballast.unlink()
    log.append([entry(10_001, size=1000)])
    log.close()
    log = open_log(small_disk / "log", Disk(), segment_bytes=128 * 1024)
    assert contents(log) == [*acknowledged, entry(10_001, size=1000)]
    log.close()
