"""
From events to the bytes of an invoice, without a server: log, store, recount, rating, document.

    python -m tests.property.rating_world SEED THREADS      prints the SHA-256 of an invoice
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from tests.contract.event_store_world import MemoryLog, entry

from taximeter.adapters.store.columnar import ColumnarStore
from taximeter.catalog.document import parse_catalog
from taximeter.customers import Customer, Segment, Subscription
from taximeter.events.acceptance import AcceptanceWindow
from taximeter.events.entry import Entry
from taximeter.instants import format_instant, parse_instant
from taximeter.invoices.document import canonical_bytes
from taximeter.invoices.invoice import Invoice
from taximeter.periods import Anchor, Cadence
from taximeter.services.billing.drafting.bills import statement
from taximeter.services.billing.due.counted import recounted
from taximeter.services.billing.due.dues import due_of
from taximeter.services.core import Core
from taximeter.services.tenant import Tenant

START = parse_instant("2026-11-01T00:00:00Z")
END = parse_instant("2026-12-01T00:00:00Z")
NAMES = ("plain", "", "ÄÖ ß", "漢字", '"quoted\\"', "I\u0307ıi")
"""Values that a locale, a hash seed or another case folding would put in another order."""

CATALOG = parse_catalog(
    {
        "meters": {
            "sum": {
                "event_type": "t", "aggregation": "sum", "value": "data.n",
                "dimensions": {"name": "data.name"},
            },
            "count": {"event_type": "t", "aggregation": "count"},
            "max": {"event_type": "t", "aggregation": "max", "value": "data.n"},
            "last": {"event_type": "t", "aggregation": "last", "value": "data.n"},
            "names": {"event_type": "t", "aggregation": "unique", "value": "data.name"},
            "p90": {
                "event_type": "t", "aggregation": "percentile", "percentile": 90, "value": "data.n",
            },
        },
        "plans": {
            "pro": {
                "currency": "USD",
                "cadence": "month",
                "prices": {
                    "base": {"type": "flat", "amount": 49},
                    "tiers": {
                        "type": "graduated", "meter": "sum", "free": "0.5",
                        "tiers": [{"up_to": 5, "unit": "0.123456"}, {"unit": "0.1", "flat": 3}],
                    },
                    "names": {
                        "type": "per_unit", "meter": "sum", "unit": "0.037", "group_by": ["name"],
                    },
                    "calls": {"type": "package", "meter": "count", "size": 3, "amount": "0.7"},
                    "peak": {"type": "per_unit", "meter": "max", "unit": 2},
                    "last": {"type": "per_unit", "meter": "last", "unit": "0.01"},
                    "distinct": {"type": "per_unit", "meter": "names", "unit": "1.11"},
                    "p90": {
                        "type": "volume", "meter": "p90",
                        "tiers": [{"up_to": 4, "unit": 1}, {"unit": "0.5", "flat": 1}],
                    },
                    "fees": {
                        "type": "percentage", "meter": "sum", "rate": "0.029", "fixed": "0.30",
                        "min_per_event": "0.31", "max_per_event": "0.4",
                    },
                },
            }
        },
    }
)  # fmt: skip


def item(number: int, n: str, name: int, second: int) -> dict[str, Any]:
    """One event; its identity follows from its number."""
    return {
        "id": f"e{number}",
        "type": "t",
        "subject": "acme",
        "time": format_instant(START + second * 1_000_000),
        "data": {"n": n, "name": NAMES[name % len(NAMES)]},
    }


def seeded(seed: int, events: int = 60) -> list[dict[str, Any]]:
    dice = random.Random(seed)
    return [
        item(n, f"{dice.randrange(0, 900)}e-2", dice.randrange(6), dice.randrange(2_500_000))
        for n in range(events)
    ]


def entries(batches: Sequence[Sequence[dict[str, Any]]]) -> list[Entry]:
    """Requests, each event accepted the first time it comes (K11) and a duplicate afterwards."""
    known: set[str] = set()
    made = []
    for batch in batches:
        verdicts = []
        for one in batch:
            verdicts.append(1 if one["id"] in known else 0)
            known.add(one["id"])
        if batch:
            made.append(entry(batch, verdicts=bytes(verdicts)))
    return made


def bill(
    log: Sequence[Entry], *, threads: int = 1, seal_rows: int = 1_000_000, proofs: bool = True
) -> Invoice:
    """The statement of November, as a close makes it; without `proofs` as a preview does."""
    return asyncio.run(_bill(MemoryLog(log), threads, seal_rows, proofs))


async def _bill(log: MemoryLog, threads: int, seal_rows: int, proofs: bool) -> Invoice:
    tenant = Tenant("default", b"", AcceptanceWindow(0, 0))
    tenant.add_catalog(1, CATALOG, 0)
    tenant.put_customer(Customer("acme"))
    segments = (Segment(START, "pro", 1, Cadence.MONTH),)
    subscription = Subscription("sub", "acme", Anchor.CALENDAR, "UTC", segments)
    tenant.put_subscription(subscription)
    due = due_of(tenant, subscription, 0)
    with tempfile.TemporaryDirectory() as directory:
        store = ColumnarStore(Path(directory), log.read, threads=threads, seal_rows=seal_rows)
        try:
            core = SimpleNamespace(store=_Awaited(store), clock=SimpleNamespace(now=lambda: END))
            (usage,) = await recounted(cast(Core, core), tenant, [due], log.position, proofs=proofs)
        finally:
            store.close()
    return statement(due, "inv_1", usage, log.position)


class _Awaited:
    def __init__(self, store: ColumnarStore) -> None:
        self._store = store

    async def recount(self, scopes: Any, *, proofs: bool = True) -> Any:
        return self._store.recount(scopes, proofs=proofs)


def fingerprint(invoice: Invoice) -> str:
    return sha256(canonical_bytes(invoice)).hexdigest()


if __name__ == "__main__":
    halves = seeded(int(sys.argv[1]))
    print(fingerprint(bill(entries([halves[:31], halves[31:]]), threads=int(sys.argv[2]))))
