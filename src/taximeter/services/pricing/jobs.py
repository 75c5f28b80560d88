"""
Jobs: answers that may take longer than a request should, with how far they are.

They change nothing, so they live in memory: after a restart they are asked for again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from taximeter.errors import NotFound, TaximeterError, Unavailable
from taximeter.services.core import Core
from taximeter.services.customers import new_id
from taximeter.services.tenant import Tenant

KEPT = 50
RUNNING_AT_ONCE = 2

Work = Callable[[Callable[[int, int], None]], Awaitable[dict[str, Any]]]
"""Something to be done; it is given what to tell its progress to."""


class Job(msgspec.Struct):
    """
    Attributes:
        done, total: Steps; a total of 0 until it is known.
        result: What came of it, once it is finished.
        error: Why it failed, if it did.
    """

    id: str
    started_at: int
    done: int = 0
    total: int = 0
    result: dict[str, Any] | None = None
    error: TaximeterError | None = None

    @property
    def status(self) -> str:
        if self.error is not None:
            return "failed"
        return "running" if self.result is None else "done"


class Jobs:
    """The newest jobs of each namespace."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._of: dict[str, OrderedDict[str, Job]] = {}

    async def start(self, tenant: Tenant, work: Work, wait_s: float) -> Job:
        """
        Begin, and wait a little for the end.

        Raises:
            Unavailable: `overloaded`: others are still running.
        """
        known = self._of.setdefault(tenant.name, OrderedDict())
        if sum(job.status == "running" for job in known.values()) >= RUNNING_AT_ONCE:
            raise Unavailable("overloaded", "Two others are still running.", retry_after_s=5)
        job = Job(new_id("job"), self._core.clock.now())
        known[job.id] = job
        while len(known) > KEPT:
            known.popitem(last=False)
        task = asyncio.create_task(_run(job, work))
        self._core.keep(task)
        await asyncio.wait([task], timeout=wait_s)
        if job.error is not None:
            raise job.error
        return job

    def find(self, tenant: Tenant, job_id: str) -> Job:
        """
        Raises:
            NotFound: There is none, or it was forgotten.
            TaximeterError: What it failed with.
        """
        known = self._of.get(tenant.name)
        job = None if known is None else known.get(job_id)
        if job is None:
            raise NotFound("not_found", f"There is no job {job_id!r}; they end with the server.")
        if job.error is not None:
            raise job.error
        return job


async def _run(job: Job, work: Work) -> None:
    def progress(done: int, total: int) -> None:
        job.done, job.total = done, total

    try:
        job.result = await work(progress)
    except TaximeterError as error:
        job.error = error
    except Exception as error:
        job.error = TaximeterError("internal", f"The job failed: {error!r}")
