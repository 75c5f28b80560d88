"""
HTTP: the server and the API in front of the services.

    def show_meter(request: Request) -> Response:
        return json_response({"key": request.params["key"]})

    routes = [Route("GET", "/v1/meters/{key}", show_meter, "read", summary="Show a meter")]
    server = Server(routes, Authenticator(keys, now))
    await server.start("127.0.0.1", 8080)

A handler runs on the event loop's thread and returns a `Response`, a `StreamResponse`, or an
awaitable of one. It raises `taximeter.errors`; they become problem answers. `routes/` holds the
handlers, everything else here is the server below them.
"""

from taximeter.adapters.http.auth import Authenticator, Principal, new_key
from taximeter.adapters.http.idempotency import Idempotency
from taximeter.adapters.http.limits import Limits
from taximeter.adapters.http.messages import Request, Response, StreamResponse, json_response
from taximeter.adapters.http.openapi import openapi
from taximeter.adapters.http.routing import Route
from taximeter.adapters.http.server import Server
from taximeter.adapters.http.sse import Feed, ServerEvent

__all__ = [
    "Authenticator",
    "Feed",
    "Idempotency",
    "Limits",
    "Principal",
    "Request",
    "Response",
    "Route",
    "Server",
    "ServerEvent",
    "StreamResponse",
    "json_response",
    "new_key",
    "openapi",
]
