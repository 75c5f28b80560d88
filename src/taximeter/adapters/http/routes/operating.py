"""
Operating a node: health, status, metrics, audit, keys, the sandbox clock, the API's own document.
"""

from __future__ import annotations

import secrets
from typing import Any

import taximeter
from taximeter.adapters.clock import SandboxClock
from taximeter.adapters.http.auth import SCOPES, new_key
from taximeter.adapters.http.messages import Request, Response, json_response
from taximeter.adapters.http.metrics import exposition
from taximeter.adapters.http.openapi import openapi
from taximeter.adapters.http.routes import shapes
from taximeter.adapters.http.routes.paging import keyset, limit_of
from taximeter.adapters.http.routes.surroundings import Surroundings
from taximeter.adapters.http.routing import Route
from taximeter.errors import NotFound, Refused, Rejected
from taximeter.instants import format_instant, parse_instant
from taximeter.ports import ApiKey, AuditEntry
from taximeter.services.tenant import Tenant

_NAME_LENGTH = 128


class OperatingRoutes:
    """
    Attributes:
        documented: All routes, set once they are known, for `/openapi.json`.
    """

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._core = around.core
        self.documented: list[Route] = []
        self._openapi: Response | None = None

    def routes(self) -> list[Route]:
        return [
            Route(
                "GET", "/healthz", self.health,
                scope=None, tags=("operating",), summary="The process answers",
                response=dict[str, str], essential=True,
            ),
            Route(
                "GET", "/readyz", self.ready,
                scope=None, tags=("operating",), summary="Events can be acknowledged",
                response=dict[str, str], essential=True,
                errors=("storage_failed", "storage_full"),
            ),
            Route(
                "GET", "/metrics", self.metrics,
                scope="read", tags=("operating",), summary="Measurements for Prometheus",
                response_type="text/plain; version=0.0.4",
            ),
            Route(
                "GET", "/v1/status", self.status,
                scope="read", tags=("operating",),
                summary="Version, positions and lag of every stage",
                response=dict[str, Any],
            ),
            Route(
                "GET", "/v1/audit", self.audit,
                scope="admin", tags=("operating",), summary="Who did what, oldest first",
                query=shapes.PageParameters, response=shapes.AuditList,
            ),
            Route(
                "GET", "/v1/keys", self.list_keys,
                scope="admin", tags=("keys",), summary="API keys, without their secrets",
                response=shapes.KeyList,
            ),
            Route(
                "POST", "/v1/keys", self.add_key,
                scope="admin", tags=("keys",), summary="Make an API key; its secret is shown once",
                request=shapes.KeyBody, response=shapes.KeyAnswer, status=201,
                errors=("invalid_timestamp",),
                example={"name": "gateway", "scopes": ["ingest", "check"]},
            ),
            Route(
                "POST", "/v1/keys/{id}/revoke", self.revoke_key,
                scope="admin", tags=("keys",), summary="Revoke an API key, at once",
                response=shapes.KeyAnswer, errors=("not_found",),
            ),
            Route(
                "GET", "/v1/clock", self.get_clock,
                scope="read", tags=("operating",), summary="What time it is for the server",
                response=shapes.ClockAnswer,
            ),
            Route(
                "POST", "/v1/clock", self.set_clock,
                scope="admin", tags=("operating",), summary="Set the clock (sandbox only)",
                request=shapes.ClockBody, response=shapes.ClockAnswer,
                errors=("not_sandbox", "invalid_timestamp"),
                example={"now": "2026-12-01T00:00:00Z"},
            ),
            Route(
                "GET", "/openapi.json", self.openapi,
                scope=None, tags=("operating",), summary="This API as OpenAPI 3.1",
                response=dict[str, Any],
            ),
        ]  # fmt: skip

    def health(self, request: Request) -> Response:
        return json_response({"status": "ok"})

    def ready(self, request: Request) -> Response:
        self._core.committer.ready()
        return json_response({"status": "ready"})

    def metrics(self, request: Request) -> Response:
        return Response(200, exposition(self._around), "text/plain; version=0.0.4; charset=utf-8")

    def status(self, request: Request) -> Response:
        core, log = self._core, self._around.log
        tenant = self._around.tenant(request)
        durable, sequenced = core.committer.position, core.sequencer.position
        progress = core.store.progress
        failure = core.committer.failure or core.committer.full
        return json_response(
            {
                "version": taximeter.__version__,
                "namespace": tenant.name,
                "time": format_instant(core.clock.now()),
                "sandbox": self._around.settings.sandbox,
                "ready": failure is None,
                "failure": None if failure is None else failure.code,
                "log": {
                    "position": f"0:{durable}",
                    "chain": f"sha256:{log.chain}",
                    "segments": len(log.segments()),
                    "bytes": sum(segment.bytes for segment in log.segments()),
                },
                "stages": {
                    "sequenced": {"position": f"0:{sequenced}", "lag": 0},
                    "durable": {"position": f"0:{durable}", "lag": sequenced - durable},
                    "live": {"position": f"0:{sequenced}", "lag": 0},
                    "store": {
                        "position": f"0:{progress.position}",
                        "lag": max(0, durable - progress.position),
                    },
                    "sealed": {
                        "position": f"0:{progress.sealed_position}",
                        "lag": max(0, durable - progress.sealed_position),
                    },
                },
                "reconciliation": self._reconciled(tenant, durable),
                "events": {**tenant.counts.as_dict(), "balanced": tenant.counts.balanced},
                "unmatched": {
                    "subjects": len(tenant.live.unmatched),
                    "events": sum(tenant.live.unmatched.values()),
                    "first": sorted(tenant.live.unmatched)[:20],
                },
                "catalog": {"version": tenant.version},
                "customers": len(tenant.customers),
                "subscriptions": tenant.running_subscriptions(core.clock.now()),
                "identities": {
                    "count": len(self._around.keeper.index),
                    "bytes": self._around.keeper.index.memory_bytes,
                },
                "rebuilds": [r for r in core.rebuilds if r["namespace"] == tenant.name],
            }
        )

    def _reconciled(self, tenant: Tenant, durable: int) -> dict[str, Any] | None:
        service = self._core.reconciliation
        if service is None:
            return None
        mark = service.watermark(tenant.name)
        return {
            "position": f"0:{mark.position}",
            "lag": max(0, durable - mark.position),
            "at": None if mark.checked_at is None else format_instant(mark.checked_at),
            "gaps": len(service.gaps(tenant.name)),
        }

    # --- audit and keys ---

    async def audit(self, request: Request) -> Response:
        query = request.query_as(shapes.PageParameters)
        limit = limit_of(query.limit)
        found: list[AuditEntry] = await self._around.books(
            "audit",
            self._around.tenant(request).name,
            after=keyset(query.cursor) or 0,
            limit=limit,
        )
        items = [
            {
                "id": entry.id,
                "at": format_instant(entry.at),
                "actor": entry.actor,
                "action": entry.action,
                "target": entry.target,
                "detail": entry.detail,
            }
            for entry in found
        ]
        following = str(found[-1].id) if len(found) == limit else None
        return json_response({"items": items, "next": following})

    async def list_keys(self, request: Request) -> Response:
        keys = await self._around.books("keys")
        namespace = request.principal.namespace
        mine = [_key_json(key) for key in keys if key.namespace == namespace]
        return json_response({"items": mine, "next": None})

    async def add_key(self, request: Request) -> Response:
        body = request.json(shapes.KeyBody)
        unknown = sorted(set(body.scopes) - SCOPES.keys())
        if unknown or not body.scopes:
            raise Rejected("invalid_request", f"scopes: some of {', '.join(SCOPES)}.")
        if not 1 <= len(body.name) <= _NAME_LENGTH:
            raise Rejected("invalid_request", f"name: 1 to {_NAME_LENGTH} characters.")
        namespace = self._namespace_for(request, body.namespace)
        now = self._core.clock.now()
        secret, digest = new_key()
        key = ApiKey(
            id=f"key_{secrets.token_hex(8)}",
            namespace=namespace,
            name=body.name,
            prefix=secret[:8],
            digest=digest,
            scopes=tuple(body.scopes),
            created_at=now,
            expires_at=None if body.expires_at is None else parse_instant(body.expires_at),
        )
        await self._around.books("add_key", key, self._entry(request, "key.create", key.id))
        await self._reload_keys()
        return json_response({**_key_json(key), "secret": secret}, 201)

    def _namespace_for(self, request: Request, wanted: str | None) -> str:
        """Only the installation's owner makes keys for other namespaces."""
        own = request.principal.namespace
        if wanted is None or wanted == own:
            return own
        if request.principal.key_id not in ("key_owner", "dev"):
            raise NotFound("not_found", "There is no such namespace for this key.")
        if not wanted.isascii() or not wanted.replace("-", "").replace("_", "").isalnum():
            raise Rejected("invalid_request", "namespace: ASCII letters, digits, - and _.")
        return wanted

    async def revoke_key(self, request: Request) -> Response:
        key_id = request.params["id"]
        keys = await self._around.books("keys")
        key = next(
            (k for k in keys if (k.id, k.namespace) == (key_id, request.principal.namespace)), None
        )
        if key is None:
            raise NotFound("not_found", "There is no such key.")
        now = self._core.clock.now()
        await self._around.books(
            "revoke_key", key_id, now, self._entry(request, "key.revoke", key_id)
        )
        await self._reload_keys()
        keys = await self._around.books("keys")
        return json_response(_key_json(next(k for k in keys if k.id == key_id)))

    async def _reload_keys(self) -> None:
        self._around.authenticator.replace(await self._around.books("keys"))

    def _entry(self, request: Request, action: str, target: str) -> AuditEntry:
        return AuditEntry(
            0,
            request.principal.namespace,
            self._core.clock.now(),
            self._around.actor(request),
            action,
            target,
            {},
        )

    # --- clock and document ---

    def get_clock(self, request: Request) -> Response:
        return json_response(
            {
                "now": format_instant(self._core.clock.now()),
                "sandbox": self._around.settings.sandbox,
            }
        )

    def set_clock(self, request: Request) -> Response:
        clock = self._core.clock
        if not isinstance(clock, SandboxClock):
            raise Refused("not_sandbox", "Start the server with --sandbox to set its clock.")
        clock.set(parse_instant(request.json(shapes.ClockBody).now))
        return self.get_clock(request)

    def openapi(self, request: Request) -> Response:
        if self._openapi is None:
            document = openapi(
                self.documented,
                title="Taximeter",
                version=taximeter.__version__,
                description="Real-time usage metering and billing.",
            )
            self._openapi = json_response(document)
        return self._openapi


def _key_json(key: ApiKey) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "id": key.id,
        "namespace": key.namespace,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": list(key.scopes),
        "created_at": format_instant(key.created_at),
    }
    for name in ("expires_at", "revoked_at"):
        at = getattr(key, name)
        if at is not None:
            answer[name] = format_instant(at)
    return answer
