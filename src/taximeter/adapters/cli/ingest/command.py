"""`ingest`: the command around `load`: files, mapping, progress, resumption, the final word."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Annotated, Any, Literal

import msgspec
from cyclopts import Parameter

from taximeter.adapters.cli.common import FILE, Server, console, notice, print_json
from taximeter.adapters.cli.corrections import stage_into
from taximeter.adapters.cli.failures import DIFFERENCE, INTERRUPTED, OK
from taximeter.adapters.cli.ingest.load import COUNTS, Batch, Item, Reject, Totals, batches, load
from taximeter.adapters.cli.ingest.mapping import (
    EventMap,
    compile_mapping,
    default_mapping,
    read_yaml,
)
from taximeter.adapters.cli.ingest.progress import Progress
from taximeter.adapters.cli.ingest.resume import Bookmark
from taximeter.adapters.cli.ingest.sources import Source, decode_line, digest_of, open_source
from taximeter.adapters.client import Client
from taximeter.errors import NotFound, Rejected, TaximeterError, Unavailable

HERE = Server()
PATIENCE_S = 60.0
SAVE_EVERY_S = 1.0
REJECTS_SHOWN = 10

_encoder = msgspec.json.Encoder(decimal_format="number")


def ingest(
    files: Annotated[tuple[Path, ...], Parameter(required=True), FILE],
    /,
    *,
    map: Path | None = None,
    format: Literal["jsonl", "csv", "tsv", "parquet"] | None = None,
    type: str | None = None,
    source: str | None = None,
    subject: str | None = None,
    batch: int = 1_000,
    parallel: int = 4,
    backfill: bool = False,
    stage: str | None = None,
    reason: str | None = None,
    from_start: bool = False,
    rejects: Path | None = None,
    server: Server = HERE,
) -> int:
    """
    Load events from files. Exits 1 if any row was rejected or conflicts.

    Parameters
    ----------
    files
        JSON lines, CSV, TSV (also .gz) or Parquet; - for stdin.
    map
        Mapping file (YAML) from columns to events.
    format
        Instead of judging by the file's name.
    type
        Type of every event.
    source
        Source of every event.
    subject
        Subject of every event.
    batch
        Events in one request, up to 10000.
    parallel
        Requests in flight. Use 1 if rows of one file may conflict with each other.
    backfill
        Take events older than the acceptance window, and count them at once.
    stage
        Stage the events in this backfill instead, to be looked at before they count.
    reason
        Open that backfill for this reason.
    from_start
        Do not go on where an interrupted load of the same file ended.
    rejects
        Write rows that were not counted to this file, as JSON lines.
    """
    if not 1 <= batch <= 10_000 or not 1 <= parallel <= 64:
        raise Rejected("invalid_parameter", "--batch is 1 to 10000, --parallel is 1 to 64.")
    given = {"type": type, "source": source, "subject": subject}
    constants = {name: value for name, value in given.items() if value is not None}
    mapping_text = _read_text(map) if map else None
    stop = Stop()
    client = server.client(patience_s=PATIENCE_S, sleep=stop.sleep)
    if stage is not None:
        stage_into(client, stage, reason)
    run = Run(client, batch, parallel, stage or ("1" if backfill else None), stop)
    results: dict[str, Totals] = {}
    failure: TaximeterError | None = None
    with ExitStack() as stack:
        run.rejects_file = stack.enter_context(rejects.open("ab")) if rejects else None
        stack.enter_context(stop.on_interrupt())
        progress = stack.enter_context(Progress())
        for path in files:
            rows = FileRows(path, format, mapping_text, constants)
            totals = results.setdefault(str(path), Totals())
            try:
                run.file(rows, totals, progress, resume=not from_start)
            except TaximeterError as error:
                failure = error
            if failure or stop.requested:
                break
    _say(results, run.first_rejects, backfill or stage is not None, as_json=server.json)
    if stop.requested:
        notice("Interrupted. The same command goes on from here.")
        return INTERRUPTED
    if failure:
        raise failure
    return DIFFERENCE if any(t.rejected or t.conflicts for t in results.values()) else OK


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Rejected("invalid_file", f"{path} cannot be read: {error}.") from error


class Stop:
    """Ctrl-C once: read no further and wait for what is on its way. Twice: at once."""

    def __init__(self) -> None:
        self._event = threading.Event()

    @property
    def requested(self) -> bool:
        return self._event.is_set()

    def sleep(self, seconds: float) -> None:
        """A pause between two attempts; nobody who wants to leave waits for it."""
        if self._event.wait(seconds):
            raise Unavailable("unreachable", "Interrupted while the server did not answer.")

    @contextmanager
    def on_interrupt(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield  # signals belong to the main thread
            return
        before = signal.signal(signal.SIGINT, self._first)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _first(self, *_: Any) -> None:
        self._event.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        notice("\nFinishing what is on its way; Ctrl-C again to leave at once.")


class FileRows:
    """One file and how its rows become events."""

    def __init__(
        self, path: Path, form: str | None, mapping_text: str | None, constants: dict[str, str]
    ) -> None:
        self.path = path
        self.is_stdin = str(path) == "-"
        self.digest = "" if self.is_stdin else digest_of(path)
        self.recipe = f"{form}\0{mapping_text}\0{sorted(constants.items())}"
        self.source: Source = open_source(path, form)
        self._constants = constants
        self._map: EventMap | None = None
        columns = self.source.columns()
        if mapping_text is not None:
            self._map = compile_mapping(read_yaml(mapping_text), constants)
        elif columns is not None:
            self._map = default_mapping(columns, constants)
        if self._map is not None and columns is not None:
            missing = sorted(self._map.columns - set(columns))
            if missing:
                raise Rejected("invalid_file", f"{path} has no column {missing[0]!r}.")
        if self._map is not None and self._map.needs_file_id and self.is_stdin:
            raise Rejected(
                "invalid_file",
                "Rows from stdin have no file to be named by: give `id` in the mapping.",
            )

    def item(self, number: int, row: Any) -> Item:
        """
        Raises:
            Rejected: The row is no event.
        """
        values = decode_line(row) if isinstance(row, bytes) else row
        if self._map is not None:
            values = self._map.event(values, number, self.digest[:16])
        elif self._constants:
            values = {**values, **self._constants}
        else:
            return _item(number, row, values)  # byte for byte as it is in the file
        return _item(number, _encoder.encode(values), values)


def _item(number: int, line: bytes, event: dict[str, Any]) -> Item:
    return Item(number, line, str(event.get("source") or ""), str(event.get("id") or ""))


class Run:
    """What all files of one command share."""

    def __init__(
        self, client: Client, batch: int, parallel: int, backfill: str | None, stop: Stop
    ) -> None:
        self._client, self._batch, self._parallel = client, batch, parallel
        self._backfill, self._stop = backfill, stop
        self.first_rejects: list[tuple[str, Reject]] = []
        self.rejects_file: IO[bytes] | None = None

    def file(self, rows: FileRows, totals: Totals, progress: Progress, *, resume: bool) -> None:
        """Load one file; `totals` is kept up to date also when this raises."""
        bookmark = None
        if not rows.is_stdin:
            bookmark = Bookmark(os.environ, rows.digest, rows.recipe, self._client.url)
            if resume:
                self._go_on(bookmark, totals)
        save = _Throttled(lambda: bookmark.save(totals) if bookmark else None)

        def account(batch: Batch, answer: dict[str, Any], found: list[Reject]) -> None:
            totals.add(batch, answer, found)
            self._keep(rows.path, found)
            progress.update(totals, rows.source.bytes_read())
            save()

        progress.begin(str(rows.path), rows.source.size)
        done = totals.rows
        numbered = ((n, row) for n, row in rows.source.rows() if n > done)
        try:
            load(
                batches(numbered, rows.item, self._batch),
                self._send,
                account,
                parallel=self._parallel,
                stopped=lambda: self._stop.requested,
            )
        except BaseException:
            save(now=True)
            raise
        if self._stop.requested:
            save(now=True)
        elif bookmark:
            bookmark.forget()

    def _send(self, body: bytes) -> dict[str, Any]:
        answer: dict[str, Any] = self._client.request(
            "POST",
            "/v1/events",
            query={"backfill": self._backfill},
            body=body,
            content_type="application/x-ndjson",
        ).json()
        return answer

    def _go_on(self, bookmark: Bookmark, totals: Totals) -> None:
        """Take up saved totals, if the server still has what they say it has."""
        saved = bookmark.read()
        if saved is None or saved.last is None:
            return
        try:
            self._client.get("/v1/events/receipt", source=saved.last[0], id=saved.last[1])
        except NotFound:
            return  # another server behind the same URL, or an emptied one
        for name in Totals.__struct_fields__:
            setattr(totals, name, getattr(saved, name))
        notice(f"Going on after row {saved.rows}, where an interrupted load ended.")

    def _keep(self, path: Path, found: list[Reject]) -> None:
        room = REJECTS_SHOWN - len(self.first_rejects)
        self.first_rejects += [(str(path), reject) for reject in found[:room]]
        if self.rejects_file:
            for reject in found:
                self.rejects_file.write(_reject_line(path, reject))


class _Throttled:
    """Calls at most once in `SAVE_EVERY_S`, and at once when told so."""

    def __init__(self, action: Callable[[], None]) -> None:
        self._action = action
        self._last = time.monotonic()

    def __call__(self, *, now: bool = False) -> None:
        if now or time.monotonic() - self._last >= SAVE_EVERY_S:
            self._action()
            self._last = time.monotonic()


def _reject_line(path: Path, reject: Reject) -> bytes:
    about = {"file": str(path), "row": reject.row, "id": reject.id, "code": reject.code}
    return (
        _encoder.encode(
            {**about, "detail": reject.detail, "line": reject.line.decode("utf-8", "replace")}
        )
        + b"\n"
    )


# --- the final word -----------------------------------------------------------------------------


def _say(
    results: dict[str, Totals], first: list[tuple[str, Reject]], backfill: bool, *, as_json: bool
) -> None:
    whole = {name: sum(getattr(t, name) for t in results.values()) for name in COUNTS}
    codes: dict[str, int] = {}
    for totals in results.values():
        for code, count in totals.by_code.items():
            codes[code] = codes.get(code, 0) + count
    if as_json:
        print_json(_as_json(results, whole, codes, first))
        return
    out = console()
    for name in COUNTS:
        out.print(f"{name:<12}{whole[name]:>14,}")
    if codes:
        out.print()
        for code, count in sorted(codes.items(), key=lambda pair: (-pair[1], pair[0])):
            out.print(f"  {code:<24}{count:>10,}")
        for path, reject in first:
            line = f"  {path}, row {reject.row}: {reject.detail} [{reject.code}]"
            out.print(line, markup=False, soft_wrap=True)
    if whole["received"] and codes.get("timestamp_too_old") == whole["received"] and not backfill:
        notice(
            "Every row is older than the server's acceptance window. To load history on purpose, "
            "run again with --backfill."
        )


def _as_json(
    results: dict[str, Totals],
    whole: dict[str, int],
    codes: dict[str, int],
    first: list[tuple[str, Reject]],
) -> dict[str, Any]:
    return {
        **whole,
        "by_code": codes,
        "errors": [
            {"file": path, "row": r.row, "id": r.id, "code": r.code, "detail": r.detail}
            for path, r in first
        ],
        "files": [
            {"file": path, **{name: getattr(totals, name) for name in COUNTS}}
            for path, totals in results.items()
        ],
    }
