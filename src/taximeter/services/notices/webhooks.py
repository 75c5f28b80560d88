"""
Putting, rotating and deleting webhooks.
"""

from __future__ import annotations

import msgspec

from taximeter.catalog.durations import DURATION_RULE, format_duration, parse_duration
from taximeter.errors import Rejected
from taximeter.instants import DAY
from taximeter.notices.addresses import check_url
from taximeter.notices.alert import read_recipients
from taximeter.notices.delivery import Channel, Receiver
from taximeter.notices.notice import is_pattern
from taximeter.notices.signature import Secret, read_secret, rotated
from taximeter.notices.webhook import BY_HAND, Webhook
from taximeter.services.core import Core, audit
from taximeter.services.notices.board import new_secret
from taximeter.services.notices.service import NoticeService, check_id, require_mail
from taximeter.services.tenant import Tenant

MAX_OVERLAP = 30 * DAY
DEFAULT_OVERLAP = DAY
MAX_TYPES = 50
MAX_DESCRIPTION = 500


class WebhookWish(msgspec.Struct, frozen=True):
    """What is asked for. Absent members of an endpoint that exists are their defaults again."""

    url: str
    types: tuple[str, ...] = ("*",)
    description: str = ""
    email: tuple[str, ...] = ()
    enabled: bool = True
    secret: str | None = None


async def put_webhook(
    core: Core,
    notices: NoticeService,
    tenant: Tenant,
    webhook_id: str,
    wish: WebhookWish,
    actor: str,
    *,
    allow_private: bool,
) -> tuple[Webhook, str | None]:
    """
    Add an endpoint, or replace what is known of it; a disabled one is enabled again.

    Returns:
        With its secret if that was made here, to be shown this once.

    Raises:
        Rejected: `webhook_url_refused`, `invalid_request`.
        Refused: `mail_not_configured`.
    """
    check_id(webhook_id, "invalid_request")
    _check_wish(notices, wish, allow_private=allow_private)
    board = notices.board
    async with board.lock:
        now = core.clock.now()
        known = board.webhooks(tenant.name).get(webhook_id)
        webhook = _granted(webhook_id, wish, known, now)
        shown = None
        if not webhook.secrets:
            shown = wish.secret or new_secret()
            webhook = msgspec.structs.replace(webhook, secrets=(Secret(shown),))
        if webhook != known:
            entry = audit(tenant, now, actor, "webhook.put", webhook_id, url=webhook.url)
            await board.put_webhook(tenant.name, webhook, entry)
    receiver = Receiver(tenant.name, Channel.WEBHOOK, webhook_id)
    if webhook.is_enabled:
        notices.delivery.wake(receiver)
    else:
        notices.delivery.drop(receiver)
    return webhook, shown


def _check_wish(notices: NoticeService, wish: WebhookWish, *, allow_private: bool) -> None:
    check_url(wish.url, allow_private=allow_private)
    wrong = [pattern for pattern in wish.types if not is_pattern(pattern)]
    if wrong or not 1 <= len(wish.types) <= MAX_TYPES:
        raise Rejected(
            "invalid_request",
            f"types: 1 to {MAX_TYPES} types such as balance.low, usage.* or *"
            + (f", not {wrong[0][:60]!r}." if wrong else "."),
        )
    if len(wish.description) > MAX_DESCRIPTION:
        raise Rejected("invalid_request", f"description: at most {MAX_DESCRIPTION} characters.")
    read_recipients(list(wish.email), "invalid_request")
    require_mail(notices, wish.email)
    if wish.secret is not None:
        read_secret(wish.secret)


def _granted(webhook_id: str, wish: WebhookWish, known: Webhook | None, now: int) -> Webhook:
    """The endpoint as wished. Its record begins anew with another URL, or when enabled again."""
    was_on = known is not None and known.is_enabled
    goes_on = known is not None and was_on and known.url == wish.url
    webhook = Webhook(
        webhook_id,
        wish.url,
        tuple(dict.fromkeys(wish.types)),
        wish.description,
        tuple(dict.fromkeys(wish.email)),
        secrets=() if known is None else known.secrets,
        created_at=now if known is None else known.created_at,
        failing_since=known.failing_since if goes_on and known is not None else None,
    )
    if known is not None and wish.secret not in (None, *(s.text for s in known.secrets[:1])):
        raise Rejected("invalid_request", "secret: rotate an endpoint's secret instead.")
    if wish.enabled:
        return webhook
    if known is not None and not was_on:
        return msgspec.structs.replace(
            webhook, disabled_at=known.disabled_at, disabled_reason=known.disabled_reason
        )
    return msgspec.structs.replace(webhook, disabled_at=now, disabled_reason=BY_HAND)


async def delete_webhook(
    core: Core, notices: NoticeService, tenant: Tenant, webhook_id: str, actor: str
) -> None:
    entry = audit(tenant, core.clock.now(), actor, "webhook.delete", webhook_id)
    await notices.board.delete_webhook(tenant.name, webhook_id, entry)
    notices.delivery.drop(Receiver(tenant.name, Channel.WEBHOOK, webhook_id))


async def rotate_secret(
    core: Core,
    notices: NoticeService,
    tenant: Tenant,
    webhook_id: str,
    overlap: str | None,
    secret: str | None,
    actor: str,
) -> tuple[Webhook, str]:
    """
    Put a new secret in the place of the present one, which goes on signing for a while.

    Args:
        overlap: How long, such as "24h"; "0s" ends it now.
        secret: The new one; None to have one made.

    Raises:
        Rejected: `invalid_request`.
        NotFound: No such webhook.
    """
    overlap_us = 0 if overlap in ("0", "0s") else DEFAULT_OVERLAP
    if overlap is not None and overlap not in ("0", "0s"):
        overlap_us = parse_duration(overlap) or MAX_OVERLAP + 1
    if overlap_us > MAX_OVERLAP:
        raise Rejected("invalid_request", f"overlap: {DURATION_RULE.partition(',')[0]}, to 30d.")
    fresh = secret or new_secret()
    read_secret(fresh)
    async with notices.board.lock:
        known = notices.board.webhook(tenant.name, webhook_id)
        now = core.clock.now()
        webhook = msgspec.structs.replace(
            known, secrets=rotated(known.secrets, fresh, now, overlap_us)
        )
        length = format_duration(overlap_us) if overlap_us else "0s"
        entry = audit(tenant, now, actor, "webhook.rotate", webhook_id, overlap=length)
        await notices.board.put_webhook(tenant.name, webhook, entry)
    return webhook, fresh
