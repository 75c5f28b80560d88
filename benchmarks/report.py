"""
The table: medians, ratios, and what was met of what was promised.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.scenarios import Measurement, Plan

BEGIN = "<!-- figures: written by `python -m benchmarks --publish` -->"
END = "<!-- end of figures -->"

Measurements = dict[tuple[str, str], Measurement]

TITLES = {
    "taximeter": "Taximeter",
    "recipe": "FastAPI + Redis + PostgreSQL",
    "postgres": "PostgreSQL COPY + merge, raw HTTP",
    "postgres-direct": "PostgreSQL COPY + merge, no HTTP",
    "redis": "Valkey, Lua, synced every second, no HTTP",
    "redis-always": "Valkey, Lua, every write synced, no HTTP",
    "duckdb": "DuckDB, one bare aggregation",
    "ceiling": "(nothing: what the generator can reach)",
}


@dataclass(frozen=True)
class Goal:
    """One promise: a measured name compared with a bound. `at_least` tells the direction."""

    text: str
    scenario: str
    bound: float
    at_least: bool
    name: str = "value"
    against: str | None = None  # then the figure is our value divided by that target's


GOALS = (
    Goal("ingest, batches of 1,000: >= 500,000 events/s", "ingest 1000", 500_000, True),
    Goal("ingest, single events: >= 25,000 requests/s", "ingest 1", 25_000, True),
    Goal("ingest, single events: p99 <= 10 ms", "ingest 1", 10, False, "p99_ms"),
    Goal("check: >= 40,000/s", "check", 40_000, True),
    Goal("check while ingest runs: p99 <= 2 ms", "check during ingest", 2, False, "p99_ms"),
    Goal("consume, durable, 1 wallet: >= 10,000/s", "consume, 1 wallet", 10_000, True),
    Goal("consume, durable, 10,000 wallets: >= 10,000/s", "consume, 10,000 wallets", 10_000, True),
    Goal("reserve + settle, 1 wallet: >= 10,000/s", "reserve + settle, 1 wallet", 10_000, True),
    Goal(
        "reserve + settle, 10,000 wallets: >= 10,000/s",
        "reserve + settle, 10,000 wallets",
        10_000,
        True,
    ),
    Goal("5 nested levels: <= 2 x one", "check, 5 levels", 2, False, "times_one_level"),
    Goal("leased check: <= 2 us median", "leased check, in process", 2, False),
    Goal(
        "check while ingest runs, 8 connections: p99 <= 2 ms",
        "check during ingest, 8 conns",
        2,
        False,
        "p99_ms",
    ),
    Goal("acknowledged event in the next check: 0 stale", "read own write (check)", 0, False),
    Goal("acknowledged event in the next usage: 0 stale", "read own write (usage)", 0, False),
    Goal("ready after kill -9: <= 5 s", "restart", 5, False),
    Goal("memory, 10,000 customers x 10 meters: <= 300 MiB", "memory", 300, False),
    Goal("rating 20 million events, 10,000 customers: <= 10 s", "rating run", 10, False),
    Goal("whole rating run: <= 3 x bare DuckDB", "rating run", 3, False, "times the floor"),
    Goal("rating after one late event: <= 50 ms", "rating, one late event", 50, False),
    Goal("single events: >= 25 x the recipe", "ingest 1", 25, True, against="recipe"),
    Goal("batches of 100: >= 25 x the recipe", "ingest 100", 25, True, against="recipe"),
    Goal("batches of 1,000: >= 25 x the recipe", "ingest 1000", 25, True, against="recipe"),
    Goal("batches of 1,000: >= 4 x PostgreSQL COPY", "ingest 1000", 4, True, against="postgres"),
    Goal(
        "batches of 1,000: >= 4 x PostgreSQL COPY without HTTP",
        "ingest 1000",
        4,
        True,
        against="postgres-direct",
    ),
)


def as_json(measurements: Measurements, machine: dict[str, str], plan: Plan) -> dict[str, Any]:
    return {
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine,
        "plan": asdict(plan),
        "measurements": [asdict(m) | {"median": m.median()} for m in measurements.values()],
        "goals": [
            {"goal": goal.text, "measured": figure, "met": _met(goal, figure)}
            for goal in GOALS
            if (figure := _figure(goal, measurements)) is not None
        ],
    }


def as_markdown(measurements: Measurements, machine: dict[str, str], plan: Plan) -> str:
    today = time.strftime("%Y-%m-%d", time.gmtime())
    runs = f"medians of {plan.repetitions} runs of {plan.seconds:g} s, each on fresh data"
    parts = [
        f"Measured on {today}; {runs}.",
        "\n".join(f"- {name}: {value}" for name, value in machine.items()),
        _throughput(measurements),
        _others(measurements),
        _goals(measurements),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _throughput(measurements: Measurements) -> str:
    """Everything with a rate; the last column is Taximeter's median divided by the row's."""
    rows = [m for m in measurements.values() if m.unit.endswith("/s")]
    if not rows:
        return ""
    columns = "scenario target median unit p50_ms p99_ms server_cores generator Taximeter_is"
    lines = [
        f"| {columns.replace(' ', ' | ').replace('_', ' ')} |",
        "|---|---|--:|---|--:|--:|--:|--:|--:|",
    ]
    for m in rows:
        ours = measurements.get((m.scenario, "taximeter"))
        lines.append(
            f"| {m.scenario} | {TITLES[m.target]} | {_number(m.median())} | {m.unit} | "
            f"{_number(m.median('p50_ms'))} | {_number(m.median('p99_ms'))} | "
            f"{_number(m.median('server_cores'))} | {_percent(m.median('generator_share'))} | "
            f"{_ratio(ours, m)} |"
        )
    return "\n".join(lines)


def _others(measurements: Measurements) -> str:
    lines = ["| what | median | unit | more |", "|---|--:|---|---|"]
    for m in measurements.values():
        if m.unit.endswith("/s"):
            continue
        more = ", ".join(
            f"{name} {_number(m.median(name))}" for name in m.samples[0] if name != "value"
        )
        lines.append(f"| {m.scenario} | {_number(m.median())} | {m.unit} | {more} |")
    return "\n".join(lines) if len(lines) > 2 else ""


def _goals(measurements: Measurements) -> str:
    lines = ["| goal | measured | |", "|---|--:|---|"]
    for goal in GOALS:
        figure = _figure(goal, measurements)
        if figure is not None:
            verdict = "met" if _met(goal, figure) else "**not met**"
            lines.append(f"| {goal.text} | {_number(figure)} | {verdict} |")
    return "\n".join(lines) if len(lines) > 2 else ""


def _figure(goal: Goal, measurements: Measurements) -> float | None:
    ours = measurements.get((goal.scenario, "taximeter"))
    value = ours.median(goal.name) if ours else None
    if value is None or goal.against is None:
        return value
    theirs = measurements.get((goal.scenario, goal.against))
    other = theirs.median(goal.name) if theirs else None
    return value / other if other else None


def _met(goal: Goal, figure: float) -> bool:
    return figure >= goal.bound if goal.at_least else figure <= goal.bound


def _ratio(ours: Measurement | None, other: Measurement) -> str:
    mine = ours.median() if ours else None
    theirs = other.median()
    if other.target in {"taximeter", "ceiling"} or not mine or not theirs:
        return ""
    return f"{mine / theirs:.1f} x"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value == int(value) else f"{value:.3g}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"


def write(results: Path, document: dict[str, Any], markdown: str) -> None:
    results.mkdir(parents=True, exist_ok=True)
    (results / "latest.json").write_text(json.dumps(document, indent=1) + "\n")
    (results / "latest.md").write_text(f"# Latest results\n\n{markdown}")


def publish(page: Path, markdown: str) -> None:
    """Put the figures between the markers of the page."""
    text = page.read_text()
    before, found, rest = text.partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not found or not closed:
        raise ValueError(f"{page} lacks the markers for the figures")
    page.write_text(f"{before}{BEGIN}\n\n{markdown}\n{END}{after}")
