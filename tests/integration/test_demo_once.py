"""The demo's month, recomputed by brute force from the same events."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections import defaultdict
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import facturx
import pypdf
import pytest
import yaml

from taximeter.demo.company import CATALOG_YAML, PROFILES, Profile, month_of_events

# As `taximeter demo --once` has them, on purpose written down again.
SEED = 20261001
COUNT = 20_000
MONTH = date(2026, 10, 1)
HOUR = 3_600_000_000


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def runs(temporary: Path) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "taximeter", "demo", "--once", "--json"]
    options: dict[str, Any] = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "cwd": temporary,
        "env": os.environ | {"TMPDIR": str(temporary)},
    }
    running = [subprocess.Popen(command, **options) for _ in range(2)]
    ended = [process.communicate(timeout=100) for process in running]
    assert [process.returncode for process in running] == [0, 0], ended[0][1].decode()
    return [json.loads(out) for out, _ in ended]


def micros(instant: datetime) -> int:
    return round(instant.timestamp()) * 1_000_000


def midnight(day: date, zone: str) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))


def events() -> list[tuple[Profile, dict[str, Any]]]:
    start = micros(midnight(MONTH, "UTC")) - 12 * HOUR
    end = micros(midnight(date(2026, 11, 1), "UTC")) + 12 * HOUR
    return list(month_of_events(SEED, start, end, COUNT))


def values(sent: list[dict[str, Any]], meter: dict[str, Any]) -> list[tuple[Any, Fraction]]:
    """(model, quantity) of each event a meter counts."""
    found = []
    for one in sent:
        if one["type"] == meter["event_type"]:
            path = meter.get("value", "").removeprefix("data.")
            counted = meter["aggregation"] == "count"
            quantity = Fraction(1) if counted else Fraction(str(one["data"][path]))
            found.append((one["data"].get("model"), quantity))
    return found


def fare(price: dict[str, Any], quantity: Fraction) -> Fraction:
    """A price's amount for a quantity, the long way round."""
    if price["type"] == "per_unit":
        return max(Fraction(0), quantity - price.get("free", 0)) * Fraction(price["unit"])
    assert price["type"] == "graduated"
    amount, below = Fraction(0), Fraction(0)
    for tier in price["tiers"]:
        upto = Fraction(tier["up_to"]) if "up_to" in tier else quantity
        inside = min(quantity, upto) - below
        if inside > 0:
            amount += inside * Fraction(tier["unit"]) + Fraction(tier.get("flat", 0))
            below += inside
    return amount


def cents(amount: Fraction) -> Decimal:
    exact = Decimal(amount.numerator) / Decimal(amount.denominator)
    return exact.quantize(Decimal("0.01"), ROUND_HALF_UP)


def expected_lines(profile: Profile, sent: list[dict[str, Any]]) -> list[Decimal]:
    """All amounts of a customer's invoice, in no particular order."""
    catalog = yaml.safe_load(CATALOG_YAML)
    start = micros(midnight(MONTH, profile.timezone))
    end = micros(midnight(date(2026, 11, 1), profile.timezone))
    mine = [
        one
        for one in sent
        if one["subject"] in (profile.key, *profile.subjects)
        and start <= micros_of(one["time"]) < end
    ]
    lines = []
    for price in catalog["plans"][profile.plan]["prices"].values():
        if price["type"] == "flat":
            lines.append(cents(Fraction(price["amount"])))
            continue
        groups: dict[Any, Fraction] = defaultdict(Fraction)
        for model, quantity in values(mine, catalog["meters"][price["meter"]]):
            groups[model if "group_by" in price else None] += quantity
        if "group_by" not in price:
            groups[None] += 0
        lines += [cents(fare(price, quantity)) for quantity in groups.values()]
    return lines


def taken_and_added(profile: Profile, subtotal: Decimal) -> tuple[Decimal, Decimal]:
    """10 % off for Northwind, and 19 % on what is left: it is in Germany, as Lumen is."""
    if profile.key != "northwind":
        return Decimal(0), Decimal(0)
    discount = cents(Fraction(subtotal) / 10)
    return discount, cents(Fraction(subtotal - discount) * 19 / 100)


