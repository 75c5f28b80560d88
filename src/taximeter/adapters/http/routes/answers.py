"""
What the gate's services hand back, as answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from taximeter.adapters.http.messages import Response, json_response
from taximeter.adapters.http.problems import PROBLEM_JSON, TYPE_BASE, status_of_code
from taximeter.adapters.http.routes.surroundings import Surroundings
from taximeter.entitlements.decide import Decision, Reason
from taximeter.entitlements.rate import retry_after_s
from taximeter.entitlements.readings import Kind
from taximeter.errors import CODES, Refused
from taximeter.events.entry import KIND_EVENTS
from taximeter.events.replay import consumed_answer
from taximeter.instants import parse_instant
from taximeter.services.gate.check import Ask, rate_fields
from taximeter.services.gate.commands import Answered, Earlier
from taximeter.services.tenant import Tenant

Headers = tuple[tuple[str, str], ...]

_NOT_FOUND = (Reason.UNKNOWN_CUSTOMER, Reason.UNKNOWN_FEATURE)


async def told(
    around: Surroundings, result: Answered | Earlier, status: int = 200, headers: Headers = ()
) -> Response:
    """
    The answer of a command once it is on disk; one given before comes from the log.
    """
    if isinstance(result, Earlier):
        return Response(status, first_answer(around, result.seq))
    if result.durable is not None:
        await result.durable
    return _response(result, status, headers)


def soon(
    around: Surroundings,
    result: Answered | Earlier,
    status: int = 200,
    then: Callable[[], None] | None = None,
    headers: Headers = (),
) -> Awaitable[Response]:
    """
    As `told`, without a task for each request.

    Args:
        then: Called when the answer goes out.
    """
    durable = None if isinstance(result, Earlier) else result.durable
    if isinstance(result, Earlier) or not isinstance(durable, asyncio.Future):
        return _told_then(around, result, status, then, headers)
    answered: asyncio.Future[Response] = durable.get_loop().create_future()

    def on_disk(done: asyncio.Future[None]) -> None:
        error = done.exception()
        if answered.done():
            return
        if error is not None:
            answered.set_exception(error)
            return
        answered.set_result(_response(result, status, headers))
        if then is not None:
            then()

    durable.add_done_callback(on_disk)
    return answered


async def _told_then(
    around: Surroundings,
    result: Answered | Earlier,
    status: int,
    then: Callable[[], None] | None,
    headers: Headers,
) -> Response:
    response = await told(around, result, status, headers)
    if then is not None:
        then()
    return response


def _response(result: Answered, status: int, headers: Headers) -> Response:
    if result.encoded is None:
        return json_response(result.answer, status, headers=headers)
    return Response(status, result.encoded, headers=headers)


def first_answer(around: Surroundings, seq: int) -> bytes:
    """
    What was answered when the entry at a seq was written, byte for byte.

    Raises:
        Refused: `event_conflict`: it came as a usage event, so there never was an answer.
    """
    for logged in around.log.read(seq - 1, seq):
        if logged.first_seq == seq and logged.entry.kind != KIND_EVENTS:
            return consumed_answer(logged.entry)
    raise Refused("event_conflict", f"The id was used for the event at 0:{seq}.")


def refusal(
    around: Surroundings,
    decision: Decision,
    request_id: str,
    now: int,
    headers: Headers = (),
) -> Awaitable[Response]:
    """
    A refused reservation: a problem with everything the decision says, once all that it was
    decided from is on disk.
    """
    code = "not_found" if decision.reason in _NOT_FOUND else decision.reason.value
    status = status_of_code(code)
    body: dict[str, Any] = {
        "type": TYPE_BASE + code,
        "title": CODES[code],
        "status": status,
        "code": code,
        "request_id": request_id,
        **decision.to_json(around.core.as_of()),
    }
    headers = (*headers, *retry_headers(decision, now))
    response = Response(status, msgspec.json.encode(body), PROBLEM_JSON, headers)
    return _after(around.commands.so_far(), response)


async def _after(durable: Awaitable[None] | None, response: Response) -> Response:
    if durable is not None:
        await durable
    return response


def pace_headers(tenant: Tenant, ask: Ask, now: int) -> Headers:
    """What a client is told about the rates of a feature it was decided about."""
    fields = rate_fields(tenant, ask, now)
    return (
        ("RateLimit-Policy", ", ".join(one.policy for one in fields)),
        ("RateLimit", ", ".join(one.limit for one in fields)),
    )


def retry_headers(decision: Decision, now: int) -> Headers:
    """`Retry-After` for what is refused only because it comes too fast."""
    if decision.reason is not Reason.RATE_LIMITED or decision.resets_at is None:
        return ()
    return (("Retry-After", str(retry_after_s(now, decision.resets_at))),)


def has_rate(decision: Decision) -> bool:
    """Whether a rate was among what was weighed."""
    return any(reading.kind is Kind.RATE for reading in decision.limits)


def answer_headers(tenant: Tenant, ask: Ask, answer: Mapping[str, Any], now: int) -> Headers:
    """`pace_headers` and `Retry-After` of a decision that has become an answer already."""
    if not any(one["kind"] == Kind.RATE for one in answer.get("limits", ())):
        return ()
    headers = pace_headers(tenant, ask, now)
    if answer["reason"] != Reason.RATE_LIMITED or answer["resets_at"] is None:
        return headers
    seconds = retry_after_s(now, parse_instant(answer["resets_at"]))
    return (*headers, ("Retry-After", str(seconds)))
