"""No float comes near a quantity or an amount: a lint over the syntax trees of the pure rooms."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import taximeter

PACKAGE = Path(taximeter.__file__).parent
EXACT = (
    "quantities.py",
    "money.py",
    "catalog/plan_terms.py",
    "catalog/prices.py",
    "catalog/price_dumping.py",
    "catalog/price_fields.py",
    "catalog/price_models.py",
    "catalog/price_parts.py",
    "catalog/price_reading.py",
    "catalog/price_variants.py",
    "catalog/rates.py",
    "rating",
    "accounting",
    "invoices",
    "taxes",
    "credits",
    "ledger",
)
MODULES = sorted(
    module
    for name in EXACT
    for module in ([PACKAGE / name] if name.endswith(".py") else (PACKAGE / name).rglob("*.py"))
)


def floats(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Name(id="float")) | ast.Name(id="float"):
                yield f"line {node.lineno}: float"
            case ast.Constant(value=float()) | ast.Constant(value=complex()):
                yield f"line {node.lineno}: a float literal"
            case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
                yield f"line {node.lineno}: / makes a float of two ints"
            case ast.Attribute(attr="loads" | "truediv" | "fsum"):
                yield f"line {node.lineno}: .{node.attr} may give floats"
            case ast.Import(names=names) if {"math", "json"} & {n.name for n in names}:
                yield f"line {node.lineno}: math and json work in floats"
            case ast.ImportFrom(module="math" | "json"):
                yield f"line {node.lineno}: math and json work in floats"


def test_there_are_modules_to_look_at() -> None:
    assert len(MODULES) >= 12


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_arithmetic_of_quantities_and_money_is_free_of_floats(module: Path) -> None:
    assert list(floats(module.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "source",
    [
        "x = float(1)",
        "y: float",
        "x = 0.5",
        "x = 1e3",
        "x = a / b",
        "x /= 2",
        "json.loads(b)",
        "import json",
        "from math import floor",
    ],
)
def test_the_lint_sees(source: str) -> None:
    assert list(floats(source))
