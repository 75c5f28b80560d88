"""
May they? `check` answers from memory; `consume` answers and records the usage in one step.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable
from decimal import Decimal
from typing import Any

import msgspec

from taximeter.catalog.features import Enforcement, Feature, FeatureType, MeteredEntitlement
from taximeter.entitlements import decide as gate
from taximeter.entitlements.decide import Decision, Reason
from taximeter.entitlements.readings import Reading
from taximeter.errors import Refused, Rejected, TaximeterError, Unavailable
from taximeter.events.decode import decode
from taximeter.events.entry import KIND_CONSUME, Entry
from taximeter.events.envelope import Event, Format, Verdict
from taximeter.events.identity import identities
from taximeter.gate.effects import encode_effects
from taximeter.instants import SECOND
from taximeter.live.account import Account
from taximeter.meters.definition import Aggregation, Meter
from taximeter.periods import Period
from taximeter.quantities import E12, format_quantity
from taximeter.services.core import Core
from taximeter.services.tenant import Tenant

CONSUME_SOURCE = "taximeter/consume"
_encode = msgspec.json.Encoder(decimal_format="number").encode
MAX_REMEMBERED_ANSWERS = 100_000


def check(tenant: Tenant, customer: str, feature_key: str, amount_pico: int, now: int) -> Decision:
    """
    Decide without changing anything.

    Args:
        customer: Its key, or a subject it claims.
        amount_pico: What is asked for; not negative.

    Raises:
        Unavailable: `rebuilding`: a hard limit cannot be held while history is missing.
    """
    account = tenant.account(customer)
    if account is None:
        return gate.unknown_customer(customer)
    feature = tenant.catalog.features.get(feature_key)
    if feature is None:
        return gate.unknown_feature(feature_key)
    return _decide_exactly(tenant, account, feature, amount_pico, now)


def _decide_exactly(
    tenant: Tenant, account: Account, feature: Feature, amount_pico: int, now: int
) -> Decision:
    decision = _decide(tenant, account, feature, amount_pico, now)
    if account.rebuilding and decision.reason is Reason.WITHIN_LIMIT:
        counter = tenant.feature_counters.get(feature.key)
        if counter is not None and not account.is_exact(counter):
            raise Unavailable(
                "rebuilding", f"The usage of {account.customer!r} is being counted again."
            )
    return decision


def _decide(
    tenant: Tenant, account: Account, feature: Feature, amount_pico: int, now: int
) -> Decision:
    standing = tenant.standing(account, now)
    if standing.status == "none":
        return gate.no_subscription(account.customer)
    if standing.status == "paused":
        return gate.paused(account.customer)
    entitlement = standing.entitlements.get(feature.key)
    if entitlement is None:
        return gate.not_entitled(feature.key)
    if not isinstance(entitlement, MeteredEntitlement):
        return gate.enabled(entitlement)
    counter = tenant.feature_counters.get(feature.key)
    if counter is None:
        return gate.not_entitled(feature.key)
    lane = account.lanes[standing.lanes[feature.key]]
    cells = lane.cells_at(now, tenant.live.layout.new_cells)
    assert cells is not None, "a lane that measures has a period"
    used_pico = tenant.live.layout.cell_value(cells, tenant.live.layout.slots[counter])[1]
    main = entitlement.main
    reading = Reading(
        None if main is None else main.limit_pico,
        used_pico,
        resets_at=_period_at(lane, now).end,
        enforcement=Enforcement.HARD if main is None else main.enforcement,
    )
    return gate.decide(feature.key, (reading,), amount_pico)


def _period_at(account: Account, now: int) -> Period:
    if account.period_start <= now < account.period_end:
        return Period(account.period_start, account.period_end)
    return account.schedule.containing(now)


def entitlements(tenant: Tenant, customer: str, now: int) -> dict[str, Decision]:
    """
    Every feature of the catalogue with what the customer may do now, as far as it is known: while
    an account is being rebuilt, numbers are still growing.
    """
    account = tenant.account(customer)
    assert account is not None, "the caller has looked"
    return {
        key: _decide(tenant, account, feature, 0, now)
        for key, feature in tenant.catalog.features.items()
    }


class Consumption(msgspec.Struct):
    """
    Attributes:
        answer: As documented: the decision, `seq` and `balance_after`.
        durable: Resolves when the usage is on disk; None if nothing was recorded.
    """

    answer: dict[str, Any]
    durable: Awaitable[Any] | None


class Answers:
    """The last answers of `consume`, so that a retry finds its own before it is on disk."""

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[str, int], tuple[Event, dict[str, Any]]] = OrderedDict()

    def put(self, namespace: str, seq: int, event: Event, answer: dict[str, Any]) -> None:
        self._answers[namespace, seq] = event, answer
        if len(self._answers) > MAX_REMEMBERED_ANSWERS:
            self._answers.popitem(last=False)

    def get(self, namespace: str, seq: int) -> tuple[Event, dict[str, Any]] | None:
        return self._answers.get((namespace, seq))


class Recorded(msgspec.Struct):
    """The body of a KIND_CONSUME entry."""

    event: Event
    answer: dict[str, Any]


def consume(
    core: Core,
    answers: Answers,
    tenant: Tenant,
    customer: str,
    feature_key: str,
    amount_pico: int,
    event_id: str,
    data: dict[str, Any],
    now: int,
) -> Consumption | int:
    """
    Decide, and if allowed record an event of the feature's meter, in one atomic step.

    The same id again gives the first answer. A refusal records nothing, so asking again with the
    same id after the limit was raised can succeed.

    Returns:
        The seq of the first event if `event_id` was consumed before and its answer has to be read
        from the log.

    Raises:
        Rejected: `feature_not_metered`, `amount_not_countable`, or a refused value in `data`.
        Refused: `event_conflict` if the id was used for something else.
        Unavailable: `rebuilding` as for `check`; or the log cannot take it now.
    """
    core.committer.admit()
    account = tenant.account(customer)
    feature = tenant.catalog.features.get(feature_key)
    if account is None:
        return Consumption(_refused(core, gate.unknown_customer(customer)), None)
    if feature is None:
        return Consumption(_refused(core, gate.unknown_feature(feature_key)), None)
    event = _usage_event(tenant, account.customer, feature, amount_pico, event_id, data)
    sequencer = core.sequencer
    keys, fingerprints = identities(tenant.seed, [event])
    verdict, seq = sequencer.peek(keys, fingerprints)
    if verdict is Verdict.CONFLICT:
        raise Refused("event_conflict", f"The id {event_id!r} was used for something else.")
    if verdict is Verdict.DUPLICATE:
        known = answers.get(tenant.name, seq)
        if known is None:
            return seq
        return Consumption(known[1], _on_disk(core, seq))
    decision = _decide_exactly(tenant, account, feature, amount_pico, now)
    if not decision.allowed:
        return Consumption(_refused(core, decision), None)
    return _record(
        core, answers, tenant, account, feature, decision, event, keys, fingerprints, now
    )


def _record(
    core: Core,
    answers: Answers,
    tenant: Tenant,
    account: Account,
    feature: Feature,
    decision: Decision,
    event: Event,
    keys: Any,
    fingerprints: Any,
    now: int,
) -> Consumption:
    seq, effects = core.sequencer.accept_one(
        tenant, event, (keys, fingerprints), now, is_usage=True
    )
    tenant.rate.add(now // SECOND, 1)
    after = _decide(tenant, account, feature, 0, now)
    answer = decision.to_json(core.as_of())
    answer["seq"] = seq
    left = after.remaining_pico
    answer["balance_after"] = None if left is None else format_quantity(left)
    body = _encode(Recorded(event, answer))
    entry = Entry(
        tenant.name, now, Format.OBJECT, b"\x00", body, KIND_CONSUME, encode_effects(effects)
    )
    answers.put(tenant.name, seq, event, answer)
    durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def done(error: TaximeterError | None) -> None:
        if not durable.done():
            durable.set_result(None) if error is None else durable.set_exception(error)

    core.committer.submit(entry, done)
    return Consumption(answer, durable)


async def _on_disk(core: Core, seq: int) -> None:
    """Raises what keeps it from getting there."""
    if not await core.committer.settled(seq):
        core.committer.ready()


def _refused(core: Core, decision: Decision) -> dict[str, Any]:
    return {**decision.to_json(core.as_of()), "seq": None, "balance_after": None}


def _usage_event(
    tenant: Tenant,
    customer: str,
    feature: Feature,
    amount_pico: int,
    event_id: str,
    data: dict[str, Any],
) -> Event:
    if feature.type is not FeatureType.METERED or feature.meter is None:
        raise Rejected("feature_not_metered", f"Feature {feature.key!r} is not metered.")
    meter = tenant.catalog.meters[feature.meter]
    if meter.aggregation is Aggregation.COUNT:
        if amount_pico != E12:
            raise Rejected(
                "amount_not_countable",
                f"Meter {meter.key!r} counts events: consume one at a time.",
            )
    else:
        data = _with_value(data, meter, amount_pico)
    event = Event(
        id=event_id, type=meter.event_type, subject=customer, source=CONSUME_SOURCE, data=data
    )
    # Through the same door as every other event: bounds, and one form of each number.
    read = decode(_encode(event), Format.OBJECT)
    return read.events[0]


def _with_value(data: dict[str, Any], meter: Meter, amount_pico: int) -> dict[str, Any]:
    """The data with the amount at the meter's value path."""
    path = (meter.value or "").split(".")
    if path[0] != "data" or len(path) < 2:
        raise Rejected(
            "feature_not_metered", f"Meter {meter.key!r} takes its value from outside of the data."
        )
    result = dict(data)
    inner = result
    for name in path[1:-1]:
        below = inner.get(name)
        inner[name] = inner = dict(below) if isinstance(below, dict) else {}
    amount: int | Decimal = amount_pico // E12
    if amount_pico % E12:
        amount = Decimal(format_quantity(amount_pico))
    inner[path[-1]] = amount
    return result
