"""
What the SDK knows of the catalogue: which event counts for a feature, and its fail policy.

Usage of a feature is tracked as an amount; only when it is sent does it become an event of the
feature's meter. So nothing has to be known, or asked, in the path of a request.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final, Literal, NamedTuple

from taximeter_sdk import clock
from taximeter_sdk.encoding import event_json
from taximeter_sdk.transport import Call

Fail = Literal["closed", "open", "lease"]
"""
What is decided while the server is away: refuse; allow, and count afterwards; or what a lease
still holds, then refuse.
"""

MAX_COUNTED: Final = 1000
"""Events that one piece of usage may become."""

REFRESH_S: Final = 2.0
"""A feature that is not known is looked up again at most so often."""


class NotMetered(Exception):
    """Usage of this feature cannot be made into an event; `code` says why."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail


class Measure(NamedTuple):
    """
    What an event of a feature looks like.

    Attributes:
        path: Of the amount below `data`; empty for a meter that counts events.
    """

    event_type: str
    path: tuple[str, ...]


class Catalogue:
    """
    Args:
        ask: Makes a call and gives its decoded answer.
    """

    def __init__(self, ask: Callable[[Call], Any]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._measures: dict[str, Measure | NotMetered] = {}
        self._scopes: dict[str, tuple[str, ...]] = {}
        self._fails: dict[str, Fail] = {}
        self._read_at: float | None = None

    def events_of(self, usage: Mapping[str, Any]) -> list[bytes]:
        """
        The CloudEvents of tracked usage: one, or as many as its amount where the meter counts
        events. The same usage gives the same bytes.

        Raises:
            NotMetered: There is no such feature, or no event with one amount counts for it.
            TaximeterError: The catalogue could not be read.
        """
        measure = self.measure(usage["feature"])
        data = dict(usage.get("data") or {})
        for level, value in (usage.get("scope") or {}).items():
            _put(data, self._scopes.get(level, (level,)), value)
        amount = Decimal(usage["amount"])
        whole = amount == amount.to_integral()
        if measure.path:
            _put(data, measure.path, int(amount) if whole else amount)
            return [_event(usage, measure, data, usage["id"])]
        if not whole or not 0 < amount <= MAX_COUNTED:
            raise NotMetered(
                "amount_not_countable",
                f"the meter of {usage['feature']!r} counts events: "
                f"its usage is a whole number from 1 to {MAX_COUNTED}",
            )
        ids = [usage["id"], *(f"{usage['id']}#{n}" for n in range(2, int(amount) + 1))]
        return [_event(usage, measure, data, event_id) for event_id in ids]

    def measure(self, feature: str) -> Measure:
        """Raises as `events_of`."""
        with self._lock:
            found = self._measures.get(feature)
            if found is None and self._may_read():
                self._read()
                found = self._measures.get(feature)
        if found is None:
            raise NotMetered("unknown_feature", f"the catalogue has no feature {feature!r}")
        if isinstance(found, NotMetered):
            raise found
        return found

    def fail_of(self, feature: str) -> Fail | None:
        """The feature's fail policy, as far as it is known. Never asks."""
        return self._fails.get(feature)

    def learn_fail(self, feature: str, answer: Mapping[str, Any]) -> None:
        """Note the policy that an answer of the gate names."""
        fail = answer.get("fail")
        if fail in ("closed", "open", "lease"):
            self._fails[feature] = fail

    def refresh(self) -> None:
        """Raises `TaximeterError` if it cannot be read."""
        with self._lock:
            self._read()

    def _may_read(self) -> bool:
        return self._read_at is None or clock.elapsed() - self._read_at > REFRESH_S

    def _read(self) -> None:
        document = self._ask(Call("GET", "/v1/catalog"))
        meters = document.get("meters") or {}
        features = document.get("features") or {}
        self._measures = {
            name: _measure(name, feature, meters) for name, feature in features.items()
        }
        self._scopes = {
            level: tuple(path.split("."))[1:]
            for one in document.get("scopes") or []
            for level, path in one.items()
            if path.startswith("data.")
        }
        for name, feature in features.items():
            self.learn_fail(name, {"fail": feature.get("fail", "closed")})
        self._read_at = clock.elapsed()


def _measure(
    name: str, feature: Mapping[str, Any], meters: Mapping[str, Any]
) -> Measure | NotMetered:
    meter = meters.get(feature.get("meter") or "")
    if meter is None:
        return NotMetered("feature_not_metered", f"feature {name!r} is not metered")
    if meter["aggregation"] == "count":
        return Measure(meter["event_type"], ())
    value = meter.get("value")
    path = value.split(".") if isinstance(value, str) else []
    if len(path) < 2 or path[0] != "data" or not all(part.isidentifier() for part in path):
        return NotMetered(
            "feature_not_metered",
            f"the meter of {name!r} takes its value from more than one place: track its event",
        )
    return Measure(meter["event_type"], tuple(path[1:]))


def _event(usage: Mapping[str, Any], measure: Measure, data: dict[str, Any], id: str) -> bytes:
    return event_json(
        usage["subject"],
        measure.event_type,
        data,
        event_id=id,
        source=usage["source"],
        time=usage.get("time"),
    )


def _put(data: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    inner = data
    for name in path[:-1]:
        below = inner.get(name)
        inner[name] = inner = dict(below) if isinstance(below, dict) else {}
    inner[path[-1]] = value
