"""The contract of `ports.CorrectionBooks`, run against every adapter of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace

from taximeter.adapters.books import SqliteBooks
from taximeter.errors import Refused
from taximeter.ports import AuditEntry, BackfillPart, StoredBackfill, StoredCorrection

NS, OTHER = "default", "other"
AT = 1_795_000_000_000_000
HOSTILE = "x'); DROP TABLE corrections; --\" ' 🚕"

Opener = Callable[[], SqliteBooks]


@pytest.fixture(params=["sqlite"])
def open_books(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    opened: list[SqliteBooks] = []

    def opener() -> SqliteBooks:
        opened.append(SqliteBooks(tmp_path / "books.db", busy_timeout_ms=50))
        return opened[-1]

    yield opener
    for books in opened:
        books.close()


@pytest.fixture
def books(open_books: Opener) -> SqliteBooks:
    return open_books()


def audit(action: str) -> AuditEntry:
    return AuditEntry(0, NS, AT, "key_1", action, "x", {"reason": HOSTILE})


def correction(name: str = "cor_1", namespace: str = NS, **members: object) -> StoredCorrection:
    request = {"action": "amend", "patch": {"n": Decimal("0.1"), HOSTILE: None}}
    one = StoredCorrection(
        0, namespace, name, "amend", "committing", HOSTILE, "key_1", AT, 2, request, (3, 2**40)
    )
    return replace(one, **members)


def backfill(backfill_id: str = "b", **members: object) -> StoredBackfill:
    return replace(StoredBackfill(0, NS, backfill_id, "open", HOSTILE, "key_1", AT), **members)


def test_a_correction_is_read_as_it_was_put(open_books: Opener) -> None:
    open_books().put_correction(correction())
    assert open_books().correction(NS, "cor_1") == correction(rank=1)
    assert open_books().correction(OTHER, "cor_1") is None


def test_putting_it_again_changes_what_became_of_it(books: SqliteBooks) -> None:
    books.put_correction(correction())
    made = correction(status="committed", first=9, last=10, approved_by="key_2", approved_at=AT)
    books.put_correction(made, audit("events.amend"))
    assert books.correction(NS, "cor_1") == replace(made, rank=1)
    assert [one.action for one in books.audit(NS, after=0, limit=9)] == ["events.amend"]


def test_corrections_are_listed_newest_first_without_their_seqs(books: SqliteBooks) -> None:
    for name, status in (("a", "pending"), ("b", "committed"), ("c", "pending")):
        books.put_correction(correction(name, status=status))
    books.put_correction(correction("d", OTHER))

    def ids(status: str | None = None, before: int | None = None) -> list[str]:
        found = books.corrections(NS, status=status, before=before, limit=2)
        assert not any(one.seqs for one in found)
        return [one.id for one in found]

    assert ids() == ["c", "b"]
    assert ids(before=2) == ["a"]
    assert ids("pending") == ["c", "a"]


def test_what_a_crash_left_is_found_and_can_be_dropped(books: SqliteBooks) -> None:
    books.put_correction(correction("a", status="committed"))
    books.put_correction(correction("b"))
    books.put_correction(correction("c", OTHER))
    assert [one.id for one in books.unfinished_corrections()] == ["b", "c"]
    books.drop_correction(NS, "a")  # it was made: it stays
    books.drop_correction(NS, "b")
    assert books.correction(NS, "a") is not None
    assert books.correction(NS, "b") is None


def test_a_backfill_is_opened_once(books: SqliteBooks) -> None:
    assert books.add_backfill(backfill(), audit("backfill.open"))
    assert not books.add_backfill(backfill(reason="another"), audit("backfill.open"))
    assert books.backfill(NS, "b") == backfill(rank=1)
    assert books.backfill(OTHER, "b") is None
    books.add_backfill(backfill("c"), audit("backfill.open"))
    assert [one.id for one in books.backfills(NS, before=None, limit=9)] == ["c", "b"]
    assert [one.id for one in books.backfills(NS, before=2, limit=9)] == ["b"]


def test_parts_are_numbered_as_they_come_and_only_while_it_is_open(books: SqliteBooks) -> None:
    books.add_backfill(backfill(), audit("backfill.open"))
    part = BackfillPart(0, AT, 2, b"\x00{}\n{}")
    assert [books.add_backfill_part(NS, "b", part) for _ in range(3)] == [1, 2, 3]
    found = books.backfill(NS, "b")
    assert found is not None
    assert (found.events, found.bytes) == (6, 18)
    assert books.backfill_parts(NS, "b", after=1, limit=1) == [replace(part, number=2)]
    sent = replace(part, number=2, body=b"", sent_from=7, spans=((8, 8), (10, 2**40)))
    books.update_backfill_part(NS, "b", sent)
    assert books.backfill_parts(NS, "b", after=1, limit=1) == [sent]
    books.update_backfill(replace(found, status="committing"), audit("backfill.commit"))
    with pytest.raises(Refused, match="not open"):
        books.add_backfill_part(NS, "b", part)
    with pytest.raises(Refused, match="not open"):
        books.add_backfill_part(OTHER, "b", part)


def test_what_is_on_its_way_is_found_at_the_next_start(books: SqliteBooks) -> None:
    for name, status in (("a", "open"), ("b", "committing"), ("c", "reverting"), ("d", "reverted")):
        books.add_backfill(backfill(name, status=status), audit("backfill.open"))
    assert [one.id for one in books.unfinished_backfills()] == ["b", "c"]
