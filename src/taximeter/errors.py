"""
Every error Taximeter raises on purpose.

    TaximeterError
      + Rejected       the request is wrong; sending it again changes nothing
      |   - NotFound       it names something that is not there (or not in this namespace)
      |   - TooLarge       it is bigger than a documented limit
      + Refused        the request is fine, today's state says no
      + Denied         who asks may not ask this
      |   - Unauthenticated  nobody we know asks
      + Unavailable    ask again later, with the same idempotency key
      + Damaged        stored data is not what was written; a person must look

Families say what to do, codes say what happened. A code is stable and documented in
`docs/reference/errors.md`; the message is free to improve. HTTP statuses belong to
`adapters/http`: the same errors also reach a terminal and a worker.
"""

from __future__ import annotations

from typing import Final


class TaximeterError(Exception):
    """
    Base of all deliberate errors.

    Args:
        code: One of `CODES`.
        message: One sentence for a person, saying what is wrong and, where it helps, what to do.
        details: Machine-readable facts (names, limits, positions); never secrets.
    """

    def __init__(self, code: str, message: str, **details: str | int | bool | None) -> None:
        assert code in CODES, f"undocumented error code {code!r}"
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details


class Rejected(TaximeterError):
    """The request is wrong; sending it again changes nothing."""


class NotFound(Rejected):
    """It names something that does not exist for the one who asks."""


class TooLarge(Rejected):
    """It is bigger than a documented limit."""


class Refused(TaximeterError):
    """The request is fine, today's state says no."""


class Denied(TaximeterError):
    """The caller is known and lacks the scope."""


class Unauthenticated(Denied):
    """The caller is not known."""


class Unavailable(TaximeterError):
    """
    Temporarily impossible. Repeat with the same identity or idempotency key.

    Args:
        retry_after_s: Whole seconds a client should wait; at least 1.
    """

    def __init__(
        self, code: str, message: str, *, retry_after_s: int = 1, **details: str | int | bool | None
    ) -> None:
        super().__init__(code, message, **details)
        self.retry_after_s = retry_after_s


class Damaged(TaximeterError):
    """Stored bytes are not what was written. Never repaired silently."""


