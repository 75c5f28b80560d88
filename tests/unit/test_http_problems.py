"""Errors as answers."""

from __future__ import annotations

import json
import logging

import pytest

from taximeter.adapters.http.problems import STATUS_OF_CODE, problem, status_of_code
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


def test_every_code_has_exactly_one_status() -> None:
    assert set(STATUS_OF_CODE) == set(CODES)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Rejected("invalid_json", "x"), 400),
        (Rejected("invalid_request", "x"), 422),
        (NotFound("not_found", "x"), 404),
        (TooLarge("body_too_large", "x"), 413),
        (Refused("invoice_not_draft", "x"), 409),
        (Refused("limit_reached", "x"), 403),
        (Denied("insufficient_scope", "x"), 403),
        (Unauthenticated("unauthenticated", "x"), 401),
        (Unavailable("overloaded", "x"), 429),
        (Unavailable("storage_failed", "x"), 503),
        (Rejected("unsupported_media_type", "x"), 415),
    ],
)
def test_statuses_are_those_of_the_interface(error: TaximeterError, status: int) -> None:
    answer = problem(error, "id-1")
    assert answer.status == status == status_of_code(error.code)
    assert answer.content_type == "application/problem+json"


def test_a_problem_has_the_members_of_rfc_9457_and_its_facts() -> None:
    answer = problem(TooLarge("body_too_large", "Too big.", limit=5, status=1), "id-1")
    assert json.loads(answer.body) == {
        "type": "/docs/errors#body_too_large",
        "title": CODES["body_too_large"],
        "status": 413,
        "code": "body_too_large",
        "detail": "Too big.",
        "request_id": "id-1",
        "limit": 5,
    }


def test_what_may_be_retried_says_when() -> None:
    answer = problem(Unavailable("storage_full", "x", retry_after_s=7), "id-1")
    assert answer.headers == (("Retry-After", "7"),)


def test_a_defect_is_logged_under_its_request_and_not_shown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR, "taximeter.http"):
        answer = problem(KeyError("secret"), "id-9")
    assert (answer.status, json.loads(answer.body)["code"]) == (500, "internal")
    assert b"secret" not in answer.body
    assert "id-9" in caplog.text
    assert "secret" in caplog.text


def test_damage_is_logged_even_though_it_is_deliberate(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "taximeter.http"):
        assert problem(Damaged("log_damaged", "at 7"), "id-9").status == 500
    assert "at 7" in caplog.text
