"""
Billing settings, and which taxes follow from them, over HTTP.
"""

from __future__ import annotations

from typing import Any

import msgspec

from taximeter.adapters.http.messages import Request, Response, json_response
from taximeter.adapters.http.routes.paging import keyset, limit_of, listed
from taximeter.adapters.http.routes.surroundings import Surroundings, instant
from taximeter.adapters.http.routing import Route
from taximeter.instants import format_instant
from taximeter.invoices.settings import (
    BillingSettings,
    SettingsDocument,
    dump_settings,
    parse_settings,
)
from taximeter.money import format_exact
from taximeter.ports import SettingsVersion
from taximeter.services.billing.terms.settings import find_settings, put_settings
from taximeter.services.billing.terms.tax import engine_secret, rates_at
from taximeter.services.core import require_customer
from taximeter.taxes.decide import Unknown

_EXAMPLE = {
    "issuer": {"name": "Acme GmbH", "city": "Berlin", "country": "DE", "tax_id": "DE123456789"},
    "due_days": 30,
    "tax": {
        "registrations": [{"country": "DE"}],
        "rates": [{"name": "VAT", "country": "DE", "rate": "0.19"}],
    },
    "reason": "VAT in Germany",
}


class SettingsBody(SettingsDocument, frozen=True, kw_only=True):
    """
    The settings, and why they change. What was read can be put back: with its `version` it is
    refused if somebody else changed them meanwhile.
    """

    reason: str = ""
    version: int | None = None
    changed_at: str | None = None
    changed_by: str | None = None
    engine_secret: str | None = None


class SettingsParameters(msgspec.Struct, forbid_unknown_fields=True):
    version: int | None = None


class VersionsParameters(msgspec.Struct, forbid_unknown_fields=True):
    limit: int = 100
    cursor: str | None = None


class VersionItem(msgspec.Struct):
    version: int
    changed_at: str
    changed_by: str
    reason: str


class VersionList(msgspec.Struct):
    items: list[VersionItem]
    next: str | None


class TaxesParameters(msgspec.Struct, forbid_unknown_fields=True):
    category: str = ""
    at: str | None = None


class RateItem(msgspec.Struct):
    name: str
    jurisdiction: str
    category: str
    rate: str
    inclusive: bool
    note: str | None


class TaxesAnswer(msgspec.Struct):
    customer: str
    category: str
    at: str
    rates: list[RateItem]
    unknown: str | None


class BillingSettingsRoutes:
    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._core = around.core

    def routes(self) -> list[Route]:
        return [
            Route(
                "PUT", "/v1/billing/settings", self.put,
                scope="admin", tags=("billing",), summary="How invoices are made",
                description="The whole document: an absent member has its default again. With a "
                "tax engine the answer has the secret that questions to it are signed with.",
                request=SettingsBody, response=SettingsBody, idempotent=True,
                errors=("settings_changed", "unknown_currency", "invalid_timestamp"),
                example=_EXAMPLE,
            ),
            Route(
                "GET", "/v1/billing/settings", self.get,
                scope="read", tags=("billing",), summary="The settings in force, or a version",
                query=SettingsParameters, response=SettingsBody, errors=("not_found",),
            ),
            Route(
                "GET", "/v1/billing/settings/versions", self.list,
                scope="read", tags=("billing",), summary="Who changed the settings when, and why",
                query=VersionsParameters, response=VersionList,
            ),
            Route(
                "GET", "/v1/customers/{key}/taxes", self.taxes,
                scope="read", tags=("billing",), summary="Which tax rates apply to a customer",
                description="By the rules in force, for a category at an instant. `unknown` says "
                "what is missing to tell; an invoice is then held for review.",
                query=TaxesParameters, response=TaxesAnswer,
                errors=("not_found", "invalid_timestamp"),
            ),
        ]  # fmt: skip

    async def put(self, request: Request) -> Response:
        body = request.json(SettingsBody)
        tenant = self._around.tenant(request)
        members = {name: getattr(body, name) for name in SettingsDocument.__struct_fields__}
        version = await put_settings(
            self._core,
            tenant,
            SettingsDocument(**members),
            self._around.actor(request),
            reason=body.reason,
            expected=body.version,
            allow_private=self._around.settings.webhook_allow_private,
        )
        shown = settings_json(version)
        if "engine" in shown["tax"]:
            shown["engine_secret"] = engine_secret(self._around.keeper.secret, tenant.name)
        return json_response(shown)

    async def get(self, request: Request) -> Response:
        wanted = request.query_as(SettingsParameters).version
        tenant = self._around.tenant(request)
        return json_response(settings_json(await find_settings(self._core, tenant, wanted)))

    async def list(self, request: Request) -> Response:
        query = request.query_as(VersionsParameters)
        limit = limit_of(query.limit)
        found: list[SettingsVersion] = await self._around.books(
            "billing_settings",
            self._around.tenant(request).name,
            before=keyset(query.cursor),
            limit=limit,
        )
        following = str(found[-1].version) if len(found) == limit else None
        return json_response(listed([_changed(one) for one in found], following))

    async def taxes(self, request: Request) -> Response:
        query = request.query_as(TaxesParameters)
        tenant, key = self._around.tenant(request), request.params["key"]
        require_customer(tenant, key)
        at = instant(query.at, self._core.clock.now())
        found = rates_at(tenant, tenant.customers[key], query.category, at)
        rates = () if isinstance(found, Unknown) else found
        answer = {
            "customer": key,
            "category": query.category,
            "at": format_instant(at),
            "rates": [
                msgspec.structs.asdict(one) | {"rate": format_exact(one.rate)} for one in rates
            ],
            "unknown": found.reason if isinstance(found, Unknown) else None,
        }
        return json_response(answer)


def settings_json(version: SettingsVersion | None) -> dict[str, Any]:
    """None: the defaults, version 0."""
    if version is None:
        return {**dump_settings(BillingSettings()), "version": 0}
    return {**dump_settings(parse_settings(version.document)), **_changed(version)}


def _changed(version: SettingsVersion) -> dict[str, Any]:
    return {
        "version": version.version,
        "changed_at": format_instant(version.at),
        "changed_by": version.actor,
        "reason": version.reason,
    }
