"""
Properties: quantities stay exact; the outbox and its spool lose nothing, whatever happens in
whatever order.
"""

from __future__ import annotations

import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.property.effort import FULL

from taximeter_sdk.encoding import from_json, to_json
from taximeter_sdk.outbox import EVENT, Outbox
from taximeter_sdk.quantities import MAX_PICO, to_decimal, to_pico, to_text
from taximeter_sdk.spool import Spool
from taximeter_sdk.wrapping.usage import characters_of, estimated

picos = st.integers(0, MAX_PICO)


@given(pico=picos)
def test_a_quantity_survives_every_form_it_takes(pico: int) -> None:
    decimal = to_decimal(pico)
    assert to_pico(decimal) == pico
    assert to_pico(to_text(pico)) == pico
    assert "e" not in to_text(pico).lower()
    assert decimal == Decimal(pico) * Decimal("1e-12") or len(str(pico)) > 28


@given(number=st.integers(0, 10**26 - 1) | st.floats(0, 1e6, allow_nan=False))
def test_a_number_means_what_json_would_have_carried(number: int | float) -> None:
    exact = Decimal(repr(number))
    if exact.as_tuple().exponent < -12:  # type: ignore[operator]
        return
    assert to_pico(number) == int(exact.scaleb(12))


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.decimals(-(10**20), 10**20, allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc"), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(value=values)
def test_json_carries_decimals_with_all_their_digits(value: Any) -> None:
    def plain(one: Any) -> Any:
        match one:
            case Decimal():
                return Decimal(format(one, "f"))
            case dict():
                return {name: plain(inner) for name, inner in one.items()}
            case list():
                return [plain(inner) for inner in one]
        return one

    text = to_json(value)
    assert from_json(text) == plain(value)
    json.loads(text)


@settings(max_examples=60, deadline=None)
@given(value=values)
def test_an_estimate_is_never_negative_and_whole(value: Any) -> None:
    characters = characters_of(value)
    assert estimated(characters) * 4 >= characters
    assert (estimated(characters) - 1) * 4 < max(1, characters)


class Story:
    """
    Items are put, taken, answered, and now and then the process dies or ends. In the end each item
    was answered at least once, or was counted as dropped, or was the one cut by a power failure.
    """

    def __init__(self, directory: Path, seed: int) -> None:
        self.directory = directory
        self.chance = random.Random(seed)
        self.tracked: set[str] = set()
        self.lost: set[str] = set()
        self.answered: set[str] = set()
        self.in_memory_only: set[str] = set()
        self.outbox = self.new()

    def new(self) -> Outbox:
        return Outbox(
            batch_items=3,
            max_items=5,
            max_bytes=10_000,
            overflow="drop",
            block_s=0,
            spool=Spool(self.directory, max_bytes=2_000, fsync=False),
        )

    def put(self) -> None:
        name = str(len(self.tracked))
        text = json.dumps({"id": name, "x": "x" * self.chance.randrange(300)}).encode()
        self.tracked.add(name)
        before = self.outbox.stats.spool_errors
        if not self.outbox.put(EVENT, text):
            self.lost.add(name)
        elif self.outbox.stats.spool_errors > before:
            self.in_memory_only.add(name)

    def answer(self) -> None:
        self.answer_part(len(self.outbox.take(1_000)))

    def answer_some(self) -> None:
        self.answer_part(1)

    def answer_part(self, number: int) -> None:
        done = self.outbox.take(1_000)[:number]
        self.outbox.answered(done)
        self.answered |= {json.loads(item.text)["id"] for item in done}
        self.outbox.stats.accepted += len(done)

    def get_no_answer(self) -> None:
        self.outbox.take(1_000)

    def look_for_orphans(self) -> None:
        self.outbox.adopt()

    def die(self) -> None:
        """As by SIGKILL: the descriptors close, and their locks go; nothing is written."""
        self.outbox.abandon()
        self.begin_anew()

    def begin_anew(self) -> None:
        self.lost |= self.in_memory_only - self.answered
        self.in_memory_only.clear()
        self.outbox = self.new()

    def end(self) -> None:
        self.outbox.close()
        self.check()
        self.begin_anew()

    def lose_power(self) -> None:
        """The item on its way to the disk is cut; only that one may be missing."""
        spool = self.outbox._spool
        assert spool is not None
        path = None if spool._current is None else spool._current.path
        self.outbox.abandon()
        if path is not None and (lines := path.read_bytes().splitlines(keepends=True)):
            self.lost.add(json.loads(lines[-1][9:])["id"])
            lines[-1] = lines[-1][: -self.chance.randint(1, 40)]
            path.write_bytes(b"".join(lines))
        self.begin_anew()

    def check(self) -> None:
        stats = self.outbox.stats
        came = stats.tracked + stats.recovered
        assert came == stats.accepted + stats.dropped + stats.spooled + self.outbox.buffered

    def finish(self) -> None:
        self.outbox.adopt()
        while not self.outbox.is_empty():
            self.answer()
            self.check()
        assert self.tracked - self.lost <= self.answered <= self.tracked
        self.outbox.close()
        assert not list(self.directory.iterdir())


def test_what_waits_on_disk_goes_before_what_came_after_it(tmp_path: Path) -> None:
    outbox = Story(tmp_path, 0).outbox
    for number in range(8):
        outbox.put(EVENT, b"%d" % number)
    answered = outbox.take(1_000)
    outbox.answered(answered)
    outbox.put(EVENT, b"8")
    while not outbox.is_empty():
        taken = outbox.take(1_000)
        answered += taken
        outbox.answered(taken)
    assert [int(item.text) for item in answered] == list(range(9))


@pytest.mark.parametrize("seed", range(2_000 if FULL else 20))
def test_every_item_is_answered_or_counted_whatever_happens(tmp_path: Path, seed: int) -> None:
    story = Story(tmp_path, seed)
    steps = [story.put] * 12 + [story.answer, story.answer_some] * 2
    steps += [story.get_no_answer, story.look_for_orphans, story.die, story.end, story.lose_power]
    for _ in range(120):
        story.chance.choice(steps)()
        story.check()
    story.finish()
