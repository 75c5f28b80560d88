"""What is left when the power fails at any system call: synced data, and bits of the rest."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from tests.crash.log_faults import ForgetfulDisk, contents, entry, memory_directory, open_log

STATES = 2_000 if os.environ.get("TAXIMETER_TEST_FULL") == "1" else 80


@pytest.fixture
def tmp_path():
    with memory_directory() as directory:
        yield directory


class PowerFails(BaseException):
    """Not an Exception, so that nothing on the way can mistake it for an error to handle."""


class FailingSupply(ForgetfulDisk):
    """Stops dead at the nth write or sync."""

    def __init__(self, nth: int) -> None:
        super().__init__()
        self.left = nth

    def _step(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise PowerFails

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        written = super().pwrite(fd, data, offset)
        self._step()
        return written

    def fdatasync(self, fd: int) -> None:
        self._step()
        super().fdatasync(fd)

    def rename(self, old: Path, new: Path) -> None:
        super().rename(old, new)
        self._step()

    def sync_directory(self, path: Path) -> None:
        self._step()
        super().sync_directory(path)


@pytest.mark.parametrize("part", range(4))
def test_nothing_acknowledged_is_lost_and_the_log_always_starts(tmp_path, part):
    for seed in range(part, STATES, 4):
        rng = random.Random(seed)
        disk = FailingSupply(rng.randrange(5, 400))
        before, after = tmp_path / f"{seed}-before", tmp_path / f"{seed}-after"
        acknowledged, sent = [], []
        log = None
        try:
            log = open_log(before, disk, segment_bytes=4096)
            for number in range(200):
                batch = [entry(number, size=rng.choice((10, 300, 1500)))]
                sent += batch
                log.append(batch)
                acknowledged += batch
        except PowerFails:
            pass
        disk.after_power_failure(after, rng)
        survivor = open_log(after)
        found = contents(survivor)
        assert found in (acknowledged, sent), f"seed {seed}"
        survivor.append([entry(-1)])
        survivor.close()
        again = open_log(after)
        assert contents(again) == [*found, entry(-1)], f"seed {seed}"
        again.close()
        if log is not None:
            disk.left = 10**9
            log.close()


def test_what_a_restart_found_is_still_there_after_a_power_failure(tmp_path):
    """Of a frame that was written but not synced when the process was killed."""
    disk = FailingSupply(10**9)
    log = open_log(tmp_path / "log", disk)
    log.append([entry(1)])
    disk.left = 1  # the write of the frame passes, its sync does not
    with pytest.raises(PowerFails):
        log.append([entry(2)])
    disk.left = 10**9
    log.close()

    restarted = open_log(tmp_path / "log", disk)
    assert contents(restarted) == [entry(1), entry(2)]
    disk.after_power_failure(tmp_path / "after", random.Random(1))
    restarted.close()
    survivor = open_log(tmp_path / "after")
    assert contents(survivor) == [entry(1), entry(2)]
    survivor.close()
