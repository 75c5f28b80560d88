"""A published trace, loaded twice, billed, and counted again by hand."""

from __future__ import annotations

import csv
import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.integration.scene import Scene
from tests.serving import Served, serve

from taximeter.adapters.cli import main

MAP = Path(__file__).parents[2] / "examples" / "azure-llm.map.yaml"
ROWS = 700
CATALOG: dict[str, Any] = {
    "meters": {
        "input": {
            "event_type": "llm.request", "aggregation": "sum", "value": "data.input_tokens",
        },
        "output": {
            "event_type": "llm.request", "aggregation": "sum", "value": "data.output_tokens",
        },
        "requests": {"event_type": "llm.request", "aggregation": "count"},
    },
    "plans": {
        "trace": {
            "currency": "USD", "cadence": "month", "entitlements": {},
            "prices": {
                "input": {"type": "per_unit", "meter": "input", "unit": "0.000003"},
                "output": {
                    "type": "graduated", "meter": "output",
                    "tiers": [{"up_to": 5000, "unit": "0.00015"}, {"unit": "0.0001", "flat": 1}],
                },
            },
        }
    },
}  # fmt: skip


class Trace:
    """Rows of a file like the published ones: naive UTC, seven digits, across hours and months."""

    def __init__(self, path: Path) -> None:
        self.path = path
        rng = random.Random(2023)
        evening = datetime(2023, 11, 30, 20, tzinfo=UTC)
        moments = [
            evening + timedelta(microseconds=rng.randrange(8 * 3600 * 10**6)) for _ in range(ROWS)
        ]
        turn = datetime(2023, 12, 1, tzinfo=UTC)
        moments += [turn - timedelta(microseconds=1), turn]
        self.rows = [
            (moment, rng.randrange(1, 9000), rng.randrange(1, 400)) for moment in sorted(moments)
        ]
        # Two requests in the same instant with the same tokens are two requests.
        self.rows.append(self.rows[-1])
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("TIMESTAMP", "ContextTokens", "GeneratedTokens"))
            for moment, inputs, outputs in self.rows:
                text = moment.strftime("%Y-%m-%d %H:%M:%S.%f") + str(inputs % 10)
                writer.writerow((text, inputs, outputs))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("trace"), "--dev") as running:
        yield running


@pytest.fixture
def loaded(
    server: Served,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[Scene, Trace, list[dict[str, Any]]]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    scene = Scene(server)
    monkeypatch.setenv("TAXIMETER_KEY", scene.key)
    scene.publish(CATALOG)
    scene.customer()
    trace = Trace(tmp_path / "trace.csv")
    command = ["ingest", str(trace.path), "--map", str(MAP), "--backfill"]
    command += ["--url", server.url, "--json", "--from-start"]
    reports = []
    for _ in range(2):
        assert main(command) == 0
        reports.append(json.loads(capsys.readouterr().out))
    return scene, trace, reports


def test_a_trace_counts_once_and_is_billed_as_a_recount_by_hand_says(
    loaded: tuple[Scene, Trace, list[dict[str, Any]]],
) -> None:
    scene, trace, reports = loaded
    n = len(trace.rows)
    assert [one["received"] for one in reports] == [n, n]
    assert [one["accepted"] for one in reports] == [n, 0]
    assert [one["duplicates"] for one in reports] == [0, n]

    hours: Counter[str] = Counter()
    months: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for moment, inputs, outputs in trace.rows:
        hours[moment.strftime("%Y-%m-%dT%H:00:00Z")] += outputs
        month = months[moment.strftime("%Y-%m")]
        month[0] += inputs
        month[1] += outputs
        month[2] += 1
    span = {"from_": "2023-11-30T00:00:00Z", "to": "2023-12-02T00:00:00Z"}
    usage = scene.usage("output", window="hour", **span)["items"]
    assert {item["start"]: int(item["value"]) for item in usage} == hours
    assert scene.used("requests", **span) == str(n)

    scene.subscribe(plan="trace", start="2023-11-01T00:00:00Z")
    invoices = {one["period"]["start"][:7]: one for one in scene.close("2024-01-01T00:00:00Z")}
    assert sorted(invoices) == ["2023-11", "2023-12"]
    for month, (inputs, outputs, requests) in months.items():
        lines = {line["description"]: line for line in invoices[month]["lines"]}
        fare = Decimal("0.00015") * min(outputs, 5000)
        if outputs > 5000:
            fare += Decimal("0.0001") * (outputs - 5000) + 1
        cents = Decimal("0.01")
        expected = {
            "input": (Decimal("0.000003") * inputs).quantize(cents, ROUND_HALF_UP),
            "output": fare.quantize(cents, ROUND_HALF_UP),
        }
        assert {name: Decimal(line["amount"]) for name, line in lines.items()} == expected
        assert {line["lineage"]["events"] for line in lines.values()} == {requests}
        assert invoices[month]["total"] == str(sum(expected.values()))
        assert scene.ask("GET", f"/v1/invoices/{invoices[month]['id']}/verify")["ok"]


def test_without_backfill_a_trace_of_years_ago_is_refused_row_by_row(
    server: Served,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("TAXIMETER_KEY", Scene(server).key)
    trace = Trace(tmp_path / "trace.csv")
    command = ["ingest", str(trace.path), "--map", str(MAP), "--url", server.url, "--json"]
    assert main(command) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["accepted"], report["rejected"]) == (0, len(trace.rows))
