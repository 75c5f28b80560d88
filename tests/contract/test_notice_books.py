"""The contract of `ports.NoticeBooks`, run against every adapter of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from taximeter.adapters.books import SqliteBooks
from taximeter.notices.crossings import Mark, Place
from taximeter.notices.delivery import (
    Attempt,
    Channel,
    Delivery,
    DeliveryStatus,
    Receiver,
    new_delivery,
)
from taximeter.notices.notice import Notice, new_notice
from taximeter.notices.signature import Secret
from taximeter.notices.webhook import Webhook
from taximeter.ports import AuditEntry, Disabling, Outcome, StoredAlert, StoredMark

NS, OTHER = "default", "other"
AT = 1_795_000_000_000_000
OPS = Receiver(NS, Channel.WEBHOOK, "ops")
HOSTILE = "x'); DROP TABLE notices; --\x00\" ' 🚕"

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


def audit(action: str = "test") -> AuditEntry:
    return AuditEntry(0, NS, AT, "key_1", action, "t", {})


def notice(key: str = "k", namespace: str = NS, customer: str | None = "acme") -> Notice:
    return new_notice(namespace, "usage.threshold_crossed", customer, {"k": key}, key, AT)


def to_ops(one: Notice, at: int = AT) -> Delivery:
    return new_delivery(one, Channel.WEBHOOK, "ops", at)


def add(books: SqliteBooks, *keys: str, at: int = AT) -> list[Delivery]:
    made = [to_ops(notice(key), at) for key in keys]
    books.add_notices([(one.notice, [one]) for one in made])
    return made


def failed(delivery: Delivery, next_at: int | None, **changes: Any) -> Outcome:
    status = DeliveryStatus.FAILED if next_at is None else DeliveryStatus.PENDING
    moved = msgspec.structs.replace(
        delivery,
        status=status,
        failures=delivery.failures + 1,
        next_at=next_at,
        resolved_at=AT + 9 if next_at is None else None,
    )
    return Outcome(moved, Attempt(AT + 5, 12, 500, "no", "body"), **changes)


# --- what is configured -------------------------------------------------------------------------


def test_an_alert_comes_back_and_a_later_put_replaces_it(books: SqliteBooks, open_books: Opener):
    first, second = (StoredAlert(NS, "a", text, AT) for text in (b'{"v":1}', b'{"v":2}'))
    books.put_alert(first, audit())
    books.put_alert(second, audit())
    books.put_alert(StoredAlert(OTHER, "a", b"{}", AT), audit())
    assert open_books().alerts() == [second, StoredAlert(OTHER, "a", b"{}", AT)]


def test_deleting_says_whether_there_was_one_and_leaves_other_namespaces(books: SqliteBooks):
    books.put_alert(StoredAlert(OTHER, "a", b"{}", AT), audit())
    assert not books.delete_alert(NS, "a", audit())
    assert books.delete_alert(OTHER, "a", audit())
    assert books.alerts() == []


def test_every_change_of_configuration_is_in_the_audit_trail(books: SqliteBooks):
    books.put_alert(StoredAlert(NS, "a", b"{}", AT), audit("one"))
    books.delete_alert(NS, "a", audit("two"))
    books.put_webhook(NS, Webhook("ops", "https://x"), audit("three"))
    books.delete_webhook(NS, "ops", audit("four"))
    books.delete_webhook(NS, "ops", audit("nothing was done"))
    found = [entry.action for entry in books.audit(NS, after=0, limit=9)]
    assert found == ["one", "two", "three", "four"]


def test_a_webhook_comes_back_with_its_secrets(books: SqliteBooks, open_books: Opener):
    webhook = Webhook(
        "ops", "https://x", ("usage.*",), HOSTILE, ("a@b.c",),
        (Secret("whsec_b"), Secret("whsec_a", AT)), AT, failing_since=AT + 1,
    )  # fmt: skip
    books.put_webhook(NS, webhook, audit())
    assert open_books().webhooks() == [(NS, webhook)]


def test_disabling_a_webhook_gives_up_what_it_waits_for_and_nothing_else(books: SqliteBooks):
    books.put_webhook(NS, Webhook("ops", "https://x"), audit())
    one = notice()
    mail = new_delivery(one, Channel.EMAIL, "ops", AT)
    books.add_notices([(one, [to_ops(one), mail])])
    books.put_webhook(NS, Webhook("ops", "https://x", disabled_at=AT + 7), audit())
    found = {d.receiver.channel: (d.status, d.resolved_at) for d in books.deliveries_of(NS, one.id)}
    assert found == {
        Channel.WEBHOOK: (DeliveryStatus.FAILED, AT + 7),
        Channel.EMAIL: (DeliveryStatus.PENDING, None),
    }


def test_a_deleted_webhook_takes_its_deliveries_along_and_the_notices_stay(books: SqliteBooks):
    books.put_webhook(NS, Webhook("ops", "https://x"), audit())
    (delivery,) = add(books, "k")
    books.record([failed(delivery, AT + 50)])
    assert books.delete_webhook(NS, "ops", audit())
    assert books.delivery(NS, delivery.id) is None
    assert books.notice(NS, delivery.notice.id) == delivery.notice
    books.record([failed(delivery, AT + 60)])  # an attempt that was under way
    assert books.deliveries(OPS, limit=9) == []


# --- notices ------------------------------------------------------------------------------------


def test_a_notice_is_stored_once_for_its_key_with_its_first_content(books: SqliteBooks):
    first = notice()
    again = new_notice(NS, "other.type", "beta", {"later": True}, "k", AT + 5)
    assert books.add_notices([(first, [to_ops(first)])]) == {first.id}
    more = [to_ops(again), new_delivery(again, Channel.EMAIL, "x", AT)]
    assert books.add_notices([(again, more)]) == set()
    assert books.notices(NS, limit=9) == [first]
    assert len(books.deliveries_of(NS, first.id)) == 1


def test_the_same_key_twice_in_one_call_is_stored_once(books: SqliteBooks):
    one = notice()
    assert books.add_notices([(one, [to_ops(one)]), (one, [to_ops(one)])]) == {one.id}
    assert len(books.deliveries(OPS, limit=9)) == 1


def test_another_namespace_may_use_the_same_key(books: SqliteBooks):
    ours, theirs = notice(), notice(namespace=OTHER)
    assert books.add_notices([(ours, []), (theirs, [])]) == {ours.id, theirs.id}
    assert books.notice(OTHER, ours.id) is None
    assert books.notices(OTHER, limit=9) == [theirs]


def test_notices_are_listed_newest_first_page_by_page(books: SqliteBooks):
    made = [d.notice for d in add(books, *"abcde")]
    page = books.notices(NS, limit=2)
    assert page == [made[4], made[3]]
    assert books.notices(NS, before=page[-1].id, limit=9) == [made[2], made[1], made[0]]
    assert books.notices(NS, customer="beta", limit=9) == []
    assert books.notices(NS, type="x.y", limit=9) == []
    assert books.notices(NS, customer="acme", type=made[0].type, limit=1) == [made[4]]
    assert books.notices(NS, before="msg_unknown", limit=9) == []


def test_what_a_reader_missed_comes_oldest_first(books: SqliteBooks):
    made = [d.notice for d in add(books, *"abcd")]
    assert books.notices_after(NS, made[1].id, 9) == made[2:]
    assert books.notices_after(NS, made[0].id, 1) == made[1:2]
    assert books.notices_after(OTHER, made[0].id, 9) == []


def test_hostile_text_comes_back_as_it_was(books: SqliteBooks):
    one = notice(HOSTILE, customer=HOSTILE)
    books.add_notices([(one, [])])
    assert books.notices(NS, customer=HOSTILE, limit=9) == [one]


# --- marks --------------------------------------------------------------------------------------


def mark(past: bool, times: int, alert: str = "a") -> StoredMark:
    return StoredMark(NS, "acme", Place(alert, "usd", "10"), Mark(past, times))


def test_the_latest_mark_of_a_line_is_kept(books: SqliteBooks, open_books: Opener):
    books.add_notices([], [mark(True, 1), mark(False, 1), mark(True, 2), mark(True, 1, "b")])
    assert open_books().alert_marks() == [mark(True, 2), mark(True, 1, "b")]
    assert books.alert_marks(OTHER) == []


def test_lines_of_a_deleted_alert_are_armed_and_go_on_counting(books: SqliteBooks):
    books.put_alert(StoredAlert(NS, "a", b"{}", AT), audit())
    books.add_notices([], [mark(True, 3)])
    books.delete_alert(NS, "a", audit())
    assert books.alert_marks(NS) == [mark(False, 3)]


# --- deliveries ---------------------------------------------------------------------------------


def test_a_delivery_comes_back_whole(books: SqliteBooks, open_books: Opener):
    (delivery,) = add(books, "k")
    assert open_books().delivery(NS, delivery.id) == delivery
    assert books.delivery(OTHER, delivery.id) is None


def test_pending_deliveries_come_in_the_order_in_which_they_are_due(books: SqliteBooks):
    late, soon = add(books, "late", at=AT + 9)[0], add(books, "soon", at=AT + 3)[0]
    assert books.pending_receivers() == [OPS]
    assert books.pending_deliveries(OPS, limit=9) == [soon, late]
    assert books.pending_deliveries(OPS, limit=9, due=AT + 8) == [soon]
    assert books.pending_deliveries(OPS, limit=1) == [soon]
    assert books.pending_deliveries(Receiver(OTHER, OPS.channel, "ops"), limit=9) == []


def test_an_attempt_is_logged_and_moves_its_delivery_on(books: SqliteBooks):
    (delivery,) = add(books, "k")
    books.put_webhook(NS, Webhook("ops", "https://x"), audit())
    first = failed(delivery, AT + 50, failing_since=AT + 5)
    books.record([first])
    assert books.delivery(NS, delivery.id) == first.delivery
    assert books.webhooks()[0][1].failing_since == AT + 5
    moved = msgspec.structs.replace(
        first.delivery, status=DeliveryStatus.DELIVERED, next_at=None, resolved_at=AT + 60
    )
    second = Outcome(moved, Attempt(AT + 60, 3, 204))
    books.record([second])
    assert books.attempts([delivery.id]) == {delivery.id: [first.attempt, second.attempt]}
    assert books.pending_receivers() == []
    assert books.webhooks()[0][1].failing_since is None


def test_deliveries_are_listed_newest_first_by_status(books: SqliteBooks):
    a, b, c = add(books, *"abc")
    books.record([failed(b, None)])
    assert [d.id for d in books.deliveries(OPS, limit=9)] == [c.id, b.id, a.id]
    assert [d.id for d in books.deliveries(OPS, before=c.id, limit=1)] == [b.id]
    failures = books.deliveries(OPS, status=DeliveryStatus.FAILED, limit=9)
    assert [d.id for d in failures] == [b.id]


def test_a_delivery_sent_again_begins_its_schedule_anew(books: SqliteBooks):
    (delivery,) = add(books, "k")
    books.record([failed(delivery, None)])
    reopened = books.reopen_delivery(NS, delivery.id, AT + 99, audit("resend"))
    assert reopened == msgspec.structs.replace(delivery, next_at=AT + 99)
    assert books.delivery(NS, delivery.id) == reopened
    assert len(books.attempts([delivery.id])[delivery.id]) == 1, "the log stays"
    assert books.reopen_delivery(OTHER, delivery.id, AT, audit()) is None


def test_all_that_has_failed_since_an_instant_is_reopened_together(books: SqliteBooks):
    early, late, fine = (add(books, name, at=AT + n)[0] for n, name in enumerate("abc"))
    books.record([failed(early, None), failed(late, None)])
    assert books.reopen_failed(OPS, AT + 1, AT + 99, audit("again")) == 1
    assert books.delivery(NS, late.id) == msgspec.structs.replace(late, next_at=AT + 99)
    assert books.delivery(NS, early.id).status is DeliveryStatus.FAILED
    assert books.delivery(NS, fine.id) == fine
    assert books.reopen_failed(OPS, AT + 1, AT + 99, audit("nothing was done")) == 0
    assert [entry.action for entry in books.audit(NS, after=0, limit=9)] == ["again"]


def test_giving_up_an_endpoint_is_one_step_with_the_notice_that_says_so(books: SqliteBooks):
    books.put_webhook(NS, Webhook("ops", "https://x"), audit())
    gone, waiting = add(books, "gone", "waiting")
    disabled = Webhook("ops", "https://x", disabled_at=AT + 9, disabled_reason="gone")
    told = notice("disabled", customer=None)
    mail = new_delivery(told, Channel.EMAIL, "ops@x.y", AT)
    disabling = Disabling(NS, disabled, told, (mail,), audit("webhook.disable"))
    books.record([failed(gone, None)], [disabling])
    assert books.webhooks() == [(NS, disabled)]
    assert books.deliveries(OPS, status=DeliveryStatus.PENDING, limit=9) == []
    assert books.delivery(NS, waiting.id).status is DeliveryStatus.FAILED
    assert books.deliveries_of(NS, told.id) == [mail]
    assert [entry.action for entry in books.audit(NS, after=1, limit=9)] == ["webhook.disable"]


def test_giving_up_an_endpoint_that_was_deleted_meanwhile_tells_nobody(books: SqliteBooks):
    told = notice("disabled", customer=None)
    gone = Webhook("ops", "https://x", disabled_at=AT)
    books.record([], [Disabling(NS, gone, told, (), audit())])
    assert (books.webhooks(), books.notices(NS, limit=9)) == ([], [])


def test_old_resolved_deliveries_are_forgotten_with_their_attempts(books: SqliteBooks):
    done, pending = add(books, "done", "pending")
    books.record([failed(done, None), failed(pending, AT + 1)])
    assert books.forget_deliveries(AT + 9) == 0
    assert books.forget_deliveries(AT + 10) == 1
    assert books.attempts([done.id]) == {done.id: []}
    assert [d.id for d in books.deliveries(OPS, limit=9)] == [pending.id]
    assert len(books.notices(NS, limit=9)) == 2
