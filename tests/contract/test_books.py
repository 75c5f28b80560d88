"""The contract of `ports.Books`, run against every adapter of it."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from taximeter.adapters.books import SqliteBooks
from taximeter.customers import Customer, Segment, Subscription
from taximeter.errors import Damaged, NotFound, Refused, Rejected, Unavailable
from taximeter.invoices.document import canonical_bytes
from taximeter.invoices.invoice import Invoice, Kind, Line
from taximeter.invoices.states import issue
from taximeter.periods import Anchor, Cadence, Period
from taximeter.ports import (
    ApiKey,
    AuditEntry,
    BilledPeriod,
    Books,
    CatalogVersion,
    DeadLetter,
    StoredInvoice,
    StoredReply,
)

NS = "default"
AT = 1_795_000_000_000_000
HOSTILE = "x'); DROP TABLE invoices; --\x00\" ' ` ; 🚕 \u202e"

Opener = Callable[[], SqliteBooks]


@pytest.fixture(params=["sqlite"])
def open_books(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Opens the same books again and again, as a restart would."""
    opened: list[SqliteBooks] = []

    def opener() -> SqliteBooks:
        books = SqliteBooks(tmp_path / "books.db", busy_timeout_ms=50)
        opened.append(books)
        return books

    yield opener
    for books in opened:
        books.close()


@pytest.fixture
def books(open_books: Opener) -> SqliteBooks:
    return open_books()


def audit(action: str = "test", target: str = "t", **detail: Any) -> AuditEntry:
    return AuditEntry(0, NS, AT, "key_1", action, target, detail)


def key(id: str = "key_1", namespace: str = NS, **changes: Any) -> ApiKey:
    digest = id.encode().ljust(32, b".")[:32]
    return ApiKey(id, namespace, "ci", "tk_abc", digest, ("read", "write"), AT, **changes)


def catalog(version: int = 1, namespace: str = NS) -> CatalogVersion:
    return CatalogVersion(namespace, version, b'{"plans":{}}', AT, "key_1")


def subscription(
    id: str = "sub_1", customer: str = "acme", catalog_version: int = 1, **changes: Any
) -> Subscription:
    segment = Segment(AT, "pro", catalog_version, Cadence.MONTH)
    values: dict[str, Any] = {"anchor": Anchor.CALENDAR, "timezone": "UTC", "segments": (segment,)}
    return Subscription(id, customer, **(values | changes))


def invoice(id: str = "inv_1", **changes: Any) -> StoredInvoice:
    values: dict[str, Any] = {
        "id": id, "namespace": NS, "number": None, "customer": "acme", "subscription": "sub_1",
        "status": "draft", "period_start": AT, "period_end": AT + 10, "created_at": AT + 20,
        "document": b'{"total":"1.00"}',
    }  # fmt: skip
    return StoredInvoice(**(values | changes))


def add(books: Books, draft: StoredInvoice, why: AuditEntry | None = None) -> bool:
    period = BilledPeriod(draft.subscription, draft.period_start, draft.period_end)
    return books.add_invoice(draft, [period], why or audit())


def with_subscription(books: Books) -> None:
    books.add_catalog_version(catalog())
    books.put_customer(NS, Customer("acme"), audit())
    books.put_subscription(NS, subscription(), audit())


def billed(draft: StoredInvoice) -> Invoice:
    line = Line(
        id="line_1", kind=Kind.FLAT, description="base", price="pro/base@1",
        period=Period(draft.period_start, draft.period_end), quantity_pico=10**12,
        amount_minor=100,
    )  # fmt: skip
    return Invoice(
        id=draft.id, customer=draft.customer, subscription=draft.subscription, currency="USD",
        period=line.period, lines=(line,),
    )  # fmt: skip


def numbered(draft: StoredInvoice) -> Callable[[str], StoredInvoice]:
    def build(number: str) -> StoredInvoice:
        document = canonical_bytes(issue(billed(draft), number, AT + 30))
        return msgspec.structs.replace(draft, status="issued", number=number, document=document)

    return build


def listed(books: Books, **changes: Any) -> list[str]:
    query: dict[str, Any] = {"customer": None, "status": None, "after": None, "limit": 100}
    return [found.id for found in books.invoices(NS, **(query | changes))]


