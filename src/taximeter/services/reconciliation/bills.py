"""
Rated = invoiced: invoices against what rating their events again gives, and what came late.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

import msgspec

from taximeter.invoices.document import canonical_bytes, digest
from taximeter.invoices.invoice import Invoice, Kind, Line, Status
from taximeter.money import exponent
from taximeter.ports import StoredInvoice
from taximeter.quantities import E12
from taximeter.reconciliation.compare import LineFacts, cause_of_line
from taximeter.reconciliation.gap import Cause, Gap, Repair, Stage
from taximeter.services.billing.evidence.cited import cover_of
from taximeter.services.billing.evidence.recheck import Rechecked, recheck_all
from taximeter.services.core import Core
from taximeter.services.tenant import Tenant


class _Claim(msgspec.Struct):
    digest: str


_claim = msgspec.json.Decoder(_Claim)


async def gaps_of_invoices(
    core: Core, tenant: Tenant, stored: Sequence[StoredInvoice]
) -> dict[str, list[Gap]]:
    """By invoice; a void one bills nothing, so it has none."""
    found: dict[str, list[Gap]] = {one.id: [] for one in stored}
    alive = [one for one in stored if one.status != Status.VOID]
    for checked in await recheck_all(core, tenant, alive, now_too=await core.upto()):
        late = await _waiting(core, tenant, checked) if any(checked.late.values()) else []
        gaps = [*_altered(checked), *_lines(checked), *_late(checked, late)]
        found[checked.stored.id] = gaps
    return found


def restored(checked: Rechecked) -> bytes | None:
    """
    The document as rating it again makes it, if that is what its own digest says it was; else None:
    then only a person can know which of the two is right.
    """
    again = checked.as_it_should_be
    claimed = _claim.decode(checked.stored.document).digest
    return canonical_bytes(again) if digest(again) == claimed else None


def _altered(checked: Rechecked) -> Iterator[Gap]:
    if checked.document_ok:
        return
    invoice = checked.invoice
    yield Gap(
        upstream=Stage.RATED,
        downstream=Stage.INVOICED,
        cause=Cause.ALTERED,
        expected=_money(checked.as_it_should_be.total_minor, invoice.currency),
        found=_money(invoice.total_minor, invoice.currency),
        unit=invoice.currency,
        customer=invoice.customer,
        period=invoice.period,
        target=invoice.id,
        repair=Repair.LOOK if restored(checked) is None else Repair.RERATE,
        detail=f"Invoice {_name(invoice)} is not, byte for byte, what its digest says.",
    )


def _lines(checked: Rechecked) -> Iterator[Gap]:
    invoice = checked.invoice
    repair = Repair.LOOK if restored(checked) is None else Repair.RERATE
    for billed, rated in zip(invoice.lines, checked.lines, strict=True):
        found, expected = _facts(billed, invoice), _facts(rated, invoice)
        transformed = billed.metered_pico is not None
        cause = cause_of_line(expected, found, transformed=transformed)
        if cause is not None:
            lost = cause in (Cause.MISSING, Cause.DUPLICATE)
            yield Gap(
                upstream=Stage.RATED,
                downstream=Stage.INVOICED,
                cause=cause,
                expected=expected.amount,
                found=found.amount,
                unit=invoice.currency,
                customer=billed.customer or invoice.customer,
                meter=billed.meter,
                period=billed.period,
                target=f"{invoice.id}/{billed.id}",
                repair=Repair.REBUILD_STORE if lost else repair,
                detail=_difference(billed, found, expected, invoice),
            )


def _difference(billed: Line, found: LineFacts, expected: LineFacts, invoice: Invoice) -> str:
    line = f"Line {billed.id} of {_name(invoice)}"
    if found.events != expected.events:
        return f"{line} was billed for {found.events} events, of which {expected.events} are there."
    return f"{line} is not what the same {found.events} events come to by {billed.price}."


async def _waiting(core: Core, tenant: Tenant, checked: Rechecked) -> list[Line]:
    """Lines that something came late for which nothing has become of."""
    still_open = {one.id for one in await core.books.run(core.books.books.open_late, tenant.name)}
    found: list[Line] = []
    for line in checked.invoice.lines:
        late = checked.late.get(line.id, 0) and line.kind is not Kind.ADJUSTMENT
        cover = cover_of(checked.invoice, line)
        if not late or cover.part != "period":
            continue  # billed on account: the invoice at the end of the period has all of it
        entries = await core.books.run(
            core.books.books.late_of_period, tenant.name, cover.subscription, cover.period.start
        )
        known = {one.id for one in entries if one.meter == line.meter}
        if not known or known & still_open:
            found.append(line)
    return found


def _late(checked: Rechecked, lines: Sequence[Line]) -> Iterator[Gap]:
    """What came after lines were made."""
    invoice = checked.invoice
    for line in lines:
        more, events = checked.late[line.id], 0 if line.lineage is None else line.lineage.events
        yield Gap(
            upstream=Stage.ACCEPTED,
            downstream=Stage.INVOICED,
            cause=Cause.LATE,
            expected=Fraction(events + more),
            found=Fraction(events),
            unit="events",
            customer=cover_of(invoice, line).customer,
            meter=line.meter,
            period=line.period,
            target=f"{invoice.id}/{line.id}",
            repair=Repair.ADJUST,
            detail=f"{abs(more)} events {'came' if more > 0 else 'were taken back'} after "
            f"line {line.id} of {_name(invoice)} was made.",
        )


def _facts(line: Line, invoice: Invoice) -> LineFacts:
    lineage = line.lineage
    return LineFacts(
        events=0 if lineage is None else lineage.events,
        digest=None if lineage is None else lineage.digest,
        quantity=Fraction(line.quantity_pico, E12),
        amount=_money(line.amount_minor, invoice.currency),
        explained=(line.metered_pico, line.free_pico, line.tiers, line.multiplier, line.adjustment),
    )


def _money(minor: int, currency: str) -> Fraction:
    return Fraction(minor, 10 ** exponent(currency))


def _name(invoice: Invoice) -> str:
    return invoice.number or invoice.id
