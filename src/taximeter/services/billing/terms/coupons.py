"""
Coupons and the discounts of customers: offered, redeemed, ended; and which are due in a period.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from taximeter.customers import Subscription
from taximeter.errors import NotFound, Refused, Rejected
from taximeter.instants import parse_instant
from taximeter.invoices.coupons import Coupon, CustomerDiscount, is_given_until
from taximeter.invoices.discount_documents import TermsDocument, dump_terms, read_terms
from taximeter.invoices.discounts import Discount
from taximeter.meters.reading import KEY_RULE, is_key, suggestion
from taximeter.services.core import Core, audit, require_customer
from taximeter.services.ids import new_id
from taximeter.services.tenant import Tenant

MAX_DISCOUNTS = 100


class CouponWish(TermsDocument, frozen=True, kw_only=True):
    """A coupon as it is put. Given for one period unless `duration` says otherwise."""

    max_redemptions: int | None = None
    expires_at: str | None = None
    once_per_customer: bool = True


class DiscountWish(TermsDocument, frozen=True, kw_only=True):
    """A discount as it is given: by the id of a coupon, or with terms of its own."""

    id: str | None = None
    coupon: str | None = None
    subscription: str | None = None


# --- coupons ----------------------------------------------------------------------------------


async def put_coupon(
    core: Core, tenant: Tenant, coupon_id: str, wish: CouponWish, actor: str
) -> Coupon:
    """
    Add a coupon or replace its terms; what was redeemed before keeps the terms it had.

    Raises:
        Rejected: `invalid_request`, naming the member; `unknown_currency`, `invalid_timestamp`.
    """
    _check_key("id", coupon_id)
    if wish.max_redemptions is not None and not 1 <= wish.max_redemptions <= 10**9:
        raise Rejected("invalid_request", "max_redemptions: 1 to 1000000000, or null for any.")
    now = core.clock.now()
    coupon = Coupon(
        id=coupon_id,
        terms=_read(tenant, wish, coupon_id),
        max_redemptions=wish.max_redemptions,
        expires_at=None if wish.expires_at is None else parse_instant(wish.expires_at),
        once_per_customer=wish.once_per_customer,
        created_at=now,
    )
    entry = audit(tenant, now, actor, "coupon.put", coupon_id, **dump_terms(coupon.terms))
    await core.books.run(core.books.books.put_coupon, tenant.name, coupon, entry)
    return coupon


async def delete_coupon(core: Core, tenant: Tenant, coupon_id: str, actor: str) -> None:
    """
    Nobody can redeem it any more; the discounts it gave go on.

    Raises:
        NotFound: No such coupon.
    """
    entry = audit(tenant, core.clock.now(), actor, "coupon.delete", coupon_id)
    if not await core.books.run(core.books.books.delete_coupon, tenant.name, coupon_id, entry):
        raise _no_coupon(coupon_id)


async def find_coupon(core: Core, tenant: Tenant, coupon_id: str) -> tuple[Coupon, int]:
    """
    With how often it was redeemed.

    Raises:
        NotFound: No such coupon.
    """
    found = await core.books.run(core.books.books.coupon, tenant.name, coupon_id)
    if found is None:
        raise _no_coupon(coupon_id)
    return found


# --- discounts --------------------------------------------------------------------------------


async def give_discount(
    core: Core, tenant: Tenant, customer: str, wish: DiscountWish, actor: str
) -> CustomerDiscount:
    """
    Redeem a coupon for a customer, or give it a discount of its own. It begins with the billing
    period that runs, of each subscription it is for. The same id again gives the first one.

    Raises:
        NotFound: No such customer, coupon, or subscription of the customer.
        Rejected: `invalid_request`, naming the member.
        Refused: `coupon_refused`, `discount_exists`.
    """
    require_customer(tenant, customer)
    if wish.id is not None:
        _check_key("id", wish.id)
    if wish.subscription is not None:
        _require_subscription(tenant, customer, wish.subscription)
    async with core.lock(tenant):
        known = tenant.discounts.get(customer, ())
        discount = await _wished(core, tenant, customer, wish)
        same = next((one for one in known if one.id == discount.id), None)
        if same is not None:
            return _first(same, discount)
        if sum(one.ended_at is None for one in known) >= MAX_DISCOUNTS:
            text = f"A customer has at most {MAX_DISCOUNTS} discounts; end one that is over."
            raise Rejected("invalid_request", text)
        detail = {"customer": customer, "coupon": discount.coupon, **dump_terms(discount.terms)}
        entry = audit(tenant, discount.given_at, actor, "discount.give", discount.id, **detail)
        await core.books.run(core.books.books.redeem, tenant.name, discount, entry)
        tenant.discounts[customer] = (*known, discount)
        return discount


async def end_discount(
    core: Core, tenant: Tenant, customer: str, discount_id: str, actor: str
) -> CustomerDiscount:
    """
    End a discount now: the periods that run are without it. One that has ended stays as it is.

    Raises:
        NotFound: No such customer or discount.
    """
    async with core.lock(tenant):
        known = find_discount(tenant, customer, discount_id)
        if known.ended_at is not None:
            return known
        now = core.clock.now()
        ended = msgspec.structs.replace(known, ended_at=now)
        entry = audit(tenant, now, actor, "discount.end", discount_id, customer=customer)
        await core.books.run(core.books.books.end_discount, tenant.name, ended, entry)
        tenant.discounts[customer] = tuple(
            ended if one.id == discount_id else one for one in tenant.discounts[customer]
        )
        return ended


def find_discount(tenant: Tenant, customer: str, discount_id: str) -> CustomerDiscount:
    """
    Raises:
        NotFound: No such customer or discount.
    """
    require_customer(tenant, customer)
    for one in tenant.discounts.get(customer, ()):
        if one.id == discount_id:
            return one
    raise NotFound("not_found", f"Customer {customer!r} has no discount {discount_id!r}.")


def discounts_for(tenant: Tenant, subscription: Subscription, index: int) -> tuple[Discount, ...]:
    """
    What is taken off in one period of one subscription: its customer's discounts, in the order
    they were given. Give them with `apply_discounts` to the lines of that subscription.

    Args:
        index: Of the period in the subscription's timeline.
    """
    return tuple(
        one.terms
        for one in tenant.discounts.get(subscription.customer, ())
        if _is_for(tenant, one, subscription) and _is_due(tenant, one, subscription, index)
    )


def _is_due(
    tenant: Tenant, discount: CustomerDiscount, subscription: Subscription, index: int
) -> bool:
    timeline = tenant.timeline(subscription)
    if not is_given_until(discount, timeline.nth(index).end):
        return False
    if discount.terms.periods is None:
        return True
    first = timeline.index(max(discount.given_at, subscription.start))
    # A trial is a period that nothing is billed for, so it uses up no discount.
    billed = sum(not timeline.in_trial(one) for one in range(first, index + 1))
    return billed <= discount.terms.periods


def _is_for(tenant: Tenant, discount: CustomerDiscount, subscription: Subscription) -> bool:
    if discount.is_for_all:
        return True
    if discount.subscription is not None:
        return discount.subscription == subscription.id
    running = (
        one
        for one in tenant.of_customer(subscription.customer)
        if one.end is None or one.end > discount.given_at
    )
    return next(running, None) == subscription


async def _wished(
    core: Core, tenant: Tenant, customer: str, wish: DiscountWish
) -> CustomerDiscount:
    discount_id, now = wish.id or new_id("dis"), core.clock.now()
    if wish.coupon is None:
        terms = _read(tenant, wish, discount_id)
    else:
        coupon, _ = await find_coupon(core, tenant, wish.coupon)
        _check_no_terms(wish)
        _check_currency(tenant, customer, coupon)
        terms = msgspec.structs.replace(
            coupon.terms, id=discount_id, name=coupon.terms.name or coupon.id
        )
    return CustomerDiscount(
        id=discount_id,
        customer=customer,
        terms=terms,
        coupon=wish.coupon,
        subscription=wish.subscription,
        given_at=now,
    )


def _first(known: CustomerDiscount, wished: CustomerDiscount) -> CustomerDiscount:
    """The discount of an id that comes again, if it is asked for as it was the first time."""
    asked = (wished.coupon, wished.subscription)
    is_same = wished.coupon is not None or known.terms == wished.terms
    if is_same and asked == (known.coupon, known.subscription):
        return known
    raise Refused(
        "discount_exists",
        f"Customer {known.customer!r} has another discount {known.id!r}; take another id.",
        discount=known.id,
    )


def _check_no_terms(wish: DiscountWish) -> None:
    if _terms_of(wish) != TermsDocument():
        text = "coupon: a coupon has terms of its own; give either a coupon or terms."
        raise Rejected("invalid_request", text)


def _check_currency(tenant: Tenant, customer: str, coupon: Coupon) -> None:
    billed_in = tenant.customers[customer].currency
    if billed_in is not None and coupon.terms.currency not in ("", billed_in):
        raise Refused(
            "coupon_refused",
            f"Coupon {coupon.id!r} is in {coupon.terms.currency}, customer {customer!r} is "
            f"billed in {billed_in}.",
            coupon=coupon.id,
            reason="currency",
        )


def _read(tenant: Tenant, wish: TermsDocument, discount_id: str) -> Discount:
    terms = read_terms(_terms_of(wish), discount_id, periods=1)
    known = set(_price_names(tenant)) if terms.prices else set()
    for name in terms.prices:
        if name not in known:
            hint = suggestion(name, known)
            raise Rejected("invalid_request", f"prices: nobody has a price {name[:80]!r}{hint}.")
    return terms


def _price_names(tenant: Tenant) -> Iterator[str]:
    """As a discount may name them: of every version of the catalogue, and of single customers."""
    for catalog in tenant.catalogs.values():
        for plan in (*catalog.plans.values(), *catalog.addons.values()):
            for key in plan.prices:
                yield from (key, f"{plan.key}/{key}")
    for subscription in tenant.subscriptions.values():
        for segment in subscription.segments:
            yield from segment.overrides.get("prices", ())


def _terms_of(wish: TermsDocument) -> TermsDocument:
    members: dict[str, Any] = {
        name: getattr(wish, name) for name in TermsDocument.__struct_fields__
    }
    return TermsDocument(**members)


def _require_subscription(tenant: Tenant, customer: str, subscription_id: str) -> None:
    found = tenant.subscriptions.get(subscription_id)
    if found is None or found.customer != customer:
        text = f"Customer {customer!r} has no subscription {subscription_id!r}."
        raise NotFound("not_found", text)


def _check_key(member: str, text: str) -> None:
    if not is_key(text):
        raise Rejected("invalid_request", f"{member}: {KEY_RULE}.")


def _no_coupon(coupon_id: str) -> NotFound:
    return NotFound("not_found", f"There is no coupon {coupon_id!r}.")
