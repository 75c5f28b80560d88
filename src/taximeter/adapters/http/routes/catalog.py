"""
The catalogue and its meters; usage.
"""

from __future__ import annotations

from typing import Any

import msgspec

from taximeter.adapters.http.messages import JSON, Request, Response, json_response
from taximeter.adapters.http.routes import shapes
from taximeter.adapters.http.routes.paging import keyset, limit_of, listed, page
from taximeter.adapters.http.routes.surroundings import Surroundings, instant
from taximeter.adapters.http.routing import Route
from taximeter.catalog.document import dump_catalog
from taximeter.catalog.durations import DURATION_RULE, parse_duration
from taximeter.catalog.yaml_reader import read_document
from taximeter.errors import NotFound, Rejected
from taximeter.instants import format_instant
from taximeter.meters.definition import dump_meter
from taximeter.services.catalogue import Published, publish, put_meter
from taximeter.services.usage import find_meter, month_until, usage

YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml")
CATALOG_ERRORS = ("catalog_invalid", "invalid_filter", "invalid_amount", "unknown_currency")
_METER = {
    "event_type": "llm.request",
    "aggregation": "sum",
    "value": "data.input_tokens",
    "dimensions": {"model": "data.model"},
    "unit": "token",
}


class CatalogRoutes:
    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._core = around.core

    def routes(self) -> list[Route]:
        return [
            Route(
                "PUT", "/v1/catalog", self.put,
                scope="write", tags=("catalogue",), summary="Publish the catalogue",
                description="JSON or YAML. A change makes a new immutable version, effective for "
                "the very next request; `dry_run=1` only shows what would change. `staged=1`: it "
                "holds for nobody but those a rollout puts on it. `reason` goes on record.",
                request=dict[str, Any], request_types=(JSON, *YAML_TYPES),
                query=shapes.CatalogParameters, response=shapes.CatalogAnswer,
                errors=(*CATALOG_ERRORS, "unsupported_media_type"), idempotent=True,
            ),
            Route(
                "GET", "/v1/catalog", self.get,
                scope="read", tags=("catalogue",), summary="The catalogue, newest or a version",
                query=shapes.CatalogReadParameters, response=dict[str, Any],
                errors=("not_found",),
            ),
            Route(
                "GET", "/v1/catalog/versions", self.versions,
                scope="read", tags=("catalogue",), summary="Who published what when, and why",
                description="Newest first. A version is in force from when it was published, "
                "unless it is staged.",
                query=shapes.PageParameters, response=shapes.CatalogVersionList,
            ),
            Route(
                "PUT", "/v1/meters/{key}", self.put_meter,
                scope="write", tags=("meters",), summary="Add or replace one meter",
                request=shapes.MeterBody, response=shapes.MeterAnswer, example=_METER,
                errors=CATALOG_ERRORS, idempotent=True,
            ),
            Route(
                "GET", "/v1/meters", self.list_meters,
                scope="read", tags=("meters",), summary="All meters",
                query=shapes.PageParameters, response=shapes.MeterList,
            ),
            Route(
                "GET", "/v1/meters/{key}", self.get_meter,
                scope="read", tags=("meters",), summary="One meter",
                response=shapes.MeterAnswer, errors=("not_found",),
            ),
            Route(
                "GET", "/v1/meters/{key}/usage", self.usage,
                scope="read", tags=("meters",), summary="Usage by window and group",
                description="Exact to the acknowledgement. Without `from` and `to`: the running "
                "month. `position` asks for at least that log position. With `rolling=24h` each "
                "window reaches back so far from its end. Of an estimate, `estimate` states the "
                "relative standard error.",
                query=shapes.UsageParameters, response=shapes.UsageAnswer,
                errors=("not_found", "too_many_windows", "invalid_filter", "unknown_timezone",
                        "invalid_timestamp", "position_not_reached", "rebuilding"),
            ),
        ]  # fmt: skip

    async def put(self, request: Request) -> Response:
        query = request.query_as(shapes.CatalogParameters)
        published = await publish(
            self._core,
            self._around.tenant(request),
            _document_in(request),
            self._around.actor(request),
            dry_run=query.dry_run,
            staged=query.staged,
            reason=query.reason,
        )
        return json_response(
            {
                "version": published.version,
                "changes": [_change_json(change) for change in published.changes],
                "rebuilding": published.rebuilding,
            }
        )

    async def get(self, request: Request) -> Response:
        tenant = self._around.tenant(request)
        version = request.query_as(shapes.CatalogReadParameters).version
        wanted = tenant.version if version is None else version
        if wanted and wanted not in tenant.catalogs:
            raise NotFound("not_found", f"There is no catalogue version {wanted}.")
        catalog = tenant.catalogs.get(wanted, tenant.catalog)
        return json_response(
            dump_catalog(catalog), headers=(("Taximeter-Catalog-Version", str(wanted)),)
        )

    async def versions(self, request: Request) -> Response:
        query = request.query_as(shapes.PageParameters)
        before = keyset(query.cursor)
        limit = limit_of(query.limit)
        stored = await self._around.books("catalog_versions", self._around.tenant(request).name)
        found = [one for one in reversed(stored) if before is None or one.version < before]
        items = [
            {
                "version": one.version,
                "created_at": format_instant(one.created_at),
                "author": one.author,
                "reason": one.reason,
                "staged": one.staged,
            }
            for one in found[:limit]
        ]
        following = str(found[limit - 1].version) if len(found) > limit else None
        return json_response(listed(items, following))

    async def put_meter(self, request: Request) -> Response:
        tenant = self._around.tenant(request)
        key = request.params["key"]
        published = await put_meter(
            self._core, tenant, key, request.json(dict[str, Any]), self._around.actor(request)
        )
        return json_response(self._meter_json(request, key, published))

    async def list_meters(self, request: Request) -> Response:
        query = request.query_as(shapes.PageParameters)
        keys = sorted(self._around.tenant(request).catalog.meters)
        found, following = page(keys, str, query.cursor, query.limit)
        return json_response(listed([self._meter_json(request, key) for key in found], following))

    async def get_meter(self, request: Request) -> Response:
        return json_response(self._meter_json(request, request.params["key"]))

    def _meter_json(
        self, request: Request, key: str, published: Published | None = None
    ) -> dict[str, Any]:
        tenant = self._around.tenant(request)
        rebuilding = any(
            key in rebuild["meters"] and rebuild["namespace"] == tenant.name
            for rebuild in self._core.rebuilds
        )
        version = tenant.version if published is None else published.version
        meter = dump_meter(find_meter(tenant, key))
        return {"key": key, **meter, "version": version, "rebuilding": rebuilding}

    async def usage(self, request: Request) -> Response:
        query = request.query_as(shapes.UsageParameters)
        tenant = self._around.tenant(request)
        timezone = query.tz or "UTC"
        now = self._core.clock.now()
        month = month_until(now, timezone)
        end = instant(query.to, month.end)
        start = instant(query.from_, min(month.start, end))
        if start >= end:
            raise Rejected("invalid_parameter", "`from` must be before `to`.")
        answer = await usage(
            self._core,
            tenant,
            request.params["key"],
            start=start,
            end=end,
            window=query.window,
            timezone=timezone,
            customer=query.customer,
            group_by=tuple(name for name in query.group_by.split(",") if name),
            filter=query.filter,
            rolling=_rolling(query.rolling),
            at_least=query.position,
        )
        return json_response(answer)


def _rolling(text: str | None) -> int | None:
    if text is None:
        return None
    length = parse_duration(text)
    if length is None:
        raise Rejected("invalid_parameter", f"`rolling` is {DURATION_RULE}.")
    return length


def _document_in(request: Request) -> dict[str, Any]:
    if request.content_type in YAML_TYPES:
        return read_document(request.body, "yaml")
    if request.content_type not in ("", JSON):
        raise Rejected("unsupported_media_type", "A catalogue is JSON or YAML.")
    return read_document(request.body, "json")


def _change_json(change: Any) -> dict[str, Any]:
    return {**msgspec.structs.asdict(change), "text": str(change)}
