"""
The event store: Parquet files for what is old, a table in memory for what is new, DuckDB over both.

Everything here is a copy. The log is the truth: each answer first reads the log up to the position
asked for, and files that are missing or damaged are written again from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import duckdb
import msgspec
import numpy as np
from duckdb.func import FunctionNullHandling

from taximeter.adapters.store import proofs, sql
from taximeter.adapters.store.files import (
    EventFile,
    event_file,
    find_files,
    is_readable,
    run_to_merge,
    write_file,
)
from taximeter.adapters.store.late import late
from taximeter.adapters.store.leaves import column_name
from taximeter.adapters.store.lookups import (
    count_by_subject,
    find,
    line_events,
    list_events,
    received,
    scan,
    select,
)
from taximeter.adapters.store.recounts import recount
from taximeter.adapters.store.remembered import Remembered
from taximeter.adapters.store.rows import Chunk, ReadLog, chunks
from taximeter.adapters.store.standing import COLUMNS, TABLE, annotated, note, with_standing
from taximeter.adapters.store.usage import usage
from taximeter.adapters.store.wire import SEAL_ROWS, Progress
from taximeter.errors import Unavailable
from taximeter.live.refold import Folded, FoldSpec, refold
from taximeter.periods import Period
from taximeter.ports import (
    EventsQuery,
    LateQuery,
    LateRow,
    LineScope,
    Recount,
    Selection,
    StoredEvent,
    UsageQuery,
    UsageRow,
)
from taximeter.rules.trial import Trial, TrialSpec, run_trial

MERGED_ROWS: Final = 1_000_000
MERGE_FILES: Final = 8
CHUNK_ROWS: Final = 20_000

MAX_LEAF_COLUMNS: Final = 64
"""Further paths of a file share one map, `rest`: exact as well, but slower. So a sender that makes
up member names costs itself speed, and nobody else memory."""

_TAIL: Final = """
CREATE OR REPLACE TABLE tail (
    seq BIGINT, namespace VARCHAR, id VARCHAR, source VARCHAR, "type" VARCHAR, subject VARCHAR,
    "time" BIGINT, received_at BIGINT, data VARCHAR, retracts BIGINT, replaces BIGINT)
