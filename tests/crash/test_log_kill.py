"""kill -9 of the writing process under load, against an oracle that is not its own disk."""

from __future__ import annotations

import random
import subprocess
import sys
import time

import pytest
from tests.crash.log_faults import open_log

from taximeter.adapters.log import verify
from taximeter.errors import Refused

WRITER = """
import sys
from pathlib import Path
sys.path[:0] = ["src", "."]
from taximeter.adapters.log.disk import Disk
from tests.crash.log_faults import entry, open_log
log = open_log(Path(sys.argv[1]), Disk(), segment_bytes=64 * 1024)
number = log.position
while True:
    batch = [entry(number + i, size=50 + number % 700) for i in range(1 + number % 20)]
    number = log.append(batch)
    print(number, flush=True)
"""
KILLS = 6


def test_a_killed_writer_loses_nothing_it_acknowledged(tmp_path):
    rng = random.Random(7)
    acknowledged = 0
    for kill in range(KILLS):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        acknowledged = int(writer.stdout.readline())
        time.sleep(rng.uniform(0, 0.1))
        writer.kill()
        for line in writer.stdout.read().splitlines(keepends=True):
            if line.endswith("\n"):
                acknowledged = int(line)
        writer.wait()
        writer.stdout.close()

        log = open_log(tmp_path, segment_bytes=64 * 1024)
        assert log.position >= acknowledged, f"kill {kill}"
        assert [logged.entry.received_at for logged in log.read(0)] == list(range(log.position))
        assert list(verify(tmp_path))[-1].last_seq == log.position
        log.close()


def test_the_lock_of_a_killed_writer_is_free_and_that_of_a_living_one_is_not(tmp_path):
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    try:
        with pytest.raises(Refused) as refused:
            open_log(tmp_path)
        assert refused.value.code == "log_locked"
    finally:
        writer.kill()
        writer.wait()
        writer.stdout.close()
    open_log(tmp_path).close()
