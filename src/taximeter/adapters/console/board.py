"""
The live console: one board a namespace, shared by everybody who watches it.

While nobody does, nothing runs. With the first viewer a task begins that looks at the counters two
or three times a second and sends each viewer what changed; with the last one it ends.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import msgspec

from taximeter.adapters.console.happenings import Choice, Happening, Happenings
from taximeter.adapters.console.pulse import Pulse, PulseTaker
from taximeter.adapters.console.rows import Row
from taximeter.adapters.console.standings import Standings, View
from taximeter.services.core import Core
from taximeter.services.tenant import Tenant

logger = logging.getLogger("taximeter.console")

TICK_S = 0.4
RANK_EVERY_TICKS = 12
COUNT_EVERY_TICKS = 12
VISIBLE_BUDGET_S = 0.004
SWEEP_BUDGET_S = 0.002
PAGE_BUDGET_S = 0.03

Publish = Callable[[str], bool]
"""Sends one message, JSON text; False once the viewer is gone."""

_encode = msgspec.json.Encoder().encode


class Viewer:
    """
    One stream.

    Attributes:
        keys: The customers it shows, in order.
        sent: The row it last got of each of them.
    """

    def __init__(self, view: View, publish: Publish) -> None:
        self.view = view
        self.publish = publish
        self.keys: list[str] = []
        self.sent: dict[str, Row] = {}
        self.is_new = True


class Board:
    """The console of one namespace."""

    def __init__(self, core: Core, tenant: Tenant) -> None:
        self._core = core
        self._tenant = tenant
        self._viewers: set[Viewer] = set()
        self._task: asyncio.Task[None] | None = None
        self._pulses = PulseTaker(core, tenant)
        self._pulse: Pulse | None = None
        self._rate_at = 0
        self._rejected = 0
        self._ticks = 0
        self.standings = Standings(core, tenant)
        self.happenings = Happenings(tenant)

    # --- for a page ---

    async def page(self, view: View) -> dict[str, Any]:
        """Everything the console's page shows, as of now."""
        standings = self.standings
        await self._pulses.count_dead_letters()
        # Twice: the fares of those that looked best may show that others are better.
        for _ in range(2):
            keys, total = standings.matching(view)
            await standings.refresh(keys, PAGE_BUDGET_S)
        keys, total = standings.matching(view)
        return {
            "pulse": self._pulses.take(),
            "rate": self._pulses.rate(),
            "rows": [row for row in map(standings.row, keys) if row is not None],
            "matching": total,
            "events": self.happenings.now(view.customer),
            "choices": list(reversed(self.happenings.choices)),
        }

    # --- for a stream ---

    def join(self, view: View, publish: Publish) -> Viewer:
        viewer = Viewer(view, publish)
        self._viewers.add(viewer)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        return viewer

    def leave(self, viewer: Viewer) -> None:
        self._viewers.discard(viewer)
        if not self._viewers and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        self.happenings.fresh()  # what happened unwatched is on the page already
        with self._core.feed.watch(self._tenant.name, events=False) as watcher:
            while True:
                began = time.monotonic()
                try:
                    await self._tick(self.happenings.decided(watcher.take()))
                except Exception:  # a page that stands still must not need a restart
                    logger.exception("the console missed a tick")
                await asyncio.sleep(max(0.1, TICK_S - (time.monotonic() - began)))

    async def _tick(self, choices: list[Choice]) -> None:
        rejected = self._tenant.counts.rejected
        if rejected != self._rejected or self._ticks % COUNT_EVERY_TICKS == 0:
            self._rejected = rejected
            await self._pulses.count_dead_letters()
        shared = self._shared()
        events = self.happenings.fresh()
        self.standings.touch(one.customer for one in reversed(events) if one.customer)
        viewers = list(self._viewers)
        for viewer in viewers:
            if viewer.is_new or self._ticks % RANK_EVERY_TICKS == 0:
                viewer.keys, _ = self.standings.matching(viewer.view)
        visible = dict.fromkeys(key for viewer in viewers for key in viewer.keys)
        await self.standings.refresh(visible, VISIBLE_BUDGET_S)
        await self.standings.sweep(SWEEP_BUDGET_S)
        for viewer in viewers:
            self._send(viewer, shared, events, choices)
        self._ticks += 1

    def _shared(self) -> dict[str, Any]:
        """What is news to every viewer alike."""
        shared: dict[str, Any] = {}
        pulse = self._pulses.take()
        if pulse != self._pulse:
            shared["pulse"] = self._pulse = pulse
        rate = self._pulses.rate()
        if rate["at"] != self._rate_at:
            self._rate_at = rate["at"]
            shared["rate"] = rate
        return shared

    def _send(
        self,
        viewer: Viewer,
        shared: dict[str, Any],
        events: list[Happening],
        choices: list[Choice],
    ) -> None:
        message: dict[str, Any] = dict(shared)
        only = viewer.view.customer
        if viewer.is_new:
            message |= {"full": True, "pulse": self._pulse, "rate": self._pulses.rate()}
            events, choices = self.happenings.now(only), list(reversed(self.happenings.choices))
        message["events"] = [one for one in events if only in (None, one.customer)]
        message["choices"] = [one for one in choices if only in (None, one.customer)]
        message["rows"] = self._rows_for(viewer)
        shown = [key for key in viewer.keys if key in viewer.sent]
        if viewer.is_new or list(viewer.sent) != shown:
            viewer.sent = {key: viewer.sent[key] for key in shown}
            message["order"] = shown
        viewer.is_new = False
        # An empty order is news; an empty list of anything else is not.
        message = {name: value for name, value in message.items() if value or name == "order"}
        if message:
            viewer.publish(_encode(message).decode())

    def _rows_for(self, viewer: Viewer) -> list[Row]:
        """Rows that differ from those the viewer has."""
        fresh = []
        for key in viewer.keys:
            row = self.standings.row(key)
            if row is not None and viewer.sent.get(key) != row:
                viewer.sent[key] = row
                fresh.append(row)
        return fresh
