"""
Coupons, and the discounts customers have: by a coupon, or given to them alone.

A coupon is an offer; redeeming it copies its terms into a discount of the customer, so that what
was promised stays when the coupon changes. In which periods a discount is given follows from when
it was given and from the periods of the subscription, not from invoices.
"""

from __future__ import annotations

import msgspec

from taximeter.invoices.discounts import Discount


class Coupon(msgspec.Struct, frozen=True, kw_only=True):
    """
    Attributes:
        max_redemptions: By all customers together, ever; None for any number.
        expires_at: From this instant on it cannot be redeemed; None for never.
        once_per_customer: Whether a customer can redeem it only once, ever.
    """

    id: str
    terms: Discount
    max_redemptions: int | None = None
    expires_at: int | None = None
    once_per_customer: bool = True
    created_at: int = 0


class CustomerDiscount(msgspec.Struct, frozen=True, kw_only=True):
    """
    Attributes:
        coupon: Id of the coupon it came from; None for one given by hand.
        subscription: It is for this one only; None: see `is_for_all`.
        given_at: Its first period is the one that contains this instant.
        ended_at: Periods that end later are without it; None while it goes on.
    """

    id: str
    customer: str
    terms: Discount
    coupon: str | None = None
    subscription: str | None = None
    given_at: int = 0
    ended_at: int | None = None

    @property
    def is_for_all(self) -> bool:
        """
        Whether all subscriptions of the customer have it. A share does no harm twice; an amount or
        free units are meant once, and go to the subscription that began first.
        """
        return self.subscription is None and self.terms.percent is not None


def is_given_until(discount: CustomerDiscount, period_end: int) -> bool:
    """
    Whether a discount goes on to the end of a period, and did not begin behind it.

    Args:
        period_end: Exclusive end of a period of a subscription it is for, microseconds.
    """
    ended_at = discount.ended_at
    return discount.given_at < period_end and (ended_at is None or period_end <= ended_at)
