"""
Budgets: a limit somebody sets for a customer, or for one scope below it, in units or in credit.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from taximeter.catalog.features import Limit


class Budget(msgspec.Struct, frozen=True):
    """
    Attributes:
        scope: Level -> value; all of them must match. Empty for the customer as a whole.
        feature: Counts units of this feature; or
        credit: counts what is spent of this credit, by whatever feature. Exactly one is given.
        since: Usage counts from here.
    """

    id: str
    limit: Limit
    scope: dict[str, str] = {}
    feature: str | None = None
    credit: str | None = None
    since: int = 0

    def concerns(self, feature: str, credit: str | None, scope: Mapping[str, str]) -> bool:
        """Whether usage of a feature in a scope counts against it."""
        same = self.feature == feature if self.feature is not None else self.credit == credit
        return same and all(scope.get(level) == value for level, value in self.scope.items())
