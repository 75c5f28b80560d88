"""
Pages for who runs it: notices and who is sent them, rules, dead letters, the audit trail.
"""

from __future__ import annotations

from typing import Final

from taximeter.adapters.console.actions import ACTIONS
from taximeter.adapters.console.rendering import segment
from taximeter.adapters.http.messages import Request, Response
from taximeter.adapters.http.routes.frame import FORM_BYTES, Frame, Page, form_of
from taximeter.adapters.http.routes.inward import Inward
from taximeter.adapters.http.routes.surroundings import Surroundings
from taximeter.adapters.http.routing import Route
from taximeter.instants import DAY, format_instant
from taximeter.services.rules.trial import dry_run, wanted_rule

_ROWS: Final = 50
_TRIAL_DAYS: Final = 7


class OperatorPages:
    def __init__(self, around: Surroundings, frame: Frame, inward: Inward) -> None:
        self._around = around
        self._frame = frame
        self._inward = inward

    def routes(self) -> list[Route]:
        seen_by = self._frame.seen_by
        pages: list[tuple[str, str, Page]] = [
            ("/notices", "read", self.notices),
            ("/webhooks/{id}", "read", self.webhook),
            ("/rules", "read", self.rules),
            ("/rules/{key}", "read", self.rule),
            ("/dead-letters", "read", self.dead_letters),
            ("/audit", "admin", self.audit),
        ]
        return [
            *(Route("GET", path, seen_by(who, page), None) for path, who, page in pages),
            Route(
                "POST", "/rules/{key}/try", seen_by("read", self.try_rule), None,
                max_body_bytes=FORM_BYTES,
            ),
        ]  # fmt: skip

    async def notices(self, request: Request) -> Response:
        read, query = self._inward.read, request.query
        found = await read(
            request, "/v1/notices",
            customer=query.get("customer") or None, cursor=query.get("cursor"), limit=_ROWS,
        )  # fmt: skip
        return self._frame.page(
            request, "notices.html",
            notices=found["items"], following=found["next"], customer=query.get("customer", ""),
            alerts=(await read(request, "/v1/alerts"))["items"],
            webhooks=(await read(request, "/v1/webhooks"))["items"],
            did=ACTIONS.get(query.get("did", "")),
        )  # fmt: skip

    async def webhook(self, request: Request) -> Response:
        path = f"/v1/webhooks/{segment(request.params['id'])}"
        one = await self._inward.read(request, path)
        found = await self._inward.read(
            request, f"{path}/deliveries", cursor=request.query.get("cursor"), limit=_ROWS
        )
        return self._frame.page(
            request, "webhook.html",
            webhook=one, deliveries=found["items"], following=found["next"],
        )  # fmt: skip

    async def rules(self, request: Request) -> Response:
        found = await self._inward.read(request, "/v1/rules")
        reviews = await self._inward.read(request, "/v1/reviews", limit=_ROWS)
        return self._frame.page(
            request, "rules.html",
            rules=found["items"], reviews=reviews["items"],
            did=ACTIONS.get(request.query.get("did", "")),
        )  # fmt: skip

    async def rule(self, request: Request) -> Response:
        return await self._rule(request, None)

    async def try_rule(self, request: Request) -> Response:
        """What it would have done in the last days. Changes nothing."""
        form_of(request)
        tenant, now = self._around.tenant(request), self._around.core.clock.now()
        rule = wanted_rule(tenant, request.params["key"])
        trial = await dry_run(self._around.core, tenant, rule, now - _TRIAL_DAYS * DAY, now)
        return await self._rule(request, trial)

    async def _rule(self, request: Request, trial: object) -> Response:
        key = request.params["key"]
        listed = await self._inward.read(request, "/v1/rules")
        fires = await self._inward.read(
            request, f"/v1/rules/{segment(key)}/fires",
            cursor=request.query.get("cursor"), limit=_ROWS,
        )  # fmt: skip
        return self._frame.page(
            request, "rule.html", key=key, trial=trial, days=_TRIAL_DAYS,
            rule=next((one for one in listed["items"] if one["key"] == key), None),
            fires=fires["items"], following=fires["next"],
        )  # fmt: skip

    async def dead_letters(self, request: Request) -> Response:
        is_all = "all" in request.query
        found = await self._inward.read(
            request, "/v1/dead-letters", pending="false" if is_all else "true",
            cursor=request.query.get("cursor"), limit=_ROWS,
        )  # fmt: skip
        return self._frame.page(
            request, "dead_letters.html",
            letters=found["items"], following=found["next"], is_all=is_all,
        )  # fmt: skip

    async def audit(self, request: Request) -> Response:
        """Newest first: the end of the trail is what people look for."""
        tenant = self._around.tenant(request)
        text = request.query.get("before", "")
        before = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
        found = await self._around.books("audit_before", tenant.name, before=before, limit=_ROWS)
        return self._frame.page(
            request, "audit.html",
            entries=[(one, format_instant(one.at)) for one in found],
            following=found[-1].id if len(found) == _ROWS else None,
        )  # fmt: skip
