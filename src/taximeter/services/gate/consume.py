"""
Check and record the usage, in one atomic step.
"""

from __future__ import annotations

from typing import Any

from taximeter.entitlements.decide import Decision
from taximeter.quantities import format_quantity
from taximeter.services.core import Core
from taximeter.services.gate.check import Ask, Weighed, metered, usage_event, weigh
from taximeter.services.gate.commands import Answered, Commands, Earlier
from taximeter.services.tenant import Tenant

SOURCE = "consume"


def consume(
    core: Core, commands: Commands, tenant: Tenant, ask: Ask, event_id: str, now: int
) -> Answered | Earlier:
    """
    Decide, and if allowed record an event of the feature's meter.

    The same id again gives the first answer. A refusal records nothing, so asking again with the
    same id after the limit was raised can succeed.

    Raises:
        Rejected: `feature_not_metered`, `amount_not_countable`, or a refused value in `data`.
        Refused: `event_conflict` if the id was used for something else.
        Unavailable: `rebuilding` as for `check`; or the log cannot take it now.
    """
    account = tenant.account(ask.customer)
    if account is None or ask.feature not in tenant.catalog.features:
        decision = weigh(tenant, ask, now)
        assert isinstance(decision, Decision), "there is nothing to weigh"
        return Answered(_refused(core, decision), commands.so_far())
    metered(tenant, ask.feature)
    event = usage_event(
        tenant, account.customer, ask.feature, SOURCE, event_id, ask.amount_pico, ask
    )
    identity, earlier = commands.earlier(tenant, event)
    if earlier is not None:
        return earlier
    weighed = weigh(tenant, ask, now, event)
    decision = weighed.decision if isinstance(weighed, Weighed) else weighed
    if not decision.allowed or not isinstance(weighed, Weighed):
        return Answered(_refused(core, decision), commands.so_far())

    def answer(seq: int) -> dict[str, Any]:
        told = decision.to_json(core.as_of())
        told["seq"] = seq
        return told | balances(tenant, weighed, ask, now)

    return commands.record(tenant, event, identity, now, (), answer, is_usage=True)


def balances(tenant: Tenant, weighed: Weighed, ask: Ask, now: int) -> dict[str, Any]:
    """
    What is left after an operation: of the wallet if credit pays, else of the limit.
    """
    funds = weighed.funds
    if funds is not None:
        wallet = tenant.live.gate.purse(weighed.account.customer).wallet(funds.credit)
        return {
            "balance_after": format_quantity(wallet.balance_pico),
            "available_after": format_quantity(wallet.available_pico(None)),
        }
    after = weigh(tenant, Ask(ask.customer, ask.feature, 0, ask.scope), now)
    left = after.decision.remaining_pico if isinstance(after, Weighed) else None
    told = None if left is None else format_quantity(left)
    return {"balance_after": told, "available_after": told}


def _refused(core: Core, decision: Decision) -> dict[str, Any]:
    return {**decision.to_json(core.as_of()), "seq": None, "balance_after": None}
