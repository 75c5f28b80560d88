"""
Following events live: each with its verdict, rejected ones with their reason.
"""

from __future__ import annotations

import json
import threading
import urllib.request
from pathlib import Path
from typing import Any

from tests.serving import serve


def test_the_stream_shows_every_verdict_and_why_an_item_was_rejected(tmp_path: Path) -> None:
    with serve(tmp_path, "--dev") as server:
        seen: list[dict[str, Any]] = []
        opened = threading.Event()

        def follow() -> None:
            with urllib.request.urlopen(f"{server.url}/v1/events/stream", timeout=30) as stream:
                opened.set()
                for line in stream:
                    if line.startswith(b"data: "):
                        seen.append(json.loads(line[6:]))
                        if len(seen) == 3:
                            return

        follower = threading.Thread(target=follow)
        follower.start()
        # The stream has begun when its headers are there; only then is anything sent.
        assert opened.wait(10)
        event = {"id": "1", "type": "t", "subject": "acme"}
        server.post("/v1/events", [event, event, {"id": "2", "type": "t"}])
        follower.join(10)
        assert not follower.is_alive()
    by_verdict = {item["verdict"]: item for item in seen}
    assert set(by_verdict) == {"accepted", "duplicate", "rejected"}
    assert by_verdict["accepted"]["seq"] == by_verdict["duplicate"]["seq"] == 1
    assert by_verdict["rejected"]["code"] == "invalid_event"
    assert by_verdict["rejected"]["event"] == {"id": "2"}
