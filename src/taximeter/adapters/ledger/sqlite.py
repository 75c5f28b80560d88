"""
`ports.LedgerBook` in one SQLite file.

Wallets hand out balanced transactions with ordinals that have no gap, so writing one again changes
nothing, and a file that is lost is written again from the log. Amounts are text: they exceed 64
bits.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import msgspec

from taximeter.adapters.books.connection import Connection
from taximeter.errors import Damaged
from taximeter.ledger.transaction import Kind, Posting, Transaction
from taximeter.ports import AccountSum, LedgerRow, WalletRows

APPLICATION_ID = 0x5441584C  # "TAXL"

_SCHEMA = (
    """
    CREATE TABLE transactions (
        rank INTEGER PRIMARY KEY, -- the order in which they were booked
        namespace TEXT NOT NULL,
        customer TEXT NOT NULL,
        credit TEXT NOT NULL,
        ordinal INTEGER NOT NULL CHECK (ordinal >= 1),
        seq INTEGER NOT NULL,
        at INTEGER NOT NULL,
        kind TEXT NOT NULL,
        cause TEXT NOT NULL CHECK (json_valid(cause)),
        postings TEXT NOT NULL CHECK (json_valid(postings)),
        balance_after TEXT NOT NULL,
        UNIQUE (namespace, customer, credit, ordinal)
    ) STRICT
    """,
    "CREATE INDEX transactions_by_time ON transactions (namespace, customer, credit, at)",
    """
    CREATE TRIGGER transactions_are_immutable BEFORE UPDATE ON transactions
    BEGIN SELECT RAISE(ABORT, 'a transaction is reversed by another, never edited'); END
    """,
    """
    CREATE TRIGGER transactions_are_kept BEFORE DELETE ON transactions
    BEGIN SELECT RAISE(ABORT, 'a transaction is reversed by another, never deleted'); END
    """,
    """
    CREATE TABLE accounts ( -- sums of all postings, by the first word of the account
        namespace TEXT NOT NULL,
        customer TEXT NOT NULL,
        credit TEXT NOT NULL,
        account TEXT NOT NULL,
        amount TEXT NOT NULL,
        PRIMARY KEY (namespace, customer, credit, account)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE TABLE progress (position INTEGER NOT NULL) STRICT",
    "INSERT INTO progress VALUES (0)",
)

# Of later date than some ledgers.
_BY_SEQ = "CREATE INDEX IF NOT EXISTS transactions_by_seq ON transactions (namespace, seq)"

_READ = "namespace, customer, credit, ordinal, seq, at, kind, cause, postings, balance_after"
_Wallet = tuple[str, str, str]
_encode = msgspec.json.Encoder().encode
_postings = msgspec.json.Decoder(list[tuple[str, str]])


class SqliteLedger:
    """
    One caller at a time; each method is one transaction, durable when it returns.

    Raises:
        Damaged: `books_damaged`, `incompatible_data`.
        Unavailable: `storage_full`, `storage_failed`.
    """

    def __init__(self, path: Path) -> None:
        self._connection = Connection(path, prepare=_prepare)
        self._last: dict[_Wallet, int] = {}
        self._position: int
        with self._connection.read() as sqlite:
            (self._position,) = sqlite.execute("SELECT position FROM progress").fetchone()

    @property
    def position(self) -> int:
        """Everything the log did up to here is in the ledger."""
        return self._position

    def close(self) -> None:
        self._connection.close()

    def append(self, rows: Sequence[LedgerRow], position: int) -> None:
        """
        Book transactions, in order; those that are booked already are passed over.

        Args:
            position: Everything the log did up to here is among them or was before.
        """
        with self._connection.write() as sqlite:
            fresh = [row for row in rows if self._is_fresh(sqlite, row)]
            sqlite.executemany(
                "INSERT INTO transactions VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                map(_columns, fresh),
            )
            _add_sums(sqlite, fresh)
            sqlite.execute("UPDATE progress SET position = max(position, ?)", (position,))
        for row in fresh:
            self._last[row.namespace, row.customer, row.credit] = row.transaction.ordinal
        self._position = max(self._position, position)

    def _is_fresh(self, sqlite: sqlite3.Connection, row: LedgerRow) -> bool:
        wallet = (row.namespace, row.customer, row.credit)
        last = self._last.get(wallet)
        if last is None:
            (last,) = sqlite.execute(
                "SELECT coalesce(max(ordinal), 0) FROM transactions"
                " WHERE (namespace, customer, credit) = (?, ?, ?)",
                wallet,
            ).fetchone()
            self._last[wallet] = last
        return row.transaction.ordinal > last

    def transactions(
        self,
        namespace: str,
        customer: str,
        *,
        credit: str | None,
        start: int | None,
        end: int | None,
        after: int,
        limit: int,
    ) -> list[tuple[int, LedgerRow]]:
        """(rank, transaction) with rank > after and start <= at < end, in the order booked."""
        query = (
            f"SELECT rank, {_READ} FROM transactions"
            " WHERE namespace = ? AND customer = ? AND rank > ?"
        )
        parameters: list[str | int] = [namespace, customer, after]
        for condition, value in ((" AND credit = ?", credit), (" AND at >= ?", start),
                                 (" AND at < ?", end)):  # fmt: skip
            if value is not None:
                query += condition
                parameters.append(value)
        with self._connection.read() as sqlite:
            found = sqlite.execute(f"{query} ORDER BY rank LIMIT ?", (*parameters, limit))
            return [(rank, _row(*columns)) for rank, *columns in found]

    def caused_by(self, namespace: str, seqs: Sequence[int]) -> list[LedgerRow]:
        """What was booked at these seqs, in the order booked."""
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                f"SELECT {_READ} FROM transactions WHERE namespace = ?"
                " AND seq IN (SELECT value FROM json_each(?)) ORDER BY rank",
                (namespace, _encode(seqs).decode()),
            )
            return [_row(*columns) for columns in found]

    def balance_pico_at(self, namespace: str, customer: str, credit: str, at: int) -> int:
        """The balance after everything that was booked at or before an instant; 0 before."""
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                "SELECT balance_after FROM transactions"
                " WHERE (namespace, customer, credit) = (?, ?, ?) AND at <= ?"
                " ORDER BY at DESC, ordinal DESC LIMIT 1",
                (namespace, customer, credit, at),
            ).fetchone()
        return 0 if found is None else int(found[0])

    def sums(self, namespace: str) -> list[AccountSum]:
        """What stands on each account, over all customers; each credit sums to zero."""
        totals: dict[tuple[str, str], int] = defaultdict(int)
        with self._connection.read() as sqlite:
            for credit, account, amount in sqlite.execute(
                "SELECT credit, account, amount FROM accounts WHERE namespace = ?", (namespace,)
            ):
                totals[credit, account] += int(amount)
        return [AccountSum(*key, pico) for key, pico in sorted(totals.items())]

    def wallets(self, namespace: str) -> dict[tuple[str, str], WalletRows]:
        with self._connection.read() as sqlite:
            # Of the row with the greatest ordinal, as SQLite promises for a bare column.
            found = sqlite.execute(
                "SELECT customer, credit, count(*), max(ordinal), balance_after FROM transactions"
                " WHERE namespace = ? GROUP BY customer, credit",
                (namespace,),
            )
            return {
                (customer, credit): WalletRows(count, last, int(balance))
                for customer, credit, count, last, balance in found
            }

    def restore(self, rows: Sequence[LedgerRow]) -> int:
        restored = 0
        with self._connection.write() as sqlite:
            for row in rows:
                restored += sqlite.execute(
                    "INSERT INTO transactions VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                    " ON CONFLICT DO NOTHING",
                    _columns(row),
                ).rowcount
            for wallet in {(row.namespace, row.customer, row.credit) for row in rows}:
                _sum_again(sqlite, wallet)
        self._last.clear()
        return restored


