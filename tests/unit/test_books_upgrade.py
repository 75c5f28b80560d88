"""Books of an older version are read as what they meant."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from taximeter.adapters.books import SqliteBooks
from taximeter.adapters.books.migrations import APPLICATION_ID, migrations
from taximeter.customers import Segment, Subscription
from taximeter.periods import Anchor, Cadence

BEFORE_SEGMENTS = 2
AT = 1_767_225_600_000_000


def old_books(path: Path) -> None:
    """As a version wrote them that knew one plan for each subscription."""
    document = {
        "id": "sub_1", "customer": "acme", "plan": "big.v2", "catalog_version": 1,
        "start": AT, "anchor": "anniversary", "timezone": "Asia/Kolkata", "pinned": True,
        "status": "active", "end": None, "overrides": {}, "created_at": AT + 7,
    }  # fmt: skip
    catalog = {"plans": {"big.v2": {"currency": "USD", "cadence": "quarter"}}}
    with sqlite3.connect(path) as sqlite:
        for script in migrations()[:BEFORE_SEGMENTS]:
            sqlite.executescript(script)
        sqlite.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        sqlite.execute(f"PRAGMA user_version = {BEFORE_SEGMENTS}")
        sqlite.execute("INSERT INTO namespaces (name) VALUES ('x')")
        sqlite.execute(
            "INSERT INTO catalog_versions VALUES ('x', 1, ?, 0, 'me')",
            (json.dumps(catalog).encode(),),
        )
        sqlite.execute("INSERT INTO customers VALUES ('x', 'acme', NULL, '{}')")
        sqlite.execute(
            "INSERT INTO subscriptions VALUES ('x', 'sub_1', 'acme', 1, ?)",
            (json.dumps(document),),
        )


def test_a_subscription_to_one_plan_becomes_a_course_of_one_segment(tmp_path: Path) -> None:
    old_books(tmp_path / "books.db")
    books = SqliteBooks(tmp_path / "books.db")
    expected = Subscription(
        "sub_1",
        "acme",
        Anchor.ANNIVERSARY,
        "Asia/Kolkata",
        (Segment(AT, "big.v2", 1, Cadence.QUARTER, pinned=True),),
        created_at=AT + 7,
    )
    assert books.subscriptions("x") == [expected]
    (revision,) = books.subscription_revisions("x", "sub_1")
    assert (revision.at, revision.subscription) == (AT + 7, expected)
    assert books.integrity_findings() == []
    books.close()
