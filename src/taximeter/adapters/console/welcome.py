"""
The first steps, as command lines that work as they are.
"""

from __future__ import annotations

import json
import shlex
from typing import Any, Final

import msgspec

_EVENT: Final = {
    "id": "hello-1",
    "source": "curl",
    "type": "llm.request",
    "subject": "acme",
    "data": {"model": "opus", "input_tokens": 812, "output_tokens": 193},
}
_CATALOGUE: Final = {
    "meters": {
        "tokens": {"event_type": "llm.request", "aggregation": "sum", "value": "data.output_tokens"}
    },
    "features": {"chat": {"type": "metered", "meter": "tokens"}},
    "plans": {
        "pro": {
            "currency": "USD",
            "cadence": "month",
            "entitlements": {"chat": {"limit": 100000, "enforcement": "hard", "reset": "period"}},
            "prices": {
                "base": {"type": "flat", "amount": "49.00", "timing": "advance"},
                "tokens": {"type": "per_unit", "meter": "tokens", "unit": "0.00002"},
            },
        }
    },
}


class Step(msgspec.Struct, frozen=True):
    title: str
    why: str
    command: str


def steps(base_url: str, *, keyless: bool) -> list[Step]:
    """
    In the order of `Pulse.steps`.

    Args:
        keyless: No key is needed from this machine; else the commands read $TAXIMETER_KEY.
    """

    def command(method: str, path: str, body: dict[str, Any]) -> str:
        key = "" if keyless else '  -H "Authorization: Bearer $TAXIMETER_KEY" \\\n'
        text = shlex.quote(json.dumps(body, separators=(",", ":")))
        url = shlex.quote(base_url + path)
        return (
            f"curl -X {method} {url} \\\n{key}  -H 'Content-Type: application/json' \\\n  -d {text}"
        )

    return [
        Step(
            "Send an event",
            "Usage is counted by events. This one is durable when curl prints its receipt.",
            command("POST", "/v1/events", _EVENT),
        ),
        Step(
            "Publish a catalogue",
            "Meters say what to count, plans what it costs and how much of it is included.",
            command("PUT", "/v1/catalog", _CATALOGUE),
        ),
        Step(
            "Add a customer",
            "It claims the subjects its events name; events that came before are counted too.",
            command("PUT", "/v1/customers/acme", {"name": "Acme"}),
        ),
        Step(
            "Subscribe it to a plan",
            "From now on limits hold, and the fare runs.",
            command("POST", "/v1/subscriptions", {"customer": "acme", "plan": "pro"}),
        ),
    ]
