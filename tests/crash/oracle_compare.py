"""
The judgement: what the journals say must be there, against what the public API shows.

Pure. Every difference names the one event or number it is about and what the journal knows of it.
Totals that are wrong only because an event of that customer is wrong are counted, not listed.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from tests.crash.oracle_journal import Request
from tests.crash.oracle_workload import CATALOG, Kind, alias, customers

Identity = tuple[str, str]
Cell = tuple[str, str | None, str | None]
"""(meter, customer or None for all, model or None for all)"""

_VERDICTS = {
    Kind.NEW: {"accepted"},
    Kind.REPEAT: {"duplicate"},
    Kind.CONFLICT: {"conflict"},
    Kind.TOO_OLD: {"rejected"},
}
_CUSTOMER_OF = {alias(key): key for key in customers()} | {key: key for key in customers()}


@dataclass(frozen=True)
class Content:
    """What is compared of an event; `data` is canonical text with exact numbers."""

    type: str
    customer: str
    time: datetime
    data: str

    @property
    def values(self) -> dict[str, Any]:
        return dict(json.loads(self.data))


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it must be; `customer` if it is about one customer's event."""

    kind: str
    text: str
    customer: str | None = None

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


@dataclass
class Expected:
    """Everything that follows from the journals."""

    stored: dict[Identity, Content] = field(default_factory=dict)
    history: dict[Identity, list[str]] = field(default_factory=lambda: defaultdict(list))
    faults: list[Difference] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Observed:
    """Everything the API shows. `used` is what checks answer, for `period` (start, end)."""

    events: Sequence[tuple[Identity, Content]]
    usage: Mapping[Cell, Decimal]
    used: Mapping[str, Decimal]
    period: tuple[datetime, datetime]


def parse_event(event: Mapping[str, Any]) -> tuple[Identity, Content]:
    """An event as decoded with `exact_json`, sent or shown."""
    data = {name: _plain(value) for name, value in event["data"].items()}
    content = Content(
        type=event["type"],
        customer=_CUSTOMER_OF.get(event["subject"], event["subject"]),
        time=datetime.fromisoformat(event["time"]),
        data=json.dumps(data, sort_keys=True),
    )
    return (event["source"], event["id"]), content


def _plain(value: Any) -> str:
    """Numbers by value, however they are written: 3.10 and 3.1 are the same content."""
    return f"{Decimal(value).normalize():f}" if isinstance(value, int | Decimal) else str(value)


def exact_json(text: str | bytes) -> Any:
    return json.loads(text, parse_float=Decimal)


def expect(requests: Iterable[Request]) -> Expected:
    """Fold journals into what must be stored, checking each verdict on the way."""
    expected = Expected()
    positions: dict[str, Identity] = {}
    for request in requests:
        where = f"{request.client} request {request.number}"
        expected.counts["requests"] += 1
        expected.counts["unknown attempts"] += len(request.unknown)
        if request.receipts is None:
            expected.faults.append(Difference("unanswered", f"{where} never got an answer"))
            continue
        if len(request.receipts) != len(request.items):
            text = f"{where}: {len(request.items)} items, {len(request.receipts)} receipts"
            expected.faults.append(Difference("receipts", text))
            continue
        for item, receipt in zip(request.items, request.receipts, strict=True):
            identity, content = parse_event(exact_json(item.text))
            tried = "".join(f"unknown ({reason}), then " for reason in request.unknown)
            told = f"{where} as {item.kind}: {tried}{receipt.status} at {receipt.position}"
            expected.history[identity].append(told)
            expected.counts[receipt.status] += 1
            if item.kind is Kind.NEW:
                expected.stored.setdefault(identity, content)
            if receipt.status not in _allowed(item.kind, bool(request.unknown)):
                fault = Difference("wrong verdict", f"{_name(identity)}: {told}", content.customer)
                expected.faults.append(fault)
            if receipt.status == "accepted" and receipt.position is not None:
                other = positions.setdefault(receipt.position, identity)
                if other != identity:
                    text = f"{receipt.position} given to {_name(other)} and to {_name(identity)}"
                    expected.faults.append(Difference("position reused", text))
    return expected


def _allowed(kind: Kind, tried_before: bool) -> set[str]:
    """An attempt without an answer may have been stored, so its repeat may be a duplicate."""
    if kind is Kind.NEW and tried_before:
        return {"accepted", "duplicate"}
    return _VERDICTS[kind]


