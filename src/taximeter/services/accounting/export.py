"""
The journal as a table: a line for each posting, for whoever keeps the company's books.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from taximeter.accounting.journal import JournalEntry
from taximeter.documents.tables import Column, ColumnType, Table
from taximeter.instants import format_instant
from taximeter.money import format_minor

_COLUMNS = (
    Column("entry"),
    Column("at", ColumnType.INSTANT),
    Column("kind"),
    Column("customer"),
    Column("invoice"),
    Column("source"),
    Column("account"),
    Column("debit", ColumnType.DECIMAL),
    Column("credit", ColumnType.DECIMAL),
    Column("currency"),
    Column("cause"),
)


def journal_table(entries: Iterable[JournalEntry]) -> Table:
    """In the order of the entries; of one entry, in the order of the accounts."""
    return Table(_COLUMNS, tuple(row for entry in entries for row in _rows(entry)))


def _rows(entry: JournalEntry) -> Iterable[tuple[str | None, ...]]:
    cause = msgspec.json.encode(entry.cause, order="sorted").decode()
    for posting in entry.postings:
        amount = format_minor(abs(posting.amount_minor), entry.currency)
        is_debit = posting.amount_minor > 0
        yield (
            entry.id,
            format_instant(entry.at),
            entry.kind.value,
            entry.customer,
            entry.invoice,
            entry.source,
            posting.account.value,
            amount if is_debit else None,
            None if is_debit else amount,
            entry.currency,
            cause,
        )
