"""
A rule tried out on stored history, before it is enabled.

The events are read and the rule is run in the store's process: the engine waits for an answer, and
nothing else of it waits.
"""

from __future__ import annotations

from typing import Any

from taximeter.catalog.document import dump_catalog, parse_catalog
from taximeter.catalog.rules import Rule, dump_rule
from taximeter.errors import NotFound, Rejected
from taximeter.gate.effects import Fire
from taximeter.instants import DAY, format_instant
from taximeter.quantities import format_quantity
from taximeter.rules.trial import TrialAccount, TrialSpec, Tried
from taximeter.services.core import Core
from taximeter.services.rules.watchers import by_path, spans_on
from taximeter.services.tenant import Tenant

DEFAULT_SPAN_US = 7 * DAY
MAX_SPAN_US = 400 * DAY
TRIED = "trial"


def wanted_rule(tenant: Tenant, wanted: str | dict[str, Any]) -> Rule:
    """
    A rule of the catalogue by its key, or one that is written out.

    Raises:
        NotFound: No such key.
        DocumentInvalid: With every problem.
    """
    if isinstance(wanted, str):
        rule = tenant.catalog.rules.get(wanted)
        if rule is None:
            raise NotFound("not_found", f"There is no rule {wanted!r} in the catalogue.")
        return rule
    document = dump_catalog(tenant.catalog)
    return parse_catalog(document | {"rules": {TRIED: wanted}}).rules[TRIED]


async def dry_run(
    core: Core, tenant: Tenant, rule: Rule, start: int | None, end: int | None
) -> dict[str, Any]:
    """
    When a rule would have fired on events received in [start, end), by default the last week.

    Raises:
        Rejected: `invalid_parameter` for an empty or very long span.
        Unavailable: The store cannot answer now.
    """
    now = core.clock.now()
    end = now + 1 if end is None else end
    start = max(0, end - DEFAULT_SPAN_US) if start is None else start
    if not 0 < end - start <= MAX_SPAN_US:
        raise Rejected("invalid_parameter", "'from' is before 'to', by at most 400 days.")
    accounts = [
        TrialAccount(key, customer.all_subjects, spans_on(tenant, rule, key))
        for key, customer in tenant.customers.items()
    ]
    spec = TrialSpec(
        namespace=tenant.name,
        rule=rule,
        by_path=by_path(tenant, rule),
        accounts=tuple(one for one in accounts if one.spans != ()),
        start=start,
        end=end,
        upto=await core.upto(),
    )
    trial = await core.store.trial(spec)
    return {
        "rule": dump_rule(rule),
        "from": format_instant(start),
        "to": format_instant(end if trial.stopped_at is None else trial.stopped_at),
        "complete": trial.stopped_at is None,
        "events": trial.events,
        "fires": trial.fires,
        "customers": trial.customers,
        "would": list(rule.actions.names),
        "items": [_tried_json(one) for one in trial.tried],
        "position": f"0:{spec.upto}",
    }


def _tried_json(tried: Tried) -> dict[str, Any]:
    return {
        "customer": tried.customer,
        "fires": tried.fires,
        "first_at": format_instant(tried.first_at),
        "last_at": format_instant(tried.last_at),
        "samples": [_sample_json(fire) for fire in tried.samples],
    }


def _sample_json(fire: Fire) -> dict[str, Any]:
    return {
        "event": fire.event,
        "position": f"0:{fire.seq}",
        "time": format_instant(fire.at),
        "value": fire.value or None,
        "observed": None if fire.observed_pico is None else format_quantity(fire.observed_pico),
    }
