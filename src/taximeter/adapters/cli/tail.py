"""`tail`: events as they are decided."""

from __future__ import annotations

import time
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from taximeter.adapters.cli.common import Server, console, notice
from taximeter.errors import Unavailable

HERE = Server()
RECONNECT_PAUSE_S = 1.0
_COLOURS = {"accepted": "green", "duplicate": "yellow", "conflict": "magenta", "rejected": "red"}


def tail(
    *,
    type: str | None = None,
    customer: str | None = None,
    count: Annotated[int | None, Parameter(name=("--count", "-n"))] = None,
    server: Server = HERE,
) -> int:
    """
    Follow events with their verdicts, until Ctrl-C.

    Parameters
    ----------
    type
        Only events of this type.
    customer
        Only events of this customer.
    count
        End after so many events.
    """
    from rich.text import Text

    out = console()
    client = server.client()
    seen = 0
    last_id: str | None = None
    connected = False
    while True:
        try:
            stream = client.stream(
                "/v1/events/stream", last_id=last_id, type=type, customer=customer
            )
            for message in stream:
                connected, last_id = True, message.id
                if server.json:
                    print(message.data, flush=True)
                else:
                    line = Text.assemble(*_line(msgspec.json.decode(message.data)))
                    out.print(line, soft_wrap=True)
                seen += 1
                if seen == count:
                    return 0
        except Unavailable as error:
            # Never connected: the server is simply not there. Later: it will be back.
            if not connected:
                raise
            notice(f"{error.message} Trying again.")
        time.sleep(RECONNECT_PAUSE_S)


def _line(item: dict[str, Any]) -> list[tuple[str, str]]:
    """Verdict, time, who, what, values; as (text, style) pieces."""
    event = item.get("event") or {}
    verdict = str(item.get("verdict", ""))
    who = item.get("customer") or f"{event.get('subject', '?')} (unmatched)"
    if verdict == "rejected":
        who = str(event.get("id") or "no id")
    data = " ".join(f"{name}={_short(value)}" for name, value in (event.get("data") or {}).items())
    return [
        (f"{verdict:<10}", _COLOURS.get(verdict, "")),
        (f"{item.get('seq') or '':>10}  ", "dim"),
        (f"{str(event.get('time') or '')[:23]:<24}", "dim"),
        (f"{who:<20} ", "bold"),
        (f"{event.get('type', ''):<20} ", ""),
        (data or ": ".join(item[name] for name in ("code", "detail") if item.get(name)), ""),
    ]


def _short(value: Any, longest: int = 32) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= longest else text[: longest - 1] + "…"