# --- namespaces and keys ------------------------------------------------------------------------


def test_empty_books_have_no_namespace(books: Books):
    assert books.namespaces() == []


def test_a_namespace_exists_once_it_has_a_key_a_catalogue_or_a_customer(books: Books):
    books.add_key(key(namespace="c"))
    books.add_catalog_version(catalog(namespace="a"))
    books.put_customer("b", Customer("acme"), audit())
    assert books.namespaces() == ["a", "b", "c"]


def test_a_key_comes_back_as_it_was_added(books: Books, open_books: Opener):
    books.add_key(key(expires_at=AT + 5))
    assert open_books().keys() == [key(expires_at=AT + 5)]


def test_a_revoked_key_stays_revoked_since_the_first_time(books: Books):
    books.add_key(key())
    books.revoke_key("key_1", AT + 1)
    books.revoke_key("key_1", AT + 9)
    (revoked,) = books.keys()
    assert revoked.revoked_at == AT + 1


def test_revoking_an_unknown_key_is_not_found(books: Books):
    with pytest.raises(NotFound):
        books.revoke_key("key_9", AT)


# --- catalogue ----------------------------------------------------------------------------------


def test_catalogue_versions_are_kept_in_order_and_per_namespace(books: Books):
    for version in (catalog(1), catalog(1, "other"), catalog(2)):
        books.add_catalog_version(version)
    assert books.catalog_versions(NS) == [catalog(1), catalog(2)]
    assert books.catalog_versions("unknown") == []


@pytest.mark.parametrize("version", [1, 3])
def test_a_version_that_does_not_follow_the_latest_is_refused(books: Books, version: int):
    books.add_catalog_version(catalog(1))
    with pytest.raises(Refused) as caught:
        books.add_catalog_version(catalog(version), audit())
    assert caught.value.code == "catalog_changed"
    assert books.audit(NS, after=0, limit=10) == []


# --- customers and subscriptions ----------------------------------------------------------------


def test_a_customer_comes_back_exactly_and_a_later_put_replaces_it(books: Books):
    first = Customer(
        "acme", subjects=("u1", "u2"), metadata={"rate": Decimal("0.1000"), "n": 2**60}
    )
    books.put_customer(NS, first, audit())
    (found,) = books.customers(NS)
    assert found == first
    assert isinstance(found.metadata["rate"], Decimal)
    books.put_customer(NS, Customer("acme", name="Acme"), audit())
    assert books.customers(NS) == [Customer("acme", name="Acme")]


def test_a_subject_belongs_to_one_customer_until_that_one_lets_go(books: Books):
    books.put_customer(NS, Customer("acme", subjects=("u1",)), audit())
    with pytest.raises(Refused) as caught:
        books.put_customer(NS, Customer("beta", subjects=("u2", "u1")), audit("claim"))
    assert caught.value.code == "subject_taken"
    assert caught.value.details == {"subject": "u1", "customer": "acme"}
    assert [c.key for c in books.customers(NS)] == ["acme"]
    books.put_customer(NS, Customer("acme"), audit())
    books.put_customer(NS, Customer("beta", subjects=("u2", "u1")), audit())


def test_a_customer_key_is_a_subject_of_its_own(books: Books):
    books.put_customer(NS, Customer("acme", subjects=("beta",)), audit())
    with pytest.raises(Refused):
        books.put_customer(NS, Customer("beta"), audit())


def test_the_same_subject_may_be_claimed_in_two_namespaces(books: Books):
    for namespace in ("a", "b"):
        books.put_customer(namespace, Customer("acme", subjects=("u1",)), audit())


def test_a_parent_must_be_in_the_books(books: Books):
    with pytest.raises(NotFound):
        books.put_customer(NS, Customer("acme", parent="holding"), audit())
    books.put_customer(NS, Customer("holding"), audit())
    books.put_customer(NS, Customer("acme", parent="holding"), audit())


def test_a_subscription_comes_back_exactly_and_a_later_put_replaces_it(books: Books):
    with_subscription(books)
    books.put_customer(NS, Customer("beta"), audit())
    books.put_subscription(NS, subscription("sub_0", "beta"), audit())
    overrides = {"prices": {"tokens": {"unit": Decimal("0.1")}}}
    later = Segment(AT + 5, "max", 1, Cadence.YEAR, True, {"boost": 2}, overrides, paused=True)
    ended = subscription(segments=(*subscription().segments, later), end=AT + 9, revision=2)
    books.put_subscription(NS, ended, audit())
    assert books.subscriptions(NS) == [ended, subscription("sub_0", "beta")]


