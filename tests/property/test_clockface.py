"""
The compiled reader of instants agrees with the careful one.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from taximeter.errors import Rejected
from taximeter.events.clockface import read_uniform
from taximeter.instants import parse_instant

digits = st.characters(min_codepoint=48, max_codepoint=57)


@st.composite
def nearly_instants(draw: st.DrawFn) -> str:
    """Texts of the right shape with any numbers, and now and then a wrong character."""
    year = draw(st.integers(1965, 2105) | st.just(9999))
    fields = [draw(st.integers(0, limit)) for limit in (14, 33, 25, 61, 61)]
    month, day, hour, minute, second = fields
    places = draw(st.sampled_from([0, 3, 6]))
    fraction = "." + draw(st.text(digits, min_size=places, max_size=places)) if places else ""
    text = f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z"
    if draw(st.integers(0, 9)) == 0:
        place = draw(st.integers(0, len(text) - 1))
        text = text[:place] + draw(st.sampled_from("0a-:.TZ +tz")) + text[place + 1 :]
    return text


def carefully(text: str) -> int | None:
    try:
        return parse_instant(text)
    except Rejected:
        return None


@given(text=nearly_instants())
def test_what_it_reads_is_what_the_careful_reader_reads(text: str) -> None:
    found = read_uniform([text])
    if found is not None:
        assert int(found[0]) == carefully(text)


@given(text=nearly_instants())
def test_it_leaves_only_unusual_texts_to_the_careful_reader(text: str) -> None:
    careful = carefully(text)
    leap_second = text[17:19] == "60"
    if careful is not None and text[10] == "T" and text.endswith("Z") and not leap_second:
        assert read_uniform([text]) is not None


@given(texts=st.lists(nearly_instants(), min_size=1, max_size=5))
def test_a_batch_is_read_as_its_texts_are_or_not_at_all(texts: list[str]) -> None:
    found = read_uniform(texts)
    if found is not None:
        assert found.tolist() == [carefully(text) for text in texts]


def test_texts_of_different_shapes_are_left_alone() -> None:
    assert read_uniform(["2026-11-20T10:00:00Z", "2026-11-20T10:00:00.123Z"]) is None