def _prepare(sqlite: sqlite3.Connection) -> None:
    (application,) = sqlite.execute("PRAGMA application_id").fetchone()
    if application == APPLICATION_ID:
        sqlite.execute(_BY_SEQ)
        return
    if application or sqlite.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        raise Damaged("incompatible_data", "This SQLite file is not the ledger of Taximeter.")
    for statement in (*_SCHEMA, _BY_SEQ):
        sqlite.execute(statement)
    sqlite.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _columns(row: LedgerRow) -> tuple[str | int, ...]:
    one = row.transaction
    postings = [(posting.account, str(posting.amount_pico)) for posting in one.postings]
    return (
        row.namespace,
        row.customer,
        row.credit,
        one.ordinal,
        row.seq,
        one.at,
        one.kind.value,
        _encode(one.cause).decode(),
        _encode(postings).decode(),
        str(one.balance_after_pico),
    )


def _row(
    namespace: str,
    customer: str,
    credit: str,
    ordinal: int,
    seq: int,
    at: int,
    kind: str,
    cause: str,
    postings: str,
    balance_after: str,
) -> LedgerRow:
    transaction = Transaction(
        ordinal=ordinal,
        at=at,
        kind=Kind(kind),
        cause=msgspec.json.decode(cause),
        postings=tuple(Posting(a, int(pico)) for a, pico in _postings.decode(postings)),
        balance_after_pico=int(balance_after),
    )
    return LedgerRow(namespace, customer, credit, seq, transaction)


def _sum_again(sqlite: sqlite3.Connection, wallet: _Wallet) -> None:
    """The sums of a wallet's accounts from its transactions."""
    sqlite.execute("DELETE FROM accounts WHERE (namespace, customer, credit) = (?, ?, ?)", wallet)
    found = sqlite.execute(
        "SELECT namespace, customer, credit, ordinal, seq, at, kind, cause, postings,"
        " balance_after FROM transactions WHERE (namespace, customer, credit) = (?, ?, ?)",
        wallet,
    ).fetchall()
    _add_sums(sqlite, [_row(*columns) for columns in found])


def _add_sums(sqlite: sqlite3.Connection, rows: Sequence[LedgerRow]) -> None:
    added: dict[tuple[str, str, str, str], int] = defaultdict(int)
    for row in rows:
        for posting in row.transaction.postings:
            account = posting.account.partition("/")[0]
            if account == "issued":
                account = posting.account
            added[row.namespace, row.customer, row.credit, account] += posting.amount_pico
    for key, pico in added.items():
        found = sqlite.execute(
            "SELECT amount FROM accounts"
            " WHERE (namespace, customer, credit, account) = (?, ?, ?, ?)",
            key,
        ).fetchone()
        total = pico if found is None else pico + int(found[0])
        sqlite.execute("INSERT OR REPLACE INTO accounts VALUES (?, ?, ?, ?, ?)", (*key, str(total)))
