"""
What the gate's services hand back, as answers.
"""

from __future__ import annotations

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
from taximeter.services.commands import Answered, Earlier

_NOT_FOUND = (Reason.UNKNOWN_CUSTOMER, Reason.UNKNOWN_FEATURE)


async def told(around: Surroundings, result: Answered | Earlier, status: int = 200) -> Response:
    """
    The answer of a command once it is on disk; one given before comes from the log.
    """
    if isinstance(result, Earlier):
        return Response(status, first_answer(around, result.seq))
    if result.durable is not None:
        await result.durable
    return json_response(result.answer, status)


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


async def refusal(around: Surroundings, decision: Decision, request_id: str, now: int) -> Response:
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
    headers = rate_headers(decision, now)
    if (so_far := around.commands.so_far()) is not None:
        await so_far
    return Response(status, msgspec.json.encode(body), PROBLEM_JSON, headers)


def rate_headers(decision: Decision, now: int) -> tuple[tuple[str, str], ...]:
    """`Retry-After` for what is refused only because it comes too fast."""
    if decision.reason is not Reason.RATE_LIMITED or decision.resets_at is None:
        return ()
    return (("Retry-After", str(retry_after_s(now, decision.resets_at))),)


def has_rate(decision: Decision) -> bool:
    """Whether a rate was among what was weighed."""
    return any(reading.kind is Kind.RATE for reading in decision.limits)
