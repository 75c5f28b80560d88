"""
Proof: which events are behind each line of an invoice, and that it says what they say.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec

from taximeter.errors import NotFound
from taximeter.invoices.document import parse_invoice
from taximeter.invoices.invoice import Invoice, Line
from taximeter.invoices.lineage import audit_path, leaf_bytes, leaf_hash, merkle_levels
from taximeter.meters.compile import compile_counters
from taximeter.meters.counter import Counter
from taximeter.meters.values import canonical_text
from taximeter.money import format_minor
from taximeter.ports import LineScope, StoredEvent
from taximeter.quantities import format_quantity
from taximeter.services.billing.drafting.drafts import find_invoice
from taximeter.services.billing.evidence.cited import Group, find_line, has_events, line_scope
from taximeter.services.billing.evidence.recheck import recheck
from taximeter.services.core import Core
from taximeter.services.tenant import Tenant

EVENTS_AT_ONCE = 10_000
EVENTS_IN_A_TURN = 1000
LEVELS_IN_PLACE = 10_000


# --- the events of a line ---------------------------------------------------------------------


class Events(msgspec.Struct, frozen=True):
    """Where the events of a line are found; none are behind a flat fee."""

    invoice: Invoice
    line: Line
    scope: LineScope | None
    group: Group


async def events_of_line(core: Core, tenant: Tenant, invoice_id: str, line_id: str) -> Events:
    """
    Raises:
        NotFound: No such invoice, or no such line on it.
    """
    invoice = parse_invoice((await find_invoice(core, tenant, invoice_id)).document)
    line = find_line(invoice, line_id)
    if not has_events(line):
        return Events(invoice, line, None, ())
    return Events(invoice, line, *line_scope(tenant, invoice, line))


async def line_events(
    core: Core, tenant: Tenant, invoice_id: str, line_id: str, after: int, limit: int
) -> list[StoredEvent]:
    """The exact events of a line with seq > after, ascending; none for a flat fee."""
    events = await events_of_line(core, tenant, invoice_id, line_id)
    return await some_events(core, events, after, limit)


async def some_events(core: Core, events: Events, after: int, limit: int) -> list[StoredEvent]:
    """Those with seq > after, ascending; none for a flat fee."""
    if events.scope is None:
        return []
    return await core.store.line_events(events.scope, events.group, after, limit)


async def every_event(core: Core, events: Events) -> AsyncIterator[list[StoredEvent]]:
    """All of them, in the order of the log, a bounded number at a time."""
    after = 0
    while events.scope is not None:
        found = await core.store.line_events(events.scope, events.group, after, EVENTS_AT_ONCE)
        for start in range(0, len(found), EVENTS_IN_A_TURN):
            yield found[start : start + EVENTS_IN_A_TURN]
            await asyncio.sleep(0)  # others have their turn
        if len(found) < EVENTS_AT_ONCE:
            return
        after = found[-1].seq


def leaf_of(stored: StoredEvent) -> bytes:
    """The canonical bytes of an event as a leaf of its lines."""
    event = stored.event
    data = "null" if event.data is None else canonical_text(event.data)
    return leaf_bytes(
        stored.seq, event.id, event.source, event.type, event.subject, stored.time, data
    )


# --- inclusion --------------------------------------------------------------------------------


class Tree(msgspec.Struct, frozen=True):
    """
    The Merkle tree of a line.

    Attributes:
        seqs: Of the leaves, in order.
        levels: See `merkle_levels`.
    """

    seqs: list[int]
    levels: list[list[bytes]]

    @property
    def root(self) -> str:
        return f"sha256:{self.levels[-1][0].hex()}"

    def proof(self, seq: int) -> dict[str, Any]:
        """That an event was billed: its place and the sibling hashes up to the root."""
        index = bisect_left(self.seqs, seq)
        path = [one.hex() for one in audit_path(self.levels, index)]
        return {"index": index, "size": len(self.seqs), "path": path, "root": self.root}


async def tree_of(core: Core, events: Events) -> Tree:
    """Read from the events, not from what the line says of them. It has at least one."""
    seqs: list[int] = []
    hashes: list[bytes] = []
    async for found in every_event(core, events):
        seqs += [stored.seq for stored in found]
        hashes += [leaf_hash(leaf_of(stored)) for stored in found]
    if len(hashes) <= LEVELS_IN_PLACE:
        return Tree(seqs, merkle_levels(hashes))
    return Tree(seqs, await asyncio.to_thread(merkle_levels, hashes))


async def proved_events(
    core: Core, events: Events, after: int, limit: int
) -> list[tuple[StoredEvent, dict[str, Any]]]:
    """A page of a line's events, each with its leaf and its proof."""
    found = await some_events(core, events, after, limit)
    if not found:
        return []
    tree = await tree_of(core, events)
    return [(one, {"leaf": leaf_of(one).decode(), **tree.proof(one.seq)}) for one in found]


