"""
A witness: an event store made from nothing but the log, in a process and a directory of its own.

It costs reading the whole log once, so it is called only where two counts contradict each other.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from taximeter.adapters.store.process import StoreProcess

PREFIX = "witness-"


def clear_witnesses(scratch: Path) -> None:
    """Remove what a node that was killed has left."""
    for directory in scratch.glob(f"{PREFIX}*"):
        shutil.rmtree(directory, ignore_errors=True)


@asynccontextmanager
async def witness(
    scratch: Path, log_directory: Path, reader: str, position: int
) -> AsyncIterator[StoreProcess]:
    """
    Args:
        scratch: Where its directory is made, and removed afterwards.
        reader: "module:name" of the log's reader.
        position: Up to which the log is durable.
    """
    directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=scratch))
    store = StoreProcess(
        directory, log_directory, reader, threads=1, memory_limit="1GB", idle_seal_s=3600.0
    )
    store.start(position)
    try:
        yield store
    finally:
        await store.close()
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
