"""
What changes between two catalogues, for a person to read before applying it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal, TypeAlias

import msgspec

from taximeter.catalog.document import Catalog, dump_catalog
from taximeter.instants import format_instant
from taximeter.meters.counter import Counter
from taximeter.meters.reading import below
from taximeter.meters.values import canonical_text
from taximeter.money import format_exact

Kind: TypeAlias = Literal["added", "changed", "removed"]

# Sections that are only written when they have members: each member is a change by itself.
_NO_SECTIONS: Final[dict[str, Any]] = {"scopes": [], "credits": {}, "addons": {}, "rules": {}}

_SIGNS: Final[dict[str, str]] = {"added": "+", "changed": "~", "removed": "-"}


class Change(msgspec.Struct, frozen=True):
    """
    One difference, as deep in the document as it goes.

    Attributes:
        path: Like `plans.pro.prices.tokens.tiers[1].unit`.
        before: Document value; None if added.
        after: Document value; None if removed.
        refolds: It redefines what a meter that exists counts, so that its history is counted anew.
    """

    kind: Kind
    path: str
    before: Any = None
    after: Any = None
    refolds: bool = False

    def __str__(self) -> str:
        """One line: `~ plans.pro.prices.base.amount: "49" -> "59"`."""
        values = [canonical_text(v) for v in (self.before, self.after) if v is not None]
        note = "  (re-folds history)" if self.refolds else ""
        return f"{_SIGNS[self.kind]} {self.path}: {' -> '.join(values)}{note}"


def diff(old: Catalog, new: Catalog) -> list[Change]:
    """
    Changes that turn one catalogue into another, in the order of the document.

    Something added or removed as a whole is one change; lists of another length are, too.
    """
    changes = _compare("", _comparable(old), _comparable(new))
    redefined = tuple(f"meters.{key}." for key in old.meters if _redefined(key, old, new))
    return [
        msgspec.structs.replace(change, refolds=True)
        if change.path.startswith(redefined) and not _harmless(change)
        else change
        for change in changes
    ]


def _comparable(catalog: Catalog) -> dict[str, Any]:
    """The document, with rates by what they convert and since when: a new one is one change."""
    document = _NO_SECTIONS | dump_catalog(catalog)
    rates: dict[str, Any] = {"rates": {}, "units": {}}
    for one in catalog.rates.table:
        section = "units" if one.source in catalog.rates.units else "rates"
        pair = rates[section].setdefault(one.source, {}).setdefault(one.target, {})
        pair[format_instant(one.effective_at) if one.effective_at else "always"] = format_exact(
            one.rate
        )
    return document | rates


def _redefined(key: str, old: Catalog, new: Catalog) -> bool:
    if key not in new.meters:
        return False
    before, after = old.meters[key], new.meters[key]
    kept = tuple(sorted(before.dimensions.keys() & after.dimensions.keys()))
    return Counter(before, None, kept) != Counter(after, None, kept)


def _harmless(change: Change) -> bool:
    """Part of a redefined meter that would not change a number by itself."""
    _, _, member = change.path.rpartition(".")
    return member == "unit" or (change.kind == "added" and ".dimensions" in change.path)


def _compare(path: str, before: Any, after: Any) -> Iterator[Change]:
    if before == after and type(before) is type(after):
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted(before.keys() | after.keys()):
            inner = below(path, name)
            if name not in after:
                yield Change("removed", inner, before=before[name])
            elif name not in before:
                yield Change("added", inner, after=after[name])
            else:
                yield from _compare(inner, before[name], after[name])
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _compare(f"{path}[{index}]", one, other)
    else:
        yield Change("changed", path, before, after)