async def prove_event(core: Core, events: Events, stored: StoredEvent) -> dict[str, Any]:
    """
    That one event is among those a line was billed for.

    Raises:
        NotFound: It is not.
    """
    tree = await tree_of(core, events) if events.scope is not None else Tree([], [])
    if stored.seq not in tree.seqs:
        raise NotFound("not_found", f"Line {events.line.id!r} was not billed for this event.")
    return {"leaf": leaf_of(stored).decode(), **tree.proof(stored.seq)}


# --- from an event to its lines ---------------------------------------------------------------


async def lines_that_billed(
    core: Core, tenant: Tenant, stored: StoredEvent
) -> list[dict[str, str]]:
    """Lines of invoices that are not void whose events include this one."""
    account = tenant.live.by_subject.get(stored.event.subject)
    if account is None:
        return []
    payers = list(_payers(tenant, account.customer))
    books = core.books.books
    found: list[dict[str, str]] = []
    for one in await core.books.run(books.invoices_since, tenant.name, payers, stored.time):
        invoice = parse_invoice(one.document)
        found += [
            {"invoice": invoice.id, "line": line.id}
            for line in invoice.lines
            if has_events(line) and line.period.contains(stored.time)
            if _billed(tenant, invoice, line, stored)
        ]
        await asyncio.sleep(0)
    return found


def _payers(tenant: Tenant, customer: str) -> Iterator[str]:
    """Who may have been sent the invoice for a customer's usage: itself, and those above it."""
    above: str | None = customer
    while above is not None:
        yield above
        above = tenant.customers[above].parent


def _billed(tenant: Tenant, invoice: Invoice, line: Line, stored: StoredEvent) -> bool:
    scope, group = line_scope(tenant, invoice, line)
    if stored.event.type != scope.meter.event_type or stored.seq > scope.upto:
        return False
    if stored.retracted_by is not None and stored.retracted_by <= scope.upto:
        return False
    if stored.event.subject not in scope.subjects:
        return False
    if scope.parts and not any(part.contains(stored.time) for part in scope.parts):
        return False
    counter = Counter(scope.meter, scope.filter, scope.group_by)
    values = compile_counters([(0, counter)]).measure_stored(stored.event)
    if values is None or values[0] is None:
        return False
    return not scope.group_by or values[0][0] == group


# --- counted and rated again ------------------------------------------------------------------


async def verify(core: Core, tenant: Tenant, invoice_id: str) -> dict[str, Any]:
    """
    Count and rate every line again, from the events, by the price it cites, and compare; and the
    document as a whole with what its lines add up to and with its digest.
    """
    stored = await find_invoice(core, tenant, invoice_id)
    checked = await recheck(core, tenant, stored)
    currency = checked.invoice.currency
    pairs = zip(checked.invoice.lines, checked.lines, strict=True)
    return {
        "invoice": checked.invoice.id,
        "ok": checked.ok,
        "document_ok": checked.document_ok,
        "lines": [
            {
                "line": billed.id,
                "ok": billed == again,
                "billed": _facts(billed, currency),
                "recounted": _facts(again, currency),
            }
            for billed, again in pairs
        ],
    }


def _facts(line: Line, currency: str) -> dict[str, Any]:
    return {
        "events": 0 if line.lineage is None else line.lineage.events,
        "digest": None if line.lineage is None else line.lineage.digest,
        "quantity": format_quantity(line.quantity_pico),
        "amount": format_minor(line.amount_minor, currency),
    }
