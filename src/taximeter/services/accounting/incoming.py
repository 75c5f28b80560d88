"""
Payments told by webhook: who may tell, and whether it was they (Standard Webhooks).
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from taximeter.errors import NotFound, Rejected
from taximeter.instants import DAY, SECOND, parse_instant
from taximeter.notices.signature import (
    SECRET_BYTES,
    Secret,
    format_secret,
    in_force,
    read_secret,
    rotated,
    sign,
)
from taximeter.ports import PaymentSource
from taximeter.services.accounting.payments import (
    ToldInvoice,
    ToldPayment,
    record,
    refund,
    reverse,
)
from taximeter.services.core import Core, audit
from taximeter.services.tenant import Tenant

TOLERANCE_S: Final = 300
TOKEN_BYTES: Final = 24
OVERLAP: Final = DAY
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


# --- who may tell ---------------------------------------------------------------------------------


async def put_source(
    core: Core, tenant: Tenant, source_id: str, secret: str | None, actor: str
) -> PaymentSource:
    """
    Add a source, or give it another secret; the one before holds for a day.

    Args:
        secret: None for a new one.

    Raises:
        Rejected: `invalid_request`.
    """
    if not _ID.fullmatch(source_id):
        raise Rejected(
            "invalid_request",
            "id: 1 to 64 letters, digits, - _ and . with a letter or digit first.",
        )
    if secret is not None:
        read_secret(secret)
    fresh = format_secret(secrets.token_bytes(SECRET_BYTES)) if secret is None else secret
    async with core.lock(tenant):
        now = core.clock.now()
        known = {one.id: one for one in await sources(core, tenant)}.get(source_id)
        if known is None:
            token = f"src_{secrets.token_urlsafe(TOKEN_BYTES)}"
            source = PaymentSource(tenant.name, source_id, token, (Secret(fresh),), now)
        else:
            source = replace(known, secrets=rotated(known.secrets, fresh, now, OVERLAP))
        await core.books.run(
            core.books.books.put_payment_source,
            source,
            audit(tenant, now, actor, "payment_source.put", source_id),
        )
        return source


async def delete_source(core: Core, tenant: Tenant, source_id: str, actor: str) -> None:
    entry = audit(tenant, core.clock.now(), actor, "payment_source.delete", source_id)
    books = core.books.books
    if not await core.books.run(books.delete_payment_source, tenant.name, source_id, entry):
        raise NotFound("not_found", f"There is no payment source {source_id!r}.")


async def sources(core: Core, tenant: Tenant) -> list[PaymentSource]:
    found: list[PaymentSource] = await core.books.run(core.books.books.payment_sources, tenant.name)
    return found


# --- what they tell -------------------------------------------------------------------------------


class _Told(msgspec.Struct):
    id: str | None = None
    customer: str = ""
    amount: Any = None
    currency: str = ""
    at: str | None = None
    reference: str = ""
    invoices: tuple[ToldInvoice, ...] | None = None
    payment: str = ""
    reason: str = ""


class Message(msgspec.Struct):
    """What a source sends: {"type": "payment.received", "data": {...}}"""

    type: str
    data: dict[str, Any] = {}


async def receive(
    core: Core,
    token: str,
    headers: Mapping[str, str],
    body: bytes,
    read: Callable[[type[Message]], Message],
) -> dict[str, Any]:
    """
    Do what a message tells, once however often it comes.

    Args:
        headers: `webhook-id`, `webhook-timestamp` and `webhook-signature`; "" where it is missing.
        read: Decodes the body; not called before the signature is known to be right.

    Raises:
        NotFound: No such source; or what it tells of is not there (yet): it should tell again.
        Rejected: `invalid_signature`, and whatever is wrong about the payment.
    """
    source = await core.books.run(core.books.books.payment_source_of, token)
    if source is None:
        raise NotFound("not_found", "There is no payment source at this address.")
    now = core.clock.now()
    message_id = check_signature(source, headers, body, now)
    tenant, actor = core.tenant(source.namespace), f"payment source {source.id}"
    message = read(Message)
    try:
        told = msgspec.convert(message.data, _Told)
    except msgspec.ValidationError as error:
        raise Rejected("invalid_request", f"data: {error}") from None
    if message.type == "payment.received":
        payment = ToldPayment(
            id=told.id or message_id,
            customer=told.customer,
            amount=told.amount,
            currency=told.currency,
            at=None if told.at is None else parse_instant(told.at),
            reference=told.reference,
            invoices=told.invoices,
        )
        done = await record(core, tenant, payment, actor, origin=source.id)
    elif message.type == "payment.reversed":
        done = await reverse(core, tenant, told.payment, told.reason or "told by webhook", actor)
    elif message.type == "payment.refunded":
        done = await refund(
            core, tenant, told.payment, told.amount, actor, refund_id=told.id or message_id
        )
    else:
        return {"status": "ignored", "payment": None}
    status = "done" if done.is_new else "known"
    return {"status": status, "payment": done.state.to_json()}


def check_signature(
    source: PaymentSource, headers: Mapping[str, str], body: bytes, now: int
) -> str:
    """
    The id of a message, if the source has signed it within five minutes of now.

    Raises:
        Rejected: `invalid_signature`. Which part is wrong is for nobody but its sender to find.
    """
    message_id = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    given = headers.get("webhook-signature", "").split()
    if message_id and "." not in message_id and _seconds(timestamp) is not None:
        sent_at = int(timestamp)
        if abs(now // SECOND - sent_at) <= TOLERANCE_S:
            for right in sign(in_force(source.secrets, now), message_id, sent_at, body).split():
                if any(hmac.compare_digest(right.encode(), one.encode()) for one in given):
                    return message_id
    raise Rejected(
        "invalid_signature",
        "The message must be signed with the source's secret (Standard Webhooks), not more than "
        "five minutes ago.",
    )


def _seconds(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else None
