"""
What an invoice may not depend on (K11, K12, K20): the order and the batches in which events
arrived, what was sent twice, where the store cut its files, hash seed, zone, locale, workers.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.property.effort import FULL, thorough
from tests.property.rating_world import bill, entries, fingerprint, item, seeded

from taximeter.invoices.document import canonical_bytes
from taximeter.invoices.lineage import merkle_digest

effort = thorough if FULL else settings(thorough, max_examples=5)
Items = list[dict[str, Any]]


@st.composite
def events(draw: st.DrawFn) -> Items:
    rows = draw(
        st.lists(
            st.tuples(st.integers(0, 900), st.integers(0, 5), st.integers(0, 3_000_000)),
            min_size=2,
            max_size=24,
        )
    )
    return [item(n, f"{n_pico}e-2", *rest) for n, (n_pico, *rest) in enumerate(rows)]


@st.composite
def cut(draw: st.DrawFn, found: Items) -> list[Items]:
    """The same events in the same order, in other requests."""
    places = sorted(draw(st.lists(st.integers(0, len(found)), max_size=4)))
    return [found[a:b] for a, b in zip([0, *places], [*places, len(found)], strict=True)]


@effort
@given(data=st.data())
def test_the_order_of_arrival_changes_no_amount(data: st.DataObject) -> None:
    """K12: the aggregates are those of a set of events. Without digests: those name an order."""
    found = data.draw(events())
    shuffled = data.draw(st.permutations(found))
    assert bill(entries([found]), proofs=False) == bill(entries([shuffled]), proofs=False)


@effort
@given(data=st.data())
def test_batches_files_and_what_is_sent_again_change_no_byte(data: st.DataObject) -> None:
    """
    K11, K20: one request or many, once or again, in memory or in files, by one thread or two:
    the same accepted events in the same order, the same bytes.
    """
    found = data.draw(events())
    requests = data.draw(cut(found))
    again = data.draw(st.lists(st.sampled_from(found), max_size=8)) if found else []
    once = bill(entries([found]))
    other = bill(entries([*requests, again, again]), threads=2, seal_rows=3)
    assert canonical_bytes(other) == canonical_bytes(once)


def test_the_lineage_of_a_line_is_that_of_its_events_and_no_others() -> None:
    inside, outside = seeded(7, 20), [item(99, "5", 0, -1), item(100, "5", 0, 30 * 86_400)]
    both = bill(entries([inside, outside]))
    alone = bill(entries([inside]))
    for one, other in zip(both.lines, alone.lines, strict=True):
        assert (one.lineage and one.lineage.digest) == (other.lineage and other.lineage.digest)
    nothing = bill(entries([outside]))
    digests = {line.lineage.digest for line in nothing.lines if line.lineage is not None}
    assert digests == {merkle_digest(())}


def test_another_seed_zone_locale_or_number_of_workers_gives_the_same_bytes() -> None:
    """K20: replayed in another process on another kind of machine."""
    halves = seeded(1)
    here = fingerprint(bill(entries([halves[:31], halves[31:]])))
    places = [
        {"PYTHONHASHSEED": "424242", "TZ": "Asia/Kolkata", "LC_ALL": "C.UTF-8"},
        {"PYTHONHASHSEED": "1", "TZ": "America/New_York", "LC_ALL": "tr_TR.UTF-8"},
    ]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.property.rating_world", "1", str(workers)],
            env={**os.environ, **place},
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            text=True,
        )
        for place, workers in zip(places, (4, 2), strict=True)
    ]
    found = [process.communicate(timeout=120)[0].strip() for process in running]
    assert found == [here] * 2
