"""
Recounts: what each invoice line was billed for, counted again from the events.

Scopes that differ only in customer and period share one statement: their places become a table
that the events are joined with. So do meters that count at the same places by the same groups:
each is one more column (`family`). Ten thousand customers with three prices are a pass or two, not
thirty thousand. Digests are passes of their own (`proofs`), for those who need them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

import duckdb

from taximeter.adapters.store.family import (
    Family,
    Measure,
    counted_events,
    families_of,
    place_table,
    points,
)
from taximeter.adapters.store.proofs import NO_EVENTS, digests
from taximeter.adapters.store.sql import Place, Relation, Total, totals_together
from taximeter.adapters.store.weighed import weighed
from taximeter.meters.definition import weighs_time
from taximeter.ports import LineScope, Recount

Totals: TypeAlias = dict[Place, Total]
"""(place, *group) -> what one measure counted there; only where it counted something."""


def recount(
    db: duckdb.DuckDBPyConnection,
    relation: Relation,
    scopes: Sequence[LineScope],
    *,
    proofs: bool = True,
) -> list[list[Recount]]:
    """
    One list per scope, ordered by group (None last).

    Args:
        proofs: Whether each has its digest, which takes several times as long.

    Raises:
        Rejected: `invalid_parameter` for an unknown dimension, `invalid_filter`.
    """
    found: list[list[Recount]] = [[] for _ in scopes]
    cursor = db.cursor()  # its own, for it may be given up before its last row is read
    try:
        for family in families_of(scopes):
            for measure, (place, *group), counted in _counted(cursor, relation, family, proofs):
                for index in measure.scopes[place]:
                    found[index].append(Recount(tuple(group), *counted))
    finally:
        cursor.close()
    for rows in found:
        rows.sort(key=lambda row: [(text is None, text or "") for text in row.group])
    nothing = Recount((), 0, 0, NO_EVENTS if proofs else None)
    return [
        rows or ([] if scope.group_by else [nothing])
        for scope, rows in zip(scopes, found, strict=True)
    ]


def _counted(
    db: duckdb.DuckDBPyConnection, relation: Relation, family: Family, proofs: bool
) -> Iterator[tuple[Measure, Place, tuple[int, int, str | None]]]:
    """Value in pico, events and digest of each measure wherever it has any."""
    if not any(subjects for subjects, *_ in family.spots):
        return
    totals = _totals(db, relation, family)
    digest_of = _digest_of(db, relation, family, totals) if proofs else {}
    for number, (measure, found) in enumerate(zip(family.measures, totals, strict=True)):
        for at, total in found.items():
            digest = digest_of.get(at)
            if digest is None:
                yield measure, at, (*total, NO_EVENTS if proofs else None)
            else:
                yield measure, at, (*total, digest[number])


def _totals(db: duckdb.DuckDBPyConnection, relation: Relation, family: Family) -> list[Totals]:
    places = range(len(family.spots))
    db.register("places", place_table(family, places))
    if weighs_time(family.measures[0].meter):
        return [_weighed(db, relation, family)]
    text, parameters = counted_events(relation, family, places)
    meters = {name: one.meter for name, one in zip(family.values, family.measures, strict=True)}
    return totals_together(db, meters, ", ".join(family.columns), text, parameters)


def _weighed(db: duckdb.DuckDBPyConnection, relation: Relation, family: Family) -> Totals:
    """Places that have events or usage; a level may be left from before its period."""
    text, parameters = points(relation, family, range(len(family.spots)))
    found = weighed(
        db,
        family.measures[0].meter,
        family.columns,
        text,
        parameters,
        lambda at: (family.spots[at[0]][1],),
    )
    return {at: total for at, (total,) in found if any(total)}


def _digest_of(
    db: duckdb.DuckDBPyConnection, relation: Relation, family: Family, totals: Sequence[Totals]
) -> Mapping[Place, list[str]]:
    """The digests of all measures at each place and group."""
    events: Counter[int] = Counter()
    for at, total in ((at, total) for found in totals for at, total in found.items()):
        if total.events:
            events[at[0]] += total.events
    return dict(digests(db, relation, family, events))
