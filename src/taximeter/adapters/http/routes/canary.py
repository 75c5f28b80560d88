"""The canary over HTTP; it is the installation's, so only its own namespace is told."""

from __future__ import annotations

from typing import Any

from taximeter.adapters.http.messages import Request, Response, json_response
from taximeter.adapters.http.routes.surroundings import Surroundings
from taximeter.adapters.http.routing import Route
from taximeter.errors import NotFound
from taximeter.services.canary import TOLD, Canary


class CanaryRoutes:
    def __init__(self, around: Surroundings) -> None:
        self._around = around

    def routes(self) -> list[Route]:
        return [
            Route(
                "GET", "/v1/canary", self.show,
                scope="read", tags=("operating",),
                summary="How known usage came out of the whole chain",
                response=dict[str, Any], errors=("not_found",),
            ),
            Route(
                "POST", "/v1/canary/run", self.run,
                scope="admin", tags=("operating",), summary="Send the canary through the chain now",
                response=dict[str, Any], errors=("not_found",),
            ),
        ]  # fmt: skip

    def _canary(self, request: Request) -> Canary:
        canary = self._around.core.canary
        if canary is None or request.principal.namespace != TOLD:
            raise NotFound("not_found", "The canary is the installation's own.")
        return canary

    def show(self, request: Request) -> Response:
        return json_response(self._canary(request).to_json())

    async def run(self, request: Request) -> Response:
        canary = self._canary(request)
        await canary.run()
        return json_response(canary.to_json())