def micros_of(text: str) -> int:
    moment = datetime.fromisoformat(text)
    whole = moment.replace(microsecond=0)
    return micros(whole) + moment.microsecond


def test_every_invoice_equals_a_recomputation_to_the_cent(runs: list[dict[str, Any]]) -> None:
    sent = [one for _, one in events()]
    assert len(sent) == len({one["id"] for one in sent}) == COUNT
    counts = runs[0]["events"]
    assert counts == {
        "received": COUNT, "accepted": COUNT, "duplicates": 0, "conflicts": 0, "rejected": 0,
    }  # fmt: skip
    invoices = {one["customer"]: one for one in runs[0]["invoices"]}
    assert invoices.keys() == {profile.key for profile in PROFILES}
    for profile in PROFILES:
        invoice = invoices[profile.key]
        expected = expected_lines(profile, sent)
        amounts = [Decimal(line["amount"]) for line in invoice["lines"]]
        assert sorted(amounts) == sorted(expected), profile.key
        subtotal = sum(expected, Decimal("0.00"))
        discount, tax = taken_and_added(profile, subtotal)
        assert invoice["subtotal"] == f"{subtotal:.2f}", profile.key
        assert (invoice["discount"], invoice["tax"]) == (f"{discount:.2f}", f"{tax:.2f}")
        total = subtotal - discount + tax
        assert invoice["total"] == invoice["amount_due"] == f"{total:.2f}", profile.key
        assert invoice["status"] == ("issued" if total else "paid")
        assert micros_of(invoice["period"]["start"]) == micros(midnight(MONTH, profile.timezone))
        following = midnight(date(2026, 11, 1), profile.timezone)
        assert micros_of(invoice["period"]["end"]) == micros(following)
    numbers = sorted(invoice["number"] for invoice in invoices.values())
    assert numbers == [f"INV-{n:06}" for n in range(1, len(PROFILES) + 1)]
    assert sum(Decimal(one["total"]) for one in invoices.values()) > 1000, "somebody pays"


def test_the_same_month_costs_the_same_every_time(runs: list[dict[str, Any]]) -> None:
    def essence(run: dict[str, Any]) -> Any:
        return run["events"], [
            (
                one["number"],
                one["customer"],
                one["total"],
                [(line["quantity"], line["amount"], line["tiers"]) for line in one["lines"]],
                [line["lineage"] and line["lineage"]["digest"] for line in one["lines"]],
            )
            for one in run["invoices"]
        ]

    assert essence(runs[0]) == essence(runs[1])


def test_the_oracle_itself_knows_the_tiers() -> None:
    price = yaml.safe_load(CATALOG_YAML)["plans"]["pro"]["prices"]["output"]
    # 100,000 at 0.00002, 300,000 at 0.000015, 1 at 0.000012 and its flat 5.
    assert fare(price, Fraction(400_001)) == Fraction("2") + Fraction("4.5") + Fraction("5.000012")
    assert fare(price, Fraction(400_000)) == Fraction("6.5")
    assert cents(Fraction("0.005")) == Decimal("0.01")
    spring = [midnight(date(2026, 3, 29) + timedelta(days=n), "Europe/Berlin") for n in (0, 1)]
    assert micros(spring[1]) - micros(spring[0]) == 23 * HOUR


def test_the_demo_leaves_one_pdf_and_nothing_else(
    runs: list[dict[str, Any]], temporary: Path
) -> None:
    (left,) = temporary.iterdir()
    assert {run["pdf"] for run in runs} == {str(left)}
    pdf = left.read_bytes()
    reader = pypdf.PdfReader(io.BytesIO(pdf))
    text = " ".join(page.extract_text() for page in reader.pages)
    (shown,) = (one for one in runs[0]["invoices"] if one["customer"] == "northwind")
    assert shown["number"] in text
    assert "Launch partner 10 %" in text
    assert "Northwind Travel GmbH" in text
    name, _ = facturx.get_xml_from_pdf(pdf, check_xsd=True, check_schematron=False)
    assert name == "factur-x.xml", "all is known that an e-invoice must say"
