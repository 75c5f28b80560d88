"""Catalogue files: YAML and JSON text to plain, exact values."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from taximeter.catalog.yaml_reader import MAX_DOCUMENT_BYTES, read_document
from taximeter.errors import Rejected


def refusal(text: str | bytes, form: Any = "yaml") -> tuple[str, str]:
    with pytest.raises(Rejected) as refused:
        read_document(text, form)
    return refused.value.code, refused.value.message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.10", Decimal("0.10")),
        ("0.1000000000000000055511151231257827", Decimal("0.1000000000000000055511151231257827")),
        ("-.5", Decimal("-0.5")),
        ("1e3", Decimal("1e3")),
        ("1000000", 1000000),
        ("+5", 5),
        ("010", 10),
        ("1_000", "1_000"),
        ("0x1f", "0x1f"),
        ("1:30", "1:30"),
        ("2026-11-20", "2026-11-20"),
        ("no", "no"),
        ("NO", "NO"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("null", None),
        (".inf", ".inf"),
        ("'5'", "5"),
        ("[a, 1, {b: 2}]", ["a", 1, {"b": 2}]),
    ],
)
def test_yaml_means_what_it_looks_like_and_decimals_are_exact(text: str, value: Any) -> None:
    read = read_document(f"a: {text}", "yaml")["a"]
    assert read == value
    assert type(read) is type(value)


def test_keys_are_text_as_written() -> None:
    assert read_document("2024: {no: 1, 1.0: 2}", "yaml") == {"2024": {"no": 1, "1.0": 2}}


def test_anchors_are_read_like_what_they_stand_for() -> None:
    text = "a: &tiers [1, 2]\nb: *tiers"
    assert read_document(text, "yaml") == {"a": [1, 2], "b": [1, 2]}


def test_json_numbers_are_exact() -> None:
    read = read_document('{"a": 0.10, "b": 1, "c": 1e-12}', "json")
    assert read == {"a": Decimal("0.10"), "b": 1, "c": Decimal("1e-12")}
    assert [type(value) for value in read.values()] == [Decimal, int, Decimal]


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("a: 1\nb: 2\na: 3", "duplicate_key", "line 3, column 1: the key 'a' is there twice"),
        ("a: {b: 1, b: 2}", "duplicate_key", "line 1, column 11: the key 'b' is there twice"),
        ("a: [1", "catalog_invalid", "line 1, column 6: expected ',' or ']'"),
        ("a:\n\tb: 1", "catalog_invalid", "line 2, column 1: found character '\\t'"),
        ("a: !!python/name:os.system x", "catalog_invalid", "line 1, column 4: the tag 'tag:yaml"),
        ("a: !secret x", "catalog_invalid", "line 1, column 4: the tag '!secret' is not read"),
        ("<<: {a: 1}", "catalog_invalid", "line 1, column 1: merge keys (<<) are not read"),
        ("? [a]\n: 1", "catalog_invalid", "line 1, column 3: a key is text"),
        ("a: 1\n---\nb: 1", "catalog_invalid", "line 2, column 1: "),
        ("a: &x [*x]", "catalog_invalid", "line 1, column 4: an anchor contains itself"),
        ("a: *x", "catalog_invalid", "line 1, column 4: found undefined alias"),
        ("a: 1e99999999999999999999", "catalog_invalid", "line 1, column 4: the number 1e99"),
        ("a: " + "9" * 5000, "catalog_invalid", "line 1, column 4: the number 9999"),
        ("a: " + "[" * 5000, "too_deep", "line 1, column 35: nested more than 32 deep"),
        ("- 1", "catalog_invalid", "the document is an object with the members meters, features"),
        ("", "catalog_invalid", "the document is an object with the members meters, features"),
        ("a: \x00", "catalog_invalid", "the document has a character YAML does not allow"),
    ],
)
def test_unreadable_yaml_is_told_by_line_and_column(text: str, code: str, message: str) -> None:
    found = refusal(text)
    assert found[0] == code
    assert found[1].startswith(message)


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ('{"a": 1, "a": 2}', "duplicate_key", "at line 1 column"),
        ('{"a":\n tru}', "invalid_json", "at line 2 column"),
        ('{"a": NaN}', "invalid_json", "at line 1 column"),
        ('{"a": ' + "[" * 33 + "]" * 33 + "}", "too_deep", "nested more than 32 deep"),
        ("[]", "catalog_invalid", "found a list"),
        ("", "invalid_json", "line 1 column"),
    ],
)
def test_unreadable_json_is_told_by_line_and_column(text: str, code: str, message: str) -> None:
    found = refusal(text, "json")
    assert found[0] == code
    assert message in found[1]


def test_aliases_cannot_expand_without_bound() -> None:
    levels = [f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 10)}]" for n in range(9)]
    code, message = refusal("\n".join(["a0: &a0 [x]", *levels]))
    assert code == "catalog_invalid"
    assert "more than 100000 values, aliases written out" in message


def test_size_is_bounded() -> None:
    assert refusal("#" * (MAX_DOCUMENT_BYTES + 1))[0] == "body_too_large"


def test_bytes_must_be_utf_8() -> None:
    assert refusal(b"a: \xff") == ("catalog_invalid", "the document is not UTF-8 text")
