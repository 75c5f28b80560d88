"""
Digests: the Merkle roots of what was counted, in a pass of their own.

DuckDB writes and hashes the leaves, byte for byte those of `invoices.lineage`, and hands over one
text of hashes for each place; the nodes above them are hashed here, while it goes on. A pass takes
as many places as have a million events together, so memory does not grow with a month.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from typing import Any, Final

import duckdb
import msgspec

from taximeter.adapters.store.family import Family, counted_events, place_table
from taximeter.adapters.store.sql import Place, Relation
from taximeter.invoices.lineage import merkle_digest

NO_EVENTS: Final = merkle_digest(())
EVENTS_A_PASS: Final = 1_000_000

_HASH: Final = 32
_SPECIAL: Final = '[\\x00-\\x1f"\\\\]'
"""What a JSON text cannot hold as it is."""


def digests(
    db: duckdb.DuckDBPyConnection,
    relation: Relation,
    family: Family,
    events: Mapping[int, int],
) -> Iterator[tuple[Place, list[str]]]:
    """
    Each (place, *group) with events, and the digest of each measure there.

    Args:
        events: About how many events each place has; places that are not named have none.
    """
    width = len(family.columns)
    with ThreadPoolExecutor(max_workers=1) as pool:
        following: Future[list[tuple[Any, ...]]] | None = None
        for places in [*_batches(family, events), None]:
            hashed, following = following, None
            if places is not None:  # DuckDB goes on while nodes are hashed here
                text, parameters = counted_events(relation, family, places)
                table = place_table(family, places)
                following = pool.submit(_hashed, db, family, table, text, parameters)
            for row in () if hashed is None else hashed.result():
                yield row[:width], _roots(row[width:])


def _hashed(
    db: duckdb.DuckDBPyConnection,
    family: Family,
    table: dict[str, Any],
    text: str,
    parameters: dict[str, Any],
) -> list[tuple[Any, ...]]:
    """Each (place, *group), and of each measure the hashes of its leaves in hex; None for none."""
    at, values = ", ".join(family.columns), ", ".join(family.values)
    counted = " OR ".join(f"{value} IS NOT NULL" for value in family.values)
    hashes = ", ".join(
        f"string_agg(leaf, '' ORDER BY seq) FILTER (WHERE {value} IS NOT NULL)"
        for value in family.values
    )
    cursor = db.cursor()  # its own, for the one who asks may ask other things meanwhile
    try:
        cursor.register("places", table)
        return cursor.execute(
            f"SELECT {at}, {hashes} FROM "
            f"(SELECT {at}, {values}, seq, {_LEAF_HASH} AS leaf FROM ({text}) WHERE {counted}) "
            f"GROUP BY {at}",
            parameters,
        ).fetchall()
    finally:
        cursor.close()


def _batches(family: Family, events: Mapping[int, int]) -> Iterator[list[int]]:
    """Neighbours by subject, which stand together in the files."""
    batch: list[int] = []
    held = 0
    for place in sorted(events, key=lambda place: family.spots[place][0]):
        batch.append(place)
        held += events[place]
        if held >= EVENTS_A_PASS:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def _roots(texts: Sequence[str | None]) -> list[str]:
    """The digest of each run of hashes in hex; meters that count the same events share it."""
    known: dict[str | None, str] = {None: NO_EVENTS}
    for text in texts:
        if text is not None and text not in known:
            known[text] = f"sha256:{_root(bytes.fromhex(text)).hex()}"
    return [known[text] for text in texts]


def _root(hashes: bytes) -> bytes:
    """The Merkle root over the hashes of leaves, level by level."""
    while len(hashes) > _HASH:
        pairs = range(0, len(hashes) - _HASH, 2 * _HASH)
        nodes = [sha256(b"\x01" + hashes[i : i + 2 * _HASH]).digest() for i in pairs]
        if len(hashes) % (2 * _HASH):  # the odd one at the right end moves up alone
            nodes.append(hashes[-_HASH:])
        hashes = b"".join(nodes)
    return hashes


def _json(column: str) -> str:
    """A text as JSON; only what has to be escaped goes through Python."""
    return (
        f"CASE WHEN regexp_matches({column}, '{_SPECIAL}') THEN json_text({column}) "
        f"""ELSE '"' || {column} || '"' END"""
    )


_LEAF_HASH: Final = (
    "sha256('\\x00'::BLOB || encode('[' || seq || ',' || "
    + " || ',' || ".join(map(_json, ("id", "source", '"type"', "subject")))
    + """ || ',' || "time" || ',' || coalesce(data, 'null') || ']'))"""
)
"""The hash of `lineage.leaf_bytes`, in hex."""


def json_text(text: str | None) -> str | None:
    """A text as canonical JSON has it; a function the statement calls."""
    return None if text is None else msgspec.json.encode(text).decode()


FUNCTION: Final[tuple[Any, list[Any], str]] = (json_text, ["VARCHAR"], "VARCHAR")
