"""The contract of `ports.BillingBooks`, run against every adapter of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from msgspec.structs import replace

from taximeter.adapters.books import SqliteBooks
from taximeter.customers import Customer
from taximeter.errors import NotFound, Refused
from taximeter.invoices.coupons import Coupon, CustomerDiscount
from taximeter.invoices.discounts import Discount
from taximeter.ports import AuditEntry, SettingsVersion

NS, OTHER = "default", "other"
AT = 1_795_000_000_000_000
HOSTILE = "x'); DROP TABLE coupons; --\" ' 🚕"

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
    books = open_books()
    for namespace in (NS, OTHER):
        for key in ("acme", "beta", HOSTILE):
            books.put_customer(namespace, Customer(key), audit(namespace=namespace))
    return books


def audit(action: str = "put", namespace: str = NS) -> AuditEntry:
    return AuditEntry(0, namespace, AT, "me", action, "it", {})


def actions(books: SqliteBooks) -> list[str]:
    found = [entry.action for entry in books.audit(NS, after=0, limit=100)]
    return [action for action in found if action != "put"]


def settings(version: int, namespace: str = NS, document: bytes = b"{}") -> SettingsVersion:
    return SettingsVersion(namespace, version, document, AT + version, "me", HOSTILE)


def coupon(coupon_id: str = "c", **members: object) -> Coupon:
    terms = Discount(id=coupon_id, percent=Fraction(1, 8), periods=3, prices=("tokens",))
    return replace(Coupon(id=coupon_id, terms=terms, created_at=AT), **members)


def discount(discount_id: str = "d", customer: str = "acme", **members: object) -> CustomerDiscount:
    terms = Discount(id=discount_id, name=HOSTILE, amount_minor=5, currency="JPY")
    base = CustomerDiscount(id=discount_id, customer=customer, terms=terms, given_at=AT)
    return replace(base, **members)


# --- settings ---------------------------------------------------------------------------------


def test_settings_come_in_versions_without_gaps_of_each_namespace(books: SqliteBooks) -> None:
    assert books.latest_billing_settings(NS) is None
    books.add_billing_settings(settings(1), audit("settings"))
    books.add_billing_settings(settings(1, OTHER), audit())
    books.add_billing_settings(settings(2, document=b'{"due_days":3}'), audit("settings"))
    assert books.latest_billing_settings(NS) == settings(2, document=b'{"due_days":3}')
    assert books.latest_billing_settings(OTHER) == settings(1, OTHER)
    assert books.billing_settings_version(NS, 1) == settings(1)
    assert books.billing_settings_version(NS, 3) is None
    assert [one.version for one in books.billing_settings(NS, limit=9)] == [2, 1]
    assert [one.version for one in books.billing_settings(NS, before=2, limit=9)] == [1]
    assert actions(books) == ["settings", "settings"]


@pytest.mark.parametrize("version", [1, 3])
def test_a_version_that_does_not_follow_the_latest_is_refused_without_a_trace(
    books: SqliteBooks, version: int
) -> None:
    books.add_billing_settings(settings(1), audit("first"))
    with pytest.raises(Refused) as refused:
        books.add_billing_settings(settings(version, document=b"no"), audit("second"))
    assert refused.value.code == "settings_changed"
    assert books.billing_settings(NS, limit=9) == [settings(1)]
    assert actions(books) == ["first"]


# --- coupons ----------------------------------------------------------------------------------


def test_a_coupon_is_replaced_and_withdrawn_in_its_own_namespace(books: SqliteBooks) -> None:
    books.put_coupon(NS, coupon(), audit("coupon"))
    books.put_coupon(OTHER, coupon(), audit(namespace=OTHER))
    other = coupon(max_redemptions=7, expires_at=AT + 9, once_per_customer=False)
    books.put_coupon(NS, other, audit("coupon"))
    assert books.coupons(NS, limit=9) == [(other, 0)]
    assert books.delete_coupon(NS, "c", audit("gone"))
    assert not books.delete_coupon(NS, "c", audit("never"))
    assert (books.coupons(NS, limit=9), books.coupons(OTHER, limit=9)) == ([], [(coupon(), 0)])
    assert actions(books) == ["coupon", "coupon", "gone"]


def test_coupons_are_listed_by_id_from_where_a_page_ended(books: SqliteBooks) -> None:
    for name in ("b", "c", "a"):
        books.put_coupon(NS, coupon(name), audit())
    books.redeem(NS, discount(coupon="b"), audit())
    assert books.coupons(NS, limit=2) == [(coupon("a"), 0), (coupon("b"), 1)]
    assert books.coupons(NS, after="b", limit=2) == [(coupon("c"), 0)]
    assert books.coupon(NS, "b") == (coupon("b"), 1)
    assert books.coupon(OTHER, "b") is None


def test_names_of_any_characters_are_only_names(books: SqliteBooks) -> None:
    books.put_coupon(NS, coupon(HOSTILE), audit())
    books.redeem(NS, discount(HOSTILE, HOSTILE, coupon=HOSTILE, subscription=HOSTILE), audit())
    assert books.coupons(NS, limit=9) == [(coupon(HOSTILE), 1)]
    (found,) = books.discounts(NS)
    assert (found.id, found.customer, found.coupon) == (HOSTILE, HOSTILE, HOSTILE)


# --- discounts --------------------------------------------------------------------------------


def refusal(books: SqliteBooks, wanted: CustomerDiscount) -> object:
    with pytest.raises(Refused) as refused:
        books.redeem(NS, wanted, audit("never"))
    assert refused.value.code == "coupon_refused"
    return refused.value.details["reason"]


def test_a_coupon_is_redeemed_as_often_as_it_allows_and_once_by_a_customer(
    books: SqliteBooks,
) -> None:
    books.put_coupon(NS, coupon(max_redemptions=2), audit())
    books.redeem(NS, discount("d1", coupon="c"), audit("redeem"))
    assert refusal(books, discount("d2", coupon="c")) == "redeemed"
    books.redeem(NS, discount("d2", "beta", coupon="c"), audit("redeem"))
    assert refusal(books, discount("d3", HOSTILE, coupon="c")) == "used_up"
    assert books.coupons(NS, limit=9) == [(coupon(max_redemptions=2), 2)]
    assert actions(books) == ["redeem", "redeem"]


def test_redemptions_of_a_coupon_that_was_withdrawn_still_count(books: SqliteBooks) -> None:
    books.put_coupon(NS, coupon(max_redemptions=1), audit())
    books.redeem(NS, discount(coupon="c"), audit())
    books.delete_coupon(NS, "c", audit())
    with pytest.raises(NotFound):
        books.redeem(NS, discount("d2", "beta", coupon="c"), audit())
    books.put_coupon(NS, coupon(max_redemptions=1), audit())
    assert refusal(books, discount("d2", "beta", coupon="c")) == "used_up"


def test_a_coupon_can_be_redeemed_before_and_not_at_its_expiry(books: SqliteBooks) -> None:
    books.put_coupon(NS, coupon(expires_at=AT, once_per_customer=False), audit())
    assert refusal(books, discount(coupon="c")) == "expired"
    books.redeem(NS, discount(coupon="c", given_at=AT - 1), audit())
    books.redeem(NS, discount("d2", coupon="c", given_at=AT - 1), audit())


def test_discounts_come_in_the_order_they_were_given_and_end_once(
    books: SqliteBooks, open_books: Opener
) -> None:
    for name in ("z", "a"):
        books.redeem(NS, discount(name), audit())
    books.end_discount(NS, discount("z", ended_at=AT + 5), audit("end"))
    books.end_discount(NS, discount("z", ended_at=AT + 9), audit("end"))
    expected = [discount("z", ended_at=AT + 5), discount("a")]
    assert books.discounts(NS) == expected
    assert books.discounts(OTHER) == []
    assert actions(books) == ["end"]
    books.close()
    assert open_books().discounts(NS) == expected
