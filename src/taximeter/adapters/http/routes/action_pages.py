"""
The forms: what is about to be done, what it would cost, and then doing it.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from taximeter.adapters.console.action import Action, Field, Preview, filled, typed, written
from taximeter.adapters.console.actions import ACTIONS, undo_address
from taximeter.adapters.http.messages import Request, Response
from taximeter.adapters.http.routes.frame import FORM_BYTES, Frame, form_of, see_other
from taximeter.adapters.http.routes.invoice_pages import zone_of
from taximeter.adapters.http.routes.inward import Inward
from taximeter.adapters.http.routes.surroundings import Surroundings
from taximeter.adapters.http.routing import Route
from taximeter.catalog.features import FeatureType
from taximeter.errors import NotFound, Rejected, TaximeterError
from taximeter.services.tenant import Tenant

_ANSWERED: Final = ("key", "created_at")  # what an answer has and a body has not


class ActionPages:
    def __init__(self, around: Surroundings, frame: Frame, inward: Inward) -> None:
        self._around = around
        self._frame = frame
        self._inward = inward

    def routes(self) -> list[Route]:
        path = "/do/{action}"
        return [
            Route("GET", path, self._frame.seen_by("read", self.ask), None),
            Route(
                "POST", path, self._frame.seen_by("read", self.do), None, max_body_bytes=FORM_BYTES
            ),
        ]

    async def ask(self, request: Request) -> Response:
        """The form, with what it would mean once enough is known."""
        action, form = _action(request), dict(request.query)
        preview, problem = None, None
        if action.within is not None:
            current = await self._inward.read(request, action.target(form))
            form = written(action.fields, current.get(action.within) or {}) | form
        if action.preview is not None and (action.preview.at_once or "preview" in form):
            preview, problem = await self._preview(request, action, action.preview, form)
        return self._form(request, action, form, problem=problem, preview=preview)

    async def do(self, request: Request) -> Response:
        action, form = _action(request), form_of(request)
        try:
            back = action.return_path(form)
            target, body = action.target(form), action.body(form)
            if action.within is not None:
                body = await self._whole(request, action, action.within, target, body or {})
        except TaximeterError as error:
            return await self._again(request, action, form, 422, {"detail": error.message})
        once = form.get("once") or secrets.token_hex(8)
        answer = await self._inward.do(request, action.method, target, body, once)
        told = msgspec.json.decode(answer.body) if answer.body else {}
        if answer.status >= 400:
            return await self._again(request, action, form, answer.status, told)
        if action.tells:
            return self._frame.page(
                request, "done.html", action=action, told=told, back=back,
                base=request.header("host") or "",
            )  # fmt: skip
        landing = back if action.lands is None else filled(action.lands, told)
        return see_other(f"{landing}?{urlencode(_done(action, form, told))}")

    async def _whole(
        self, request: Request, action: Action, member: str, target: str, typed: dict[str, Any]
    ) -> dict[str, Any]:
        """What is at a path, as it can be put back, with one member as it was typed."""
        current = await self._inward.read(request, target)
        names = {field.name for field in action.fields}
        kept = {name: one for name, one in (current.get(member) or {}).items() if name not in names}
        rest = {name: one for name, one in current.items() if name not in _ANSWERED}
        return rest | {member: kept | typed}

    async def _again(
        self,
        request: Request,
        action: Action,
        form: Mapping[str, str],
        status: int,
        problem: Mapping[str, Any],
    ) -> Response:
        """The form that was refused, as it was typed, with the reason."""
        preview = None
        if action.preview is not None and action.preview.at_once:
            preview, _ = await self._preview(request, action, action.preview, form)
        return self._form(request, action, form, status, problem=problem, preview=preview)

    async def _preview(
        self, request: Request, action: Action, preview: Preview, form: Mapping[str, str]
    ) -> tuple[Any, Any]:
        """What it would mean, or the reason why not."""
        try:
            path = filled(preview.path, form)
            asked = typed([one for one in action.fields if one.name in preview.fixed], form)
            asked |= {member: form.get(name, "") for member, name in preview.asks}
            if preview.method == "GET":
                found = await self._inward.read(request, path, action=preview.action, **asked)
                return found, None
            answer = await self._inward.do(request, preview.method, path, asked, "")
            told = msgspec.json.decode(answer.body)
            return (None, told) if answer.status >= 400 else (told, None)
        except TaximeterError as error:
            return None, {"detail": error.message, "code": error.code}

    def _form(
        self,
        request: Request,
        action: Action,
        form: Mapping[str, str],
        status: int = 200,
        *,
        problem: Mapping[str, Any] | None = None,
        preview: Any = None,
    ) -> Response:
        try:
            back = action.return_path(form)
        except Rejected:
            back = "/"
        tenant = self._around.tenant(request)
        # A form that was refused is a new one: else its first answer would come again.
        return self._frame.page(
            request, "action.html", status,
            action=action, form=form, problem=problem, preview=preview, back=back,
            once=secrets.token_hex(8), fixed=_fixed(action, preview),
            asks_first=preview is None and action.preview and not action.preview.at_once,
            form_without_preview={name: form[name] for name in form if name != "preview"},
            options={one.name: _options(tenant, one) for one in action.fields},
            zone=partial(zone_of, tenant), may=action.scope in request.principal.scopes,
        )  # fmt: skip


def _action(request: Request) -> Action:
    action = ACTIONS.get(request.params["action"])
    if action is None:
        raise NotFound("not_found", "There is no such form.")
    return action


def _fixed(action: Action, preview: Any) -> tuple[str, ...]:
    """What cannot be typed any more, because it was previewed."""
    return () if action.preview is None or preview is None else action.preview.fixed


def _options(tenant: Tenant, field: Field) -> list[str]:
    """What may be chosen, or is suggested."""
    catalog = tenant.catalog
    match field.options:
        case ("PLANS",):
            return sorted(catalog.plans)
        case ("METERED",):
            features = catalog.features.values()
            return sorted(one.key for one in features if one.type is FeatureType.METERED)
        case ("CREDITS",):
            return sorted({wallet for purse in _purses(tenant) for wallet in purse})
        case _:
            return list(field.options)


def _purses(tenant: Tenant) -> list[list[str]]:
    return [list(purse.wallets) for purse in list(tenant.live.gate.purses.values())[:100]]


def _done(action: Action, form: Mapping[str, str], told: Mapping[str, Any]) -> dict[str, str]:
    """What the page returned to needs, to say so and to offer to take it back."""
    known = {name: form[name] for name in ("id", "credit", "feature", "holder") if form.get(name)}
    if isinstance(told.get("id"), str) and "id" not in known:
        known["id"] = told["id"]
    if told.get("status") == "ended":
        return {"did": action.key}  # what is over is not taken back
    if form.get("at") == "period_end" and told.get("scheduled"):
        known["at"] = told["scheduled"][-1]["at"]
    needed = undo_address(action.key, {"customer": form.get("customer", ""), **known})
    return {"did": action.key, **(known if needed else {})}