def test_every_revision_of_a_subscription_is_kept_with_who_made_it(books: Books):
    with_subscription(books)
    ended = subscription(end=AT + 9, revision=2)
    books.put_subscription(NS, ended, audit("subscription.cancel"))
    found = books.subscription_revisions(NS, "sub_1")
    assert [one.subscription for one in found] == [subscription(), ended]
    assert {(one.at, one.actor) for one in found} == {(AT, "key_1")}
    assert books.subscription_revisions(NS, "sub_2") == []


@pytest.mark.parametrize("changes", [{"customer": "nobody"}, {"catalog_version": 7}])
def test_a_subscription_needs_its_customer_and_catalogue_version(
    books: Books, changes: dict[str, Any]
):
    with_subscription(books)
    with pytest.raises(NotFound):
        books.put_subscription(NS, subscription(id="sub_2", **changes), audit())


def test_a_subscription_cannot_move_to_another_customer(books: Books):
    with_subscription(books)
    books.put_customer(NS, Customer("beta"), audit())
    with pytest.raises(Rejected):
        books.put_subscription(NS, subscription(customer="beta"), audit())


# --- dead letters -------------------------------------------------------------------------------


def test_dead_letters_are_paged_by_id_and_replayed_ones_can_be_left_out(books: Books):
    letters = [DeadLetter(0, NS, AT, "invalid_event", "no id", b"{%d" % n) for n in range(4)]
    books.add_dead_letters([*letters, DeadLetter(0, "other", AT, "invalid_json", "", b"")])
    found = books.dead_letters(NS, after=0, limit=3, pending=False)
    assert [letter.body for letter in found] == [b"{0", b"{1", b"{2"]
    rest = books.dead_letters(NS, after=found[-1].id, limit=3, pending=False)
    assert [letter.body for letter in rest] == [b"{3"]
    books.mark_replayed([found[0].id, 999], AT + 1)
    books.mark_replayed([found[0].id], AT + 2)
    assert [e.body for e in books.dead_letters(NS, after=0, limit=9, pending=True)] == [
        b"{1", b"{2", b"{3",
    ]  # fmt: skip
    assert books.dead_letters(NS, after=0, limit=1, pending=False)[0].replayed_at == AT + 1
    assert books.pending_dead_letters(NS) == 3


# --- invoices -----------------------------------------------------------------------------------


def test_a_period_of_a_subscription_has_one_live_invoice(books: Books):
    with_subscription(books)
    assert add(books, invoice("inv_1"))
    assert not add(books, invoice("inv_2", period_end=AT + 5), audit("second"))
    assert listed(books) == ["inv_1"]
    assert "second" not in [e.action for e in books.audit(NS, after=0, limit=10)]


def test_a_void_invoice_makes_room_for_another_of_its_period(books: Books):
    with_subscription(books)
    add(books, invoice("inv_1"))
    assert books.replace_invoice(invoice("inv_1", status="void"), "draft", audit())
    assert add(books, invoice("inv_2"))


def test_billed_periods_are_those_of_live_invoices(books: Books):
    with_subscription(books)
    for n in range(3):
        add(books, invoice(f"inv_{n}", period_start=AT + n))
    void = invoice("inv_1", period_start=AT + 1, status="void")
    books.replace_invoice(void, "draft", audit())
    assert books.billed_periods(NS) == {
        ("sub_1", AT, "period"): "inv_0",
        ("sub_1", AT + 2, "period"): "inv_2",
    }
    assert books.billed_periods("other") == {}


