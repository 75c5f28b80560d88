"""
Rollouts over HTTP: a staged catalogue version for some customers before all.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import msgspec

from taximeter.adapters.http.messages import Request, Response, json_response
from taximeter.adapters.http.routes import shapes
from taximeter.adapters.http.routes.paging import listed, page
from taximeter.adapters.http.routes.shapes import Quantity
from taximeter.adapters.http.routes.surroundings import Surroundings
from taximeter.adapters.http.routing import Route
from taximeter.instants import format_instant, parse_instant
from taximeter.pricing.cohorts import Cohort
from taximeter.pricing.ratio import percent, read_ratio
from taximeter.pricing.rollout import Assignment, Rollout
from taximeter.services.core import require_customer
from taximeter.services.pricing import rollouts
from taximeter.services.pricing.comparison import compared
from taximeter.services.pricing.rollouts import Rolled, Wish
from taximeter.subscriptions.changes import NOW, PERIOD_END

_TAG = ("pricing",)
_DONE = ("not_found", "rollout_over")


class RolloutBody(msgspec.Struct, forbid_unknown_fields=True):
    """
    Who gets a staged version: a share of all, or of those with some metadata (`segment`), or named
    customers. `holdout` is a share that never gets it. `from` is now, period_end, or an instant.
    """

    version: int
    share: Quantity | None = None
    customers: list[str] | None = None
    segment: dict[str, str] = {}
    holdout: Quantity | None = None
    from_: str = msgspec.field(name="from", default=NOW)
    reason: str = ""


class ReasonBody(msgspec.Struct, forbid_unknown_fields=True):
    reason: str = ""


class RolloutAnswer(msgspec.Struct):
    id: str
    version: int
    status: str
    share: str
    holdout: str
    customers: list[str] | None
    segment: dict[str, str]
    from_: str = msgspec.field(name="from")
    created_at: str
    created_by: str
    reason: str
    ended_at: str | None


class RolloutList(msgspec.Struct):
    items: list[RolloutAnswer]
    next: str | None


class MovedAnswer(RolloutAnswer):
    """`moved` is how many subscriptions were put on another version by this call."""

    moved: int
    skipped: list[dict[str, str]]


class ComparedAnswer(RolloutAnswer):
    sides: dict[str, Any]


class AssignmentItem(msgspec.Struct):
    rollout: str
    customer: str
    subscription: str
    side: str
    at: str


class AssignmentList(msgspec.Struct):
    items: list[AssignmentItem]
    next: str | None


class RolloutRoutes:
    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._core = around.core

    def routes(self) -> list[Route]:
        return [
            Route(
                "PUT", "/v1/rollouts/{id}", self.put,
                scope="admin", tags=_TAG, summary="Give a staged version to some customers",
                description="Again, it takes in who has subscribed since, or a larger share; "
                "whoever has it or is held out stays so.",
                request=RolloutBody, response=MovedAnswer, idempotent=True,
                errors=(*_DONE, "invalid_parameter", "invalid_timestamp", "change_in_past",
                        "subscription_ended"),
                example={"version": 4, "share": "10%", "holdout": "10%", "from": "period_end"},
            ),
            Route(
                "GET", "/v1/rollouts", self.list,
                scope="read", tags=_TAG, summary="All rollouts",
                query=shapes.PageParameters, response=RolloutList,
            ),
            Route(
                "GET", "/v1/rollouts/{id}", self.get,
                scope="read", tags=_TAG, summary="A rollout, its sides compared",
                description="Customers, revenue, and margin of each side since it was put there.",
                response=ComparedAnswer, errors=("not_found", "rebuilding"),
            ),
            Route(
                "GET", "/v1/rollouts/{id}/assignments", self.assignments,
                scope="read", tags=_TAG, summary="Who is on which side",
                query=shapes.PageParameters, response=AssignmentList, errors=("not_found",),
            ),
            Route(
                "POST", "/v1/rollouts/{id}/rollback", self.rollback,
                scope="admin", tags=_TAG, summary="Take everybody back, from now on",
                description="What was billed stays billed.",
                request=ReasonBody, response=MovedAnswer, errors=_DONE, idempotent=True,
            ),
            Route(
                "POST", "/v1/rollouts/{id}/complete", self.complete,
                scope="admin", tags=_TAG, summary="Publish the version for all",
                request=ReasonBody, response=MovedAnswer, idempotent=True,
                errors=(*_DONE, "catalog_invalid", "catalog_changed"),
            ),
            Route(
                "GET", "/v1/customers/{key}/rollouts", self.of_customer,
                scope="read", tags=_TAG, summary="Which rollouts a customer is in",
                response=AssignmentList, errors=("not_found",),
            ),
        ]  # fmt: skip

    async def put(self, request: Request) -> Response:
        body = request.json(RolloutBody)
        wish = Wish(
            request.params["id"],
            body.version,
            Cohort(
                _share(body.share, "share", Fraction(1)),
                None if body.customers is None else tuple(body.customers),
                body.segment,
                _share(body.holdout, "holdout", Fraction(0)),
            ),
            body.from_ if body.from_ in (NOW, PERIOD_END) else parse_instant(body.from_),
            body.reason,
        )
        tenant, actor = self._around.tenant(request), self._around.actor(request)
        return _moved(await rollouts.put_rollout(self._core, tenant, wish, actor))

    async def list(self, request: Request) -> Response:
        query = request.query_as(shapes.PageParameters)
        found = await self._around.books("rollouts", self._around.tenant(request).name)
        shown, following = page(found, lambda one: one.id, query.cursor, query.limit)
        return json_response(listed([_json(one) for one in shown], following))

    async def get(self, request: Request) -> Response:
        tenant = self._around.tenant(request)
        rollout = await rollouts.find_rollout(self._core, tenant, request.params["id"])
        assigned = await self._around.books("assignments", tenant.name, rollout.id)
        sides = await compared(self._core, tenant, rollout, assigned)
        return json_response(_json(rollout) | {"sides": sides})

    async def assignments(self, request: Request) -> Response:
        query = request.query_as(shapes.PageParameters)
        tenant = self._around.tenant(request)
        rollout = await rollouts.find_rollout(self._core, tenant, request.params["id"])
        found = await self._around.books("assignments", tenant.name, rollout.id)
        shown, following = page(found, lambda one: one.subscription, query.cursor, query.limit)
        return json_response(listed([_assignment(rollout.id, one) for one in shown], following))

    async def rollback(self, request: Request) -> Response:
        return await self._ended(request, rollouts.roll_back)

    async def complete(self, request: Request) -> Response:
        return await self._ended(request, rollouts.complete)

    async def _ended(self, request: Request, end: Any) -> Response:
        body = request.json(ReasonBody) if request.body else ReasonBody()
        rolled = await end(
            self._core,
            self._around.tenant(request),
            request.params["id"],
            body.reason,
            self._around.actor(request),
        )
        return _moved(rolled)

    async def of_customer(self, request: Request) -> Response:
        tenant, key = self._around.tenant(request), request.params["key"]
        require_customer(tenant, key)
        found = await self._around.books("assignments_of", tenant.name, key)
        return json_response(listed([_assignment(*one) for one in found], None))


def _share(value: Any, name: str, default: Fraction) -> Fraction:
    return default if value is None else read_ratio(value, name, 0, 1)


def _moved(rolled: Rolled) -> Response:
    return json_response(
        _json(rolled.rollout)
        | {"moved": rolled.moved, "skipped": [msgspec.structs.asdict(s) for s in rolled.skipped]}
    )


def _json(one: Rollout) -> dict[str, Any]:
    cohort = one.cohort
    return {
        "id": one.id,
        "version": one.version,
        "status": one.status.value,
        "share": percent(cohort.share),
        "holdout": percent(cohort.holdout),
        "customers": None if cohort.customers is None else list(cohort.customers),
        "segment": cohort.segment,
        "from": one.start if isinstance(one.start, str) else format_instant(one.start),
        "created_at": format_instant(one.created_at),
        "created_by": one.created_by,
        "reason": one.reason,
        "ended_at": None if one.ended_at is None else format_instant(one.ended_at),
    }


def _assignment(rollout: str, one: Assignment) -> dict[str, str]:
    return {
        "rollout": rollout,
        "customer": one.customer,
        "subscription": one.subscription,
        "side": one.side.value,
        "at": format_instant(one.at),
    }
