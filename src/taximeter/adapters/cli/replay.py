"""`replay`: everything worked out again from the log, and compared with what is there."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated

from taximeter.adapters.cli.common import FILE, Server, console, print_json
from taximeter.adapters.cli.failures import DIFFERENCE, OK
from taximeter.errors import Rejected

HERE = Server()


def replay(*, scratch: Annotated[Path | None, FILE] = None, server: Server = HERE) -> int:
    """
    Work out live state, ledger and invoices of a data directory (--data) again from its log, and
    compare them byte for byte. The node may be running. Exits 1 on a difference.

    Parameters
    ----------
    scratch
        An empty directory for what is worked out; else a temporary one. It takes about as much
        space as the log.
    """
    from taximeter.adapters.replay import check_scratch, replay_directory

    if server.data is None:
        raise Rejected("invalid_file", "Name the data directory: --data DIR.")
    if scratch is not None:
        check_scratch(scratch)
    with tempfile.TemporaryDirectory(prefix="taximeter-replay-") as temporary:
        place = Path(temporary) / "replay" if scratch is None else scratch
        found = asyncio.run(replay_directory(server.data, place))
    ok = not any(one.differences for one in found)
    if server.json:
        print_json({"ok": ok, "compared": found})
        return OK if ok else DIFFERENCE
    out = console()
    for one in found:
        verdict = "[red]NOT the same[/]" if one.differences else "[green]the same[/]"
        out.print(f"{one.what}: {one.count} at {one.position}, {verdict}  [dim]{one.digest}[/]")
        for difference in one.differences:
            out.print(f"  {difference}", markup=False)
    return OK if ok else DIFFERENCE
