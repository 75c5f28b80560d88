"""
Tables: typed columns and rows of text, and CSV that no spreadsheet takes for a formula.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final

import msgspec

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


class ColumnType(StrEnum):
    """What a column holds, in words of Parquet's writer. Decimals are exact."""

    TEXT = "VARCHAR"
    DECIMAL = "DECIMAL(38, 12)"
    INSTANT = "TIMESTAMPTZ"


class Column(msgspec.Struct, frozen=True):
    name: str
    type: ColumnType = ColumnType.TEXT


class Table(msgspec.Struct, frozen=True):
    """
    Attributes:
        rows: Cells in the order of the columns: decimals and instants in their canonical text;
            None for nothing, which is not the same as an empty text.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[str | None, ...], ...]


def csv_bytes(table: Table) -> bytes:
    """RFC 4180 in UTF-8, with a line of names first."""
    out = io.StringIO()
    write = csv.writer(out, lineterminator="\r\n").writerow
    write([column.name for column in table.columns])
    is_text = [column.type is ColumnType.TEXT for column in table.columns]
    for row in table.rows:
        write(_cells(row, is_text))
    # Half a character, which JSON can carry, has no bytes in UTF-8.
    return out.getvalue().encode(errors="replace")


def _cells(row: Sequence[str | None], is_text: Iterable[bool]) -> list[str]:
    pairs = zip(row, is_text, strict=True)
    return ["" if cell is None else inert(cell) if text else cell for cell, text in pairs]


def inert(text: str) -> str:
    """
    Text that a spreadsheet shows and does not compute: what begins like a formula gets a quote
    before it, as does what begins with a quote, so that taking one off gives every text back.
    """
    return f"'{text}" if text.startswith((*_FORMULA, "'")) else text


def original(cell: str) -> str:
    """Inverse of `inert`."""
    return cell.removeprefix("'")