def test_an_invoice_bills_all_its_periods_or_none(books: Books):
    with_subscription(books)
    first, second = BilledPeriod("sub_1", AT, AT + 10), BilledPeriod("sub_1", AT + 10, AT + 20)
    ahead = BilledPeriod("sub_1", AT + 10, AT + 20, "advance")
    assert books.add_invoice(invoice("inv_1"), [first, ahead], audit())
    assert books.add_invoice(invoice("inv_2"), [second], audit())
    assert not books.add_invoice(invoice("inv_3"), [BilledPeriod("sub_1", 0, 1), ahead], audit())
    assert books.billed_periods(NS) == {
        ("sub_1", AT, "period"): "inv_1",
        ("sub_1", AT + 10, "advance"): "inv_1",
        ("sub_1", AT + 10, "period"): "inv_2",
    }
    assert [i.id for i in books.invoices_of_period(NS, "sub_1", AT + 10)] == ["inv_1", "inv_2"]
    books.replace_invoice(invoice("inv_1", status="void"), "draft", audit())
    assert [i.id for i in books.invoices_of_period(NS, "sub_1", AT + 10)] == ["inv_2"]


def test_an_invoice_in_review_is_not_issued(books: Books):
    with_subscription(books)
    add(books, invoice())
    held = invoice(status="in_review", review='{"reasons":["unusual"]}')
    assert books.replace_invoice(held, "draft", audit())
    with pytest.raises(Refused) as caught:
        books.issue_invoice(NS, "inv_1", "INV-", numbered(invoice()), audit())
    assert caught.value.code == "invoice_in_review"
    assert books.invoice(NS, "inv_1") == held


def test_each_series_counts_for_itself(books: Books):
    with_subscription(books)
    numbers = []
    for n, series in enumerate(["INV-", "DE-", "INV-"]):
        draft = invoice(f"inv_{n}", period_start=AT + n)
        add(books, draft)
        numbers.append(books.issue_invoice(NS, draft.id, series, numbered(draft), audit()).number)
    assert numbers == ["INV-000001", "DE-000001", "INV-000002"]


def test_an_invoice_needs_its_subscription(books: Books):
    with pytest.raises(NotFound):
        add(books, invoice())


def test_invoices_are_numbered_without_a_gap_per_namespace(books: Books):
    with_subscription(books)
    for n in range(1, 4):
        draft = invoice(f"inv_{n}", period_start=AT + n)
        add(books, draft)
        issued = books.issue_invoice(NS, draft.id, "INV-", numbered(draft), audit("issue"))
        assert issued == books.invoice(NS, draft.id)
        assert issued.number == f"INV-{n:06}"


def test_a_number_is_given_back_when_building_the_document_fails(books: Books):
    with_subscription(books)
    add(books, invoice())

    def fails(number: str) -> StoredInvoice:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        books.issue_invoice(NS, "inv_1", "INV-", fails, audit("issue"))
    assert books.invoice(NS, "inv_1") == invoice()
    assert "issue" not in [e.action for e in books.audit(NS, after=0, limit=10)]
    assert (
        books.issue_invoice(NS, "inv_1", "INV-", numbered(invoice()), audit()).number
        == "INV-000001"
    )


def test_an_invoice_is_issued_once(books: Books):
    with_subscription(books)
    add(books, invoice())
    books.issue_invoice(NS, "inv_1", "INV-", numbered(invoice()), audit())
    with pytest.raises(Refused) as caught:
        books.issue_invoice(NS, "inv_1", "INV-", numbered(invoice()), audit())
    assert caught.value.code == "invoice_not_draft"


def test_an_issued_document_never_changes_but_its_status_moves_on(books: Books):
    with_subscription(books)
    add(books, invoice())
    issued = books.issue_invoice(NS, "inv_1", "INV-", numbered(invoice()), audit())
    forged = msgspec.structs.replace(issued, document=b"{}")
    with pytest.raises(Refused) as caught:
        books.replace_invoice(forged, "issued", audit())
    assert caught.value.code == "invoice_final"
    paid = msgspec.structs.replace(issued, status="paid")
    assert books.replace_invoice(paid, "issued", audit())
    assert not books.replace_invoice(paid, "issued", audit())
    assert books.invoice(NS, "inv_1") == paid


def test_a_draft_can_be_replaced_by_a_newer_draft(books: Books):
    with_subscription(books)
    add(books, invoice())
    newer = invoice(document=b'{"total":"2.00"}')
    assert books.replace_invoice(newer, "draft", audit())
    assert books.invoice(NS, "inv_1") == newer


