"""What the event store leaves on disk, and what it makes of what it finds there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.contract.event_store_world import MemoryLog, entry

from taximeter.adapters.store.columnar import ColumnarStore
from taximeter.adapters.store.files import EventFile, event_file, run_to_merge
from taximeter.errors import Damaged
from taximeter.events.entry import Entry
from taximeter.events.envelope import Format
from taximeter.meters.definition import Aggregation, Meter
from taximeter.periods import Period
from taximeter.ports import UsageQuery
from taximeter.quantities import E12

ALL = (Period(0, 2**60),)
TOKENS = Meter("tokens", "llm", Aggregation.SUM, "data.tokens")


def log_of(events: int) -> MemoryLog:
    """Entries of ten events with one token each."""
    ids = range(events)
    return MemoryLog(
        entry(
            [
                {"id": str(i), "type": "llm", "subject": f"s{i % 3}", "data": {"tokens": 1}}
                for i in ids[first : first + 10]
            ]
        )
        for first in range(0, events, 10)
    )


def opened(directory: Path, log: MemoryLog, **settings: Any) -> ColumnarStore:
    return ColumnarStore(directory, log.read, threads=1, **{"seal_rows": 20, **settings})


def names(directory: Path) -> list[str]:
    return sorted(
        "-".join(str(int(part)) for part in path.stem.split("-"))
        for path in directory.glob("*.parquet")
    )


def tokens(store: ColumnarStore, upto: int) -> int:
    (row,) = store.usage(UsageQuery("default", TOKENS, ALL, upto))
    assert row.value_pico == row.events * E12
    return row.events


def filled(directory: Path, events: int = 60) -> MemoryLog:
    """Three sealed files of twenty events."""
    log = log_of(events)
    store = opened(directory, log)
    for upto in range(10, events + 1, 10):
        store.refresh(upto)
    store.close()
    return log


def test_a_restart_goes_on_behind_the_last_file(tmp_path: Path) -> None:
    log = filled(tmp_path, 70)
    assert names(tmp_path) == ["1-20", "21-40", "41-60"]
    store = opened(tmp_path, log)
    log.reads.clear()
    assert tokens(store, 70) == 70
    assert log.reads == [(60, 70)]
    assert store.progress.sealed_position == 60
    store.close()


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "zeros", "foreign", "fewer rows"])
def test_a_file_that_is_not_whole_is_written_again_from_the_log(
    tmp_path: Path, damage: str
) -> None:
    log = filled(tmp_path)
    path = event_file(tmp_path, 21, 40).path
    whole = path.read_bytes()
    replaced = {
        "empty": b"",
        "cut": whole[: len(whole) // 2],
        "zeros": bytes(len(whole)),
        "foreign": b"PAR1 nothing else PAR1",
    }
    if damage == "missing":
        path.unlink()
    elif damage == "fewer rows":
        partial = ColumnarStore(tmp_path / "other", log.read, seal_rows=10)
        partial.refresh(10)
        partial.close()
        event_file(tmp_path / "other", 1, 10).path.rename(path)
    else:
        path.write_bytes(replaced[damage])
    log.reads.clear()
    store = opened(tmp_path, log)
    assert tokens(store, 60) == 60
    assert log.reads == [(20, 40)], "only the gap is read"
    assert names(tmp_path) == ["1-20", "21-40", "41-60"]
    store.close()


def test_a_page_that_has_rotted_while_open_is_written_again(tmp_path: Path) -> None:
    log = filled(tmp_path)
    store = opened(tmp_path, log)
    path = event_file(tmp_path, 21, 40).path
    content = bytearray(path.read_bytes())
    footer = int.from_bytes(content[-8:-4], "little")
    content[4 : len(content) - footer - 8] = bytes(len(content) - footer - 12)
    path.write_bytes(content)
    assert tokens(store, 60) == 60
    assert names(tmp_path) == ["1-20", "21-40", "41-60"]
    store.close()


def test_a_file_deleted_while_open_is_written_again(tmp_path: Path) -> None:
    log = filled(tmp_path)
    store = opened(tmp_path, log)
    event_file(tmp_path, 1, 20).path.unlink()
    assert tokens(store, 60) == 60
    assert store.progress.files == 3
    store.close()


def test_leftovers_and_overlapping_files_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash between the rename of a merged file and the deletion of its parts."""
    log = filled(tmp_path)
    parts = {path: path.read_bytes() for path in tmp_path.glob("*.parquet")}
    store = opened(tmp_path, log, merged_rows=1000)
    _merge_all(store, monkeypatch)
    store.close()
    assert names(tmp_path) == ["1-60"]
    for path, content in parts.items():
        path.write_bytes(content)
    (tmp_path / "00000000000000000061-00000000000000000080.tmp").write_bytes(b"unfinished")
    store = opened(tmp_path, log)
    assert [path.name for path in tmp_path.iterdir()] == [event_file(tmp_path, 1, 60).path.name]
    assert tokens(store, 60) == 60
    store.close()


def _merge_all(store: ColumnarStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taximeter.adapters.store.columnar.MERGE_FILES", 3)
    assert store.compact()
    assert not store.compact()


def test_files_beyond_the_log_are_of_another_log(tmp_path: Path) -> None:
    filled(tmp_path)
    younger = log_of(30)
    store = opened(tmp_path, younger, durable=30)
    assert names(tmp_path) == ["1-20"]
    assert tokens(store, 30) == 30
    store.close()


def test_a_full_disk_keeps_events_in_memory_and_tries_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = log_of(40)
    store = opened(tmp_path, log)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("taximeter.adapters.store.columnar.write_file", refuse)
        assert tokens(store, 30) == 30
        assert store.progress.problem is not None
        assert store.progress.tail_rows == 30
    assert tokens(store, 40) == 40
    assert (store.progress.problem, store.progress.tail_rows) == (None, 0)
    assert names(tmp_path) == ["1-40"]
    store.close()


def test_an_accepted_event_that_cannot_be_read_is_damage(tmp_path: Path) -> None:
    broken = Entry("default", 0, Format.ARRAY, b"\0\0", b'[{"id":"a"},{"id":"b"}]')
    store = opened(tmp_path, MemoryLog([broken]))
    with pytest.raises(Damaged) as caught:
        store.refresh(2)
    assert caught.value.code == "log_damaged"
    store.close()


def files(*bounds: tuple[int, int]) -> list[EventFile]:
    return [event_file(Path(), first, last) for first, last in bounds]


def test_only_adjacent_small_files_are_merged() -> None:
    small = files((1, 10), (11, 20), (21, 30))
    assert run_to_merge(small, 3, 100) == small
    assert run_to_merge(small, 4, 100) == []
    assert run_to_merge(small, 3, 25) == []
    apart = files((1, 10), (11, 20), (31, 40))
    assert run_to_merge(apart, 3, 100) == []
    behind_a_big_one = files((1, 1000), (1001, 1010), (1011, 1020), (1021, 1030))
    assert run_to_merge(behind_a_big_one, 3, 100) == behind_a_big_one[1:]
