"""
What is used, what may be used, and who set which bounds to it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
from tests.scenarios.grammar import DATA, KEY, QUANTITY, SCOPE, WHEN, Lines, pairs, says, seconds

if TYPE_CHECKING:
    from tests.scenarios.stage import Stage


_encode = msgspec.json.Encoder(decimal_format="number").encode


# --- usage and decisions ---


@says(rf"{KEY} uses {QUANTITY} (?P<feature>\w+){SCOPE}{DATA}(?:, dated (?P<dated>{WHEN}))?")
def use(
    stage: Stage, key: str, amount: str, feature: str, scope: str | None, data: str | None,
    dated: str | None,
) -> Lines:  # fmt: skip
    """A usage event: a fact."""
    stage.events += 1
    event = {
        "id": f"e{stage.events}", "type": feature, "subject": key,
        "data": {"n": Decimal(amount)} | pairs(scope) | pairs(data),
    }  # fmt: skip
    event |= {"time": stage.instant(dated)} if dated else {}
    answer, problem = stage.ask("POST", "/v1/events", _encode(event))
    if problem is None and answer["accepted"] != 1:
        return [f"rejected, {error['code']}: {error['detail']}" for error in answer["errors"]]
    return problem or []


@says(rf"{KEY} (?P<what>checks|consumes) (?:{QUANTITY} )?(?P<feature>\w+){SCOPE}{DATA}"
      r"(?:, id (?P<id>\S+))?")  # fmt: skip
def decide(
    stage: Stage, key: str, what: str, amount: str | None, feature: str, scope: str | None,
    data: str | None, id: str | None,
) -> Lines:  # fmt: skip
    stage.events += 1
    body: dict[str, Any] = {"customer": key, "feature": feature, "scope": pairs(scope)}
    body |= {"amount": amount} if amount else {}
    body |= {"id": id or f"e{stage.events}"} if what == "consumes" else {}
    body |= {"data": pairs(data)} if data else {}
    answer, problem = stage.ask("POST", f"/v1/{what.removesuffix('s')}", body)
    return problem or stage.words.decision(answer)


@says(rf"show entitlements of {KEY}")
def entitlements(stage: Stage, key: str) -> Lines:
    answer, problem = stage.ask("GET", f"/v1/customers/{key}/entitlements")
    if problem is not None:
        return problem
    items = answer["items"]
    return [
        f"{item.get('feature', name)}: {line}"
        for name, item in enumerate(items)
        for line in stage.words.decision(item)[:1]
    ]


# --- budgets and seats ---


@says(rf"budget (?P<id>[\w-]+) of {KEY}(?: for (?P<scope>\w+=\S+(?: \w+=\S+)*))?: "
      r"(?P<limit>[\d.]+) (?P<what>\w+) per (?P<reset>\w+)")  # fmt: skip
def budget(
    stage: Stage, id: str, key: str, scope: str | None, limit: str, what: str, reset: str
) -> Lines:
    kind = "credit" if what == "usd" else "feature"
    body = {"scope": pairs(scope), kind: what, "limit": limit, "reset": reset}
    _, problem = stage.ask("PUT", f"/v1/customers/{key}/budgets/{id}", body)
    return problem or []


@says(rf"{KEY} seats (?P<holder>\S+) on (?P<feature>\w+)(?: for (?P<ttl>\d+[smhd]))?")
def seat(stage: Stage, key: str, holder: str, feature: str, ttl: str | None) -> Lines:
    body = {"ttl_s": seconds(ttl)} if ttl else {}
    answer, problem = stage.ask("PUT", f"/v1/customers/{key}/seats/{feature}/{holder}", body)
    return problem or [f"{answer['used']} of {answer['limit']} taken"]


@says(rf"{KEY} unseats (?P<holder>\S+) from (?P<feature>\w+)")
def unseat(stage: Stage, key: str, holder: str, feature: str) -> Lines:
    _, problem = stage.ask("DELETE", f"/v1/customers/{key}/seats/{feature}/{holder}")
    return problem or []