def test_unknown_invoices_are_none_or_not_found(books: Books):
    assert books.invoice(NS, "inv_9") is None
    for unknown in (NS, "other"):
        with pytest.raises(NotFound):
            books.issue_invoice(unknown, "inv_9", "INV-", numbered(invoice()), audit())
        with pytest.raises(NotFound):
            books.replace_invoice(invoice("inv_9", namespace=unknown), "draft", audit())


def test_invoices_are_listed_newest_first_filtered_and_paged(books: Books):
    with_subscription(books)
    books.put_customer(NS, Customer("beta"), audit())
    books.put_subscription(NS, subscription("sub_b", "beta"), audit())
    for n in range(5):
        add(books, invoice(f"inv_{n}", period_start=AT + n))
    add(books, invoice("inv_b", customer="beta", subscription="sub_b"))
    draft = invoice("inv_3", period_start=AT + 3)
    books.issue_invoice(NS, "inv_3", "INV-", numbered(draft), audit())
    assert listed(books) == ["inv_b", "inv_4", "inv_3", "inv_2", "inv_1", "inv_0"]
    assert listed(books, limit=2, after="inv_4") == ["inv_3", "inv_2"]
    assert listed(books, customer="beta") == ["inv_b"]
    assert listed(books, customer="acme", status="issued") == ["inv_3"]
    assert listed(books, after="inv_9") == []


# --- audit, replies, settings -------------------------------------------------------------------


def test_audit_entries_are_kept_in_order_with_exact_details(books: Books):
    for n in range(3):
        books.add_audit(audit("price", f"t{n}", unit=Decimal("0.10"), count=n))
    first, second = books.audit(NS, after=0, limit=2)
    assert (first.target, first.detail) == ("t0", {"unit": Decimal("0.10"), "count": 0})
    assert [e.target for e in books.audit(NS, after=second.id, limit=2)] == ["t2"]
    assert books.audit("other", after=0, limit=2) == []
    assert [e.target for e in books.audit_before(NS, before=None, limit=2)] == ["t2", "t1"]
    assert books.audit_before(NS, before=first.id, limit=2) == []
    assert books.audit_before("other", before=None, limit=2) == []


def test_the_first_reply_of_an_idempotency_key_stays(books: Books):
    first = StoredReply(b"d1", 201, "application/json", b"{}", AT)
    books.add_reply(NS, "k", first)
    books.add_reply(NS, "k", StoredReply(b"d2", 409, "text/plain", b"", AT))
    assert books.reply(NS, "k") == first
    assert books.reply("other", "k") is None


def test_replies_expire_by_age(books: Books):
    for n in range(3):
        books.add_reply(NS, f"k{n}", StoredReply(b"d", 200, "t", b"", AT + n))
    assert books.expire_replies(AT + 2) == 2
    assert [books.reply(NS, f"k{n}") is None for n in range(3)] == [True, True, False]


def test_a_setting_is_the_last_value_put(books: Books, open_books: Opener):
    assert books.setting(NS, "window") is None
    books.put_setting(NS, "window", "1")
    books.put_setting(NS, "window", "2")
    assert open_books().setting(NS, "window") == "2"


# --- whatever the names -------------------------------------------------------------------------


def test_hostile_names_are_values_like_any_other(books: Books):
    books.put_customer(HOSTILE, Customer(HOSTILE, name=HOSTILE, subjects=(HOSTILE + "1",)), audit())
    books.add_catalog_version(catalog(namespace=HOSTILE))
    books.put_subscription(HOSTILE, subscription(HOSTILE, HOSTILE), audit())
    stored = invoice(HOSTILE, namespace=HOSTILE, customer=HOSTILE, subscription=HOSTILE)
    add(books, stored)
    books.put_setting(HOSTILE, HOSTILE, HOSTILE)
    books.add_audit(AuditEntry(0, HOSTILE, AT, HOSTILE, HOSTILE, HOSTILE, {HOSTILE: HOSTILE}))
    assert books.invoice(HOSTILE, HOSTILE) == stored
    query: dict[str, Any] = {"customer": HOSTILE, "status": None, "limit": 9}
    assert books.invoices(HOSTILE, after=None, **query) == [stored]
    assert books.invoices(HOSTILE, after=HOSTILE, **query) == []
    assert books.customers(HOSTILE)[0].name == HOSTILE
    assert books.setting(HOSTILE, HOSTILE) == HOSTILE
    assert books.audit(HOSTILE, after=0, limit=1)[0].detail == {HOSTILE: HOSTILE}


