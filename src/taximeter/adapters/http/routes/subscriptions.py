"""
Subscriptions over HTTP.
"""

from __future__ import annotations

from typing import Any

import msgspec

from taximeter.adapters.http.messages import Request, Response, json_response
from taximeter.adapters.http.routes import shapes
from taximeter.adapters.http.routes.paging import listed, page
from taximeter.adapters.http.routes.surroundings import Surroundings, instant
from taximeter.adapters.http.routing import Route
from taximeter.errors import Rejected
from taximeter.instants import DAY, HOUR, parse_instant
from taximeter.services.core import require_customer
from taximeter.services.subscriptions.migration import Migration, migrate
from taximeter.services.subscriptions.previews import preview
from taximeter.services.subscriptions.service import Change, Phase, Wish, change, subscribe
from taximeter.services.subscriptions.views import (
    find_subscription,
    revision_json,
    subscription_json,
)
from taximeter.subscriptions.changes import NOW, PERIOD_END, TERM_END
from taximeter.subscriptions.phases import parse_length

_ACTIONS = ("change", "cancel", "uncancel", "pause", "resume", "renew")
_MOMENTS = (NOW, PERIOD_END, TERM_END)
_TERMS_ERRORS = ("unknown_plan", "catalog_invalid", "currency_mismatch")
_MOMENT_ERRORS = (
    "not_found", "invalid_timestamp", "change_in_past", "subscription_ended",
    "subscription_unchanged",
)  # fmt: skip


