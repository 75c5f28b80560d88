"""
Coupons and the discounts of customers over HTTP.
"""

from __future__ import annotations

from typing import Any

import msgspec

from taximeter.adapters.http.messages import Request, Response, json_response
from taximeter.adapters.http.routes import shapes
from taximeter.adapters.http.routes.paging import limit_of, listed
from taximeter.adapters.http.routes.surroundings import Surroundings
from taximeter.adapters.http.routing import Route
from taximeter.instants import format_instant
from taximeter.invoices.coupons import Coupon, CustomerDiscount
from taximeter.invoices.discount_documents import dump_terms
from taximeter.services.billing.terms.coupons import (
    CouponWish,
    DiscountWish,
    delete_coupon,
    end_discount,
    find_coupon,
    find_discount,
    give_discount,
    put_coupon,
)
from taximeter.services.core import require_customer

_TAG = ("discounts",)


class CouponAnswer(CouponWish, frozen=True, kw_only=True):
    id: str
    redeemed: int
    created_at: str


class CouponList(msgspec.Struct):
    items: list[CouponAnswer]
    next: str | None


class DiscountAnswer(DiscountWish, frozen=True, kw_only=True):
    customer: str
    given_at: str
    ended_at: str | None


class DiscountList(msgspec.Struct):
    items: list[DiscountAnswer]
    next: str | None


class CouponRoutes:
    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._core = around.core

    def routes(self) -> list[Route]:
        discount = "/v1/customers/{key}/discounts/{id}"
        return [
            Route(
                "PUT", "/v1/coupons/{id}", self.put,
                scope="write", tags=_TAG, summary="Add or replace a coupon",
                description="Exactly one of `percent`, `amount` with its currency, and "
                "`free_units` of one price. Who has redeemed it keeps the terms it had then.",
                request=CouponWish, response=CouponAnswer, idempotent=True,
                errors=("unknown_currency", "invalid_timestamp"),
                example={"percent": 20, "duration": {"periods": 3}, "max_redemptions": 100},
            ),
            Route(
                "GET", "/v1/coupons", self.list,
                scope="read", tags=_TAG, summary="All coupons, and how often each was redeemed",
                query=shapes.PageParameters, response=CouponList,
            ),
            Route(
                "GET", "/v1/coupons/{id}", self.get,
                scope="read", tags=_TAG, summary="One coupon",
                response=CouponAnswer, errors=("not_found",),
            ),
            Route(
                "DELETE", "/v1/coupons/{id}", self.delete,
                scope="write", tags=_TAG, summary="Withdraw a coupon; its discounts go on",
                status=204, errors=("not_found",), idempotent=True,
            ),
            Route(
                "POST", "/v1/customers/{key}/discounts", self.give,
                scope="write", tags=_TAG, summary="Redeem a coupon, or give a discount",
                description="It begins with the billing period that runs. The same `id` again "
                "gives the same discount.",
                request=DiscountWish, response=DiscountAnswer, status=201, idempotent=True,
                errors=("not_found", "coupon_refused", "discount_exists", "unknown_currency"),
                example={"coupon": "WELCOME"},
            ),
            Route(
                "GET", "/v1/customers/{key}/discounts", self.discounts,
                scope="read", tags=_TAG, summary="Discounts of a customer, in their order",
                response=DiscountList, errors=("not_found",),
            ),
            Route(
                "GET", discount, self.get_discount,
                scope="read", tags=_TAG, summary="One discount",
                response=DiscountAnswer, errors=("not_found",),
            ),
            Route(
                "DELETE", discount, self.end,
                scope="write", tags=_TAG, summary="End a discount; periods that run are without it",
                response=DiscountAnswer, errors=("not_found",), idempotent=True,
            ),
        ]  # fmt: skip

    async def put(self, request: Request) -> Response:
        tenant, coupon_id = self._around.tenant(request), request.params["id"]
        wish = request.json(CouponWish)
        await put_coupon(self._core, tenant, coupon_id, wish, self._around.actor(request))
        return json_response(coupon_json(*await find_coupon(self._core, tenant, coupon_id)))

    async def list(self, request: Request) -> Response:
        query = request.query_as(shapes.PageParameters)
        limit = limit_of(query.limit)
        found: list[tuple[Coupon, int]] = await self._around.books(
            "coupons", self._around.tenant(request).name, after=query.cursor, limit=limit
        )
        following = found[-1][0].id if len(found) == limit else None
        return json_response(listed([coupon_json(*one) for one in found], following))

    async def get(self, request: Request) -> Response:
        found = await find_coupon(self._core, self._around.tenant(request), request.params["id"])
        return json_response(coupon_json(*found))

    async def delete(self, request: Request) -> Response:
        tenant = self._around.tenant(request)
        await delete_coupon(self._core, tenant, request.params["id"], self._around.actor(request))
        return Response(204)

    async def give(self, request: Request) -> Response:
        discount = await give_discount(
            self._core,
            self._around.tenant(request),
            request.params["key"],
            request.json(DiscountWish),
            self._around.actor(request),
        )
        return json_response(discount_json(discount), 201)

    async def discounts(self, request: Request) -> Response:
        tenant, customer = self._around.tenant(request), request.params["key"]
        require_customer(tenant, customer)
        items = [discount_json(one) for one in tenant.discounts.get(customer, ())]
        return json_response(listed(items, None))

    async def get_discount(self, request: Request) -> Response:
        tenant = self._around.tenant(request)
        found = find_discount(tenant, request.params["key"], request.params["id"])
        return json_response(discount_json(found))

    async def end(self, request: Request) -> Response:
        ended = await end_discount(
            self._core,
            self._around.tenant(request),
            request.params["key"],
            request.params["id"],
            self._around.actor(request),
        )
        return json_response(discount_json(ended))


def coupon_json(coupon: Coupon, redeemed: int) -> dict[str, Any]:
    return {
        "id": coupon.id,
        **dump_terms(coupon.terms),
        "max_redemptions": coupon.max_redemptions,
        "expires_at": None if coupon.expires_at is None else format_instant(coupon.expires_at),
        "once_per_customer": coupon.once_per_customer,
        "redeemed": redeemed,
        "created_at": format_instant(coupon.created_at),
    }


def discount_json(discount: CustomerDiscount) -> dict[str, Any]:
    return {
        "id": discount.id,
        "customer": discount.customer,
        "coupon": discount.coupon,
        "subscription": discount.subscription,
        **dump_terms(discount.terms),
        "given_at": format_instant(discount.given_at),
        "ended_at": None if discount.ended_at is None else format_instant(discount.ended_at),
    }
