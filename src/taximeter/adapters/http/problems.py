"""
Errors as answers: RFC 9457 `application/problem+json`.

The one place where families and codes of `taximeter.errors` meet HTTP statuses. A code has the
status of its entry in `STATUS_OF_CODE`, else of its family.
"""

from __future__ import annotations

import logging
from typing import Final

import msgspec

from taximeter.adapters.http.messages import Response
from taximeter.errors import (
    CODES,
    Damaged,
    Denied,
    NotFound,
    Refused,
    Rejected,
    TaximeterError,
    TooLarge,
    Unauthenticated,
    Unavailable,
)

log = logging.getLogger("taximeter.http")

PROBLEM_JSON: Final = "application/problem+json"
TYPE_BASE: Final = "/docs/errors#"  # relative, so that the server itself explains its errors

STATUS_OF_FAMILY: Final[dict[type[TaximeterError], int]] = {
    Rejected: 422,
    NotFound: 404,
    TooLarge: 413,
    Refused: 409,
    Denied: 403,
    Unauthenticated: 401,
    Unavailable: 503,
    Damaged: 500,
    TaximeterError: 500,
}

STATUS_OF_CODE: Final[dict[str, int]] = {
    "bad_request": 400,
    "corrupt_encoding": 400,
    "duplicate_key": 400,
    "empty_body": 400,
    "idempotency_in_flight": 409,
    "idempotency_key_reused": 422,
    "internal": 500,
    "invalid_json": 400,
    "limit_reached": 403,
    "method_not_allowed": 405,
    "request_timeout": 408,
    "headers_too_large": 431,
    "overloaded": 429,
    "too_deep": 400,
    "unsupported_encoding": 415,
    "unsupported_media_type": 415,
}


def status_of(error: TaximeterError) -> int:
    """The HTTP status of an error: of its code if that has one, else of its nearest family."""
    status = STATUS_OF_CODE.get(error.code)
    if status is not None:
        return status
    return next(STATUS_OF_FAMILY[kind] for kind in type(error).__mro__ if kind in STATUS_OF_FAMILY)


def problem(error: BaseException, request_id: str) -> Response:
    """
    The answer for an error. What is not a `TaximeterError` is a defect: it is logged under the
    request id and its text stays here, since it may hold what the caller must not see.
    """
    if not isinstance(error, TaximeterError):
        log.error("request %s failed", request_id, exc_info=error)
        error = TaximeterError("internal", "Something went wrong on our side.")
    elif isinstance(error, Damaged):
        log.error("request %s met damaged data: %s", request_id, error.message)
    status = status_of(error)
    body: dict[str, str | int | bool | None] = {
        "type": TYPE_BASE + error.code,
        "title": CODES[error.code],
        "status": status,
        "code": error.code,
        "detail": error.message,
        "request_id": request_id,
    }
    body = body | {k: v for k, v in error.details.items() if k not in body}
    return Response(status, msgspec.json.encode(body), PROBLEM_JSON, _headers(error))


def _headers(error: TaximeterError) -> tuple[tuple[str, str], ...]:
    if isinstance(error, Unavailable):
        return (("Retry-After", str(max(1, error.retry_after_s))),)
    if isinstance(error, Unauthenticated):
        return (("WWW-Authenticate", 'Bearer realm="taximeter"'),)
    if error.code == "method_not_allowed":
        return (("Allow", str(error.details["allow"])),)
    return ()
