"""Rows to events, as a mapping says."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taximeter.adapters.cli.ingest.mapping import (
    EventMap,
    compile_mapping,
    default_mapping,
    read_yaml,
)
from taximeter.errors import Rejected
from taximeter.instants import format_instant, from_datetime

BASE = "type: {value: t}\nsubject: {column: who}\n"


def compiled(text: str, **constants: str) -> EventMap:
    return compile_mapping(read_yaml(BASE + text), constants)


def event(text: str, number: int = 1, /, **row: Any) -> dict[str, Any]:
    return compiled(text).event({"who": "acme", **row}, number, "file")


def test_columns_constants_and_templates_become_attributes():
    found = event('id: "{a}-{row}"\nsource: import', 7, a="x")
    assert found == {"type": "t", "subject": "acme", "source": "import", "id": "x-7"}


def test_without_an_id_a_row_is_named_by_its_file_and_number():
    assert compiled("").needs_file_id
    assert event("", 3)["id"] == "file-3"


def test_constants_of_the_command_line_win():
    assert compiled("", type="other").event({"who": "a"}, 1, "f")["type"] == "other"


def test_braces_can_be_escaped_in_a_template():
    assert event('id: "{{{a}}}"', a="x")["id"] == "{x}"


def test_numbers_keep_their_digits():
    found = event("data: {n: {column: n, number: true}}", n=" 0.1000 ")["data"]["n"]
    assert str(found) == "0.1000"


@pytest.mark.parametrize("text", ["", None])
def test_an_empty_cell_is_an_absent_member(text: str | None):
    spec = "time: {column: n, timezone: UTC}\ndata: {n: {column: n, number: true}, m: {column: n}}"
    assert set(event(spec, n=text)) == {"id", "type", "subject"}


@pytest.mark.parametrize("text", ["1,000", "NaN", "Infinity", "0x1", "1.", ".5", "ten", "1e9999"])
def test_what_is_no_decimal_number_rejects_its_row(text: str):
    with pytest.raises(Rejected) as caught:
        event("data: {n: {column: n, number: true}}", n=text)
    assert caught.value.code == "invalid_quantity"


def test_a_binary_float_of_parquet_is_its_shortest_decimal():
    assert event("data: {n: {column: n}}", n=0.1)["data"]["n"] == Decimal("0.1")
    with pytest.raises(Rejected):
        event("data: {n: {column: n}}", n=float("nan"))


def test_json_rows_are_read_by_dotted_path_and_a_flat_name_comes_first():
    spec = "data: {n: {column: u.tokens, number: true}}"
    assert event(spec, u={"tokens": 3})["data"] == {"n": 3}
    assert event(spec, **{"u": {"tokens": 3}, "u.tokens": 4})["data"] == {"n": 4}
    assert "data" not in event(spec, u=None)


# --- times --------------------------------------------------------------------------------------


def time_of(spec: str, value: Any) -> str:
    return str(event(f"time: {{column: at{spec}}}", at=value)["time"])


def test_seven_fraction_digits_are_cut_off_not_rounded():
    found = time_of(", timezone: UTC", "2023-11-16 18:17:03.9799609")
    assert found == "2023-11-16T18:17:03.979960Z"
    same = time_of(', format: "%Y-%m-%d %H:%M:%S.%f", timezone: UTC', "2023-11-16 18:17:03.9799609")
    assert same == found


def test_a_naive_time_needs_a_zone():
    with pytest.raises(Rejected, match="no offset") as caught:
        time_of("", "2023-11-16 18:17:03")
    assert caught.value.code == "invalid_timestamp"


def test_an_offset_in_the_text_beats_the_zone_of_the_mapping():
    assert time_of(", timezone: Asia/Tokyo", "2023-11-16T18:00:00+01:00") == "2023-11-16T17:00:00Z"


def test_a_local_time_that_occurs_twice_is_the_earlier_one():
    found = time_of(", timezone: Europe/Berlin", "2023-10-29 02:30:00")
    assert found == "2023-10-29T00:30:00Z"


@pytest.mark.parametrize(
    ("form", "value", "found"),
    [
        ("unix", "1700000000.123456789", "2023-11-14T22:13:20.123456Z"),
        ("unix", 1_700_000_000, "2023-11-14T22:13:20Z"),
        ("unix_ms", "1700000000123", "2023-11-14T22:13:20.123000Z"),
    ],
)
def test_unix_times_are_exact(form: str, value: Any, found: str):
    assert time_of(f", format: {form}", value) == found


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        (", timezone: UTC", "yesterday"),
        (", timezone: UTC", "2023-02-30"),
        (', format: "%d/%m/%Y", timezone: UTC', "2023-11-16"),
        (", format: unix", "-1"),
        (", format: unix", "99999999999999"),
        (", timezone: UTC", "1969-12-31 23:59:59"),
        (", timezone: America/New_York", "9999-12-31 23:59:59"),
    ],
)
def test_an_unreadable_time_rejects_its_row(spec: str, value: str):
    with pytest.raises(Rejected) as caught:
        time_of(spec, value)
    assert caught.value.code == "invalid_timestamp"


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9999, 12, 31)))  # noqa: DTZ001
def test_any_utc_time_comes_through_to_the_microsecond(moment: datetime):
    expected = format_instant(from_datetime(moment.replace(tzinfo=UTC)))
    assert time_of(", timezone: UTC", moment.isoformat(" ")) == expected
    assert time_of(", timezone: UTC", moment) == expected


# --- the mapping file itself --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[1]", "YAML object"),
        ("type: {value: t}", "'subject'"),
        (BASE + "sorce: x", "'sorce'"),
        (BASE + "data: [a]", "data is an object"),
        (BASE + "id: {colum: x}", "id is a template"),
        (BASE + "id: {column: a, value: b}", "id is a template"),
        (BASE + "id: {column: a, number: true, unit: x}", "'unit'"),
        (BASE + "source: {value: 5}", "in quotes"),
        (BASE + "time: {column: a, timezone: Mars/Base}", "Mars/Base"),
        (BASE + 'id: "{a!r}"', "only knows"),
        (BASE + 'id: "{a"', "id:"),
        ("{", "line 1"),
    ],
)
def test_a_mapping_file_that_means_nothing_is_refused_by_name(text: str, says: str):
    with pytest.raises(Rejected, match=says) as caught:
        compile_mapping(read_yaml(text), {})
    assert caught.value.code == "invalid_file"


def test_yaml_numbers_are_exact_and_dates_stay_text():
    found = event("data: {rate: {value: 0.10}, day: {value: 2023-11-16}}")["data"]
    assert str(found["rate"]) == "0.10"
    assert found["day"] == "2023-11-16"


def test_a_mapping_knows_the_columns_it_reads():
    assert compiled('id: "{a}-{row}"\ndata: {n: {column: b}, c: {value: 1}}').columns == {
        "who", "a", "b",
    }  # fmt: skip


def test_without_a_mapping_columns_named_like_attributes_are_those():
    found = default_mapping(["id", "subject", "tokens"], {"type": "t"})
    assert found.event({"id": "1", "subject": "acme", "tokens": "5"}, 1, "f") == {
        "id": "1", "subject": "acme", "type": "t", "data": {"tokens": "5"},
    }  # fmt: skip
