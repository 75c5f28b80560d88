"""The progress bar of a load: how far, how fast, and the five counts."""

from __future__ import annotations

import sys
from typing import Any

from taximeter.adapters.cli.ingest.load import COUNTS, Totals


class Progress:
    """A context manager; quiet unless stderr is a terminal."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._rows_before = 0

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            from rich import progress
            from rich.console import Console

            self._bar = progress.Progress(
                progress.TextColumn("{task.description}", markup=False),
                progress.BarColumn(bar_width=24),
                progress.TaskProgressColumn(),
                progress.TextColumn("{task.fields[counts]}", markup=False),
                progress.TimeRemainingColumn(),
                console=Console(stderr=True),
                refresh_per_second=5,
            )
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def begin(self, name: str, size: int | None) -> None:
        """Start the bar of one file. `size`: bytes, None if unknown."""
        self._rows_before = 0
        if self._bar:
            self._task = self._bar.add_task(name, total=size, counts="")

    def update(self, totals: Totals, bytes_read: int) -> None:
        if not self._bar:
            return
        self._rows_before = self._rows_before or totals.received
        elapsed = self._bar.tasks[self._task].elapsed or 0
        rate = (totals.received - self._rows_before) / elapsed if elapsed > 0.2 else 0
        counts = "  ".join(f"{name} {getattr(totals, name):,}" for name in COUNTS)
        self._bar.update(self._task, completed=bytes_read, counts=f"{rate:,.0f}/s  {counts}")
