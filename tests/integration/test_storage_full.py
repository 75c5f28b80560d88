"""A disk that is really full: nothing acknowledged is lost, nothing refused is counted twice."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.scene import Scene, event
from tests.serving import serve

DISK = "64m"
BATCH = 10
PADDING = "x" * 100_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(place)]
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a tmpfs is not possible here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path, leave: int) -> Path:
    """Take all the room but a little."""
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        os.posix_fallocate(file.fileno(), 0, free - leave)
    return ballast


def batch(number: int) -> list[dict[str, Any]]:
    return [
        event(f"{number}-{n}", data={"tokens": 1, "padding": PADDING}, subject="acme")
        for n in range(BATCH)
    ]


def test_a_full_disk_stops_acknowledgements_and_nothing_else(disk: Path) -> None:
    with serve(disk) as server:
        scene = Scene(server).open()
        scene.send(event("first", 1))
        ballast = fill(disk, 300_000)
        acknowledged, refused = 1, []
        for number in range(40):
            reply = scene.raw("POST", "/v1/events", batch(number))
            if reply.status == 503:
                refused.append(number)
                assert reply.json()["code"] == "storage_full"
                assert int(reply.headers["retry-after"]) >= 1
                if len(refused) == 3:
                    break
            else:
                assert reply.status == 200, reply.text
                acknowledged += BATCH
        assert len(refused) == 3
        assert acknowledged > BATCH

        consumed = {"customer": "acme", "feature": "chat", "amount": 1, "id": "c"}
        assert scene.raw("POST", "/v1/consume", consumed).status == 503
        probe = server.get("/readyz", key="")
        assert (probe.status, probe.json()["code"]) == (503, "storage_full")
        status = scene.status()
        assert (status["ready"], status["failure"]) == (False, "storage_full")
        assert server.get("/healthz", key="").status == 200

        def reads(timeout_s: float) -> None:
            """Everything that was acknowledged, and nothing that was not, from history."""
            assert scene.raw("GET", "/v1/meters/tokens/usage", timeout_s=timeout_s).status == 200
            assert scene.used() == str(acknowledged)
            assert len(scene.ask("GET", "/v1/events", limit=1000)["items"]) == acknowledged
            assert scene.check()["limit"] == "1000"
            assert scene.raw("GET", "/v1/customers/acme/invoices/preview").status == 200
            receipt = scene.raw("GET", "/v1/events/receipt", id=f"{refused[0]}-0")
            assert receipt.status == 404
            assert scene.raw("GET", "/v1/events/receipt", id="first").status == 200

        reads(30)
        assert scene.raw("POST", "/v1/close").status == 503

        ballast.unlink()
        freed = time.monotonic()
        while scene.raw("POST", "/v1/events", event("after", 1)).status == 503:
            assert time.monotonic() - freed < 60
            time.sleep(0.05)
        assert server.get("/readyz", key="").status == 200
        answers = [scene.send(batch(number)) for number in refused]
        assert all(one["accepted"] + one["duplicates"] == BATCH for one in answers)
        assert sum(one["duplicates"] for one in answers) > 0, "what was decided is kept"
        expected = acknowledged + 1 + len(refused) * BATCH
        assert scene.used() == scene.check()["used"] == str(expected)
        counts = scene.status()["events"]
        assert (counts["accepted"], counts["balanced"]) == (expected, True)
        server.process.kill()
        server.process.wait()
    with serve(disk) as server:
        scene.server = server
        assert scene.used() == scene.check()["used"] == str(expected)
        assert scene.status()["events"] == counts


def test_what_was_refused_is_gone_if_the_server_ends_before_there_is_room(disk: Path) -> None:
    with serve(disk) as server:
        scene = Scene(server).open()
        ballast = fill(disk, 300_000)
        number = 0
        while scene.raw("POST", "/v1/events", batch(number)).status == 200:
            number += 1
        assert scene.used() == str(number * BATCH)
        server.process.terminate()
        assert server.process.wait(60) == 0
    ballast.unlink()
    with serve(disk) as server:
        scene.server = server
        assert scene.used() == scene.check()["used"] == str(number * BATCH)
        assert scene.send(batch(number))["accepted"] == BATCH


def mount_read_only(place: Path) -> None:
    """What is open for writing stays so; nothing new can be made or renamed."""
    for options in (["--bind", str(place)], ["-o", "remount,ro,bind"]):
        subprocess.run(["mount", *options, str(place)], check=True)


def test_a_disk_that_fails_is_not_believed_again_until_a_restart(disk: Path) -> None:
    with serve(disk) as server:
        scene = Scene(server).open()
        log = disk / "data" / "log"
        mount_read_only(log)
        try:
            number = 0
            while (refused := scene.raw("POST", "/v1/events", batch(number))).status == 200:
                number += 1
        finally:
            subprocess.run(["umount", str(log)], check=True)
        assert (refused.status, refused.json()["code"]) == (503, "storage_failed")
        acknowledged = number * BATCH
        assert acknowledged > 0
        consumed = {"customer": "acme", "feature": "chat", "amount": 1, "id": "c"}
        for reply in (
            scene.raw("POST", "/v1/events", batch(number)),
            scene.raw("POST", "/v1/consume", consumed),
            scene.raw("POST", "/v1/close"),
            server.get("/readyz", key=""),
        ):
            assert (reply.status, reply.json()["code"]) == (503, "storage_failed")
        assert scene.status()["failure"] == "storage_failed"
        assert scene.used() == str(acknowledged)
        assert scene.check()["limit"] == "1000"
        assert len(scene.ask("GET", "/v1/events", limit=1000)["items"]) == acknowledged
        assert scene.raw("GET", "/v1/events/receipt", id=f"{number}-0").status == 404
        server.process.terminate()
        assert server.process.wait(60) == 0
    with serve(disk) as server:
        scene.server = server
        assert scene.used() == scene.check()["used"] == str(acknowledged)
        assert scene.send(batch(number))["accepted"] == BATCH
        assert server.get("/readyz", key="").status == 200
