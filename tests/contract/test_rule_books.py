"""The contract of `ports.RuleBooks`, run against every adapter of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from taximeter.adapters.books import SqliteBooks
from taximeter.ports import AuditEntry, RuleFire

NS, OTHER = "default", "other"
AT = 1_795_000_000_000_000
HOSTILE = "x'); DROP TABLE rule_fires; --\" ' 🚕"

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


def audit(action: str = "rule.block") -> AuditEntry:
    return AuditEntry(0, NS, AT, "rule r", action, "acme", {"position": "0:1"})


def fire(seq: int = 1, rule: str = "r", namespace: str = NS, **members: object) -> RuleFire:
    base = RuleFire(
        rank=0,
        namespace=namespace,
        id=f"{rule}@1:{seq}",
        rule=rule,
        version=1,
        seq=seq,
        customer="acme",
        value="",
        event="e1",
        event_at=AT - 5,
        at=AT + seq,
        mode="on",
        observed="501.5",
        outcomes={"block": "done"},
    )
    return replace(base, **members)


def actions(books: SqliteBooks) -> list[str]:
    return [entry.action for entry in books.audit(NS, after=0, limit=100)]


def test_a_fire_is_stored_once_with_its_audit_lines(books: SqliteBooks) -> None:
    assert books.add_fires([(fire(), [audit("rule.flag"), audit("rule.block")])]) == {"r@1:1"}
    assert books.add_fires([(fire(), [audit("rule.flag")])]) == set()
    assert actions(books) == ["rule.flag", "rule.block"]
    (found,) = books.fires(NS, limit=10)
    assert found.rank > 0
    assert replace(found, rank=0) == fire()


def test_a_rule_fires_once_for_an_event_whatever_the_version_by_then(books: SqliteBooks) -> None:
    books.add_fires([(fire(), [])])
    assert books.add_fires([(fire(version=2, id="r@2:1"), [audit()])]) == set()


def test_of_two_alike_in_one_batch_one_is_new(books: SqliteBooks) -> None:
    assert books.add_fires([(fire(), [audit()]), (fire(), [audit()])]) == {"r@1:1"}
    assert len(actions(books)) == 1


def test_fires_are_listed_newest_first_in_pages(books: SqliteBooks) -> None:
    books.add_fires([(fire(seq), []) for seq in range(1, 6)])
    first = books.fires(NS, limit=2)
    assert [one.seq for one in first] == [5, 4]
    assert [one.seq for one in books.fires(NS, before=first[-1].rank, limit=9)] == [3, 2, 1]


def test_fires_are_found_by_rule_customer_mode_and_review(books: SqliteBooks) -> None:
    one, two = fire(1, mode="dry_run"), fire(2, "s", customer=HOSTILE, review="open")
    books.add_fires([(one, []), (two, [])])
    for wanted, seqs in (
        ({"rule": "r"}, [1]),
        ({"customer": HOSTILE}, [2]),
        ({"mode": "dry_run"}, [1]),
        ({"review": "open"}, [2]),
        ({"rule": "r", "review": "open"}, []),
    ):
        assert [found.seq for found in books.fires(NS, limit=9, **wanted)] == seqs, wanted


def test_nobody_sees_another_namespaces_fires(books: SqliteBooks) -> None:
    books.add_fires([(fire(namespace=OTHER, review="open"), [])])
    assert books.fires(NS, limit=9) == []
    assert books.fire(NS, "r@1:1") is None
    assert books.count_fires(NS, 0) == {}
    assert books.open_reviews() == {OTHER: 1}


def test_a_review_is_closed_once(books: SqliteBooks) -> None:
    books.add_fires([(fire(review="open"), [])])
    stored = books.fire(NS, "r@1:1")
    assert stored is not None
    closed = replace(stored, review="dismissed", reviewed_at=AT, reviewed_by="key_1", note=HOSTILE)
    assert books.resolve_review(closed, audit("review.dismissed"))
    assert not books.resolve_review(replace(closed, review="approved"), audit("review.approved"))
    assert books.fire(NS, "r@1:1") == closed
    assert actions(books) == ["review.dismissed"]
    assert books.open_reviews() == {}


def test_what_is_pending_is_concluded_once_and_survives_a_restart(open_books: Opener) -> None:
    before = open_books()
    before.add_fires([(fire(pending=True), []), (fire(2), [])])
    before.close()
    books = open_books()
    (pending,) = books.pending_fires()
    assert pending.seq == 1
    done = replace(pending, outcomes={"change_plan": "done"}, pending=False)
    books.conclude_fire(done, audit("rule.change_plan"))
    books.conclude_fire(replace(done, outcomes={}), audit("rule.change_plan"))
    assert books.pending_fires() == []
    assert books.fire(NS, "r@1:1") == done
    assert actions(books) == ["rule.change_plan"]


def test_fires_are_counted_by_rule_and_mode_from_an_instant_on(books: SqliteBooks) -> None:
    books.add_fires([(fire(seq), []) for seq in (1, 2, 3)] + [(fire(4, mode="dry_run"), [])])
    assert books.count_fires(NS, AT + 2) == {("r", "on"): 2, ("r", "dry_run"): 1}


def test_what_was_only_tried_out_is_forgotten_and_what_was_done_is_not(books: SqliteBooks) -> None:
    books.add_fires([(fire(1), []), (fire(2, mode="dry_run"), []), (fire(3, mode="dry_run"), [])])
    assert books.forget_dry_fires(AT + 3) == 1
    assert [one.seq for one in books.fires(NS, limit=9)] == [3, 1]
