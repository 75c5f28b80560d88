"""
A refusal as an answer over HTTP: the status that tells a client what to do, a problem document
(RFC 9457), and the RateLimit fields.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final, NamedTuple

from taximeter_sdk.decision import UNAVAILABLE, Decision

PROBLEM_JSON: Final = "application/problem+json"

# 402: paying helps. 403: this plan never will. 429: waiting helps. 503: our side.
_STATUS: Final = {
    "insufficient_credit": 402,
    "no_subscription": 402,
    "paused": 402,
    "budget_reached": 402,
    "limit_reached": 402,
    "rate_limited": 429,
    "not_entitled": 403,
    "unknown_customer": 403,
    "unknown_feature": 403,
    UNAVAILABLE: 503,
}
_TITLES: Final = {
    402: "More is needed to go on.",
    403: "Not part of the plan.",
    429: "Too much for now.",
    503: "The limit cannot be checked now.",
}
# Reached for now: with a reset ahead, waiting helps.
_RESETS: Final = frozenset({"limit_reached", "budget_reached"})


class Refusal(NamedTuple):
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    problem: dict[str, Any]


def refusal_of(decision: Decision) -> Refusal:
    """What to answer to a request that is refused."""
    status = _STATUS.get(decision.reason, 403)
    if decision.reason in _RESETS and decision.retry_after is not None:
        status = 429
    problem: dict[str, Any] = {
        "type": "about:blank",
        "title": _TITLES[status],
        "status": status,
        "code": decision.reason,
        "detail": decision.sentence(),
        "feature": decision.feature,
        "level": decision.level,
        "left": None if decision.left is None else format(decision.left, "f"),
        "resets_at": decision.answer.get("resets_at"),
    }
    if decision.hint:
        problem["hint"] = decision.hint
    headers = [("Content-Type", PROBLEM_JSON), ("Cache-Control", "no-store")]
    if status in (429, 503) and decision.retry_after is not None:
        headers.append(("Retry-After", str(max(1, math.ceil(decision.retry_after)))))
    headers += rate_limit_fields(decision)
    return Refusal(status, tuple(headers), json.dumps(problem).encode(), problem)


def rate_limit_fields(decision: Decision) -> list[tuple[str, str]]:
    """
    `RateLimit` and `RateLimit-Policy` (IETF draft) of a decision with a limit, in whole units: what
    is left is rounded down.
    """
    if decision.left is None or decision.limit is None:
        return []
    name = f'"{decision.feature}"'
    reset = ""
    wait_s = decision.retry_after
    if wait_s is not None:
        reset = f";t={math.ceil(wait_s)}"
    return [
        ("RateLimit-Policy", f"{name};q={math.floor(decision.limit)}"),
        ("RateLimit", f"{name};r={math.floor(decision.left)}{reset}"),
    ]
