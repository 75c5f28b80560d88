"""The living demo leaves nothing behind, however it is ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_an_ended_demo_takes_its_server_and_its_data_along(
    tmp_path: Path, how: signal.Signals
) -> None:
    demo = subprocess.Popen(
        [sys.executable, "-m", "taximeter", "demo", "--port", "0", "--rate", "1"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert demo.stdout is not None
    url = ""
    for line in demo.stdout:
        url = line.split()[-1] if line.strip().startswith("console ") else url
        if "Ctrl-C stops it" in line:
            break
    assert url.startswith("http://127.0.0.1:")
    assert list(tmp_path.glob("taximeter-demo-*"))
    demo.send_signal(how)
    demo.wait(60)
    demo.stdout.close()
    assert list(tmp_path.glob("taximeter-demo-*")) == []
    port = int(url.rstrip("/").rpartition(":")[2])
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
