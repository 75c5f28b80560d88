"""
Errors as answers: RFC 9457 `application/problem+json`.

The one place where families and codes of `taximeter.errors` meet HTTP statuses. A code always has
the same status, wherever it is raised: clients may switch on either. The family decides only for
codes that are not in the table yet.
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

_CODES_OF_STATUS: Final[dict[int, str]] = {
    400: """
        invalid_json duplicate_key too_deep empty_body invalid_event bad_request corrupt_encoding
        invalid_signature
    """,
    401: "unauthenticated",
    402: "insufficient_credit",
    403: """
        insufficient_scope limit_reached budget_reached not_entitled no_subscription paused
        four_eyes
    """,
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    409: """
        event_conflict already_retracted correction_changed correction_not_open backfill_closed
        subject_taken subscription_exists subscription_ended
        subscription_unchanged invoice_not_draft
        invoice_changed invoice_in_review invoice_not_in_review invoice_not_issued invoice_final
        nothing_to_adjust late_usage_settled credit_note_exists credit_note_settled
        already_disputed not_disputed
        not_repairable
        period_open catalog_changed rollout_over idempotency_in_flight
        not_sandbox already_resolved reservation_expired grant_ended webhook_disabled
        mail_not_configured payment_conflict payment_reversed payment_refunded
        settings_changed coupon_refused discount_exists
    """,
    413: "body_too_large batch_too_large event_too_large",
    415: "unsupported_media_type unsupported_encoding",
    422: """
        reserved_source invalid_request invalid_parameter invalid_timestamp timestamp_too_old
        timestamp_in_future invalid_quantity catalog_invalid invalid_filter invalid_amount
        unknown_currency unknown_timezone unknown_plan change_in_past currency_mismatch
        too_many_windows amount_not_countable
        feature_not_metered idempotency_key_reused invalid_file alert_invalid webhook_url_refused
        exceeds_reservation einvoice_incomplete exceeds_invoice exceeds_payment
    """,
    429: "overloaded rate_limited",
    431: "headers_too_large",
    500: "internal log_damaged books_damaged incompatible_data",
    503: """
        storage_failed storage_full position_not_reached rebuilding shutting_down log_locked
        unreachable document_unavailable
    """,
}
STATUS_OF_CODE: Final[dict[str, int]] = {
    code: status for status, codes in _CODES_OF_STATUS.items() for code in codes.split()
}


def status_of_code(code: str) -> int:
    """The HTTP status documented for a code."""
    return STATUS_OF_CODE.get(code, STATUS_OF_FAMILY[Rejected])


def status_of(error: TaximeterError) -> int:
    """The HTTP status of an error: of its code, else of its nearest family."""
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
