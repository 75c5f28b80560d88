"""
Numbered schema changes, applied when the books are opened.

`schema/NNNN_name.sql` number n brings a file from version n - 1 to n. A released file is never
edited: the next change is the next number.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from functools import cache
from importlib import resources

from taximeter.errors import Damaged

# Written into the file's header, so that some other SQLite database is never taken for the books.
APPLICATION_ID = 0x54415849  # "TAXI"


@cache
def migrations() -> tuple[str, ...]:
    """SQL scripts in order; the script at index i brings the schema to version i + 1."""
    schema = resources.files(__package__) / "schema"
    files = sorted((f for f in schema.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    for version, file in enumerate(files, start=1):
        assert file.name.startswith(f"{version:04}_"), f"gap in the migrations before {file.name}"
    return tuple(file.read_text(encoding="utf-8") for file in files)


def migrate(connection: sqlite3.Connection) -> None:
    """
    Bring the schema up to date, inside the caller's write transaction.

    Raises:
        Damaged: `incompatible_data` for a newer schema or a file of another application.
    """
    scripts = migrations()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != APPLICATION_ID and (application or version or tables):
        raise Damaged("incompatible_data", "This SQLite file is not the books of Taximeter.")
    if version > len(scripts):
        raise Damaged(
            "incompatible_data",
            f"The books have schema {version}; this version of Taximeter knows up to "
            f"{len(scripts)}. Start the newer version again.",
            found=version,
            known=len(scripts),
        )
    for script in scripts[version:]:
        for statement in _statements(script):
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {len(scripts)}")


def _statements(script: str) -> Iterator[str]:
    """Split a script; `executescript` would commit the transaction around it."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    assert not statement.strip(), f"unfinished statement: {statement[:80]}"
