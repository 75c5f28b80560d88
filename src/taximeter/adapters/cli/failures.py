"""Errors as a person at a terminal, or a script with `--json`, wants them."""

from __future__ import annotations

import json
import sys
from typing import Final

from taximeter.errors import Refused, TaximeterError

OK: Final = 0
DIFFERENCE: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130

# What to do next, by code.
HINTS: Final = {
    "unreachable": "Start one with `taximeter serve --dev`, or set TAXIMETER_URL.",
    "unauthenticated": "Set TAXIMETER_KEY, or give --data DIR to read DIR/owner.key.",
    "insufficient_scope": "Use a key with that scope; `taximeter keys list` shows them.",
    "timestamp_too_old": "If these are old events on purpose, run again with --backfill.",
    "log_locked": "A node may be running on this data directory; stop it first.",
    "catalog_changed": "Run the command again to see the new difference.",
    "not_sandbox": "Start the server with --sandbox.",
    "rebuilding": "Try again in a moment; `taximeter doctor` shows the progress.",
    "storage_failed": "`taximeter doctor` shows what is wrong.",
    "storage_full": "Free some space; nothing of the request was stored.",
}

# Answers of the gate that HTTP says with a status of another family.
_REFUSALS: Final = frozenset({"rate_limited", "exceeds_reservation"})


def report(error: TaximeterError, *, as_json: bool) -> int:
    """Print an error on stderr; returns the exit code."""
    told = error.details.get("help")
    hint = told if isinstance(told, str) else HINTS.get(error.code)
    if as_json:
        problem = {"code": error.code, "detail": error.message, **error.details}
        print(json.dumps(problem | ({"hint": hint} if hint else {})), file=sys.stderr)
    else:
        print(f"{error.message} [{error.code}]", file=sys.stderr)
        if hint:
            print(hint, file=sys.stderr)
    is_refusal = isinstance(error, Refused) or error.code in _REFUSALS
    return DIFFERENCE if is_refusal else USAGE
