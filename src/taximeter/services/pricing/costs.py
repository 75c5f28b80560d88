"""
Cost rates, put as a whole, and what the usage of some periods costs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from fractions import Fraction

import msgspec

from taximeter.errors import Rejected
from taximeter.meters.definition import check_dimension
from taximeter.meters.reading import suggestion
from taximeter.periods import Period
from taximeter.ports import LineScope
from taximeter.pricing.costs import CostDocument, CostRates, cost_of, dump_costs, read_costs
from taximeter.services.billing.due.dues import Due
from taximeter.services.core import Core, audit
from taximeter.services.tenant import Tenant

SETTING = "cost_rates"

Costs = Mapping[tuple[int, str], Fraction]
"""(place among the due periods, currency) -> exact cost."""


async def put_costs(
    core: Core, tenant: Tenant, document: CostDocument, actor: str, reason: str = ""
) -> CostRates:
    """
    Replace the list. Dated entries are its history: nothing has to be taken out when prices of
    models change.

    Raises:
        Rejected: `invalid_request`, `unknown_currency`, `invalid_timestamp`; `invalid_parameter`
            for a dimension that a meter does not have.
    """
    costs = read_costs(document)
    for meter in costs.meters:
        known = tenant.catalog.meters.get(meter)
        if known is None:
            hint = suggestion(meter, tenant.catalog.meters)
            raise Rejected("invalid_request", f"There is no meter {meter!r}{hint}.")
        for name in costs.dimensions(meter):
            check_dimension(known, name)
    now = core.clock.now()
    text = msgspec.json.encode(dump_costs(costs)).decode()
    async with core.lock(tenant):
        await core.books.run(core.books.books.put_setting, tenant.name, SETTING, text)
        entry = audit(
            tenant, now, actor, "cost_rates.put", SETTING, rates=len(costs.table), reason=reason
        )
        await core.books.run(core.books.books.add_audit, entry)
    return costs


async def find_costs(core: Core, tenant: Tenant) -> CostRates:
    """Those in force; none if nobody ever put any."""
    text = await core.books.run(core.books.books.setting, tenant.name, SETTING)
    return CostRates() if text is None else read_costs(msgspec.json.decode(text, type=CostDocument))


async def costs_of(
    core: Core, tenant: Tenant, rates: CostRates, dues: Sequence[Due], upto: int
) -> Costs:
    """What the usage in each due period costs, by the meters as they are now."""
    found: defaultdict[tuple[int, str], Fraction] = defaultdict(Fraction)
    asked: list[tuple[int, str, tuple[str, ...], Period]] = []
    scopes: list[LineScope] = []
    for meter in (name for name in rates.meters if name in tenant.catalog.meters):
        names = rates.dimensions(meter)
        for place, due in enumerate(dues):
            for part in rates.parts(meter, due.period):
                asked.append((place, meter, names, part))
                scopes.append(
                    LineScope(
                        tenant.name,
                        tenant.catalog.meters[meter],
                        due.customer.all_subjects,
                        part,
                        upto,
                        group_by=names,
                    )
                )
    counted = await core.store.recount(scopes, proofs=False) if scopes else []
    for (place, meter, names, part), groups in zip(asked, counted, strict=True):
        for one in groups:
            rate = rates.find(meter, dict(zip(names, one.group, strict=True)), part.start)
            if rate is not None:
                found[place, rate.currency] += cost_of(rate, one.value_pico)
    return found
