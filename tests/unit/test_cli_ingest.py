"""Bulk load: every row accounted for, nothing twice. Against a stub that only counts identities."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli_stub import Answer, Asked, Stub, ingest_double, problem, running_stub

from taximeter.adapters.cli import main

Events = dict[tuple[str, str], bytes]
ROOT = Path(__file__).resolve().parents[2]
MAP = """
type: {value: llm.request}
subject: {column: who}
time: {column: at, timezone: UTC}
data: {tokens: {column: n, number: true}}
"""


@pytest.fixture
def events() -> Events:
    return {}


@pytest.fixture
def stub(events: Events, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    with running_stub() as found:
        found.routes["POST", "/v1/events"] = ingest_double(events)
        found.routes["GET", "/v1/events/receipt"] = lambda asked: (
            Answer(body={"status": "accepted"})
            if (asked.query.get("source", ""), asked.query["id"]) in events
            else problem(404, "not_found", detail="No such event.")
        )
        monkeypatch.setenv("TAXIMETER_URL", found.url)
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        monkeypatch.chdir(tmp_path)
        yield found


def lines(count: int, **changes: Any) -> str:
    one = {"type": "t", "subject": "acme", **changes}
    return "".join(json.dumps({"id": f"e{n}", **one}) + "\n" for n in range(count))


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, dict[str, Any]]:
    code = main(["ingest", *args, "--json"])
    return code, json.loads(capsys.readouterr().out)


def counts(found: dict[str, Any]) -> tuple[int, ...]:
    return tuple(
        found[name] for name in ("received", "accepted", "duplicates", "conflicts", "rejected")
    )


def test_lines_are_sent_as_they_are_and_counted_once(stub: Stub, events: Events, capsys: Any):
    Path("a.jsonl").write_text(lines(25) + "\n" + '{"id":"x", "type":"t","subject":"a","n":1.50}')
    assert run(capsys, "a.jsonl", "--batch", "10")[0] == 0
    assert stub.times("POST", "/v1/events") == 3
    assert events["", "x"] == b'{"id":"x", "type":"t","subject":"a","n":1.50}'
    code, again = run(capsys, "a.jsonl", "--batch", "10")
    assert (code, counts(again)) == (0, (26, 0, 26, 0, 0))


def test_the_last_line_needs_no_line_end_and_an_empty_file_is_no_error(stub: Stub, capsys: Any):
    Path("a.jsonl").write_text(lines(1).strip())
    Path("b.jsonl").write_text("")
    code, found = run(capsys, "a.jsonl", "b.jsonl")
    assert (code, counts(found)) == (0, (1, 1, 0, 0, 0))
    assert [file["received"] for file in found["files"]] == [1, 0]


def test_bad_rows_are_listed_by_code_and_kept_and_their_neighbours_count(
    stub: Stub, capsys: Any, tmp_path: Path
):
    bad = '{"type":"t","subject":"a"}\nno json\n[1]\n{"id":"e0","type":"other","subject":"a"}\n'
    Path("a.jsonl").write_text(lines(3) + bad + json.dumps({"id": "y" * 300_000}))
    code, found = run(capsys, "a.jsonl", "--rejects", "rejects.jsonl", "--parallel", "1")
    assert code == 1
    assert counts(found) == (8, 3, 0, 1, 4)
    assert found["by_code"] == {
        "invalid_event": 2, "invalid_json": 1, "event_conflict": 1, "event_too_large": 1,
    }  # fmt: skip
    assert [error["row"] for error in found["errors"]] == [4, 5, 6, 7, 8]
    kept = [json.loads(line) for line in Path("rejects.jsonl").read_text().splitlines()]
    assert [(k["row"], k["code"]) for k in kept][:2] == [(4, "invalid_event"), (5, "invalid_json")]
    assert kept[1]["line"] == "no json"


def test_a_csv_file_is_mapped_and_loading_it_again_gives_only_duplicates(
    stub: Stub, events: Events, capsys: Any
):
    Path("m.yaml").write_text(MAP)
    Path("a.csv").write_text(
        '\ufeffwho,at,n\nacme,2023-11-16 18:17:03.9799600,4808\n\n"b,\nc",2023-11-16,1.50\n'
    )
    code, found = run(capsys, "a.csv", "--map", "m.yaml")
    assert (code, counts(found)) == (0, (2, 2, 0, 0, 0))
    first, second = (line for _, line in sorted(events.items()))
    assert json.loads(first)["time"] == "2023-11-16T18:17:03.979960Z"
    assert b'"tokens":4808' in first
    assert json.loads(second)["subject"] == "b,\nc"
    assert b'"tokens":1.50' in second
    os.rename("a.csv", "renamed.csv")
    assert counts(run(capsys, "renamed.csv", "--map", "m.yaml")[1]) == (2, 0, 2, 0, 0)


def test_a_row_that_cannot_be_mapped_is_rejected_with_its_number(stub: Stub, capsys: Any):
    Path("m.yaml").write_text(MAP)
    Path("a.csv").write_text("who,at,n\na,never,1\na,2023-11-16,many\na,2023-11-16,3\n")
    code, found = run(capsys, "a.csv", "--map", "m.yaml")
    assert (code, counts(found)) == (1, (3, 1, 0, 0, 2))
    assert [(e["row"], e["code"]) for e in found["errors"]] == [
        (1, "invalid_timestamp"), (2, "invalid_quantity"),
    ]  # fmt: skip


def test_a_mapping_that_names_no_column_of_the_file_is_refused_before_anything_is_sent(
    stub: Stub, capsys: pytest.CaptureFixture[str]
):
    Path("m.yaml").write_text(MAP)
    Path("a.csv").write_text("who,time,n\na,2023-11-16,1\n")
    assert main(["ingest", "a.csv", "--map", "m.yaml"]) == 2
    assert "no column 'at'" in capsys.readouterr().err
    assert stub.asked == []


def test_parquet_is_read_in_row_order_with_exact_decimals(stub: Stub, events: Events, capsys: Any):
    import duckdb

    duckdb.connect().execute(
        "COPY (SELECT 'acme' AS who, TIMESTAMP '2023-11-16 18:17:03.979960' AS at, "
        "(i + 0.25)::DECIMAL(20, 2) AS n FROM range(5000) t(i)) TO 'a.parquet'"
    )
    Path("m.yaml").write_text(MAP + 'id: "r{row}"\n')
    code, found = run(capsys, "a.parquet", "--map", "m.yaml")
    assert (code, counts(found)) == (0, (5000, 5000, 0, 0, 0))
    assert b'"tokens":4999.25' in events["", "r5000"]
    assert json.loads(events["", "r1"])["time"] == "2023-11-16T18:17:03.979960Z"


def test_gzip_is_read_as_what_is_inside(stub: Stub, capsys: Any):
    Path("a.jsonl.gz").write_bytes(gzip.compress(lines(5).encode()))
    assert counts(run(capsys, "a.jsonl.gz")[1]) == (5, 5, 0, 0, 0)


def test_the_command_line_fills_in_attributes(stub: Stub, events: Events, capsys: Any):
    Path("a.jsonl").write_text('{"id":"1","subject":"acme"}\n')
    run(capsys, "a.jsonl", "--type", "t", "--source", "s")
    assert json.loads(events["s", "1"]) == {
        "id": "1", "subject": "acme", "type": "t", "source": "s",
    }  # fmt: skip


def test_history_is_refused_with_the_hint_and_taken_as_a_backfill(
    stub: Stub, capsys: pytest.CaptureFixture[str]
):
    Path("a.jsonl").write_text(lines(3, type="old"))
    assert main(["ingest", "a.jsonl"]) == 1
    assert "--backfill" in capsys.readouterr().err
    assert main(["ingest", "a.jsonl", "--backfill"]) == 0
    assert "--backfill" not in capsys.readouterr().err


def test_an_answer_that_does_not_add_up_stops_the_load(
    stub: Stub, capsys: pytest.CaptureFixture[str]
):
    body = {"received": 2, "accepted": 1, "duplicates": 0, "conflicts": 0, "rejected": 0}
    stub.routes["POST", "/v1/events"] = Answer(body=body)
    Path("a.jsonl").write_text(lines(2))
    assert main(["ingest", "a.jsonl"]) == 2
    assert "answered 2 = 1 + 0 + 0 + 0" in capsys.readouterr().err


# --- interruption -------------------------------------------------------------------------------


def failing_after(stub: Stub, events: Events, batches: int) -> None:
    """The server takes so many batches and then wants a key."""
    taken = iter(range(batches))
    double = ingest_double(events)
    stub.routes["POST", "/v1/events"] = lambda asked: (
        double(asked) if next(taken, None) is not None else problem(401, "unauthenticated")
    )


def test_a_failed_load_goes_on_where_it_ended(
    stub: Stub, events: Events, capsys: pytest.CaptureFixture[str]
):
    Path("a.jsonl").write_text(lines(50))
    failing_after(stub, events, 3)
    assert main(["ingest", "a.jsonl", "--batch", "10", "--parallel", "1", "--json"]) == 2
    assert counts(json.loads(capsys.readouterr().out)) == (30, 30, 0, 0, 0)
    stub.routes["POST", "/v1/events"] = ingest_double(events)
    stub.asked.clear()
    code, found = run(capsys, "a.jsonl", "--batch", "10")
    assert (code, counts(found)) == (0, (50, 50, 0, 0, 0))
    assert stub.times("POST", "/v1/events") == 2
    assert counts(run(capsys, "a.jsonl")[1]) == (50, 0, 50, 0, 0)


def test_a_bookmark_of_an_emptied_server_is_not_believed(
    stub: Stub, events: Events, capsys: pytest.CaptureFixture[str]
):
    Path("a.jsonl").write_text(lines(50))
    failing_after(stub, events, 3)
    main(["ingest", "a.jsonl", "--batch", "10", "--parallel", "1", "--json"])
    capsys.readouterr()
    events.clear()
    stub.routes["POST", "/v1/events"] = ingest_double(events)
    assert counts(run(capsys, "a.jsonl")[1]) == (50, 50, 0, 0, 0)
    assert len(events) == 50


def test_from_start_and_another_content_ignore_the_bookmark(
    stub: Stub, events: Events, capsys: pytest.CaptureFixture[str]
):
    Path("a.jsonl").write_text(lines(50))
    failing_after(stub, events, 3)
    main(["ingest", "a.jsonl", "--batch", "10", "--parallel", "1", "--json"])
    capsys.readouterr()
    stub.routes["POST", "/v1/events"] = ingest_double(events)
    Path("a.jsonl").write_text(lines(40))
    assert counts(run(capsys, "a.jsonl")[1]) == (40, 10, 30, 0, 0)
    Path("a.jsonl").write_text(lines(50))
    assert counts(run(capsys, "a.jsonl", "--from-start")[1]) == (50, 10, 40, 0, 0)


def test_ctrl_c_accounts_for_what_is_on_its_way_and_the_next_run_goes_on(
    stub: Stub, events: Events, capsys: Any, tmp_path: Path
):
    Path("a.jsonl").write_text(lines(500))
    reached, go_on = threading.Event(), threading.Event()
    double = ingest_double(events)

    def slow(asked: Asked) -> Answer:
        if len(events) >= 50:
            reached.set()
            go_on.wait(10)
        return double(asked)

    stub.routes["POST", "/v1/events"] = slow
    child = subprocess.Popen(
        [sys.executable, "-m", "taximeter", "ingest", "a.jsonl", "--batch", "10", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
    )
    assert reached.wait(20)
    child.send_signal(signal.SIGINT)
    assert child.stderr is not None
    while b"Finishing" not in child.stderr.readline():
        pass
    go_on.set()
    out, _ = child.communicate(timeout=60)
    interrupted = json.loads(out)
    assert child.returncode == 130
    assert interrupted["received"] == interrupted["accepted"] == len(events) < 500
    code, found = run(capsys, "a.jsonl", "--batch", "10")
    assert (code, counts(found)) == (0, (500, 500, 0, 0, 0))


def test_rows_from_stdin_need_an_id_of_their_own(
    stub: Stub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    import io

    def stdin(text: str) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))

    Path("m.yaml").write_text(MAP)
    stdin("who,at,n\na,2023-11-16,1\n")
    assert main(["ingest", "-", "--format", "csv", "--map", "m.yaml"]) == 2
    assert "give `id`" in capsys.readouterr().err
    stdin(lines(3))
    assert counts(run(capsys, "-")[1]) == (3, 3, 0, 0, 0)


def test_the_shipped_example_maps_its_trace(stub: Stub, events: Events, capsys: Any):
    Path("trace.csv").write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2024-03-31 01:59:59.1234567,120,7\n"
        "2024-03-31 02:30:00.0000000,64,1\n"
    )
    example = str(ROOT / "examples/azure-llm.map.yaml")
    assert counts(run(capsys, "trace.csv", "--map", example, "--backfill")[1]) == (2, 2, 0, 0, 0)
    found = sorted(json.loads(line)["time"] for line in events.values())
    assert found == ["2024-03-31T01:59:59.123456Z", "2024-03-31T02:30:00Z"]
    assert {asked.query.get("backfill") for asked in stub.asked if asked.method == "POST"} == {"1"}