# --- crashes and other openers ------------------------------------------------------------------

CRASH = """
import sys, time
from pathlib import Path
from taximeter.adapters.books import SqliteBooks
from taximeter.ports import AuditEntry

def build(number):
    print("building", number, flush=True)
    time.sleep(60)

SqliteBooks(Path(sys.argv[1])).issue_invoice(
    "default", "inv_1", "INV-", build, AuditEntry(0, "default", 0, "a", "issue", "t", {})
)
"""


def test_a_kill_in_the_middle_of_issuing_leaves_a_draft_and_no_gap(
    open_books: Opener, tmp_path: Path
):
    books = open_books()
    with_subscription(books)
    add(books, invoice())
    books.close()
    child = subprocess.Popen(
        [sys.executable, "-c", CRASH, str(tmp_path / "books.db")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "building INV-000001\n"
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()
    books = open_books()
    assert books.invoice(NS, "inv_1") == invoice()
    assert "issue" not in [e.action for e in books.audit(NS, after=0, limit=10)]
    assert (
        books.issue_invoice(NS, "inv_1", "INV-", numbered(invoice()), audit()).number
        == "INV-000001"
    )
    assert books.integrity_findings() == []


def test_two_openers_see_each_others_committed_changes(open_books: Opener):
    one, two = open_books(), open_books()
    one.put_setting(NS, "a", "1")
    two.put_setting(NS, "b", "2")
    assert (one.setting(NS, "b"), two.setting(NS, "a")) == ("2", "1")


def test_a_second_opener_waits_a_bounded_time_and_then_says_who_is_in_the_way(open_books: Opener):
    one, two = open_books(), open_books()
    with_subscription(one)
    add(one, invoice())

    def build(number: str) -> StoredInvoice:
        with pytest.raises(Unavailable) as caught:
            two.put_setting(NS, "a", "1")
        assert caught.value.code == "log_locked"
        return numbered(invoice())(number)

    one.issue_invoice(NS, "inv_1", "INV-", build, audit())
    two.put_setting(NS, "a", "1")


def test_two_writers_at_the_same_time_share_one_gapless_series(open_books: Opener, tmp_path: Path):
    with_subscription(open_books())
    found: list[str | None] = []

    def issue_some(name: str) -> None:
        books = SqliteBooks(tmp_path / "books.db")
        for n in range(20):
            draft = invoice(
                f"{name}{n}", period_start=AT + 2 * n + (name == "a"), period_end=AT + 99
            )
            add(books, draft)
            found.append(books.issue_invoice(NS, draft.id, "INV-", numbered(draft), audit()).number)
        books.close()

    threads = [threading.Thread(target=issue_some, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, found)) == [f"INV-{n:06}" for n in range(1, 41)]


def test_use_from_two_threads_at_once_is_noticed_and_changes_nothing(books: Books):
    with_subscription(books)
    add(books, invoice())
    seen: list[BaseException] = []

    def intrude() -> None:
        try:
            books.put_setting(NS, "a", "1")
        except AssertionError as error:
            seen.append(error)

    def build(number: str) -> StoredInvoice:
        thread = threading.Thread(target=intrude)
        thread.start()
        thread.join()
        return numbered(invoice())(number)

    books.issue_invoice(NS, "inv_1", "INV-", build, audit())
    assert len(seen) == 1
    assert books.setting(NS, "a") is None


# --- SQLite only: the walls behind the port -----------------------------------------------------


@pytest.fixture
def behind(books: SqliteBooks, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Someone with a SQLite shell, past all of our code."""
    with_subscription(books)
    add(books, invoice())
    books.issue_invoice(NS, "inv_1", "INV-", numbered(invoice()), audit())
    books.add_key(key())
    shell = sqlite3.connect(tmp_path / "books.db", isolation_level=None)
    yield shell
    shell.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET actor = 'nobody'",
        "DELETE FROM audit",
        "UPDATE catalog_versions SET document = X'7B7D'",
        "DELETE FROM catalog_versions",
        (
            "INSERT INTO catalog_versions (namespace, version, document, created_at, author)"
            " VALUES ('default', 9, X'7B7D', 0, '')"
        ),
        "DELETE FROM invoices",
        "UPDATE invoices SET document = X'7B7D'",
        "UPDATE invoices SET customer = 'other'",
        "UPDATE invoices SET period_end = period_end + 1",
        "UPDATE invoices SET status = 'draft', number = NULL, series = NULL, series_number = NULL",
        "UPDATE invoices SET status = 'lost'",
        "UPDATE number_series SET last = 0",
        "UPDATE keys SET scopes = '[\"admin\"]'",
    ],
)
def test_history_cannot_be_rewritten_from_a_shell(behind: sqlite3.Connection, statement: str):
    with pytest.raises(sqlite3.IntegrityError):
        behind.execute(statement)


def test_books_of_a_newer_version_are_refused_untouched(open_books: Opener, tmp_path: Path):
    open_books().close()
    with sqlite3.connect(tmp_path / "books.db") as shell:
        shell.execute("PRAGMA user_version = 99")
    with pytest.raises(Damaged) as caught:
        open_books()
    assert caught.value.code == "incompatible_data"
    assert caught.value.details["found"] == 99


def test_another_applications_database_is_refused_untouched(open_books: Opener, tmp_path: Path):
    with sqlite3.connect(tmp_path / "books.db") as shell:
        shell.execute("CREATE TABLE theirs (x)")
    with pytest.raises(Damaged) as caught:
        open_books()
    assert caught.value.code == "incompatible_data"
    with sqlite3.connect(tmp_path / "books.db") as shell:
        assert shell.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]


def test_a_file_that_is_no_database_is_damaged(open_books: Opener, tmp_path: Path):
    (tmp_path / "books.db").write_bytes(b"not a database" * 100)
    with pytest.raises(Damaged) as caught:
        open_books()
    assert caught.value.code == "books_damaged"


def test_a_damaged_page_is_found(open_books: Opener, tmp_path: Path):
    books = open_books()
    for n in range(200):
        books.add_audit(audit(target=f"t{n}" * 20))
    books.close()
    file = tmp_path / "books.db"
    blob = bytearray(file.read_bytes())
    blob[-4096:] = b"\xff" * 4096
    file.write_bytes(blob)
    try:
        found = open_books().integrity_findings()
    except Damaged:
        found = ["on opening"]
    assert found


def test_after_a_failed_sync_nothing_more_is_written_but_reads_go_on(books: SqliteBooks):
    class FailingDisk:
        """The connection, but its COMMIT meets an I/O error."""

        def __init__(self, inner: sqlite3.Connection) -> None:
            self.inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

        def execute(self, statement: str, *values: Any) -> Any:
            if statement == "COMMIT":
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
                raise error
            return self.inner.execute(statement, *values)

    books.put_setting(NS, "a", "1")
    sound = books._connection._sqlite
    books._connection._sqlite = FailingDisk(sound)  # type: ignore[assignment]
    for disk in (books._connection._sqlite, sound):
        books._connection._sqlite = disk
        with pytest.raises(Unavailable) as caught:
            books.put_setting(NS, "a", "2")
        assert caught.value.code == "storage_failed"
    assert books.setting(NS, "a") == "1"


def test_commits_are_synced_in_full(books: SqliteBooks):
    with books._connection.read() as sqlite:
        assert sqlite.execute("PRAGMA synchronous").fetchone() == (2,)
        assert sqlite.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert sqlite.execute("PRAGMA foreign_keys").fetchone() == (1,)


def test_invoices_of_a_version_without_a_journal_are_booked_when_the_books_open(
    open_books: Opener, tmp_path: Path
):
    books = open_books()
    with_subscription(books)
    add(books, invoice())
    books.issue_invoice(NS, "inv_1", "INV-", numbered(invoice()), audit())
    with sqlite3.connect(tmp_path / "books.db") as raw:
        kept = raw.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in kept:
            raw.execute(f'DROP TRIGGER "{name}"')
        for table in ("journal_postings", "journal_entries", "receivables"):
            raw.execute(f"DELETE FROM {table}")
        for _, definition in kept:
            raw.execute(definition)
    books.close()
    books = open_books()
    (found,) = books.open_invoices(NS)
    assert (found.id, found.open_minor) == ("inv_1", 100)
