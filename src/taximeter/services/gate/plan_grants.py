"""
Credit that comes with a plan: a recurring grant for as long as the subscription gives it.

The grant recurs with the billing periods, so time alone renews it at the very boundary. When what a
customer is subscribed to changes, the grants follow: those of before are voided, new ones issued.
What was drawn in the period stays drawn: new ones are so much smaller, or a change of plan and back
would fill the wallet again. What is granted once is granted once in a subscription.
"""

from __future__ import annotations

from typing import Final

from taximeter.catalog.plans import GrantRecurrence
from taximeter.credits.grant import Grant, Rollover
from taximeter.gate.effects import Effect, Issue, Void
from taximeter.gate.state import PLAN_GRANT, PLAN_SHARE
from taximeter.live.account import Account
from taximeter.periods import Cadence
from taximeter.services.gate.commands import Commands
from taximeter.services.tenant import Tenant
from taximeter.subscriptions.standing import GrantedCredit, Status

EVERY: Final = {
    Cadence.DAY: "P1D",
    Cadence.WEEK: "P1W",
    Cadence.MONTH: "P1M",
    Cadence.QUARTER: "P3M",
    Cadence.YEAR: "P1Y",
}


def sync_plan_grants(commands: Commands, tenant: Tenant, account: Account, now: int) -> None:
    """Issue what is missing and void what is no longer given. Costs nothing if nothing changed."""
    if not tenant.gives_credit:
        return
    standing = tenant.standing(account, now)
    if tenant.granted.get(account.customer) is standing:
        return
    if standing.status == Status.PAUSED:
        return  # what was granted stays, and recurs
    customer = account.customer
    wanted = {_source(tenant, credit, now): credit for credit in standing.credits}
    purse = tenant.live.gate.purses.get(customer)
    running = {} if purse is None else purse.plan_grants
    effects: list[Effect] = []
    for source, grant_id in running.items():
        if source not in wanted:
            given = tenant.live.gate.grants[grant_id].grant
            reason = "no longer part of what the customer is subscribed to"
            effects.append(Void(customer, credit=given.credit, grant=grant_id, reason=reason))
    for source, credit in wanted.items():
        if source not in running:
            effects.append(Issue(customer, grant=_grant(tenant, account, source, credit, now)))
    if effects and not commands.record_own(tenant, "plan-grants", customer, effects, now):
        return
    tenant.granted[customer] = standing


def _source(tenant: Tenant, credit: GrantedCredit, now: int) -> str:
    """What of a plan gives it, in which measure: another amount is another source."""
    grant = credit.grant
    terms = f"{grant.credit}:{grant.amount_pico * credit.quantity}:{grant.recurrence.value}"
    is_once = grant.recurrence is GrantRecurrence.ONCE
    trial = "trial" if not is_once and _in_trial(tenant, credit, now) else ""
    return f"{credit.subscription}/{credit.source}/{grant.key}/{terms}/{trial}"


def _share(credit: GrantedCredit) -> str:
    """Grants of one share take each other's place."""
    grant = credit.grant
    if grant.recurrence is GrantRecurrence.ONCE:
        return f"{credit.subscription}/{credit.source}/{grant.key}"
    return f"{credit.subscription}//{grant.credit}/{','.join(grant.features)}"


def _in_trial(tenant: Tenant, credit: GrantedCredit, now: int) -> bool:
    return tenant.subscriptions[credit.subscription].segment_at(now).trial


def _grant(tenant: Tenant, account: Account, source: str, credit: GrantedCredit, now: int) -> Grant:
    terms = credit.grant
    lane = next(one for one in account.lanes if one.subscription == credit.subscription)
    recurs = terms.recurrence is GrantRecurrence.PERIOD and not _in_trial(tenant, credit, now)
    subscription = tenant.subscriptions[credit.subscription]
    cadence = subscription.segment_at(now).cadence
    start = subscription.start if terms.recurrence is GrantRecurrence.ONCE else credit.period.start
    rollover = terms.rollover
    return Grant(
        id=f"{credit.subscription}:{credit.source}:{terms.key}:{now}",
        credit=terms.credit,
        amount_pico=terms.amount_pico * credit.quantity,
        effective_at=lane.schedule.anchor_at(now) if recurs else start,
        priority=terms.priority,
        features=terms.features,
        recurrence=EVERY[cadence] if recurs else None,
        rollover=None if rollover is None or not recurs else Rollover(rollover.max_pico),
        timezone=subscription.timezone,
        kind="promotional",
        cause=f"plan {credit.source}",
        metadata={PLAN_GRANT: source, PLAN_SHARE: _share(credit)},
    )