def compare(expected: Expected, observed: Observed) -> list[Difference]:
    """Every difference, events first. Empty means: each event exactly once, each number right."""
    found = expected.faults + _compare_events(expected, observed)
    blamed = {difference.customer for difference in found}
    explained = 0
    for difference in _compare_numbers(expected.stored, observed):
        if difference.customer in blamed or (difference.customer is None and blamed):
            explained += 1
        else:
            found.append(difference)
    if explained:
        text = f"{explained} totals are wrong as well, of the same customers"
        found.append(Difference("totals", text))
    return found


def _compare_events(expected: Expected, observed: Observed) -> list[Difference]:
    found = []
    shown: dict[Identity, list[Content]] = defaultdict(list)
    for identity, content in observed.events:
        shown[identity].append(content)
    for identity, content in expected.stored.items():
        copies = shown.pop(identity, [])
        told = f"{_name(identity)} ({'; '.join(expected.history[identity])})"
        if not copies:
            found.append(Difference("lost", told, content.customer))
        elif len(copies) > 1:
            text = f"{len(copies)} times {told}"
            found.append(Difference("stored twice", text, content.customer))
        elif copies[0] != content:
            text = f"{told}: {_first_gap(content, copies[0])}"
            found.append(Difference("wrong content", text, content.customer))
    for identity, copies in shown.items():
        told = "; ".join(expected.history.get(identity, ["never sent"]))
        text = f"{_name(identity)} ({told}): {copies[0]}"
        found.append(Difference("phantom", text, copies[0].customer))
    return found


def _compare_numbers(
    stored: Mapping[Identity, Content], observed: Observed
) -> Iterable[Difference]:
    wanted = usage_of(stored.values())
    for cell in sorted(wanted.keys() | observed.usage.keys(), key=str):
        right, shown = wanted.get(cell, Decimal(0)), observed.usage.get(cell, Decimal(0))
        if right != shown:
            meter, key, model = cell
            text = f"{meter} of {key or 'all'}, model {model or 'all'}: {_gap(right, shown)}"
            yield Difference("wrong usage", text, key)
    used = used_of(stored.values(), observed.period)
    for key, shown in observed.used.items():
        if used[key] != shown:
            yield Difference("wrong check", f"{key}: {_gap(used[key], shown)}", key)


def usage_of(contents: Iterable[Content]) -> dict[Cell, Decimal]:
    """Every meter by brute force: over all, by customer, and by customer and model."""
    members: dict[tuple[str | None, str | None], list[dict[str, Any]]] = defaultdict(list)
    for content in contents:
        values = content.values
        for place in ((None, None), (content.customer, None), (content.customer, values["model"])):
            members[place].append(values)
    return {
        (meter, *place): _aggregate(definition, values)
        for place, values in members.items()
        for meter, definition in CATALOG["meters"].items()
    }


def used_of(contents: Iterable[Content], period: tuple[datetime, datetime]) -> dict[str, Decimal]:
    """Input tokens of each customer inside the period, half-open."""
    used = dict.fromkeys(customers(), Decimal(0))
    for content in contents:
        if period[0] <= content.time < period[1]:
            used[content.customer] += Decimal(content.values["input_tokens"])
    return used


def _aggregate(definition: Mapping[str, Any], values: Sequence[Mapping[str, Any]]) -> Decimal:
    if definition["aggregation"] == "count":
        return Decimal(len(values))
    member = definition["value"].removeprefix("data.")
    if definition["aggregation"] == "unique":
        return Decimal(len({value[member] for value in values}))
    numbers = [Decimal(value[member]) for value in values]
    return max(numbers) if definition["aggregation"] == "max" else sum(numbers, Decimal(0))


def render(differences: Sequence[Difference], per_kind: int = 3) -> str:
    """The smallest useful account: how many of each kind, and the first few."""
    lines = []
    for kind, count in Counter(difference.kind for difference in differences).items():
        lines.append(f"{kind}: {count}")
        examples = [d.text for d in differences if d.kind == kind][:per_kind]
        lines += [f"  {text}" for text in examples]
        if count > per_kind:
            lines.append(f"  ... and {count - per_kind} more")
    return "\n".join(lines)


def _name(identity: Identity) -> str:
    return "/".join(identity)


def _first_gap(sent: Content, stored: Content) -> str:
    names = [name for name in ("type", "customer", "time", "data")
             if getattr(sent, name) != getattr(stored, name)]  # fmt: skip
    return f"{names[0]} sent first {getattr(sent, names[0])}, stored {getattr(stored, names[0])}"


def _gap(right: Decimal, shown: Decimal) -> str:
    return f"must be {right:f}, shown {shown:f} ({shown - right:+f})"
