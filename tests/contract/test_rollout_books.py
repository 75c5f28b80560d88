"""Rollouts in the books: stored with who is where, found by id and by customer."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from sqlite3 import IntegrityError

import pytest

from taximeter.adapters.books import SqliteBooks
from taximeter.customers import Customer, Segment, Subscription
from taximeter.periods import Anchor, Cadence
from taximeter.ports import AuditEntry, CatalogVersion, RolloutBooks
from taximeter.pricing.cohorts import Cohort, Side
from taximeter.pricing.rollout import Assignment, Rollout, RolloutStatus

AUDIT = AuditEntry(0, "default", 1, "me", "test", "it", {})
ROLLOUT = Rollout("r", 2, Cohort(Fraction(1, 3), ("acme",), {"tier": "1"}), "now", 5, "me", "why")
ONE = Assignment("sub1", "acme", Side.TREATMENT, 7, 1)


@pytest.fixture
def books(tmp_path: Path) -> Iterator[SqliteBooks]:
    opened = SqliteBooks(tmp_path / "books.db")
    for version in (1, 2):
        staged = version == 2
        opened.add_catalog_version(
            CatalogVersion("default", version, b"{}", version, "me", "why", staged)
        )
    for customer in ("acme", "beta"):
        opened.put_customer("default", Customer(customer), AUDIT)
        segment = Segment(0, "pro", 1, Cadence.MONTH)
        name = "sub1" if customer == "acme" else "sub2"
        held = Subscription(name, customer, Anchor.CALENDAR, "UTC", (segment,))
        opened.put_subscription("default", held, AUDIT)
    yield opened
    opened.close()


def test_a_rollout_comes_back_as_it_was_stored_and_its_assignments_stay(
    books: RolloutBooks,
) -> None:
    assert books.rollout("default", "r") is None
    books.put_rollout(
        "default", ROLLOUT, [ONE, Assignment("sub2", "beta", Side.HOLDOUT, 7, 1)], AUDIT
    )
    ended = Rollout(
        "r", 2, ROLLOUT.cohort, 9, 5, "me", status=RolloutStatus.ROLLED_BACK, ended_at=9
    )
    assert books.rollouts("default") == [ROLLOUT]
    books.put_rollout("default", ended, (), AUDIT)
    assert books.rollout("default", "r") == ended
    assert [one.side for one in books.assignments("default", "r")] == ["treatment", "holdout"]
    assert books.assignments_of("default", "acme") == [("r", ONE)]
    assert books.assignments("default", "other") == []
    assert books.rollouts("elsewhere") == []


def test_a_rollout_needs_its_version_and_an_assignment_its_subscription(
    books: RolloutBooks,
) -> None:
    strange = Rollout("s", 9, ROLLOUT.cohort, "now", 5, "me")
    with pytest.raises(IntegrityError):
        books.put_rollout("default", strange, (), AUDIT)
    nobody = Assignment("nosub", "acme", Side.CONTROL, 7, 1)
    with pytest.raises(IntegrityError):
        books.put_rollout("default", ROLLOUT, [nobody], AUDIT)
    assert books.rollouts("default") == []


def test_a_catalogue_version_keeps_its_reason_and_whether_it_is_staged(books: SqliteBooks) -> None:
    stored = books.catalog_versions("default")
    assert [(one.reason, one.staged) for one in stored] == [("why", False), ("why", True)]
