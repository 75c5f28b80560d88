"""
The press: documents made in a process of their own, bounded in time and memory, and kept.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from base64 import b64encode
from contextlib import suppress
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Final

import jinja2
import msgspec
from markupsafe import Markup

from taximeter.adapters.documents.worker import Job, ParquetJob, PdfJob
from taximeter.documents.sheet import Sheet
from taximeter.documents.tables import Table
from taximeter.errors import Unavailable

logger = logging.getLogger("taximeter.documents")

TIMEOUT_S: Final = 20.0
AT_ONCE: Final = 2
MAX_WAITING: Final = 64
_LAYOUTS: Final = Path(__file__).parent / "layouts"


class ProcessPress:
    """
    Implements `ports.Press`.

    A document is typeset in a process that ends with it, so that no text from outside, however
    hostile, can hold up the node, grow its memory or outlive its request.

    Args:
        directory: Where PDFs are kept. Any of them may be deleted at any time: it is made again.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._places = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def pdf(self, sheet: Sheet, einvoice: bytes | None) -> bytes:
        job = PdfJob(msgspec.json.encode(sheet).decode(), einvoice)
        if sheet.date is None:
            return await self._run(job)
        path = self._directory / f"{sha256(msgspec.json.encode(job)).hexdigest()}.pdf"
        with suppress(FileNotFoundError):
            return await asyncio.to_thread(path.read_bytes)
        made = await self._run(job)
        await asyncio.to_thread(_keep, path, made)
        return made

    async def parquet(self, table: Table) -> bytes:
        return await self._run(ParquetJob(table))

    def html(self, sheet: Sheet) -> tuple[bytes, tuple[tuple[str, str], ...]]:
        page = _template().render(sheet=sheet, style=Markup(_style()))
        return page.encode(), _headers()

    async def _run(self, job: Job) -> bytes:
        if self._waiting >= MAX_WAITING:
            raise _unavailable("too many others are being made")
        self._waiting += 1
        try:
            async with self._places:
                return await _made(job)
        finally:
            self._waiting -= 1


async def _made(job: Job) -> bytes:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "taximeter.adapters.documents.worker",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        talk = process.communicate(await asyncio.to_thread(msgspec.msgpack.encode, job))
        made, errors = await asyncio.wait_for(talk, TIMEOUT_S)
    except TimeoutError:
        raise _unavailable("it took too long") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        logger.error("a document failed: %s", errors.decode(errors="replace")[-2000:])
        raise _unavailable("the engine failed; the log says why")
    return made


def _unavailable(why: str) -> Unavailable:
    return Unavailable("document_unavailable", f"The document could not be made: {why}.")


def _keep(path: Path, content: bytes) -> None:
    """A full disk makes documents slower to get, not impossible."""
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        logger.warning("a document was not kept: %s", error)
        part.unlink(missing_ok=True)


# --- pages ------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _style() -> str:
    return (_LAYOUTS / "paper.css").read_text()


@lru_cache(maxsize=1)
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string((_LAYOUTS / "paper.html").read_text())


@lru_cache(maxsize=1)
def _headers() -> tuple[tuple[str, str], ...]:
    """Nothing but the page's own style is allowed, by its digest: no script, image or request."""
    digest = b64encode(sha256(_style().encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return (
        ("Content-Security-Policy", f"{policy}; frame-ancestors 'self'; sandbox"),
        ("Referrer-Policy", "no-referrer"),
    )
