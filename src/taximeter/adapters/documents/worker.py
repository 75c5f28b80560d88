"""
The process that makes one document and ends: a job on stdin, the file on stdout.
"""

from __future__ import annotations

import resource
import sys
import tempfile
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from taximeter.documents.tables import Table

MEMORY_BYTES: Final = 1 << 30
_LAYOUT: Final = Path(__file__).parent / "layouts" / "paper.typ"


class PdfJob(msgspec.Struct, frozen=True, tag="pdf"):
    """
    Attributes:
        sheet: As JSON. Final documents have a date, and are made for the archive (PDF/A-3b).
    """

    sheet: str
    einvoice: bytes | None


class ParquetJob(msgspec.Struct, frozen=True, tag="parquet"):
    table: Table


Job: TypeAlias = PdfJob | ParquetJob


def typeset(job: PdfJob) -> bytes:
    """
    With the fonts of the package, so that a page has the same bytes on every machine; with those
    of the system only for characters that these lack. What no font has is shown as a box, and the
    file then makes no claim to be PDF/A, which forbids that.
    """
    import typst

    inputs: dict[str, str] = {"sheet": job.sheet}
    if job.einvoice is not None:
        inputs["einvoice"] = job.einvoice.decode()
    is_final = msgspec.json.decode(job.sheet)["date"] is not None

    def compiled(*, archive: bool, system_fonts: bool) -> bytes:
        made = typst.compile(
            str(_LAYOUT),
            root=str(_LAYOUT.parent),
            sys_inputs=inputs,
            pdf_standards=["a-3b"] if archive else [],
            ignore_system_fonts=not system_fonts,
        )
        assert isinstance(made, bytes)
        return made

    if is_final:
        for system_fonts in (False, True):
            try:
                made = compiled(archive=True, system_fonts=system_fonts)
            except typst.TypstError as error:
                if "could not be displayed" not in str(error):
                    raise
            else:
                return _declared(made) if job.einvoice is not None else made
    return compiled(archive=False, system_fonts=True)


def _declared(pdf: bytes) -> bytes:
    from taximeter.documents.facturx import declare

    return declare(pdf)


def write_parquet(table: Table) -> bytes:
    """Exact decimals and instants, not text: whoever reads it can sum it."""
    import duckdb

    names = [column.name for column in table.columns]
    texts = msgspec.json.encode(dict.fromkeys(names, "VARCHAR")).decode()
    typed = ", ".join(
        f"CAST({_quoted(one.name)} AS {one.type.value}) AS {_quoted(one.name)}"
        for one in table.columns
    )
    with tempfile.TemporaryDirectory() as directory, duckdb.connect() as database:
        lines, made = Path(directory) / "rows.json", Path(directory) / "rows.parquet"
        rows = (dict(zip(names, row, strict=True)) for row in table.rows)
        lines.write_bytes(msgspec.json.Encoder().encode_lines(rows))
        database.execute("SET TimeZone = 'UTC'; SET threads = 1")
        source = f"read_json('{lines}', format = 'newline_delimited', columns = {texts})"
        database.execute(f"COPY (SELECT {typed} FROM {source}) TO '{made}' (FORMAT parquet)")
        return made.read_bytes()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def main() -> int:
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    job = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Job)
    made = typeset(job) if isinstance(job, PdfJob) else write_parquet(job.table)
    sys.stdout.buffer.write(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
