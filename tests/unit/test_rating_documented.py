"""The worked examples of docs/concepts/pricing.md: each of its tables, row by row."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from taximeter.catalog.price_models import UsagePrice
from taximeter.catalog.prices import PriceType, Seat, dump_price, parse_price
from taximeter.catalog.yaml_reader import read_document
from taximeter.instants import parse_instant
from taximeter.periods import Period
from taximeter.quantities import format_quantity, parse_quantity
from taximeter.rating import Proration, rate_line, rate_seats, seat_time

PAGE = Path(__file__).parents[2] / "docs" / "concepts" / "pricing.md"
SEATS = re.compile(r"<!-- seats: (?P<price>.*) -->\n(?P<table>(?:\|.*\n)+)")
EXAMPLE = re.compile(r"<!-- price: (?P<price>.*) -->\n(?P<table>(?:\|.*\n)+)")


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().strip("|").split("|")]


def examples() -> Iterator[tuple[UsagePrice, dict[str, str]]]:
    for found in EXAMPLE.finditer(PAGE.read_text()):
        price = parse_price("p", {"meter": "m"} | read_document(found["price"], "yaml"))
        assert isinstance(price, UsagePrice)
        header, _, *rows = found["table"].splitlines()
        for row in rows:
            yield price, dict(zip(cells(header), cells(row), strict=True))


@pytest.mark.parametrize(("price", "row"), examples())
def test_an_example_of_the_page_comes_to_what_it_says(
    price: UsagePrice, row: dict[str, str]
) -> None:
    group = tuple(row[name] for name in price.group_by)
    line = rate_line(price, parse_quantity(row["quantity"]), int(row.get("events", 0)), group)
    assert line.amount == Fraction(row["amount"])


def test_every_type_of_price_is_on_the_page_and_every_usage_price_has_an_example() -> None:
    page = PAGE.read_text()
    assert all(f"| `{kind}` |" in page for kind in PriceType)
    shown = {dump_price(price)["type"] for price, _ in examples()}  # type: ignore[arg-type]
    assert shown == set(PriceType) - {PriceType.FLAT, PriceType.SEAT}


def seat_rows() -> Iterator[tuple[str, dict[str, str]]]:
    found = SEATS.search(PAGE.read_text())
    assert found is not None
    header, _, *rows = found["table"].splitlines()
    for row in rows:
        yield found["price"], dict(zip(cells(header), cells(row), strict=True))


@pytest.mark.parametrize(("price", "row"), seat_rows())
def test_the_example_of_seats_comes_to_what_it_says(price: str, row: dict[str, str]) -> None:
    """K4"""
    members = {"type": "seat", "feature": "seats", "mode": row["mode"]}
    read = parse_price("seats", members | read_document(price, "yaml"))
    assert isinstance(read, Seat)
    november = Period(*map(parse_instant, ("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z")))
    ann = tuple(map(parse_instant, ("2026-11-11T12:00:00Z", "2026-11-21T12:00:00Z")))
    steps = [(november.start, 1), (ann[0], 2), (ann[1], 1)]
    time = seat_time(read, steps, november, Proration(30, 30), november, "UTC")
    rated = rate_seats(read, time)
    assert rated.amount == Fraction(row["amount"])
    assert format_quantity(rated.quantity_pico) == row["quantity"]
