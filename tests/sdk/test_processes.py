"""
Processes that die, fork and end: what was tracked is counted exactly once, by a real server.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.scene import Scene
from tests.sdk.fake import Fake, late, lost
from tests.sdk.test_track import adds_up, until
from tests.serving import Served, serve

from taximeter_sdk import Taximeter

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("sdk"), "--dev") as running:
        yield running


@pytest.fixture
def scene(server: Served) -> Scene:
    return Scene(server).open()


def start(program: str, url: str, key: str = "", **env: str) -> subprocess.Popen[str]:
    """A Python process with the SDK, `meter` ready to use."""
    head = "import os, sys, time, signal\nfrom taximeter_sdk import Taximeter\n"
    path = os.pathsep.join([str(ROOT / "sdk" / "src"), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-c", head + program],
        env={**os.environ, "PYTHONPATH": path, "TAXIMETER_URL": url, "TAXIMETER_KEY": key, **env},
        stdin=subprocess.PIPE,  # an empty one would answer those that wait for a line
        stdout=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return out


def test_what_is_tracked_at_the_very_end_is_delivered(scene: Scene) -> None:
    program = "Taximeter().track('acme', 'llm.request', tokens=7)"
    finish(start(program, scene.server.url, scene.key))
    assert scene.used() == "7"


def test_the_end_delivers_what_a_spool_holds_too(scene: Scene, tmp_path: Path) -> None:
    program = (
        "Taximeter(spool=os.environ['SPOOL'], linger=60).track('acme', 'llm.request', tokens=7)"
    )
    finish(start(program, scene.server.url, scene.key, SPOOL=str(tmp_path)))
    assert scene.used() == "7"
    assert not list(tmp_path.iterdir())


def test_an_end_with_the_server_away_does_not_take_long() -> None:
    program = "Taximeter(exit_timeout=0.3).track('acme', 'llm.request', tokens=7)"
    started = time.monotonic()
    finish(start(program, "http://127.0.0.1:9"))
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("seed", range(3))
def test_a_process_killed_at_any_moment_loses_nothing_that_was_tracked(
    scene: Scene, tmp_path: Path, seed: int
) -> None:
    """It prints each id once `track` has returned; every one of those must be counted once."""
    program = """
meter = Taximeter(spool=os.environ["SPOOL"], linger=0.01, batch=50)
number = 0
while True:
    print(meter.track("acme", "llm.request", id=f"e{number}", tokens=1), flush=True)
    number += 1
    if number % 100 == 0:
        time.sleep(0.005)
"""
    process = start(program, scene.server.url, scene.key, SPOOL=str(tmp_path))
    assert process.stdout is not None
    tracked = [process.stdout.readline() for _ in range(200 + 177 * seed)]
    process.kill()
    tracked += process.stdout.readlines()
    process.wait()
    complete = sum(line.endswith("\n") for line in tracked)
    with Taximeter(scene.server.url, scene.key, spool=tmp_path) as meter:
        until(lambda: not list(tmp_path.glob("*.spool")))
        assert adds_up(meter.stats)
    # The one being tracked when it died may or may not be there.
    assert complete <= int(scene.used()) <= complete + 1


def test_a_process_killed_between_sending_and_the_answer_counts_once(
    fake: Fake, tmp_path: Path
) -> None:
    fake.next(late(0.5))
    program = """
meter = Taximeter(spool=os.environ["SPOOL"], linger=0)
meter.track("acme", "llm.request", id="e1", tokens=1)
print("tracked", flush=True)
time.sleep(60)
"""
    process = start(program, fake.url, SPOOL=str(tmp_path))
    until(lambda: fake.seen("/v1/events"))
    process.kill()
    process.communicate()
    until(lambda: fake.used == 1)
    with Taximeter(fake.url, spool=tmp_path) as meter:
        until(lambda: meter.stats.sent == 1)
        assert (meter.stats.recovered, meter.stats.duplicates) == (1, 1)
    assert fake.used == 1


def test_a_settlement_owed_by_a_killed_process_is_settled_by_the_next(
    fake: Fake, tmp_path: Path
) -> None:
    program = """
meter = Taximeter(spool=os.environ["SPOOL"], timeout=0.3)
with meter.reserve("acme", "chat", up_to=10, id="h1") as hold:
    hold.use(4)
    print("used", flush=True)
    sys.stdin.readline()
