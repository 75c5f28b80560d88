"""The journal of money, written and read inside a caller's transaction (K19)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from taximeter.accounting.journal import Account, EntryKind, JournalEntry, Posting
from taximeter.adapters.books import rows

COLUMNS: Final = "rank, id, at, kind, customer, currency, invoice, source, cause"
_causes = msgspec.json.Decoder(dict[str, Any])


def post(
    sqlite: sqlite3.Connection, namespace: str, entries: Iterable[JournalEntry], now: int
) -> None:
    """
    Book entries; one whose id is known is passed over. None is dated in a closed month: it falls on
    the first instant behind it.
    """
    open_from = opened(sqlite, namespace)
    for entry in entries:
        assert entry.balanced, entry
        found = sqlite.execute(
            "INSERT INTO journal_entries (namespace, id, at, recorded_at, kind, customer, "
            "currency, invoice, source, cause) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT DO NOTHING RETURNING rank, at",
            (
                namespace,
                entry.id,
                max(entry.at, open_from),
                now,
                entry.kind.value,
                entry.customer,
                entry.currency,
                entry.invoice,
                entry.source,
                rows.to_json(entry.cause),
            ),
        ).fetchone()
        if found is not None:
            _post(sqlite, namespace, entry, *found)


def _post(
    sqlite: sqlite3.Connection, namespace: str, entry: JournalEntry, rank: int, at: int
) -> None:
    sqlite.executemany(
        "INSERT INTO journal_postings (entry, account, amount_minor, namespace, customer, "
        "currency, invoice, source, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                rank,
                posting.account.value,
                posting.amount_minor,
                namespace,
                entry.customer,
                entry.currency,
                entry.invoice,
                entry.source,
                at,
            )
            for posting in entry.postings
        ],
    )


def complete(sqlite: sqlite3.Connection, namespace: str, entry: JournalEntry) -> None:
    """Post what an entry that is booked has lost; what it has stays."""
    rank, at = sqlite.execute(
        "SELECT rank, at FROM journal_entries WHERE namespace = ? AND id = ?",
        (namespace, entry.id),
    ).fetchone()
    held = {account for _, account, _ in _postings(sqlite, [rank])}
    lost = tuple(one for one in entry.postings if one.account not in held)
    _post(sqlite, namespace, msgspec.structs.replace(entry, postings=lost), rank, at)


def opened(sqlite: sqlite3.Connection, namespace: str) -> int:
    """The first instant that entries may be dated at; 0 while no month is closed."""
    (end,) = sqlite.execute(
        "SELECT coalesce(max(end_at), 0) FROM closed_months WHERE namespace = ?", (namespace,)
    ).fetchone()
    return int(end)


def read(sqlite: sqlite3.Connection, where: str, values: tuple[Any, ...]) -> list[JournalEntry]:
    """Entries that a condition finds, with the rest of the query behind it."""
    return [entry for _, entry in read_ranked(sqlite, where, values)]


def read_ranked(
    sqlite: sqlite3.Connection, where: str, values: tuple[Any, ...]
) -> list[tuple[int, JournalEntry]]:
    """The same with their ranks."""
    found = sqlite.execute(
        f"SELECT {COLUMNS} FROM journal_entries WHERE {where}", values
    ).fetchall()
    if not found:
        return []
    posted: dict[int, list[Posting]] = {row[0]: [] for row in found}
    for entry, account, minor in _postings(sqlite, posted):
        posted[entry].append(Posting(Account(account), minor))
    order = {account: place for place, account in enumerate(Account)}
    return [
        (
            rank,
            JournalEntry(
                id=entry_id,
                at=at,
                kind=EntryKind(kind),
                customer=customer,
                currency=currency,
                invoice=invoice,
                source=source,
                cause=_causes.decode(cause),
                postings=tuple(sorted(posted[rank], key=lambda one: order[one.account])),
            ),
        )
        for rank, entry_id, at, kind, customer, currency, invoice, source, cause in found
    ]


def _postings(sqlite: sqlite3.Connection, ranks: Iterable[int]) -> Iterable[tuple[int, str, int]]:
    wanted = rows.to_json(list(ranks))
    return sqlite.execute(
        "SELECT entry, account, amount_minor FROM journal_postings "
        "WHERE entry IN (SELECT value FROM json_each(?))",
        (wanted,),
    )


def of_invoice(sqlite: sqlite3.Connection, namespace: str, invoice: str) -> list[JournalEntry]:
    """In the order they were booked."""
    return read(sqlite, "namespace = ? AND invoice = ? ORDER BY rank", (namespace, invoice))


def of_source(sqlite: sqlite3.Connection, namespace: str, source: str) -> list[JournalEntry]:
    """In the order they were booked."""
    return read(sqlite, "namespace = ? AND source = ? ORDER BY rank", (namespace, source))


def is_booked(sqlite: sqlite3.Connection, namespace: str, entry_id: str) -> bool:
    found = sqlite.execute(
        "SELECT 1 FROM journal_entries WHERE namespace = ? AND id = ?", (namespace, entry_id)
    )
    return found.fetchone() is not None


def next_id(sqlite: sqlite3.Connection, namespace: str, prefix: str) -> str:
    """The next free "PREFIX:1", "PREFIX:2", ..."""
    (count,) = sqlite.execute(
        "SELECT count(*) FROM journal_entries WHERE namespace = ? AND id >= ? AND id < ?",
        (namespace, f"{prefix}:", f"{prefix};"),  # ";" follows ":"
    ).fetchone()
    return f"{prefix}:{count + 1}"