# code -> what it means, in the words of the reference page (tests keep the two equal).
CODES: Final[dict[str, str]] = {
    # the request as a whole
    "invalid_json": "The body, or one line of it, is not valid JSON.",
    "duplicate_key": "A JSON object names the same member twice, so it has no single meaning.",
    "invalid_request": "The body has a member of the wrong type, an unknown member, or lacks one.",
    "invalid_parameter": "A query or path parameter cannot be read.",
    "empty_body": "The request has no event in it.",
    "body_too_large": "The body is larger than the limit, before or after decompression.",
    "batch_too_large": "More events in one request than the limit.",
    "unsupported_media_type": "The Content-Type is not one this endpoint reads.",
    "unsupported_encoding": "The Content-Encoding is not gzip or zstd.",
    "corrupt_encoding": "The compressed body is damaged or cut short.",
    "not_found": "Nothing by that name in this namespace.",
    "method_not_allowed": "The path exists, but not with this method.",
    "request_timeout": "The request did not arrive completely in time.",
    "bad_request": "The bytes received are not a valid HTTP request.",
    "headers_too_large": "The request line or headers are larger than the limit.",
    # who asks
    "unauthenticated": "No API key, or one that is unknown, revoked or expired.",
    "insufficient_scope": "The API key does not have the scope this operation needs.",
    # single events
    "invalid_event": "The event lacks a required attribute or has one of the wrong type or length.",
    "invalid_timestamp": "The time is not an RFC 3339 instant with an offset.",
    "timestamp_too_old": "The event's time is earlier than the acceptance window allows.",
    "timestamp_in_future": "The event's time is later than the acceptance window allows.",
    "invalid_quantity": "A metered value is not a decimal number within 26 + 12 digits.",
    "too_deep": "The JSON is nested more deeply than the limit.",
    "event_too_large": "One event is larger than the limit.",
    "event_conflict": "An event with this source and id but other content was already accepted.",
    "reserved_source": "The source is one that only the node itself writes events of.",
    # corrections of events
    "already_retracted": "The event was taken back; what counts no more cannot be amended.",
    "correction_changed": "What the correction is about has changed since it was previewed.",
    "correction_not_open": "The correction is not in the state that this needs.",
    "four_eyes": "It takes a second person, who is not the one who asked for it.",
    "backfill_closed": "The backfill is not in the state that this needs.",
    # catalogue, customers, subscriptions
    "catalog_invalid": "The catalogue document contradicts itself or names something unknown.",
    "invalid_filter": "A filter expression cannot be read.",
    "invalid_amount": "An amount or price is not an exact decimal within the limits.",
    "unknown_currency": "The currency is not an ISO 4217 code.",
    "unknown_timezone": "The time zone is not an IANA name.",
    "rollout_over": "The rollout was rolled back or completed already.",
    "catalog_changed": "Someone else published a catalogue version meanwhile.",
    "subject_taken": "Another customer already claims this subject.",
    "subscription_exists": "The customer already has an active subscription.",
    "subscription_ended": "The subscription has ended; it cannot be changed any more.",
    "subscription_unchanged": "The subscription is already as the change would make it.",
    "change_in_past": "A subscription is changed now or later; what has been stays.",
    "currency_mismatch": "What would be on one invoice is priced in different currencies.",
    "unknown_plan": "The catalogue has no such plan, add-on, or version of it.",
    "too_many_windows": "The query would return more windows than the limit.",
    # the gate
    "amount_not_countable": "A feature on a count meter is consumed one unit at a time.",
    "feature_not_metered": "Only a metered feature can be consumed.",
    "limit_reached": "The limit leaves no room for the amount asked.",
    "insufficient_credit": "The credit that is available does not cover the amount asked.",
    "budget_reached": "A budget leaves no room for the amount asked.",
    "rate_limited": "The feature is used faster than its rate allows.",
    "not_entitled": "Nothing the customer is subscribed to includes the feature.",
    "no_subscription": "The customer is not subscribed to anything now.",
    "paused": "The subscription is paused, or the feature is blocked.",
    "already_resolved": "The reservation or review was resolved before.",
    "reservation_expired": "The reservation lapsed before this came.",
    "exceeds_reservation": "More was used than is reserved; say allow_overage to book it.",
    "grant_ended": "The grant has ended: it was voided, or it expired.",
    # invoices
    "invoice_not_draft": "Only a draft invoice can be finalised or discarded.",
    "invoice_changed": "The invoice changed meanwhile; read it again.",
    "invoice_in_review": "The invoice is in review; approve it first.",
    "not_repairable": "What closes this gap is not a replay; a person has to do it.",
    "invoice_not_in_review": "Only an invoice in review can be approved.",
    "invoice_not_issued": "Only an issued invoice can be paid or credited.",
    "nothing_to_adjust": "Nothing came late for what this would correct.",
    "late_usage_settled": "Something has become of that late usage already.",
    "credit_note_exists": "That id is of another credit note.",
    "credit_note_settled": "That credit note was issued or rejected before.",
    "already_disputed": "That line is disputed already.",
    "not_disputed": "That line is not disputed.",
    "invoice_final": "The invoice is final; correct it with a later entry instead.",
    "exceeds_invoice": "More than is open on the invoice, or left of it or its line.",
    "exceeds_payment": "More would be used of the payment than is left of it.",
    "payment_conflict": "A payment with this id but other content is known.",
    "payment_reversed": "The payment was reversed; nothing can be done with it any more.",
    "payment_refunded": "Some of the payment was paid back, so it cannot be reversed.",
    "invalid_signature": "The message is not signed by who it names, or not just now.",
    "period_open": "The period has not ended yet.",
    # documents
    "einvoice_incomplete": "What an e-invoice must say is not known; `missing` lists it.",
    "document_unavailable": "The document could not be made just now; the invoice is as it was.",
    # billing settings, discounts
    "settings_changed": "Someone else changed the billing settings meanwhile.",
    "coupon_refused": "The coupon cannot be redeemed: it has expired, or was redeemed before.",
    "discount_exists": "The customer has another discount of this id.",
    # notices
    "alert_invalid": "The alert is not one: a member is missing, unknown or of the wrong form.",
    "webhook_url_refused": "The URL is not one that notices are sent to.",
    "webhook_disabled": "The webhook is disabled; put it again to enable it.",
    "mail_not_configured": "The server has no smtp_url, so it cannot send mail.",
    # idempotency, state, storage
    "idempotency_key_reused": "The same Idempotency-Key came with a different request.",
    "idempotency_in_flight": "A request with this Idempotency-Key is still being worked on.",
    "not_sandbox": "The clock can only be set on a server started with --sandbox.",
    "overloaded": "Too much work is waiting; nothing of this request was stored.",
    "storage_failed": "The disk refused a write; no event is acknowledged until a restart.",
    "storage_full": "The disk is full; nothing of this request was stored.",
    "position_not_reached": "The state has not reached the requested position in time.",
    "rebuilding": "The answer is being rebuilt from the log and is not exact yet.",
    "shutting_down": "The server is stopping.",
    "internal": "A defect in Taximeter; the request id finds it in the log.",
    # data at rest
    "log_damaged": "A record before the end of the log fails its checksum or breaks the chain.",
    "log_locked": "Another process uses this data directory.",
    "books_damaged": "books.db fails SQLite's own checks; restore it from a backup.",
    "incompatible_data": "The data directory was written by a newer, incompatible version.",
    # command line
    "unreachable": "The server does not answer at the given URL.",
    "invalid_file": "A file given on the command line cannot be read as what it should be.",
}
