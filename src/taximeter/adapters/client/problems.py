"""
RFC 9457 problems back into the errors they were made from.

The inverse of what the server does: the same `except` clauses work on both sides of the wire.
"""

from __future__ import annotations

from typing import Any

from taximeter.errors import (
    CODES,
    Denied,
    NotFound,
    Refused,
    Rejected,
    TaximeterError,
    TooLarge,
    Unauthenticated,
    Unavailable,
)

_FAMILIES: dict[int, type[TaximeterError]] = {
    401: Unauthenticated,
    402: Refused,
    404: NotFound,
    409: Refused,
    413: TooLarge,
}
# For an answer without a code we know: another server, a proxy, a later version.
_USUAL_CODES = {401: "unauthenticated", 403: "insufficient_scope", 404: "not_found"}
# Not details: the members every problem has, and names the errors' own arguments have.
_STANDARD_MEMBERS = {"type", "title", "status", "code", "detail", "instance", "message", "self"}


def to_error(status: int, problem: dict[str, Any], retry_after_s: int) -> TaximeterError:
    """
    The error an answer of status >= 400 stands for.

    Args:
        problem: The decoded problem, or {} if the body was something else.
        retry_after_s: From the `Retry-After` header; 1 without one.
    """
    sent = problem.get("code")
    code = sent if sent in CODES else _usual_code(status)
    message = str(problem.get("detail") or problem.get("title") or f"HTTP status {status}")
    if sent and sent != code:
        message = f"{message} ({sent})"
    details = {
        name: value
        for name, value in problem.items()
        if name not in _STANDARD_MEMBERS and isinstance(value, str | int | bool | None)
    }
    if status in (429, 503):
        return Unavailable(code, message, retry_after_s=retry_after_s, **_without_retry(details))
    return _family(status, code)(code, message, **details)


def _family(status: int, code: str) -> type[TaximeterError]:
    if status == 403:
        return Denied if code == "insufficient_scope" else Refused
    if status >= 500:
        return TaximeterError
    return _FAMILIES.get(status, Rejected)


def _usual_code(status: int) -> str:
    if status in _USUAL_CODES:
        return _USUAL_CODES[status]
    if status in (429, 503):
        return "overloaded"
    return "internal" if status >= 500 else "invalid_request"


def _without_retry(details: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in details.items() if name != "retry_after_s"}
