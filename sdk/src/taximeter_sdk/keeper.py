"""
The keeper: one background thread for what must be done ahead of need. It refills and renews leases
and holds, and learns fail policies, so that no request waits for any of it.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Final

log = logging.getLogger("taximeter_sdk")

TICK_S: Final = 0.25
Job = Callable[[], object]


class Keeper:
    """
    Runs jobs one after another, and every tick each of `ticks`. Its thread starts with the first
    job. Jobs make calls with a timeout, so one that hangs delays the next by that much.
    """

    def __init__(self) -> None:
        # Its put is atomic even inside a finaliser or a signal handler.
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._ticks: list[Job] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def each_tick(self, job: Job) -> None:
        self._ticks.append(job)

    def submit(self, job: Job) -> None:
        self._jobs.put(job)
        self.start()

    def start(self) -> None:
        if self._thread is not None or self._stopped:
            return
        with self._lock:
            if self._thread is not None:
                return
            self._thread = threading.Thread(target=self._run, name="taximeter-keeper", daemon=True)
            self._thread.start()

    def stop(self, timeout_s: float) -> None:
        self._stopped = True
        self._jobs.put(None)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=TICK_S)
            except queue.Empty:
                pass
            else:
                if job is None:
                    return
                self._do(job)
            for tick in self._ticks:
                self._do(tick)

    def _do(self, job: Job) -> None:
        try:
            job()
        except Exception:  # a defect of ours must not end the thread
            log.exception("a background job failed")
