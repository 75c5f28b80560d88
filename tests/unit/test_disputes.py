"""Nobody is reminded of what is disputed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from taximeter.accounting.matching import OpenInvoice
from taximeter.instants import DAY
from taximeter.services.accounting.dunning import remind

NOW = 100 * DAY


class Books:
    """Three overdue invoices over 10.00; of one a part is disputed, of one all."""

    def __init__(self) -> None:
        self.reminded: list[str] = []

    def due_invoices(self, namespace: str, before: int, steps: int) -> list[OpenInvoice]:
        return [OpenInvoice(id, id, "acme", "EUR", 0, 10 * DAY, 1000) for id in ("a", "b", "c")]

    def disputed(self, namespace: str, invoices: Sequence[str]) -> dict[str, dict[str, int]]:
        return {"b": {"line_1": 400}, "c": {"line_1": 700, "line_2": 300}}

    def note_reminded(self, namespace: str, invoice: str, step: int) -> None:
        self.reminded.append(invoice)


def test_reminders_leave_out_what_is_disputed() -> None:
    books = Books()

    async def run(call: Any, *arguments: Any) -> Any:
        return call(*arguments)

    core: Any = SimpleNamespace(
        clock=SimpleNamespace(now=lambda: NOW),
        books=SimpleNamespace(books=books, run=run),
        notices=None,
    )
    tenant: Any = SimpleNamespace(name="default", billing=SimpleNamespace(dunning_days=(1,)))
    found = asyncio.run(remind(core, tenant))
    assert [(one.invoice.id, one.invoice.open_minor) for one in found] == [("a", 1000), ("b", 600)]
    assert books.reminded == ["a", "b"], "the third is told once its dispute has ended"
