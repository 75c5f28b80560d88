"""
Prices tried before they are sold: backtests, simulations, and what usage costs.
"""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from typing import Any

import msgspec

from taximeter.adapters.http.messages import Request, Response, json_response
from taximeter.adapters.http.routes.shapes import Quantity
from taximeter.adapters.http.routes.surroundings import Surroundings, instant
from taximeter.adapters.http.routing import Route
from taximeter.catalog.document import Catalog, parse_catalog
from taximeter.catalog.durations import DURATION_RULE, parse_duration
from taximeter.errors import Rejected
from taximeter.instants import format_instant
from taximeter.pricing.costs import CostDocument, CostRates, dump_costs
from taximeter.pricing.ratio import read_ratio
from taximeter.quantities import E12, parse_quantity
from taximeter.services.pricing import backtest as backtests
from taximeter.services.pricing.costs import find_costs, put_costs
from taximeter.services.pricing.jobs import Job, Jobs
from taximeter.services.pricing.simulate import Given, Simulation, simulate

MAX_WAIT_S = 30
_TAG = ("pricing",)
_CATALOG_ERRORS = ("catalog_invalid", "invalid_filter", "invalid_amount", "unknown_currency")


class BacktestBody(msgspec.Struct, forbid_unknown_fields=True):
    """
    `catalog` is a document to try, `version` one that is published or staged; one of them. `last`,
    such as "90d", stands in for `from`. `wait_s` is how long the answer may wait for the result.
    """

    catalog: dict[str, Any] | None = None
    version: int | None = None
    from_: str | None = msgspec.field(name="from", default=None)
    to: str | None = None
    last: str | None = None
    customers: list[str] | None = None
    limit: int = 100
    wait_s: int = 10


class JobAnswer(msgspec.Struct):
    """`result` once `status` is done."""

    id: str
    status: str
    started_at: str
    done: int
    total: int
    result: dict[str, Any] | None


class GivenBody(msgspec.Struct, forbid_unknown_fields=True):
    quantity: Quantity
    events: int = 0
    group: dict[str, str | None] = {}


class SimulationBody(msgspec.Struct, forbid_unknown_fields=True):
    """
    Usage is learned from the last `learn` periods of `customer`, or given: meter -> quantity, or a
    list of groups.
    """

    customer: str | None = None
    usage: dict[str, Any] | None = None
    plan: str | None = None
    version: int | None = None
    catalog: dict[str, Any] | None = None
    periods: int = 3
    growth: Quantity = 0
    learn: int = 3


class CostBody(CostDocument, frozen=True, kw_only=True):
    """The whole list, and why it changes."""

    reason: str = ""