print("left", flush=True)
time.sleep(60)
"""
    process = start(program, fake.url, SPOOL=str(tmp_path))
    assert process.stdout is not None
    assert process.stdout.readline() == "used\n"
    assert process.stdin is not None
    fake.away = True
    process.stdin.write("\n")
    process.stdin.flush()
    until(
        lambda: (
            list(tmp_path.glob("*.spool"))
            and max(path.stat().st_size for path in tmp_path.glob("*.spool"))
        )
    )
    process.kill()
    process.communicate()
    fake.away = False
    with Taximeter(fake.url, spool=tmp_path) as meter:
        until(lambda: meter.stats.settled == 1)
    assert fake.used == 4
    assert fake.slots["h1"].resolved == "settled"


def test_a_fork_sends_each_event_once_from_the_side_that_tracked_it(scene: Scene) -> None:
    program = """
meter = Taximeter(linger=0.2)
for number in range(50):
    meter.track("acme", "llm.request", id=f"before{number}", tokens=1)
child = os.fork()
side = "parent" if child else "child"
for number in range(50):
    meter.track("acme", "llm.request", id=f"{side}{number}", tokens=1)
assert meter.flush(), meter.stats
stats = meter.stats
assert stats.tracked == stats.accepted == (100 if child else 50), stats
assert stats.duplicates == 0
if child:
    assert os.waitpid(child, 0)[1] == 0
"""
    finish(start(program, scene.server.url, scene.key))
    assert scene.used() == "150"


def test_a_fork_with_a_spool_leaves_the_parents_files_to_the_parent(
    scene: Scene, tmp_path: Path
) -> None:
    program = """
meter = Taximeter(spool=os.environ["SPOOL"], linger=0.3)
for number in range(10):
    meter.track("acme", "llm.request", id=f"before{number}", tokens=1)
child = os.fork()
if not child:
    meter.track("acme", "llm.request", id="child", tokens=1)
    assert meter.flush(), meter.stats
    assert meter.stats.recovered == 0, meter.stats
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert meter.flush()
assert meter.stats.accepted == 10, meter.stats
meter.close()
"""
    finish(start(program, scene.server.url, scene.key, SPOOL=str(tmp_path)))
    assert scene.used() == "11"
    until(lambda: not list(tmp_path.glob("*.spool")) or _left(tmp_path) == 0)


def _left(spool: Path) -> int:
    return sum(path.stat().st_size for path in spool.glob("*.spool"))


def test_forking_in_the_middle_of_traffic_neither_hangs_nor_doubles(scene: Scene) -> None:
    program = """
import threading
meter = Taximeter(linger=0.001, batch=10)
def delivered():  # an answer that came too late is asked for again
    return meter.stats.accepted + meter.stats.duplicates
def work(side):
    for number in range(200):
        meter.track("acme", "llm.request", id=f"{side}-{number}", tokens=1)
threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(3)]
for thread in threads:
    thread.start()
children = []
for n in range(4):
    child = os.fork()
    if not child:
        work(f"c{n}")
        os._exit(0 if meter.flush(60) and delivered() == 200 else 1)
    children.append(child)
for thread in threads:
    thread.join()
for child in children:
    assert os.waitpid(child, 0)[1] == 0
assert meter.flush(60)
assert delivered() == 600, meter.stats
"""
    finish(start(program, scene.server.url, scene.key))
    assert scene.used() == str(7 * 200)


def test_a_worker_of_multiprocessing_delivers_before_it_ends(scene: Scene) -> None:
    program = """
import multiprocessing
meter = Taximeter()
def work(number):
    meter.track("acme", "llm.request", id=f"w{number}", tokens=1)
workers = [multiprocessing.get_context("fork").Process(target=work, args=(n,)) for n in range(3)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
"""
    finish(start(program, scene.server.url, scene.key))
    assert scene.used() == "3"


def test_a_leased_process_killed_overshoots_nothing_and_its_slice_comes_back(fake: Fake) -> None:
    program = """
meter = Taximeter()
meter.lease("acme", "chat", 100, ttl=1)
print("leased", flush=True)
time.sleep(60)
"""
    process = start(program, fake.url)
    assert process.stdout is not None
    assert process.stdout.readline() == "leased\n"
    process.kill()
    process.communicate()
    with Taximeter(fake.url) as meter:
        assert not meter.check("acme", "chat", 1000)
        until(lambda: meter.check("acme", "chat", 1000))


def test_lost_answers_at_the_end_of_a_process_count_once(fake: Fake) -> None:
    fake.next(lost)
    finish(start("Taximeter().track('acme', 'llm.request', tokens=7)", fake.url))
    assert fake.used == 7