class SubscriptionRoutes:
    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._core = around.core

    def routes(self) -> list[Route]:
        tags = ("subscriptions",)
        one = "/v1/subscriptions/{id}"
        answer = shapes.SubscriptionAnswer
        return [
            Route(
                "POST", "/v1/subscriptions", self.subscribe,
                scope="write", tags=tags, summary="Subscribe a customer to a plan",
                description="Usage since `start` counts, also what arrived before this call.",
                request=shapes.SubscriptionBody, response=answer, status=201,
                errors=(
                    "not_found", "subscription_exists", "invalid_timestamp", *_TERMS_ERRORS,
                ),
                idempotent=True, example={"customer": "acme", "plan": "pro"},
            ),
            Route(
                "GET", "/v1/subscriptions", self.list_subscriptions,
                scope="read", tags=tags, summary="All subscriptions",
                query=shapes.SubscriptionParameters, response=shapes.SubscriptionList,
                errors=("not_found",),
            ),
            Route(
                "GET", one, self.get_subscription,
                scope="read", tags=tags, summary="One subscription",
                response=answer, errors=("not_found",),
            ),
            Route(
                "POST", f"{one}/change", self.change,
                scope="write", tags=tags, summary="Another plan, version, add-ons or overrides",
                description="Holds for the very next request, or from the instant it is for.",
                request=shapes.ChangeBody, response=answer,
                errors=(*_MOMENT_ERRORS, *_TERMS_ERRORS),
                idempotent=True, example={"plan": "max", "at": "period_end"},
            ),
            Route(
                "POST", f"{one}/addons", self.addons,
                scope="write", tags=tags, summary="Have add-ons in these quantities; 0 for none",
                request=shapes.AddonsBody, response=answer,
                errors=(*_MOMENT_ERRORS, *_TERMS_ERRORS),
                idempotent=True, example={"addons": {"boost": 2}},
            ),
            Route(
                "POST", f"{one}/pause", self.pause,
                scope="write", tags=tags, summary="Pause: nothing may be used, no fee is charged",
                request=shapes.PauseBody, response=answer, errors=_MOMENT_ERRORS,
                idempotent=True, example={"until": "2026-12-15T00:00:00Z"},
            ),
            Route(
                "POST", f"{one}/resume", self.resume,
                scope="write", tags=tags, summary="End a pause",
                request=shapes.MomentBody, response=answer, errors=_MOMENT_ERRORS,
                idempotent=True, example={"at": "now"},
            ),
            Route(
                "POST", f"{one}/cancel", self.cancel,
                scope="write", tags=tags, summary="End it, now or later",
                request=shapes.MomentBody, response=answer, errors=_MOMENT_ERRORS,
                idempotent=True, example={"at": "period_end"},
            ),
            Route(
                "POST", f"{one}/uncancel", self.uncancel,
                scope="write", tags=tags, summary="Take back an end that has not come yet",
                request=shapes.ReasonBody, response=answer,
                errors=("not_found", "subscription_ended", "subscription_unchanged"),
                idempotent=True, example={},
            ),
            Route(
                "POST", f"{one}/renew", self.renew,
                scope="write", tags=tags, summary="Another term behind the planned end",
                description="`auto_renew` true goes on term by term, false ends with the term.",
                request=shapes.RenewBody, response=answer,
                errors=("not_found", "subscription_ended", "subscription_unchanged"),
                idempotent=True, example={"term": "P1Y"},
            ),
            Route(
                "DELETE", f"{one}/scheduled/{{at}}", self.unschedule,
                scope="write", tags=tags, summary="Take back what is scheduled for an instant",
                response=answer,
                errors=("not_found", "invalid_timestamp", "subscription_unchanged"),
                idempotent=True,
            ),
            Route(
                "GET", f"{one}/preview", self.preview_query,
                scope="read", tags=tags, summary="What a change would cost and grant",
                description="Changes nothing. `addons` is written boost:2,other:0.",
                query=shapes.ProposalParameters, response=shapes.ChangePreview,
                errors=(*_MOMENT_ERRORS, *_TERMS_ERRORS),
            ),
            Route(
                "POST", f"{one}/preview", self.preview_body,
                scope="read", tags=tags, summary="What a change would cost and grant",
                description="The body of the change, with its `action`; changes nothing.",
                request=shapes.ProposalBody, response=shapes.ChangePreview,
                errors=(*_MOMENT_ERRORS, *_TERMS_ERRORS),
                example={"action": "change", "plan": "max", "at": "now"},
            ),
            Route(
                "GET", f"{one}/revisions", self.revisions,
                scope="read", tags=tags, summary="All it has been: who changed what, and when",
                response=shapes.RevisionList, errors=("not_found",),
            ),
            Route(
                "POST", "/v1/plans/{plan}/migrate", self.migrate,
                scope="write", tags=tags, summary="Bring subscribers to a version of their plan",
                description="`never` pins everybody to what they have. Changes nothing with "
                "`dry_run`.",
                request=shapes.MigrateBody, response=shapes.MigrateAnswer,
                errors=("unknown_plan", "not_found"), idempotent=True,
                example={"at": "period_end", "dry_run": True},
            ),
        ]  # fmt: skip

    # --- to begin, and to read ---

    async def subscribe(self, request: Request) -> Response:
        tenant = self._around.tenant(request)
        wish = _wish(request.json(shapes.SubscriptionBody))
        subscription = await subscribe(self._core, tenant, wish, self._around.actor(request))
        return json_response(subscription_json(tenant, subscription, self._core.clock.now()), 201)

    async def list_subscriptions(self, request: Request) -> Response:
        query = request.query_as(shapes.SubscriptionParameters)
        tenant = self._around.tenant(request)
        if query.customer is None:
            keys = sorted(tenant.subscriptions)
        else:
            require_customer(tenant, query.customer)
            keys = sorted(one.id for one in tenant.of_customer(query.customer))
        found, following = page(keys, str, query.cursor, query.limit)
        now = self._core.clock.now()
        items = [subscription_json(tenant, tenant.subscriptions[key], now) for key in found]
        return json_response(listed(items, following))

    async def get_subscription(self, request: Request) -> Response:
        tenant = self._around.tenant(request)
        subscription = find_subscription(tenant, request.params["id"])
        return json_response(subscription_json(tenant, subscription, self._core.clock.now()))

    async def revisions(self, request: Request) -> Response:
        tenant = self._around.tenant(request)
        subscription = find_subscription(tenant, request.params["id"])
        found = await self._around.books("subscription_revisions", tenant.name, subscription.id)
        return json_response(listed([revision_json(one) for one in found], None))

    # --- to change ---

    async def change(self, request: Request) -> Response:
        body = request.json(shapes.ChangeBody)
        return await self._change(request, _change(body))

    async def addons(self, request: Request) -> Response:
        body = request.json(shapes.AddonsBody)
        if not body.addons:
            raise Rejected("invalid_request", "addons: name at least one, with its quantity.")
        wanted = Change(at=_moment(body.at), addons=body.addons, reason=body.reason)
        return await self._change(request, wanted)

    async def pause(self, request: Request) -> Response:
        body = _optional(request, shapes.PauseBody)
        wanted = Change("pause", _moment(body.at), until=_until(body.until), reason=body.reason)
        return await self._change(request, wanted)

    async def resume(self, request: Request) -> Response:
        body = _optional(request, shapes.MomentBody)
        return await self._change(request, Change("resume", _moment(body.at), reason=body.reason))

    async def cancel(self, request: Request) -> Response:
        body = _optional(request, shapes.MomentBody)
        return await self._change(request, Change("cancel", _moment(body.at), reason=body.reason))

    async def uncancel(self, request: Request) -> Response:
        body = _optional(request, shapes.ReasonBody)
        return await self._change(request, Change("uncancel", reason=body.reason))

    async def renew(self, request: Request) -> Response:
        body = _optional(request, shapes.RenewBody)
        wanted = Change(
            "renew", term=_term(body.term), auto_renew=body.auto_renew, reason=body.reason
        )
        return await self._change(request, wanted)

    async def unschedule(self, request: Request) -> Response:
        at = parse_instant(request.params["at"])
        return await self._change(request, Change("unschedule", at))

    async def _change(self, request: Request, wanted: Change) -> Response:
        tenant = self._around.tenant(request)
        actor = self._around.actor(request)
        changed = await change(self._core, tenant, request.params["id"], wanted, actor)
        return json_response(subscription_json(tenant, changed, self._core.clock.now()))

    # --- to look ahead ---

    async def preview_query(self, request: Request) -> Response:
        query = request.query_as(shapes.ProposalParameters)
        return await self._preview(
            request,
            Change(
                _action(query.action),
                _moment(query.at),
                query.plan,
                query.version,
                _quantities(query.addons),
                until=_until(query.until),
                term=_term(query.term),
                auto_renew=query.auto_renew,
            ),
        )

    async def preview_body(self, request: Request) -> Response:
        body = request.json(shapes.ProposalBody)
        wanted = msgspec.structs.replace(
            _change(body),
            action=_action(body.action),
            until=_until(body.until),
            term=_term(body.term),
            auto_renew=body.auto_renew,
        )
        return await self._preview(request, wanted)

    async def _preview(self, request: Request, wanted: Change) -> Response:
        tenant = self._around.tenant(request)
        answer = await preview(self._core, tenant, request.params["id"], wanted)
        return json_response(answer)

    async def migrate(self, request: Request) -> Response:
        tenant = self._around.tenant(request)
        body = _optional(request, shapes.MigrateBody)
        customers = None if body.customers is None else tuple(body.customers)
        plan = request.params["plan"]
        version, effects = await migrate(
            self._core,
            tenant,
            Migration(plan, body.version, body.at, customers, body.reason),
            self._around.actor(request),
            dry_run=body.dry_run,
        )
        return json_response(
            {"plan": plan, "version": version, "dry_run": body.dry_run, "items": effects}
        )


