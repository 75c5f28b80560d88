"""Instants: RFC 3339 with an offset, microseconds, truncation, leap seconds (K1)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taximeter.errors import Rejected
from taximeter.instants import (
    DAY,
    HOUR,
    MAX_INSTANT,
    MINUTE,
    SECOND,
    format_instant,
    from_datetime,
    parse_instant,
    to_datetime,
)

TEN = 1_795_168_800 * SECOND  # 2026-11-20T10:00:00Z


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-20T10:00:00Z", TEN),
        ("2026-11-20T10:00:00.5Z", TEN + 500_000),
        ("2026-11-20T10:00:00.123Z", TEN + 123_000),
        ("2026-11-20T10:00:00.123456Z", TEN + 123_456),
        ("2026-11-20t10:00:00z", TEN),
        ("2026-11-20 10:00:00Z", TEN),
        ("2026-11-20T10:00:00+00:00", TEN),
        ("2026-11-20T10:00:00.123456+00:00", TEN + 123_456),
        ("2026-11-20T10:00:00-00:00", TEN),
        ("2026-11-20T15:30:00+05:30", TEN),
        ("2026-11-20T02:00:00-08:00", TEN),
        ("2026-11-21T09:59:00+23:59", TEN),
        ("1970-01-01T00:00:00Z", 0),
        ("9999-12-31T23:59:59.999999Z", MAX_INSTANT),
    ],
)
def test_an_instant_is_read_with_its_offset(text: str, expected: int) -> None:
    assert parse_instant(text) == expected
    assert parse_instant(text) == expected, "the second reading comes from the tables"


@pytest.mark.parametrize("digits", ["1234569", "123456999999999999999999999999"])
def test_digits_finer_than_a_microsecond_are_cut_off_not_rounded(digits: str) -> None:
    assert parse_instant(f"2026-11-20T10:00:00.{digits}Z") == TEN + 123_456


@pytest.mark.parametrize("fraction", ["", ".0", ".999999999"])
def test_a_leap_second_is_the_last_microsecond_of_its_minute(fraction: str) -> None:
    expected = parse_instant("2016-12-31T23:59:59.999999Z")
    assert parse_instant(f"2016-12-31T23:59:60{fraction}Z") == expected
    assert parse_instant(f"2017-01-01T00:59:60{fraction}+01:00") == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "1795168800",
        "2026-11-20",
        "2026-11-20T10:00:00",
        "2026-11-20T10:00:00.123",
        "2026-11-20T10:00:00.123456",
        "2026-11-20T10:00:00.Z",
        "2026-11-20T10:00:00,5Z",
        "2026-11-20T10:00Z",
        "2026-11-20T10Z",
        "20261120T100000Z",
        "2026-W47-5T10:00:00Z",
        "2026-11-20T10:00:00 Z",
        " 2026-11-20T10:00:00Z",
        "2026-11-20T10:00:00Z\n",
        "2026-11-20T10:00:00ZZ",
        "2026-11-20T10:00:00Z+00:00",
        "2026-11-20T10:00:00+00:00+00:00",
        "2026-11-20T10:00:00+0100",
        "2026-11-20T10:00:00+01",
        "2026-11-20T10:00:00+24:00",
        "2026-11-20T10:00:00+01:60",
        "2026-11-20T24:00:00Z",
        "2026-11-20T10:60:00Z",
        "2026-11-20T10:00:61Z",
        "2026-02-29T10:00:00Z",
        "2026-13-01T10:00:00Z",
        "2026-00-01T10:00:00Z",
        "0000-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:30:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "12026-11-20T10:00:00Z",
        "-2026-11-20T10:00:00Z",
        "２０２６-11-20T10:00:00Z",
        "2026-11-20T10:00:00.１２３Z",
        "2026-11-20T10:00:00." + "1" * 100_000 + "Z",
    ],
)
def test_anything_else_is_an_invalid_timestamp(text: str) -> None:
    parse_instant("2026-11-20T10:00:00.123456Z")  # so that the tables know the second
    with pytest.raises(Rejected) as caught:
        parse_instant(text)
    assert caught.value.code == "invalid_timestamp"
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (TEN, "2026-11-20T10:00:00Z"),
        (TEN + 1, "2026-11-20T10:00:00.000001Z"),
        (TEN + 500_000, "2026-11-20T10:00:00.500000Z"),
        (0, "1970-01-01T00:00:00Z"),
        (MAX_INSTANT, "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_fraction_digits_are_written_only_when_there_is_a_fraction(us: int, text: str) -> None:
    assert format_instant(us) == text


instants = st.integers(0, MAX_INSTANT)


@given(us=instants)
def test_what_is_written_reads_back_as_the_same_instant(us: int) -> None:
    assert parse_instant(format_instant(us)) == us
    assert from_datetime(to_datetime(us)) == us


@given(
    us=st.integers(DAY, MAX_INSTANT - DAY),
    offset=st.integers(-23 * 60 - 59, 23 * 60 + 59),
    separator=st.sampled_from("Tt "),
)
def test_reading_agrees_with_the_standard_library_in_every_offset(
    us: int, offset: int, separator: str
) -> None:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    local = (epoch + timedelta(microseconds=us)).astimezone(timezone(timedelta(minutes=offset)))
    assert parse_instant(local.isoformat(sep=separator)) == us


def test_more_hours_and_seconds_than_the_tables_hold_are_still_read() -> None:
    for step in (HOUR, SECOND):
        for n in range(0, 20_000 * step, step):
            assert parse_instant(format_instant(TEN + n)) == TEN + n


def test_the_units_are_microseconds() -> None:
    assert (SECOND, MINUTE, HOUR, DAY) == (10**6, 60 * 10**6, 3600 * 10**6, 86400 * 10**6)
