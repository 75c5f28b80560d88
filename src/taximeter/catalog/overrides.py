"""
Overrides: what one customer's contract changes of a plan.

Written like the plan itself and read by the same reader, so that a custom contract can say all that
a plan can, and is checked as strictly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from taximeter.catalog.document import Catalog, dump_plan, reread_plan
from taximeter.catalog.plans import Plan
from taximeter.meters.reading import DocumentInvalid, Fields, Problem

_SECTIONS: Final = ("entitlements", "prices", "grants", "currencies")
_MEMBERS: Final = ("trial", "minimum", "maximum", "commitment", "discounts")


def with_overrides(catalog: Catalog, plan: Plan, overrides: Mapping[str, Any]) -> Plan:
    """
    The plan as one customer has it.

    Args:
        catalog: The version whose meters and features the plan uses.
        overrides: {"entitlements", "prices", "grants", "currencies", "trial", "minimum",
            "maximum", "commitment", "discounts"}. A member of the first four replaces the plan's
            member of the same key as a whole, or adds it; the others replace it; null takes away.
            What is replaced is so in every currency: amounts of the plan in another one go with it.

    Raises:
        DocumentInvalid: With every problem; paths begin with `overrides`.
    """
    problems: list[Problem] = []
    fields = Fields(dict(overrides), "overrides", problems)
    fields.only((*_SECTIONS, *_MEMBERS))
    document = dump_plan(plan)
    for name in _SECTIONS:
        kept = dict(document.get(name, {}))
        for key, member in fields.keyed(name).items():
            if member is not None:
                kept[key] = member
            elif kept.pop(key, None) is None:
                fields.problem(f"{name}.{key}", f"plan {plan.key!r} has nothing to take away here")
        document[name] = kept
    document |= {name: fields.members[name] for name in _MEMBERS if name in fields.members}
    if problems:
        raise DocumentInvalid(problems)
    own = overrides.get("currencies") or {}
    document["currencies"] = {
        code: amounts if code in own else _without(amounts, overrides)
        for code, amounts in document["currencies"].items()
    }
    return reread_plan(catalog, plan.key, document, "overrides")


def _without(amounts: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A plan's amounts in a currency, but those of what is overridden."""
    kept = {name: amount for name, amount in amounts.items() if name not in overrides}
    replaced = overrides.get("prices") or {}
    prices = amounts.get("prices", {})
    kept["prices"] = {key: price for key, price in prices.items() if key not in replaced}
    return kept