# --- bodies into values -----------------------------------------------------------------------


def _wish(body: shapes.SubscriptionBody) -> Wish:
    if body.term is not None and (body.end is not None or body.phases):
        raise Rejected("invalid_request", "term: phases or an end say already how long it is for.")
    trial_us = trial_end = None
    if body.trial is None:
        trial_us = 0
    elif isinstance(body.trial, shapes.TrialBody):
        trial_us, trial_end = _trial(body.trial)
    return Wish(
        customer=body.customer,
        phases=_phases(body),
        start=None if body.start is None else instant(body.start, 0),
        anchor=body.anchor,
        trial_us=trial_us,
        trial_end=trial_end,
        term=_term(body.term),
        auto_renew=body.auto_renew,
        additional=body.additional,
    )


def _phases(body: shapes.SubscriptionBody) -> tuple[Phase, ...]:
    if not body.phases:
        if body.plan is None:
            raise Rejected("invalid_request", "plan: name the plan to subscribe to.")
        end = _until(body.end)
        return (Phase(body.plan, body.version, body.addons, body.overrides, until=end),)
    if body.addons or body.overrides or body.end is not None:
        raise Rejected(
            "invalid_request", "With `phases`, addons, overrides and the end belong into them."
        )
    phases = []
    for place, one in enumerate(body.phases):
        plan = one.plan or body.plan
        if plan is None:
            raise Rejected("invalid_request", f"phases[{place}].plan: name the plan.")
        version = one.version if one.plan or one.version else body.version
        length = None if one.for_ is None else parse_length(one.for_)
        until = _until(one.until)
        phases.append(Phase(plan, version, one.addons, one.overrides, length, until))
    return tuple(phases)


def _trial(trial: shapes.TrialBody) -> tuple[int | None, int | None]:
    """Length, or end."""
    given = [one for one in (trial.days, trial.hours, trial.until) if one is not None]
    if len(given) != 1:
        raise Rejected(
            "invalid_request", 'trial: {"days": 14}, {"hours": 36}, {"until": "..."} or null.'
        )
    if trial.until is not None:
        return None, parse_instant(trial.until)
    return (trial.days or 0) * DAY + (trial.hours or 0) * HOUR, None


def _change(body: shapes.ChangeBody) -> Change:
    return Change(
        at=_moment(body.at),
        plan=body.plan,
        version=body.version,
        addons=body.addons,
        overrides=body.overrides,
        reason=body.reason,
    )


def _action(text: str) -> str:
    if text not in _ACTIONS:
        raise Rejected("invalid_parameter", f"action is one of {', '.join(_ACTIONS)}.")
    return text


def _moment(text: str) -> str | int:
    return text if text in _MOMENTS else parse_instant(text)


def _term(text: str | None) -> str | None:
    """A length, checked."""
    if text is not None:
        parse_length(text)
    return text


def _until(text: str | None) -> int | None:
    return None if text is None else parse_instant(text)


def _quantities(text: str) -> dict[str, int]:
    """ "boost:2,other:0" """
    found: dict[str, int] = {}
    for part in filter(None, text.split(",")):
        key, _, number = part.partition(":")
        if not (number.isascii() and number.isdigit() and len(number) < 10):
            raise Rejected("invalid_parameter", "addons is written boost:2,other:0.")
        found[key] = int(number)
    return found


def _optional(request: Request, kind: Any) -> Any:
    """A body that may be left out."""
    return request.json(kind) if request.body else kind()
