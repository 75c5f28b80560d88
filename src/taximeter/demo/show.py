"""
`taximeter demo`: the sample company on a real server with a temporary data directory.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from taximeter.adapters.client import Client
from taximeter.demo.company import (
    BILLING,
    CATALOG_YAML,
    DISCOUNT,
    PROFILES,
    SHOWN,
    Profile,
    month_of_events,
    request_event,
)
from taximeter.demo.streams import WRITERS, Streams
from taximeter.demo.streams import set_up as set_up_streams
from taximeter.errors import Unavailable
from taximeter.instants import DAY, HOUR, MINUTE, SECOND, format_instant, parse_instant
from taximeter.periods import local_midnight

ONCE_SEED = 20261001
ONCE_MONTH = date(2026, 10, 1)
ONCE_EVENTS = 20_000
BATCH = 1000
TICK_S = 0.2
FREE_TOKENS = 16_000  # of the 20,000 that the free plan allows
START_TIMEOUT_S = 60.0


def run_demo(*, port: int, rate: int, once: bool, json: bool) -> int:
    """
    Args:
        port: Of the server; 0 for any free one.
        rate: Events a second of the living demo.
        once: Feed one fixed month, print its invoices, and end.
    """
    signal.signal(signal.SIGTERM, _terminated)
    with tempfile.TemporaryDirectory(prefix="taximeter-demo-") as directory:
        flags = ["--sandbox"] if once else ["--canary-every-s", "5m"]
        with serving(Path(directory), 0 if once else port, *flags) as url:
            client = Client(url, patience_s=10.0)
            return _once(client, as_json=json) if once else _live(client, url, rate)


def _terminated(number: int, _frame: object) -> None:
    """As Ctrl-C does: the server is stopped and its data removed."""
    raise SystemExit(128 + number)


@contextmanager
def serving(directory: Path, port: int, *flags: str) -> Iterator[str]:
    """
    A server of its own process, stopped at the end. Yields its URL.

    Raises:
        Unavailable: It did not get ready.
    """
    command = [sys.executable, "-m", "taximeter", "serve", "--dev", "--log-level", "warning"]
    command += ["--data", str(directory), "--port", str(port), *flags]
    # A group of its own, so that Ctrl-C reaches us first and the server is stopped in order.
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        yield _ready_url(process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _ready_url(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("taximeter ready on "):
            # Whatever it may still print must not fill the pipe.
            threading.Thread(target=process.stdout.read, daemon=True).start()
            return line.split()[-1]
    raise Unavailable("unreachable", "The server of the demo did not start; see above.")


# --- once: a fixed month ----------------------------------------------------------------------


def month_bounds(month: date) -> tuple[int, int]:
    """
    From which instant to which a month's events are made: all of it in every zone of the company.
    """
    start = local_midnight(month, "UTC")
    following = (month + timedelta(days=32)).replace(day=1)
    return start - 12 * HOUR, local_midnight(following, "UTC") + 12 * HOUR


def _once(client: Client, *, as_json: bool) -> int:
    start, end = month_bounds(ONCE_MONTH)
    client.post("/v1/clock", {"now": format_instant(start + DAY)})
    _set_up(client, ONCE_MONTH)
    client.post("/v1/clock", {"now": format_instant(end)})
    events = [event for _, event in month_of_events(ONCE_SEED, start, end, ONCE_EVENTS)]
    counts = _feed(client, events, show_progress=not as_json)
    client.post("/v1/close", {"as_of": format_instant(end)})
    issued = _issue_all(client)
    paper = _save_pdf(client, next(one for one in issued if one["customer"] == SHOWN))
    if as_json:
        _print_json({"events": counts, "invoices": issued, "pdf": str(paper)})
    else:
        _print_invoices(issued, counts, paper)
    return 0


def _set_up(client: Client, month: date) -> None:
    """Who bills, catalogue, customers, and subscriptions from the local beginning of a month."""
    client.put("/v1/billing/settings", BILLING)
    client.request(
        "PUT",
        "/v1/catalog",
        body=CATALOG_YAML.encode(),
        content_type="application/yaml",
    )
    for profile in PROFILES:
        client.put(
            f"/v1/customers/{profile.key}",
            {
                "name": profile.name,
                "subjects": list(profile.subjects),
                "currency": profile.currency,
                "timezone": profile.timezone,
                "billing": profile.billing,
            },
        )
        client.post(
            "/v1/subscriptions",
            {
                "customer": profile.key,
                "plan": profile.plan,
                "anchor": profile.anchor,
                "start": format_instant(local_midnight(month, profile.timezone)),
            },
        )
    client.post(f"/v1/customers/{SHOWN}/discounts", DISCOUNT)


def _feed(client: Client, events: list[dict[str, Any]], *, show_progress: bool) -> dict[str, int]:
    from rich.console import Console
    from rich.progress import track

    counts = dict.fromkeys(("received", "accepted", "duplicates", "conflicts", "rejected"), 0)
    batches = [events[i : i + BATCH] for i in range(0, len(events), BATCH)]
    console = Console(stderr=True)
    for batch in track(
        batches, "feeding a month", console=console, disable=not show_progress, transient=True
    ):
        answer = client.post("/v1/events", batch)
        for name in counts:
            counts[name] += answer[name]
    return counts


def _issue_all(client: Client) -> list[dict[str, Any]]:
    drafts = client.get("/v1/invoices", status="draft", limit=1000)["items"]
    drafts.sort(key=lambda invoice: invoice["customer"])
    return [client.post(f"/v1/invoices/{draft['id']}/finalize") for draft in drafts]


def _save_pdf(client: Client, invoice: dict[str, Any]) -> Path:
    """Into the current directory, or, where nothing can be written there, a temporary one."""
    content = client.request("GET", f"/v1/invoices/{invoice['id']}.pdf").body
    path = Path.cwd() / f"lumen-{invoice['number']}.pdf"
    try:
        path.write_bytes(content)
    except OSError:
        path = Path(tempfile.mkdtemp(prefix="taximeter-")) / path.name
        path.write_bytes(content)
    return path


def _print_json(value: Any) -> None:
    from taximeter.adapters.cli.common import print_json

    print_json(value)


def _print_invoices(invoices: list[dict[str, Any]], counts: dict[str, int], paper: Path) -> None:
    from rich.console import Console

    from taximeter.adapters.cli.invoices import invoice_page

    console = Console()
    for invoice in invoices:
        console.print(invoice_page(invoice))
    told = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    console.print(f"{told}; {len(invoices)} invoices issued.")
    console.print(f"One of them as its customer gets it: {paper}", soft_wrap=True)


# --- live: until Ctrl-C -----------------------------------------------------------------------


def _live(client: Client, url: str, rate: int) -> int:
    from rich.console import Console

    console = Console()
    with console.status("setting the company up"):
        shown = _set_up_history(client)
        set_up_streams(client)
    console.print(
        f"\n[bold]Lumen[/], a sample company, is open for business.\n\n"
        f"  console   {url}/\n"
        f"  an abuser is refused at its cap\n            {url}/customers/mallory\n"
        f"  credit is held while tokens stream, burns, and tops itself up\n"
        f"            {url}/customers/quill\n"
        f"  credit runs dry, answers are cut, somebody pays\n"
        f"            {url}/customers/ember\n"
        f"  an invoice, as its customer gets it\n"
        f"            {url}/v1/invoices/{shown}.pdf\n"
        f"  notices   {url}/notices\n"
        f"  API       {url}/docs\n"
        f"  try       curl {url}/v1/customers/acme/invoices/preview\n\n"
        f"{rate} events a second; Ctrl-C stops it and removes its data."
    )
    try:
        _Traffic(client, rate).run()
    except KeyboardInterrupt:
        console.print("\nstopped")
    return 0


def _set_up_history(client: Client) -> str:
    """
    Last month is over and billed; this month has run until now.

    Returns:
        The id of the invoice to show.
    """
    now = parse_instant(client.get("/v1/clock")["now"])
    today = datetime.fromtimestamp(now // SECOND, UTC).date()
    this_month = today.replace(day=1)
    last_month = (this_month - timedelta(days=1)).replace(day=1)
    _set_up(client, last_month)
    start, _ = month_bounds(last_month)
    events = _within_free_limits(month_of_events(now, start, now, 12_000))
    _feed(client, list(events), show_progress=False)
    client.post("/v1/close", {"as_of": format_instant(now)})
    drafts = client.get("/v1/invoices", status="draft", limit=1000)["items"]
    drafts.sort(key=lambda draft: draft["customer"] == SHOWN)
    for draft in drafts[1:]:  # one is left for the audience
        client.post(f"/v1/invoices/{draft['id']}/finalize")
    return str(drafts[-1]["id"])


def _within_free_limits(
    events: Iterable[tuple[Profile, dict[str, Any]]],
) -> Iterator[dict[str, Any]]:
    """
    Customers of the free plan were stopped in time so far; that one of them runs into its cap is
    for the audience to see.
    """
    used: dict[tuple[str, str, str], int] = {}
    for profile, event in events:
        if profile.plan == "free":
            amount = event["data"].get("output_tokens", FREE_TOKENS // 12)
            place = (profile.key, event["type"], event["time"][:7])
            if used.get(place, 0) + amount > FREE_TOKENS:
                continue
            used[place] = used.get(place, 0) + amount
        yield event


class _Traffic:
    """
    What the company's gateway sends: mostly clean events, some repeated, a few wrong; and requests
    of the abuser, who has to ask first and is refused at the cap. Beside it, answers that stream.
    """

    def __init__(self, client: Client, rate: int) -> None:
        self._client = client
        self._rate = max(1, rate)
        self._rng = random.Random()
        self._run = f"live-{time.time_ns():x}"
        self._number = 0
        self._last: dict[str, Any] | None = None
        self._streams = [Streams(client, one, self._run, self._rng) for one in WRITERS]

    def run(self) -> None:
        """Until interrupted."""
        due = time.monotonic()
        owed = 0.0
        while True:
            owed += self._rate * TICK_S
            events = [self._next() for _ in range(int(owed))]
            owed -= int(owed)
            if events:
                self._send(events)
            self._ask_for_mallory()
            for streams in self._streams:
                streams.tick()
            due += TICK_S
            time.sleep(max(0.0, due - time.monotonic()))

    def _next(self) -> dict[str, Any]:
        rng = self._rng
        if self._last is not None and rng.randrange(50) == 0:
            return self._last  # a retry by a client that did not hear the answer
        self._number += 1
        honest = [p for p in PROFILES if p.plan != "free"]
        profile = rng.choices(honest, weights=[p.share for p in honest])[0]
        event = self._stamped(profile)
        match rng.randrange(400):
            case 0:
                event["subject"] = "trial-4711"  # nobody has claimed it yet
            case 1:
                event["data"] = {"output_tokens": "many"}
            case 2:
                event["time"] = format_instant(int(time.time()) * SECOND - 200 * DAY)
        self._last = event
        return event

    def _stamped(self, profile: Profile) -> dict[str, Any]:
        at = time.time_ns() // 1000 - self._rng.randrange(2 * SECOND)
        if self._rng.randrange(30) == 0:
            at -= self._rng.randrange(10 * MINUTE)  # late, and counted where it belongs
        event = request_event(self._rng, profile, at, self._number)
        event["id"] = f"{self._run}-{self._number}"
        return event

    def _send(self, events: list[dict[str, Any]]) -> None:
        try:
            self._client.post("/v1/events", events)
        except Unavailable:
            time.sleep(1.0)

    def _ask_for_mallory(self) -> None:
        if self._rng.randrange(3):
            return
        self._number += 1
        body = {
            "customer": "mallory",
            "feature": "chat",
            "amount": self._rng.randrange(20, 400),
            "id": f"{self._run}-{self._number}",
            "data": {"model": "haiku", "user": "m"},
        }
        with suppress(Unavailable):
            self._client.post("/v1/consume", body)
