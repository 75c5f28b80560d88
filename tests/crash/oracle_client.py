"""
One client process: `python -m tests.crash.oracle_client SEED CLIENT BASE PORT JOURNAL PAUSE_MS`.

It writes its intent, sends, and writes the outcome; a request without an answer is repeated with
the same bytes until it has one, through any number of restarts of the server. On SIGTERM it
finishes the request at hand, so that in the end nothing is unknown.
"""

from __future__ import annotations

import http.client
import json
import signal
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from tests.crash.oracle_journal import JournalWriter, Receipt
from tests.crash.oracle_workload import Item, Workload

_RETRY_S = 0.02
_GIVE_UP_S = 90.0
_ANSWER_S = 30.0


class Client:
    """Sends a workload to a server that may die at any moment."""

    def __init__(self, workload: Workload, port: int, journal: JournalWriter) -> None:
        self._workload = workload
        self._journal = journal
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWER_S)
        self._number = 0
        self.stopping = False

    def run(self, pause_s: float) -> None:
        while not self.stopping:
            self._number += 1
            self._send_until_answered(self._workload.next_request())
            time.sleep(pause_s)

    def _send_until_answered(self, items: Sequence[Item]) -> None:
        body = f"[{','.join(item.text for item in items)}]".encode()
        give_up = time.monotonic() + _GIVE_UP_S
        attempt = 0
        while time.monotonic() < give_up:
            attempt += 1
            self._await_server(give_up)
            self._journal.intend(self._number, attempt, items)
            try:
                receipts = self._post(body, len(items))
            except (OSError, http.client.HTTPException) as failure:
                self._connection.close()
                self._journal.unknown(self._number, attempt, type(failure).__name__)
                time.sleep(_RETRY_S)
            else:
                self._journal.answered(self._number, attempt, receipts)
                return
        raise SystemExit(f"request {self._number} was not answered in {_GIVE_UP_S:.0f} s")

    def _await_server(self, give_up: float) -> None:
        """Connect before writing an intent: a refused connection has sent nothing."""
        while self._connection.sock is None and time.monotonic() < give_up:
            try:
                self._connection.connect()
            except OSError:
                self._connection.close()
                time.sleep(_RETRY_S)

    def _post(self, body: bytes, items: int) -> list[Receipt]:
        headers = {"Content-Type": "application/json"}
        self._connection.request("POST", "/v1/events?receipts=1", body, headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status in (429, 503):
            raise http.client.HTTPException(f"status {answer.status}")
        if answer.status != 200:
            raise SystemExit(f"request {self._number}: {answer.status} {text!r}")
        document = json.loads(text)
        verdicts = ("accepted", "duplicates", "conflicts", "rejected")
        if document["received"] != items or sum(document[name] for name in verdicts) != items:
            raise SystemExit(f"request {self._number} of {items} items does not add up: {text!r}")
        return [Receipt(r["status"], r.get("position")) for r in document["receipts"]]


def main() -> None:
    seed, number, base, port, journal, pause_ms = sys.argv[1:]
    workload = Workload(int(seed), int(number), datetime.fromisoformat(base))
    client = Client(workload, int(port), JournalWriter(Path(journal)))
    signal.signal(signal.SIGTERM, lambda signum, frame: setattr(client, "stopping", True))
    client.run(float(pause_ms) / 1000)


if __name__ == "__main__":
    main()
