"""
A server of the SDK's contract with faults on demand: it drops connections, loses answers after the
effect, delays, and answers 429 and 503. Where no fault is needed tests use the real server.

Amounts are Decimal here, and every rule is the plainest that fulfils the contract.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CATALOG = {
    "scopes": [{"user": "data.user"}],
    "meters": {
        "tokens": {"event_type": "llm.request", "aggregation": "sum", "value": "data.tokens"},
        "requests": {"event_type": "llm.request", "aggregation": "count"},
        "both": {"event_type": "llm.request", "aggregation": "sum", "value": "data.a + data.b"},
    },
    "features": {
        "chat": {"type": "metered", "meter": "tokens"},
        "calls": {"type": "metered", "meter": "requests"},
        "both": {"type": "metered", "meter": "both"},
        "free": {"type": "metered", "meter": "tokens", "fail": "open"},
        "export": {"type": "boolean"},
    },
}


class Problem(Exception):
    def __init__(self, status: int, code: str, **members: Any) -> None:
        super().__init__(code)
        self.status = status
        self.body = {**members, "code": code, "detail": f"it is {code}"}


class Slot:
    """An open reservation or lease."""

    def __init__(self, feature: str, granted: Decimal, expires: float, lease: bool) -> None:
        self.feature, self.granted, self.expires, self.lease = feature, granted, expires, lease
        self.resolved = ""


class Fake:
    """
    Attributes:
        limit: Of every feature, for its one customer.
        used: Counted so far.
        events: Accepted, by (source, id).
        requests: (method, path, body) of every request that arrived.
        faults: Each is called with the next request and its effect; it raises or answers.
    """

    def __init__(self) -> None:
        self.limit = Decimal(1000)
        self.used = Decimal(0)
        self.lapsed = Decimal(0)
        self.events: dict[tuple[str, str], dict[str, Any]] = {}
        self.consumed: dict[str, dict[str, Any]] = {}
        self.slots: dict[str, Slot] = {}
        self.requests: list[tuple[str, str, Any]] = []
        self.replies: dict[str, Any] = {}
        self.faults: deque[Fault] = deque()
        self.away = False
        self.lock = threading.Lock()
        self.url = ""

    # --- faults ---

    def next(self, *faults: Fault) -> None:
        self.faults.extend(faults)

    def seen(self, path: str) -> list[Any]:
        """Bodies of the requests to a path."""
        return [body for _, target, body in self.requests if target.partition("?")[0] == path]

    # --- the contract ---

    def answer(self, method: str, target: str, body: Any, key: str | None) -> tuple[int, Any]:
        path = target.partition("?")[0]
        with self.lock:
            if key is not None and key in self.replies:
                return self.replies[key]  # type: ignore[no-any-return]
            reply = self._answer(method, path, body)
            if key is not None:
                self.replies[key] = reply
            return reply

    def _answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        match path.strip("/").split("/")[1:]:
            case ["catalog"]:
                return 200, CATALOG
            case ["events"]:
                return 200, self._ingest(body)
            case ["check"]:
                return 200, self._decision(Decimal(body["amount"]))
            case ["consume"]:
                return 200, self._consume(body)
            case ["reservations" | "leases" as kind]:
                return 201, self._open(body, kind == "leases")
            case ["reservations" | "leases", slot_id, verb]:
                return 200, self._change(slot_id, verb, body)
        raise Problem(404, "not_found")

    def left(self) -> Decimal:
        held = sum((s.granted for s in self.slots.values() if self._is_open(s)), Decimal(0))
        return max(Decimal(0), self.limit - self.used - held)

    def open_leases(self) -> Decimal:
        slots = [s for s in self.slots.values() if s.lease and self._is_open(s)]
        return sum((s.granted for s in slots), Decimal(0))

    def _is_open(self, slot: Slot) -> bool:
        return not slot.resolved and time.time() < slot.expires

    def _decision(self, amount: Decimal) -> dict[str, Any]:
        allowed = amount <= self.left()
        return {
            "allowed": allowed,
            "reason": "within_limit" if allowed else "limit_reached",
            "limit": str(self.limit),
            "used": str(self.used),
            "reserved": "0",
            "remaining": str(self.left()),
            "overage": "0",
            "resets_at": None,
            "level": "customer",
            "as_of": {"position": "0:1", "time": _text(datetime.now(UTC))},
        }

    def _ingest(self, events: list[dict[str, Any]]) -> dict[str, Any]:
        if any(event["subject"] == "poison" for event in events):
            raise Problem(400, "invalid_event")
        receipts: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        for index, event in enumerate(events):
            status, code = self._take(event)
            receipts.append({"index": index, "status": status, "position": None})
            if code:
                errors.append(
                    {"index": index, "id": event["id"], "code": code, "detail": f"it is {code}"}
                )
        return {"received": len(events), "receipts": receipts, "errors": errors}

    def _take(self, event: dict[str, Any]) -> tuple[str, str]:
        if event["subject"] == "bad":
            return "rejected", "invalid_quantity"
        key = (event["source"], event["id"])
        if key in self.events:
            same = self.events[key] == event
            return ("duplicate", "") if same else ("conflict", "event_conflict")
        self.events[key] = event
        data = event.get("data", {})
        amount = Decimal(str(data.get("tokens", 0)))
        self.used += amount
        slot = self.slots.get(data.get("lease_id", ""))
        if slot is not None and self._is_open(slot):
            slot.granted = max(Decimal(0), slot.granted - amount)
        return "accepted", ""

    def _consume(self, body: dict[str, Any]) -> dict[str, Any]:
        known = self.consumed.get(body["id"])
        if known is not None:
            return known
        amount = Decimal(body["amount"])
        answer = self._decision(amount)
        if answer["allowed"]:
            self.used += amount
            data = {**body.get("data", {}), "tokens": int(amount)}
            self.events["taximeter/consume", body["id"]] = {
                "id": body["id"],
                "source": "taximeter/consume",
                "type": "llm.request",
                "subject": body["customer"],
                "data": data,
            }
            answer |= {"seq": len(self.events), "balance_after": str(self.left())}
            self.consumed[body["id"]] = answer
        return answer

    def _open(self, body: dict[str, Any], lease: bool) -> dict[str, Any]:
        wanted = Decimal(body["amount"])
        granted = min(wanted, self.left())
        if granted < wanted and not (body["allow_partial"] and granted > 0):
            raise Problem(403, "limit_reached", **self._decision(wanted))
        slot = Slot(body["feature"], granted, time.time() + body["ttl_s"], lease)
        self.slots[body["id"]] = slot
        return self._shown(body["id"], slot)

    def _shown(self, slot_id: str, slot: Slot) -> dict[str, Any]:
        answer = self._decision(Decimal(0))
        expires_at = datetime.fromtimestamp(slot.expires, UTC)
        answer |= {"id": slot_id, "granted": str(slot.granted), "expires_at": _text(expires_at)}
        if slot.lease:
            answer |= {"fail": "closed", "open_leases": str(self.open_leases())}
        return answer

    def _change(self, slot_id: str, verb: str, body: dict[str, Any]) -> dict[str, Any]:
        slot = self.slots.get(slot_id)
        if slot is None:
            raise Problem(404, "not_found")
        if slot.resolved:
            raise Problem(409, "already_resolved")
        if not self._is_open(slot):
            raise Problem(409, "reservation_expired")
        match verb:
            case "extend":
                wanted = Decimal(body["amount"])
                more = min(wanted, self.left())
                if more < wanted and not (body["allow_partial"] and more > 0):
                    raise Problem(403, "limit_reached", **self._decision(wanted))
                slot.granted += more
                slot.expires = time.time() + body["ttl_s"]
            case "settle":
                amount = Decimal(body["amount"])
                if amount > slot.granted and not body.get("allow_overage"):
                    raise Problem(422, "exceeds_reservation")
                slot.resolved, slot.granted = "settled", Decimal(0)
                self.used += amount
            case "release":
                slot.resolved, slot.granted = "released", Decimal(0)
        return self._shown(slot_id, slot) | {"balance_after": str(self.left())}


Effect = Callable[[], tuple[int, Any]]
Fault = Callable[[Effect], tuple[int, Any] | None]


def status(code: int, retry_after_s: int = 0) -> Fault:
    """Refuse without an effect."""
    headers = {"Retry-After": str(retry_after_s)} if retry_after_s else {}

    def fault(effect: Effect) -> tuple[int, Any]:
        return code, {"code": "overloaded", "detail": "not now", "headers": headers}

    return fault


def lost(effect: Effect) -> None:
    """The effect happens, its answer never arrives."""
    effect()


def dropped(effect: Effect) -> None:
    """The connection breaks before anything happens."""


def late(seconds: float) -> Fault:
    def fault(effect: Effect) -> tuple[int, Any]:
        time.sleep(seconds)
        return effect()

    return fault


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: Fake

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length)
        body = json.loads(raw) if raw else None
        fake = self.fake
        fake.requests.append((self.command, self.path, body))
        key = self.headers.get("Idempotency-Key")

        def effect() -> tuple[int, Any]:
            return fake.answer(self.command, self.path, body, key)

        try:
            if fake.away:
                reply = None
            elif fake.faults:
                reply = fake.faults.popleft()(effect)
            else:
                reply = effect()
        except Problem as problem:
            reply = problem.status, problem.body
        if reply is None:
            self.close_connection = True
            return
        self._reply(*reply)

    do_GET = do_POST = _serve

    def _reply(self, code: int, answer: dict[str, Any]) -> None:
        headers = answer.pop("headers", {}) if code >= 400 else {}
        content = json.dumps(answer).encode()
        self.send_response(code)
        kind = "application/problem+json" if code >= 400 else "application/json"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    def handle_error(self, *args: Any) -> None:
        """Clients that go away are what is tested here."""


@contextmanager
def faking() -> Iterator[Fake]:
    fake = Fake()
    handler = type("Handler", (_Handler,), {"fake": fake})
    server = _Server(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    fake.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()


def _text(at: datetime) -> str:
    return (at + timedelta(0)).isoformat().replace("+00:00", "Z")
