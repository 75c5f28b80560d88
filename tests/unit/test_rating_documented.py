"""The worked examples of docs/concepts/pricing.md: each of its tables, row by row."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from taximeter.catalog.price_models import UsagePrice
from taximeter.catalog.prices import PriceType, dump_price, parse_price
from taximeter.catalog.yaml_reader import read_document
from taximeter.quantities import parse_quantity
from taximeter.rating import rate_line

PAGE = Path(__file__).parents[2] / "docs" / "concepts" / "pricing.md"
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
    assert shown == set(PriceType) - {PriceType.FLAT}
