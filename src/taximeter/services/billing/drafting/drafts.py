"""
Drafts: invoices that are made and not final yet, and what a person decides about them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from taximeter.errors import NotFound, Refused
from taximeter.instants import format_instant
from taximeter.invoices.adjustments import is_adjusting
from taximeter.invoices.document import canonical_bytes, parse_invoice
from taximeter.invoices.invoice import Invoice, Status
from taximeter.invoices.states import check_held
from taximeter.notices.notice import INVOICE_CREATED, INVOICE_IN_REVIEW
from taximeter.ports import AuditEntry, BilledPeriod, LateUsage, StoredInvoice
from taximeter.services.billing.drafting.assembly import Draft
from taximeter.services.billing.issuing.tell import tell
from taximeter.services.core import Core, audit
from taximeter.services.tenant import Tenant

_UNDECIDED: Final = ("pending", "held", "adjusted")
"""Late usage that a draft can settle; what it had adjusted itself, once more."""


class ReviewNote(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    What a person is to look at, and what came of it.

    Attributes:
        reasons: Why it was held.
        approved_at, approved_by: RFC 3339, and the key; None while it waits.
    """

    reasons: tuple[str, ...]
    held_by: str | None = None
    approved_at: str | None = None
    approved_by: str | None = None
    note: str | None = None


def stored_invoice(
    tenant: Tenant, invoice: Invoice, created_at: int, review: ReviewNote | None = None
) -> StoredInvoice:
    return StoredInvoice(
        id=invoice.id,
        namespace=tenant.name,
        number=invoice.number,
        customer=invoice.customer,
        subscription=invoice.subscription,
        status=invoice.status.value,
        period_start=invoice.period.start,
        period_end=invoice.period.end,
        created_at=created_at,
        document=canonical_bytes(invoice),
        review=None if review is None else _encode(review),
    )


async def store_draft(core: Core, tenant: Tenant, draft: Draft, now: int, actor: str) -> bool:
    """Whether it is new: nothing on it has been billed meanwhile."""
    invoice, review = draft.invoice, None
    if draft.reasons:
        invoice = msgspec.structs.replace(invoice, status=Status.IN_REVIEW)
        review = ReviewNote(draft.reasons)
    stored = stored_invoice(tenant, invoice, now, review)
    is_new = await core.books.run(
        core.books.books.add_invoice,
        stored,
        _periods(invoice),
        audit(tenant, now, actor, "invoice.create", invoice.id, customer=invoice.customer),
    )
    if is_new:
        await _settle(core, draft.settled)
        tell(core, tenant, INVOICE_IN_REVIEW if draft.reasons else INVOICE_CREATED, stored)
    return is_new


def _periods(invoice: Invoice) -> list[BilledPeriod]:
    return [
        BilledPeriod(cover.subscription, cover.period.start, cover.period.end, cover.part)
        for cover in invoice.covered
    ]


async def store_corrections(
    core: Core, tenant: Tenant, draft: Draft | tuple[LateUsage, ...], now: int, actor: str
) -> list[str]:
    """
    Store a draft of corrections alone, if there is one.

    Returns:
        Its id.
    """
    if not isinstance(draft, Draft):
        await _settle(core, draft)
        return []
    return [draft.invoice.id] if await store_draft(core, tenant, draft, now, actor) else []


async def _settle(core: Core, settled: Sequence[LateUsage]) -> None:
    if settled:
        await core.books.run(core.books.books.settle_late, settled, _UNDECIDED)


async def redrafted(
    core: Core, stored: StoredInvoice, draft: Draft, entry: AuditEntry
) -> StoredInvoice:
    """Put a draft that was made again in the place of the one it was."""
    review = review_of(stored)
    status = Status(stored.status)
    if draft.reasons and (review is None or review.reasons != draft.reasons):
        status, review = Status.IN_REVIEW, ReviewNote(draft.reasons)
    invoice = msgspec.structs.replace(draft.invoice, status=status)
    moved = msgspec.structs.replace(
        stored,
        status=status.value,
        period_start=invoice.period.start,
        period_end=invoice.period.end,
        document=canonical_bytes(invoice),
        review=None if review is None else _encode(review),
    )
    adjusts = [one for one in _periods(invoice) if is_adjusting(one.part)]
    put = await _put(core, moved, stored.status, entry, adjusts)
    await _settle(core, draft.settled)
    return put


async def hold(
    core: Core, tenant: Tenant, invoice_id: str, reason: str, actor: str
) -> StoredInvoice:
    """
    Put a draft in review: nobody issues it before it is approved.

    Raises:
        NotFound: No such invoice.
        Refused: `invoice_not_draft`.
    """
    stored = await find_invoice(core, tenant, invoice_id)
    if stored.status != Status.DRAFT.value:
        raise Refused(
            "invoice_not_draft",
            f"invoice {invoice_id} is {stored.status}; only a draft can be held",
            status=stored.status,
        )
    note = ReviewNote((reason,), held_by=actor)
    entry = audit(tenant, core.clock.now(), actor, "invoice.hold", invoice_id, reason=reason)
    return await _move(core, stored, Status.IN_REVIEW, note, entry)


async def approve(
    core: Core, tenant: Tenant, invoice_id: str, note: str | None, actor: str
) -> StoredInvoice:
    """
    Let an invoice that was held go on as a draft.

    Raises:
        NotFound: No such invoice.
        Refused: `invoice_not_in_review`.
    """
    stored = await find_invoice(core, tenant, invoice_id)
    check_held(invoice_id, Status(stored.status))
    now = core.clock.now()
    review = msgspec.structs.replace(
        review_of(stored) or ReviewNote(()),
        approved_at=format_instant(now),
        approved_by=actor,
        note=note,
    )
    entry = audit(tenant, now, actor, "invoice.approve", invoice_id, note=note)
    return await _move(core, stored, Status.DRAFT, review, entry)


async def _move(
    core: Core, stored: StoredInvoice, status: Status, review: ReviewNote, entry: AuditEntry
) -> StoredInvoice:
    invoice = msgspec.structs.replace(parse_invoice(stored.document), status=status)
    moved = msgspec.structs.replace(
        stored, status=status.value, document=canonical_bytes(invoice), review=_encode(review)
    )
    return await _put(core, moved, stored.status, entry)


async def _put(
    core: Core,
    moved: StoredInvoice,
    expected: str,
    entry: AuditEntry,
    adjusts: Sequence[BilledPeriod] | None = None,
) -> StoredInvoice:
    books = core.books.books
    if not await core.books.run(books.replace_invoice, moved, expected, entry, adjusts=adjusts):
        raise Refused("invoice_changed", "The invoice changed meanwhile; read it again.")
    return moved


async def find_invoice(core: Core, tenant: Tenant, invoice_id: str) -> StoredInvoice:
    """
    Raises:
        NotFound: No such invoice.
    """
    found = await core.books.run(core.books.books.invoice, tenant.name, invoice_id)
    if found is None:
        raise NotFound("not_found", f"There is no invoice {invoice_id!r}.")
    return found


def review_of(stored: StoredInvoice) -> ReviewNote | None:
    return None if stored.review is None else _decoder.decode(stored.review)


_decoder = msgspec.json.Decoder(ReviewNote)


def _encode(review: ReviewNote) -> str:
    return msgspec.json.encode(review).decode()
