"""
Adjustments: old periods that something came late for, rated again, on the next invoice (K15).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from taximeter.invoices.adjustments import (
    Delta,
    Place,
    adjusting,
    adjustment_lines,
    billed_lines,
    deltas,
    place_of,
)
from taximeter.invoices.build import Usage
from taximeter.invoices.discounts import apply_discounts
from taximeter.invoices.document import parse_invoice
from taximeter.invoices.document_parts import parse_minor
from taximeter.invoices.invoice import Cover, Invoice, Line, Status
from taximeter.invoices.plan_lines import plan_lines
from taximeter.invoices.settings import LateUsage as Policy
from taximeter.ports import LateUsage, StoredInvoice
from taximeter.services.billing.drafting.bills import Bill, statement
from taximeter.services.billing.due.commitments import with_drawn
from taximeter.services.billing.due.counted import recounted
from taximeter.services.billing.due.dues import Due, due_of
from taximeter.services.billing.terms.coupons import discounts_for
from taximeter.services.core import Core
from taximeter.services.tenant import Tenant

WHOLE = "period"
PERIODS_PER_RECOUNT = 5_000
_ISSUED = frozenset({Status.ISSUED.value, Status.PAID.value, Status.UNCOLLECTIBLE.value})


class Corrected(msgspec.Struct, frozen=True):
    """
    A billed period and what it counts by now.

    Attributes:
        original: The issued invoice that billed it.
        entries: What came late.
    """

    due: Due
    original: Invoice
    entries: tuple[LateUsage, ...]
    usage: list[Usage]


async def never_billed(
    core: Core, tenant: Tenant, customer: str, subjects: Sequence[str]
) -> list[str]:
    """Those of the subjects that no other customer was billed for: one that moved stays billed."""
    if not subjects:
        return []
    billed = await core.books.run(core.books.books.billed_to, tenant.name, subjects)
    return [one for one in subjects if not billed.get(one, set()) - {customer}]


class Adjusted(msgspec.Struct, frozen=True):
    """
    What it comes to.

    Attributes:
        statement: Its adjustment lines, as if on an invoice of their own.
        others: What else bills the period, oldest first; `billed` are its lines there.
        withheld: What would be billed, but is held or written off; minor units, above 0.
    """

    period: Corrected
    statement: Invoice
    found: tuple[Delta, ...]
    others: tuple[Invoice, ...]
    billed: tuple[Line, ...]
    withheld: Mapping[Place, int]
    rated: tuple[Line, ...]


class OpenCorrections:
    """
    Late usage that nothing has become of, and the old periods it is about, until each is on a bill.
    """

    def __init__(self, entries: Sequence[LateUsage], periods: Iterable[Corrected]) -> None:
        self._entries: dict[tuple[str, int], list[LateUsage]] = {}
        for entry in entries:
            key = (entry.subscription, entry.period_start)
            self._entries.setdefault(key, []).append(entry)
        self._periods: dict[str, list[Corrected]] = {}
        for one in periods:
            self._periods.setdefault(one.due.subscription.id, []).append(one)

    def entries_of(self, draft: Invoice) -> list[LateUsage]:
        """Late usage of the periods that a draft bills as a whole."""
        return [
            entry
            for cover in draft.covered
            if cover.part == WHOLE
            for entry in self._entries.get((cover.subscription, cover.period.start), ())
        ]

    def take(self, bill: Bill) -> list[Corrected]:
        """Old periods of the subscriptions on a bill, in its currency, oldest first."""
        currency = bill.dues[0].currency
        taken: list[Corrected] = []
        for subscription in dict.fromkeys(due.subscription.id for due in bill.dues):
            own = self._periods.pop(subscription, [])
            taken += [one for one in own if one.original.currency == currency]
            others = [one for one in own if one.original.currency != currency]
            if others:
                self._periods[subscription] = others
        return taken

    def of(self, invoice: Invoice) -> list[Corrected]:
        """Those of the periods that an invoice bills or corrects."""
        periods = {(cover.subscription, cover.period.start) for cover in invoice.covered}
        return [
            one
            for subscription in dict.fromkeys(cover.subscription for cover in invoice.covered)
            for one in self._periods.get(subscription, ())
            if (subscription, one.due.period.start) in periods
        ]

    def without_next(self, tenant: Tenant, now: int) -> Iterator[list[Corrected]]:
        """Those of subscriptions that have ended, so that no other bill comes; one bill each."""
        for subscription, own in sorted(self._periods.items()):
            end = tenant.timeline(tenant.subscriptions[subscription]).end
            if end is not None and end <= now:
                for currency in sorted({one.original.currency for one in own}):
                    yield [one for one in own if one.original.currency == currency]


async def open_corrections(
    core: Core, tenant: Tenant, upto: int, own: str | None = None
) -> OpenCorrections:
    """
    Args:
        own: A draft that is made again: what it settled is open for it.
    """
    entries = await core.books.run(core.books.books.open_late, tenant.name, own)
    if not entries:
        return OpenCorrections((), ())
    return OpenCorrections(entries, await corrected_periods(core, tenant, entries, upto))


async def corrected_periods(
    core: Core, tenant: Tenant, entries: Iterable[LateUsage], upto: int
) -> list[Corrected]:
    """
    The issued periods that some late usage is about, counted in one go; oldest first. Periods whose
    invoice is a draft, or void, are left out: they are billed anew.
    """
    by_period: dict[tuple[int, str], list[LateUsage]] = {}
    for one in entries:
        by_period.setdefault((one.period_start, one.subscription), []).append(one)
    found: list[Corrected] = []
    for (start, subscription), own in sorted(by_period.items()):
        original = await _original(core, tenant, subscription, start)
        if original is not None:
            cover = cover_of_period(original, subscription, start)
            due = await with_drawn(core, tenant, await due_again(core, tenant, original, cover))
            found.append(Corrected(due, original, tuple(own), []))
    counted: list[Corrected] = []
    for first in range(0, len(found), PERIODS_PER_RECOUNT):
        some = found[first : first + PERIODS_PER_RECOUNT]
        usages = await recounted(core, tenant, [one.due for one in some], upto)
        counted += [replace(one, usage=usage) for one, usage in zip(some, usages, strict=True)]
    return counted


async def _original(core: Core, tenant: Tenant, subscription: str, start: int) -> Invoice | None:
    for stored in await _stored(core, tenant, subscription, start):
        if stored.status in _ISSUED:
            invoice = parse_invoice(stored.document)
            if any(_is_whole(cover, subscription, start) for cover in invoice.covered):
                return invoice
    return None


async def _stored(core: Core, tenant: Tenant, subscription: str, start: int) -> list[StoredInvoice]:
    books = core.books.books
    return await core.books.run(books.invoices_of_period, tenant.name, subscription, start)


def _is_whole(cover: Cover, subscription: str, start: int) -> bool:
    return (cover.subscription, cover.period.start, cover.part) == (subscription, start, WHOLE)


def cover_of_period(invoice: Invoice, subscription: str, start: int) -> Cover:
    return next(one for one in invoice.covered if _is_whole(one, subscription, start))


async def due_again(core: Core, tenant: Tenant, invoice: Invoice, cover: Cover) -> Due:
    """
    What was due, in the invoice's currency and by the rates it cites, of all subjects that were
    billed then and all that the customer has claimed since, if nobody else was billed for them.
    """
    subscription = tenant.subscriptions[cover.subscription]
    cited = [one.version for line in invoice.lines for one in line.conversions]
    due = due_of(
        tenant,
        subscription,
        tenant.timeline(subscription).index(cover.period.start),
        currency=invoice.currency,
        rates_version=max(cited, default=None),
    )
    claimed = [one for one in due.customer.all_subjects if one not in cover.subjects]
    new = await never_billed(core, tenant, due.customer.key, claimed)
    subjects = (*cover.subjects, *new)
    return replace(due, customer=replace(due.customer, subjects=subjects))


async def adjusted(
    core: Core,
    tenant: Tenant,
    period: Corrected,
    own: str | None,
    upto: int,
    entries: Sequence[LateUsage] | None = None,
) -> Adjusted:
    """
    Args:
        own: Id of the draft that the lines are for; what it has of the period now does not count.
        upto: Position of the log that the usage reflects.
        entries: Late usage to go by, if not the period's own.
    """
    due, original = period.due, period.original
    key = (due.subscription.id, due.period.start)
    stored = [one for one in await _stored(core, tenant, *key) if one.id != own]
    others = tuple(parse_invoice(one.document) for one in stored)
    billed = tuple(line for one in others for line in billed_lines(one, *key))
    settled = await core.books.run(core.books.books.late_of_period, tenant.name, *key)
    counted = statement(replace(due, part=adjusting(upto)), original.id, period.usage, upto)
    entries = period.entries if entries is None else entries
    kept_back = {one.meter for one in entries if _is_kept_back(one)}
    rated, withheld = _without(counted.lines, billed, kept_back, withheld_places(settled))
    lines = _discounted(tenant, due, plan_lines(due.terms, rated, original.currency))
    found = deltas(lines, billed, await credited_places(core, tenant, others))
    new = replace(counted, lines=adjustment_lines(found, original, upto))
    return Adjusted(period, new, found, others, billed, withheld, counted.lines)


def restated(tenant: Tenant, due: Due, usage: list[Usage], upto: int) -> tuple[Line, ...]:
    """All lines of a period, as it comes to by its terms and discounts."""
    counted = statement(replace(due, part=adjusting(upto)), "", usage, upto)
    return _discounted(tenant, due, plan_lines(due.terms, counted.lines, due.currency))


def _is_kept_back(one: LateUsage) -> bool:
    return one.status == "held" or one.policy == Policy.WRITE_OFF.value


def _without(
    lines: Sequence[Line],
    billed: Sequence[Line],
    meters: Collection[str],
    written_off: Mapping[Place, int],
) -> tuple[tuple[Line, ...], dict[Place, int]]:
    """The same lines without what was written off, and what of some meters is kept back."""
    kept: list[Line] = []
    withheld: dict[Place, int] = {}
    for line in lines:
        place = place_of(line)
        minor = line.amount_minor - written_off.get(place, 0)
        if line.meter in meters:
            before = sum(one.amount_minor for one in billed if place_of(one) == place)
            if minor > before:
                withheld[place] = minor - before
                minor = before
        kept.append(replace(line, amount_minor=minor))
    return tuple(kept), withheld


def _discounted(tenant: Tenant, due: Due, lines: Sequence[Line]) -> tuple[Line, ...]:
    """With the discounts of their own period."""
    index = tenant.timeline(due.subscription).index(due.period.start)
    discounts = (*due.discounts, *discounts_for(tenant, due.subscription, index))
    return apply_discounts(lines, discounts, due.currency)[0]


async def credited_places(
    core: Core, tenant: Tenant, invoices: Iterable[Invoice]
) -> dict[Place, int]:
    """
    What credit notes give back of what was corrected, by place; not positive. One that waits for a
    second person counts: it gives it back, or is rejected, which opens the late usage again.
    """
    found: dict[Place, int] = {}
    for invoice in invoices:
        notes = await core.books.run(core.books.books.correcting_notes, tenant.name, invoice.id)
        lines = {line.id: line for line in invoice.lines}
        for one in (one for note in notes for one in note.request["lines"]):
            place = place_of(lines[one["line"]])
            minor = parse_minor(one["amount"], invoice.currency)
            found[place] = found.get(place, 0) - minor
    return found


# --- what became of late usage ----------------------------------------------------------------


def outcomes(found: Adjusted, invoice: Invoice | None, now: int) -> list[LateUsage]:
    """
    Args:
        invoice: The draft that has the lines; None if there is none.
    """
    return [_outcome(found, one, invoice, now) for one in found.period.entries]


def _outcome(found: Adjusted, one: LateUsage, invoice: Invoice | None, now: int) -> LateUsage:
    due = found.period.due
    withheld = {p: minor for p, minor in found.withheld.items() if _meter(found, p) == one.meter}
    billed_minor = sum(delta.minor for delta in found.found if delta.line.meter == one.meter)
    one = replace(
        one,
        currency=due.currency,
        amount_minor=sum(withheld.values()) + billed_minor,
        quantity_pico=_quantity(found, one.meter),
    )
    if withheld:
        is_gone = one.policy == Policy.WRITE_OFF.value
        return _written_off(one, withheld, now) if is_gone else one
    if billed_minor and invoice is None:
        return one
    # The draft of a node that died before it noted what became of this is among the others.
    for by in (() if invoice is None else (invoice,)) + found.others:
        lines = tuple(line.id for line in by.lines if _is_for(line, by, due, one))
        if lines:
            return replace(one, status="adjusted", by_invoice=by.id, by_lines=lines, settled_at=now)
    return replace(one, status="no_effect", settled_at=now)


def _is_for(line: Line, invoice: Invoice, due: Due, one: LateUsage) -> bool:
    """Whether a line adjusts for an entry of late usage."""
    return (
        line.adjusts is not None
        and line.lineage is not None
        and (line.subscription or invoice.subscription) == due.subscription.id
        and line.adjusts.period.start == due.period.start
        and line.meter == one.meter
        and int(line.lineage.position.partition(":")[2]) >= one.position
    )


def _meter(found: Adjusted, place: Place) -> str | None:
    return next((line.meter for line in found.rated if place_of(line) == place), None)


def _quantity(found: Adjusted, meter: str) -> int:
    """
    How much more the meter counts than is on the newest lines for it. Of several prices that count
    it, each maybe only a part, by the one that sees most of the change.
    """
    newest: dict[Place, Line] = {}
    for line in found.billed:
        if line.meter == meter and line.lineage is not None:
            newest[place_of(line)] = line
    more: dict[str, int] = {}
    for sign, lines in ((1, found.rated), (-1, newest.values())):
        for line in lines:
            if line.meter == meter:
                more[line.price] = more.get(line.price, 0) + sign * _metered_pico(line)
    return max(more.values(), key=abs, default=0)


def _metered_pico(line: Line) -> int:
    """In units of the meter, whatever the units of the price."""
    return line.quantity_pico if line.metered_pico is None else line.metered_pico


def _written_off(one: LateUsage, withheld: Mapping[Place, int], now: int) -> LateUsage:
    return replace(
        one,
        status="written_off",
        amount_minor=sum(withheld.values()),
        withheld=tuple((*_dump_place(place), minor) for place, minor in withheld.items()),
        settled_at=now,
    )


def _dump_place(place: Place) -> tuple[str, int, int, str, str]:
    return (place.price, place.start, place.end, place.hours, json.dumps(place.group))


def withheld_places(entries: Iterable[LateUsage]) -> dict[Place, int]:
    """What was written off, by place."""
    found: dict[Place, int] = {}
    for one in entries:
        for price, start, end, hours, group, minor in one.withheld:
            pairs = tuple((name, value) for name, value in json.loads(group))
            place = Place(price, start, end, hours, pairs)
            found[place] = found.get(place, 0) + minor
    return found
