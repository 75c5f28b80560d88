"""Where documents are made: the layouts, and the engines that are too heavy for the event loop."""

from __future__ import annotations

from typing import Protocol

from taximeter.documents.sheet import Sheet
from taximeter.documents.tables import Table


class Press(Protocol):
    """
    Raises:
        Unavailable: `document_unavailable`: it took too long, or too much memory.
    """

    async def pdf(self, sheet: Sheet, einvoice: bytes | None) -> bytes:
        """
        A PDF/A-3, where the fonts at hand have all of its characters; else a plain PDF.

        The same sheet and XML give the same bytes. That of a final document is kept.

        Args:
            einvoice: The same invoice as CII, attached as Factur-X; None for none.
        """
        ...

    def html(self, sheet: Sheet) -> tuple[bytes, tuple[tuple[str, str], ...]]:
        """A page by itself, and the headers that keep it from loading or running anything."""
        ...

    async def parquet(self, table: Table) -> bytes: ...
