"""
Recounts of prices that look at the amount of each event: beside the whole, how many events have
amounts in which band, and their sum.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from taximeter.catalog.prices import Percentage, UsagePrice
from taximeter.ports import LineScope, Recount
from taximeter.rating import Band
from taximeter.rating.percentage import limits
from taximeter.services.core import Core

Banded: TypeAlias = tuple[Recount, tuple[Band, ...]]


class BandedScope(msgspec.Struct, frozen=True):
    """What is counted, and the price that is to rate it."""

    scope: LineScope
    price: UsagePrice

    def scopes(self) -> Iterator[LineScope]:
        """The whole, then its bands, if its price has such. One pass counts them all."""
        yield self.scope
        if isinstance(self.price, Percentage) and self.price.is_clamped:
            for within in pairwise((None, *limits(self.price), None)):
                yield replace(self.scope, within=within)


async def recount(
    core: Core, wanted: Sequence[BandedScope], *, proofs: bool = True
) -> list[list[Banded]]:
    """For each scope its groups, each with its bands; () for a price without."""
    asked = [list(one.scopes()) for one in wanted]
    scopes = [scope for some in asked for scope in some]
    counted = iter(await core.store.recount(scopes, proofs=proofs) if scopes else [])
    return [_with_bands([next(counted) for _ in some]) for some in asked]


def _with_bands(found: Sequence[list[Recount]]) -> list[Banded]:
    whole, *bands = found
    by_group = [{one.group: Band(one.events, one.value_pico) for one in band} for band in bands]
    return [(one, tuple(band.get(one.group, Band(0, 0)) for band in by_group)) for one in whole]