"""

_T = TypeVar("_T")


class ColumnarStore:
    """
    An `EventStore` in this process, for one thread at a time.

    Args:
        directory: Of the Parquet files; made if missing.
        read_log: Reads durable entries.
        durable: The log's position, if known: files beyond it are of another log and deleted.
        seal_rows: How many new events are kept in memory before they become a file.
        threads: Of DuckDB.
        memory_limit: Of DuckDB, beyond which it spills to disk, such as "1GB".
    """

    def __init__(
        self,
        directory: Path,
        read_log: ReadLog,
        *,
        durable: int | None = None,
        seal_rows: int = SEAL_ROWS,
        merged_rows: int = MERGED_ROWS,
        threads: int = 2,
        memory_limit: str = "2GB",
    ) -> None:
        self._directory = directory
        self._read_log = read_log
        self._seal_rows = seal_rows
        self._merged_rows = merged_rows
        self._problem: str | None = None
        self._tail_rows = 0
        self._tail_leaves: set[str] = set()
        self._tail_has_rest = False
        directory.mkdir(parents=True, exist_ok=True)
        self._db = _connect(directory, threads, memory_limit)
        self._open(durable)

    def _open(self, durable: int | None) -> None:
        """Begin from what is on disk."""
        self._remembered = Remembered()
        self._files: list[EventFile] = []  # from seq 1 without a gap
        self._ahead = find_files(self._directory, self._db, durable)  # behind a gap
        self._position = 0
        self._db.execute(TABLE)
        self._corrected = False
        self._empty_tail()
        self._adopt()
        self._define_events()

    def _adopt(self) -> None:
        """Take up files that go on exactly where the tail begins; drop those it has overtaken."""
        while self._ahead and self._ahead[0].first <= self._position + 1:
            file = self._ahead.pop(0)
            if file.first == self._position + 1:
                self._seal_tail()
                self._files.append(file)
                self._corrected |= note(self._db, _reading([file]))
                self._position = file.last
            else:
                file.path.unlink()

    def close(self) -> None:
        """The tail is forgotten; the log has it."""
        self._db.close()

    @property
    def position(self) -> int:
        return self._position

    @property
    def progress(self) -> Progress:
        return Progress(
            position=self._position,
            sealed_position=self._position - self._tail_rows,
            tail_rows=self._tail_rows,
            files=len(self._files),
            bytes=sum(file.path.stat().st_size for file in self._files),
            problem=self._problem,
        )

    # --- taking in ----------------------------------------------------------------------------

    def refresh(self, upto: int) -> None:
        """
        Read the log up to a durable position.

        Raises:
            Unavailable: `position_not_reached`: the log does not reach it.
            Damaged: `log_damaged`.
        """
        while self._position < upto:
            stop = min(upto, self._ahead[0].first - 1) if self._ahead else upto
            for chunk in chunks(self._read_log(self._position, stop), self._position, CHUNK_ROWS):
                self._append(chunk)
            if self._position < stop:
                raise Unavailable(
                    "position_not_reached",
                    f"the log ends at {self._position}, before {upto}",
                    position=self._position,
                )
            if self._ahead:
                self._adopt()
                self._define_events()

    def _append(self, chunk: Chunk) -> None:
        columns: dict[str, Any] = dict(chunk.fixed)
        crowded: list[str] = []
        added = False
        for path, leaves in chunk.leaves.items():
            name = column_name(path)
            if name not in self._tail_leaves:
                if len(self._tail_leaves) == MAX_LEAF_COLUMNS:
                    crowded.append(path)
                    continue
                self._db.execute(f'ALTER TABLE tail ADD COLUMN "{name}" VARCHAR')
                self._tail_leaves.add(name)
                added = True
            columns[name] = leaves
        if crowded:
            added |= self._add_rest_column()
            columns["rest"] = _rest(chunk, crowded)
        self._insert(columns)
        if "retracts" in columns:
            first = self._position + 1
            note(self._db, f"(SELECT * FROM tail WHERE seq >= {first})")
            added |= not self._corrected
            self._corrected = True
        self._tail_rows += chunk.rows
        self._position += chunk.rows
        if added:
            self._define_events()
        if self._tail_rows >= self._seal_rows:
            self.seal()

    def _add_rest_column(self) -> bool:
        if self._tail_has_rest:
            return False
        self._db.execute("ALTER TABLE tail ADD COLUMN rest MAP(VARCHAR, VARCHAR)")
        self._tail_has_rest = True
        return True

    def _insert(self, columns: dict[str, Any]) -> None:
        selected = ", ".join(map(_selected, columns))
        self._db.register("chunk", columns)
        try:
            self._db.execute(f"INSERT INTO tail BY NAME SELECT {selected} FROM chunk")
        finally:
            self._db.unregister("chunk")

    def _empty_tail(self) -> None:
        self._db.execute(_TAIL)
        self._tail_rows = 0
        self._tail_leaves = set()
        self._tail_has_rest = False

    # --- files --------------------------------------------------------------------------------

    def seal(self) -> None:
        """
        Write the tail to a file. If the disk refuses, the events stay in memory and the next call
        tries again.
        """
        try:
            self._seal_tail()
            self._problem = None
        except (OSError, duckdb.IOException) as error:
            self._problem = str(error)
        self._define_events()

    def _seal_tail(self) -> None:
        if not self._tail_rows:
            return
        first = self._position - self._tail_rows + 1
        file = event_file(self._directory, first, self._position)
        write_file(file, "SELECT * FROM tail", self._db)
        self._files.append(file)
        self._empty_tail()

    def compact(self) -> bool:
        """Merge one run of small files into a bigger one, if there is one; whether it did."""
        run = run_to_merge(self._files, MERGE_FILES, self._merged_rows)
        if not run:
            return False
        merged = event_file(self._directory, run[0].first, run[-1].last)
        write_file(merged, f"SELECT * FROM {_reading(run)}", self._db)
        at = self._files.index(run[0])
        self._files[at : at + len(run)] = [merged]
        self._define_events()
        for file in run:
            file.path.unlink()
        return True

    def _define_events(self) -> None:
        """The view `events`: files and tail as one relation, with `retracted_by`."""
        parts = _together([f"SELECT * FROM {_reading(self._files)}"] if self._files else [])
        # The columns of all files, for statements that read only some of these.
        self._db.execute(f"CREATE OR REPLACE TABLE shape AS FROM ({parts}) LIMIT 0")
        every = with_standing(parts, corrected=self._corrected)
        self._db.execute(f"CREATE OR REPLACE VIEW events AS {every}")
        described = self._db.execute("DESCRIBE events").fetchall()
        self._held: dict[str, bool] = {}  # of the files: what `_holds` was asked
        columns = {row[0] for row in described}
        self._relation = sql.Relation(columns, self._holds_nested, self._holds_text, self._behind)

    def _behind(self, seq: int) -> str:
        """What holds the events above a position: often the tail alone."""
        files = [file for file in self._files if file.last > seq]
        if len(files) == len(self._files):
            return "events"
        parts = ["SELECT * FROM shape", *([f"SELECT * FROM {_reading(files)}"] if files else [])]
        return f"({with_standing(_together(parts), corrected=self._corrected)})"

    def _holds_nested(self, column: str) -> bool:
        return self._holds(column, "IN ('{', '[')")

    def _holds_text(self, column: str) -> bool:
        return self._holds(column, "< '#'")

    def _holds(self, column: str, condition: str) -> bool:
        """
        Whether a column has a leaf of some kind. Files are asked once: they know the least and the
        greatest leaf of each part of a column.
        """
        text = f'"{column}" {condition}'
        if self._files and text not in self._held:
            self._held[text] = self._any(_reading(self._files), text)
        in_files = self._held.get(text, False)
        return in_files or (column in self._tail_leaves and self._any("tail", text))

    def _any(self, source: str, condition: str) -> bool:
        try:
            rows = self._db.execute(f"SELECT 1 FROM {source} WHERE {condition} LIMIT 1").fetchall()
        except duckdb.BinderException:  # there is no such column
            return False
        return bool(rows)

    # --- answers ------------------------------------------------------------------------------

    def usage(self, query: UsageQuery) -> list[UsageRow]:
        return self._answer(query.upto, lambda: usage(self._db, self._relation, query))

    def recount(
        self, scopes: Sequence[LineScope], proofs: bool = True, anew: bool = False
    ) -> list[list[Recount]]:
        upto = max((scope.upto for scope in scopes), default=0)
        return self._answer(
            upto,
            lambda: recount(
                self._db, self._relation, scopes, self._remembered, proofs=proofs, anew=anew
            ),
        )

    def events(self, query: EventsQuery) -> list[StoredEvent]:
        return self._answer(query.upto, lambda: self._listed(query))

    def _listed(self, query: EventsQuery) -> list[StoredEvent]:
        return annotated(self._db, list_events(self._db, self._sources(), query), query.upto)

    def late(self, query: LateQuery) -> list[LateRow]:
        return self._answer(query.upto, lambda: late(self._db, query))

    def select(self, selection: Selection) -> list[StoredEvent]:
        return self._answer(selection.upto, lambda: self._selected(selection))

    def _selected(self, selection: Selection) -> list[StoredEvent]:
        found = select(self._db, self._relation, selection)
        return annotated(self._db, found, selection.upto)

    def line_events(
        self, scope: LineScope, group: tuple[str | None, ...], after: int, limit: int
    ) -> list[StoredEvent]:
        return self._answer(
            scope.upto,
            lambda: line_events(self._db, self._relation, scope, group, after, limit),
        )

    def find(self, namespace: str, seq: int) -> StoredEvent | None:
        return self._answer(seq, lambda: find(self._db, self._source_of(seq), namespace, seq))

    def count_by_subject(
        self, namespace: str, upto: int, subjects: Sequence[str]
    ) -> dict[str, int]:
        return self._answer(upto, lambda: count_by_subject(self._db, namespace, upto, subjects))

    def scan(
        self,
        namespace: str,
        upto: int,
        types: Iterable[str],
        subjects: Iterable[str] | None = None,
    ) -> Iterator[StoredEvent]:
        wanted = (tuple(types), None if subjects is None else tuple(subjects))
        self.refresh(upto)
        return scan(self._db, namespace, upto, *wanted)

    def fold(self, spec: FoldSpec) -> Folded:
        """What counters would have counted, from the events with seq in (after, upto]."""
        self.refresh(max(spec.upto, spec.corrected or 0))
        events = scan(
            self._db,
            spec.namespace,
            spec.upto,
            spec.event_types,
            spec.subjects,
            after=spec.after,
            corrected=spec.corrected,
            span=spec.span,
        )
        left_out = spec.without
        return refold(spec, ((one.event, one.time) for one in events if one.seq not in left_out))

    def trial(self, spec: TrialSpec) -> Trial:
        """When a rule would have fired."""
        self.refresh(spec.upto)
        events = received(
            self._db,
            spec.namespace,
            spec.upto,
            spec.rule.on,
            Period(max(0, spec.warm_from), spec.end),
        )
        return run_trial(spec, ((one.seq, one.event, one.time, one.received_at) for one in events))

    def _sources(self) -> Iterator[str]:
        """The relations behind `events`, newest first."""
        yield "tail"
        for file in reversed(self._files):
            yield _reading([file])

    def _source_of(self, seq: int) -> str:
        """The one file that can hold a seq, or the tail."""
        for file in self._files:
            if file.first <= seq <= file.last:
                return _reading([file])
        return "tail"

    def _answer(self, upto: int, ask: Callable[[], _T]) -> _T:
        self.refresh(upto)
        try:
            return ask()
        except duckdb.Error:
            if not self._drop_damaged():
                raise
        self.refresh(upto)
        return ask()

    def _drop_damaged(self) -> bool:
        """Delete files that cannot be read, to be written again; whether there were any."""
        damaged = [file for file in self._files if not is_readable(file, self._db)]
        if not damaged:
            return False
        for file in damaged:
            file.path.unlink(missing_ok=True)
        self._open(None)
        return True


def _connect(directory: Path, threads: int, memory_limit: str) -> duckdb.DuckDBPyConnection:
    db = duckdb.connect(
        ":memory:",
        config={
            "threads": threads,
            "memory_limit": memory_limit,
            "temp_directory": str(directory / "spill"),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        },
    )
    for function, takes, gives in (*sql.FUNCTIONS, proofs.FUNCTION):
        db.create_function(
            function.__name__,
            function,
            takes,
            gives,
            null_handling=FunctionNullHandling.SPECIAL,
        )
    return db


def _selected(column: str) -> str:
    """A column of a chunk as the tail has it."""
    if column == "rest":
        return "rest::JSON::MAP(VARCHAR, VARCHAR) AS rest"
    return f"nullif({column}, 0) AS {column}" if column in COLUMNS else f'"{column}"'


def _together(parts: Sequence[str]) -> str:
    """These and the tail, column by column."""
    return " UNION ALL BY NAME ".join([*parts, "SELECT * FROM tail"])


def _reading(files: Sequence[EventFile]) -> str:
    paths = ", ".join("'" + str(file.path).replace("'", "''") + "'" for file in files)
    return f"read_parquet([{paths}], union_by_name = true)"


def _rest(chunk: Chunk, paths: Sequence[str]) -> np.ndarray[Any, Any]:
    """Leaves of further paths as JSON objects from column name to leaf, None for none."""
    rows: list[dict[str, str]] = [{} for _ in range(chunk.rows)]
    for path in paths:
        name = column_name(path)
        for members, text in zip(rows, chunk.leaves[path], strict=True):
            if text is not None:
                members[name] = text
    column = np.empty(chunk.rows, dtype=object)
    column[:] = [msgspec.json.encode(members).decode() if members else None for members in rows]
    return column