class PricingRoutes:
    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._core = around.core
        self._jobs = Jobs(around.core)

    def routes(self) -> list[Route]:
        return [
            Route(
                "POST", "/v1/backtests", self.backtest,
                scope="read", tags=_TAG, summary="Try a catalogue on past usage",
                description="What it would have earned from each customer and in total, beside "
                "what was earned; with the margin where cost rates are known. Billing periods "
                "that end after `from` (by default 90 days ago) and begin before `to` are rated "
                "whole. Changes nothing. 202 while it is still running.",
                request=BacktestBody, response=JobAnswer,
                errors=(*_CATALOG_ERRORS, "not_found", "invalid_parameter", "invalid_timestamp",
                        "rebuilding", "overloaded"),
                example={"version": 3, "from": "2026-09-01T00:00:00Z"},
            ),
            Route(
                "GET", "/v1/backtests/{id}", self.get_backtest,
                scope="read", tags=_TAG, summary="How far a backtest is, and what came of it",
                response=JobAnswer, errors=("not_found", "rebuilding"),
            ),
            Route(
                "POST", "/v1/simulations", self.simulate,
                scope="read", tags=_TAG, summary="Invoices of periods to come",
                description="Rated by the code that bills, from the usage of the last periods or "
                "from quantities you give. Changes nothing.",
                request=SimulationBody, response=dict[str, Any],
                errors=(*_CATALOG_ERRORS, "not_found", "unknown_plan", "invalid_parameter",
                        "invalid_quantity", "rebuilding", "overloaded"),
                example={"customer": "acme", "plan": "pro", "periods": 6, "growth": "10%"},
            ),
            Route(
                "PUT", "/v1/cost-rates", self.put_costs,
                scope="admin", tags=_TAG, summary="What usage costs you",
                description="The whole list. An entry with `effective_at` takes the place of "
                "earlier ones from then on.",
                request=CostBody, response=CostDocument, idempotent=True,
                errors=("unknown_currency", "invalid_timestamp", "invalid_parameter"),
                example={"rates": [{"meter": "tokens", "match": {"model": "opus"},
                                    "unit": "0.000004", "currency": "USD"}]},
            ),
            Route(
                "GET", "/v1/cost-rates", self.get_costs,
                scope="read", tags=_TAG, summary="The cost rates", response=CostDocument,
            ),
        ]  # fmt: skip

    async def backtest(self, request: Request) -> Response:
        body = request.json(BacktestBody)
        tenant = self._around.tenant(request)
        now = self._core.clock.now()
        catalog = _catalog(body.catalog, body.version)
        if catalog is None:
            raise Rejected("invalid_request", "Give `catalog`, or the `version` of one.")
        end = instant(body.to, now)
        wanted = backtests.Backtest(
            catalog,
            instant(body.from_, end - _span(body.last)),
            end,
            None if body.customers is None else tuple(body.customers),
            body.limit,
        )
        work = partial(backtests.backtest, self._core, tenant, wanted)
        wait_s = max(0, min(MAX_WAIT_S, body.wait_s))
        return _job_response(await self._jobs.start(tenant, work, wait_s))

    async def get_backtest(self, request: Request) -> Response:
        job = self._jobs.find(self._around.tenant(request), request.params["id"])
        return _job_response(job)

    async def simulate(self, request: Request) -> Response:
        body = request.json(SimulationBody)
        wanted = Simulation(
            customer=body.customer,
            usage=None if body.usage is None else {k: _given(v) for k, v in body.usage.items()},
            plan=body.plan,
            catalog=_catalog(body.catalog, body.version),
            periods=body.periods,
            growth=read_ratio(body.growth, "growth", -1, 10) if body.growth else Fraction(0),
            learned=body.learn,
        )
        tenant = self._around.tenant(request)
        return json_response(await simulate(self._core, tenant, wanted))

    async def put_costs(self, request: Request) -> Response:
        body = request.json(CostBody)
        costs = await put_costs(
            self._core,
            self._around.tenant(request),
            CostDocument(body.rates),
            self._around.actor(request),
            body.reason,
        )
        return _costs_response(costs)

    async def get_costs(self, request: Request) -> Response:
        return _costs_response(await find_costs(self._core, self._around.tenant(request)))


def _span(text: str | None) -> int:
    if text is None:
        return backtests.DEFAULT_SPAN_US
    length = parse_duration(text)
    if length is None:
        raise Rejected("invalid_parameter", f"`last` is {DURATION_RULE}.")
    return length


def _catalog(document: dict[str, Any] | None, version: int | None) -> Catalog | int | None:
    if document is not None and version is not None:
        raise Rejected("invalid_request", "Give `catalog` or `version`, not both.")
    return version if document is None else parse_catalog(document)


def _given(value: Any) -> tuple[Given, ...]:
    """A quantity, or a list of groups; without a number of events, one for each unit."""
    if not isinstance(value, list):
        return (Given(parse_quantity(value), max(0, parse_quantity(value) // E12)),)
    try:
        groups = msgspec.convert(value, list[GivenBody])
    except msgspec.ValidationError as error:
        raise Rejected("invalid_request", f"usage: {error}") from None
    return tuple(Given(parse_quantity(one.quantity), one.events, one.group) for one in groups)


def _job_response(job: Job) -> Response:
    answer = JobAnswer(
        job.id, job.status, format_instant(job.started_at), job.done, job.total, job.result
    )
    return json_response(msgspec.structs.asdict(answer), 202 if job.result is None else 200)


def _costs_response(costs: CostRates) -> Response:
    return json_response(msgspec.to_builtins(dump_costs(costs)))
