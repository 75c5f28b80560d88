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
from typing import Any, NamedTuple, TypeAlias

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
from taximeter.adapters.store.remembered import Groups, Remembered, added, can_go_on
from taximeter.adapters.store.sql import Place, Relation, Total, totals_together
from taximeter.adapters.store.standing import newest_retraction
from taximeter.adapters.store.weighed import weighed
from taximeter.meters.definition import weighs_time
from taximeter.ports import LineScope, Recount

Totals: TypeAlias = dict[Place, Total]
"""(place, *group) -> what one measure counted there; only where it counted something."""


def recount(
    db: duckdb.DuckDBPyConnection,
    relation: Relation,
    scopes: Sequence[LineScope],
    remembered: Remembered,
    *,
    proofs: bool = True,
    anew: bool = False,
) -> list[list[Recount]]:
    """
    One list per scope, ordered by group (None last).

    Args:
        remembered: What was counted before, and where this goes to.
        proofs: Whether each has its digest, which takes several times as long. What is proved is
            counted from the beginning.
        anew: Count from the beginning without proofs, too.

    Raises:
        Rejected: `invalid_parameter` for an unknown dimension, `invalid_filter`.
    """
    found: list[list[Recount]] = [[] for _ in scopes]
    cursor = db.cursor()  # its own, for it may be given up before its last row is read
    try:
        for family in families_of(scopes):
            for measure, (place, *group), counted in _counted(
                cursor, relation, family, remembered, proofs, anew
            ):
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
    db: duckdb.DuckDBPyConnection,
    relation: Relation,
    family: Family,
    remembered: Remembered,
    proofs: bool,
    anew: bool,
) -> Iterator[tuple[Measure, Place, tuple[int, int, str | None]]]:
    """Value in pico, events and digest of each measure wherever it has any."""
    totals = _totals(db, relation, family, remembered, anew=proofs or anew)
    digest_of = _digest_of(db, relation, family, totals) if proofs else {}
    for number, (measure, found) in enumerate(zip(family.measures, totals, strict=True)):
        for at, total in found.items():
            digest = digest_of.get(at)
            if digest is None:
                yield measure, at, (*total, NO_EVENTS if proofs else None)
            else:
                yield measure, at, (*total, digest[number])


def _totals(
    db: duckdb.DuckDBPyConnection,
    relation: Relation,
    family: Family,
    remembered: Remembered,
    anew: bool,
) -> list[Totals]:
    """
    Args:
        anew: Count from the beginning whatever is remembered.
    """
    every = range(len(family.spots))
    if not all(can_go_on(measure.meter) for measure in family.measures):
        return _counted_at(db, relation, family, every)
    keys = _keys(family, remembered)
    known = {} if anew else _known(family, keys, remembered, newest_retraction(db))
    after = {place: one.position for place, one in known.items()}
    unknown = [place for place in every if place not in known]
    behind = [place for place, position in after.items() if position < family.spots[place][2]]
    passes = [
        _counted_at(db, relation, family, unknown),
        _counted_at(db, relation, family, behind, after),
    ]
    results: list[Totals] = []
    for number, of_passes in enumerate(zip(*passes, strict=True)):
        at_place: dict[int, Groups] = {}
        for totals in of_passes:
            for (place, *group), total in totals.items():
                at_place.setdefault(place, {})[tuple(group)] = total
        result: Totals = {}
        for place in every:
            groups = at_place.get(place, {})
            if place in known:
                groups = added(known[place].groups[number], groups)
            remembered.put(keys[place][number], family.spots[place][2], groups)
            result |= {(place, *group): total for group, total in groups.items()}
        results.append(result)
    return results


class _Known(NamedTuple):
    """What is remembered of all measures at a place."""

    position: int
    groups: list[Groups]


def _known(
    family: Family, keys: Sequence[Sequence[Any]], remembered: Remembered, least: int
) -> dict[int, _Known]:
    """Places whose totals are all known as of one position, not before `least`."""
    found: dict[int, _Known] = {}
    for place, spot in enumerate(family.spots):
        reached = {remembered.up_to(key, least, spot[2]) for key in keys[place]}
        if len(reached) == 1 and 0 not in reached:
            groups = [remembered.groups(key) for key in keys[place]]
            found[place] = _Known(reached.pop(), groups)
    return found


def _keys(family: Family, remembered: Remembered) -> list[list[Any]]:
    """Of each place, what the totals of each measure are remembered by: all but the position."""
    numbers = [remembered.number(one.key) for one in family.measures]
    return [
        [(number, subjects, period, parts) for number in numbers]
        for subjects, period, _, parts in family.spots
    ]


def _counted_at(
    db: duckdb.DuckDBPyConnection,
    relation: Relation,
    family: Family,
    places: Sequence[int],
    after: Mapping[int, int] | None = None,
) -> list[Totals]:
    """
    What was counted at some places.

    Args:
        after: Of a place: only events behind this position.
    """
    if not any(family.spots[place][0] for place in places):
        return [{} for _ in family.measures]
    db.register("places", place_table(family, places, after))
    if weighs_time(family.measures[0].meter):
        return [_weighed(db, relation, family)]
    least = min(after[place] for place in places) if after else 0
    text, parameters = counted_events(relation, family, places, least)
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
