"""
Configuring notices: alerts and webhooks, put, rotated, tested, sent again.
"""

from __future__ import annotations

import asyncio
import difflib
import re
import secrets
from collections.abc import Iterable
from typing import Any

import msgspec

from taximeter.catalog.durations import DURATION_RULE, format_duration, parse_duration
from taximeter.errors import NotFound, Refused, Rejected
from taximeter.instants import DAY, format_instant
from taximeter.notices.addresses import check_url
from taximeter.notices.alert import Alert, Subject, read_alert, read_recipients
from taximeter.notices.delivery import Attempt, Channel, Delivery, Receiver, new_delivery
from taximeter.notices.notice import WEBHOOK_TEST, Notice, is_pattern, new_notice
from taximeter.notices.signature import Secret, read_secret, rotated
from taximeter.notices.webhook import BY_HAND, Webhook
from taximeter.ports import Clock
from taximeter.services.core import Core, audit, require_customer
from taximeter.services.notices import NoticeService
from taximeter.services.notices_board import new_secret
from taximeter.services.tenant import Tenant

MAX_OVERLAP = 30 * DAY
DEFAULT_OVERLAP = DAY
MAX_TYPES = 50
MAX_DESCRIPTION = 500
ATTEMPT_WAIT_S = 20.0
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


# --- alerts -------------------------------------------------------------------------------------


async def put_alert(
    core: Core,
    notices: NoticeService,
    tenant: Tenant,
    alert_id: str,
    document: dict[str, Any],
    actor: str,
) -> Alert:
    """
    Add or replace an alert. It looks at everybody at once: a line that is crossed already is told.

    Raises:
        Rejected: `alert_invalid`.
        NotFound: Its customer does not exist.
        Refused: `mail_not_configured`.
    """
    _check_id(alert_id, "alert_invalid")
    now = core.clock.now()
    known = notices.board.alerts(tenant.name).get(alert_id)
    alert = read_alert(alert_id, document, now if known is None else known.created_at)
    if alert.customer is not None:
        require_customer(tenant, alert.customer)
    if alert.on in (Subject.USAGE, Subject.FORECAST) and alert.name is not None:
        _check_feature(tenant, alert.name)
    _check_mail(notices, alert.email)
    if alert != known:
        entry = audit(tenant, now, actor, "alert.put", alert_id)
        await notices.board.put_alert(tenant.name, alert, entry)
    notices.watch.rewatch(tenant.name)
    return alert


async def delete_alert(
    core: Core, notices: NoticeService, tenant: Tenant, alert_id: str, actor: str
) -> None:
    entry = audit(tenant, core.clock.now(), actor, "alert.delete", alert_id)
    await notices.board.delete_alert(tenant.name, alert_id, entry)
    notices.watch.forget(tenant.name, alert_id)
    notices.watch.rewatch(tenant.name)


def _check_feature(tenant: Tenant, feature: str) -> None:
    found = tenant.catalog.features.get(feature)
    if found is None:
        raise Rejected(
            "alert_invalid",
            f"feature: the catalogue has no {feature!r}.{_hint(feature, tenant.catalog.features)}",
        )
    if found.meter is None:
        raise Rejected("alert_invalid", f"feature: {feature!r} is not metered.")


def _hint(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _check_mail(notices: NoticeService, email: tuple[str, ...]) -> None:
    if email and not notices.sends_mail:
        raise Refused(
            "mail_not_configured",
            "email: this server sends no mail; start it with TAXIMETER_SMTP_URL.",
        )


def _check_id(text: str, code: str) -> None:
    if not _ID.fullmatch(text):
        raise Rejected(code, "id: 1 to 64 letters, digits, - _ and . with a letter or digit first.")


# --- webhooks -----------------------------------------------------------------------------------


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
    _check_id(webhook_id, "invalid_request")
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
    _check_mail(notices, wish.email)
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


# --- deliveries ---------------------------------------------------------------------------------


async def send_test(
    core: Core, notices: NoticeService, tenant: Tenant, webhook_id: str
) -> Delivery:
    """
    Send an endpoint a notice made for it, and wait for the first attempt.

    Raises:
        NotFound: No such webhook.
        Refused: `webhook_disabled`.
    """
    _require_enabled(notices, tenant, webhook_id)
    now = core.clock.now()
    data = {"webhook": webhook_id, "message": "This is a test."}
    key = f"test/{webhook_id}/{secrets.token_hex(8)}"
    notice = new_notice(tenant.name, WEBHOOK_TEST, None, data, key, now)
    delivery = new_delivery(notice, Channel.WEBHOOK, webhook_id, now)
    await core.books.run(core.books.books.add_notices, [(notice, (delivery,))])
    return await _attempted(core, notices, delivery)


async def resend(
    core: Core, notices: NoticeService, tenant: Tenant, delivery_id: str, actor: str
) -> Delivery:
    """
    Send a delivery again, whatever became of it, with the same message id; wait for the attempt.

    Raises:
        NotFound: No such delivery.
        Refused: `webhook_disabled`, `mail_not_configured`.
    """
    delivery = await find_delivery(core, tenant, delivery_id)
    if delivery.receiver.channel is Channel.WEBHOOK:
        _require_enabled(notices, tenant, delivery.receiver.target)
    else:
        _check_mail(notices, (delivery.receiver.target,))
    now = core.clock.now()
    entry = audit(tenant, now, actor, "delivery.resend", delivery_id)
    reopened = await core.books.run(
        core.books.books.reopen_delivery, tenant.name, delivery_id, now, entry
    )
    if reopened is None:
        raise _no_delivery(delivery_id)
    return await _attempted(core, notices, reopened)


async def _attempted(core: Core, notices: NoticeService, delivery: Delivery) -> Delivery:
    """The delivery after its next attempt, or as it is if that takes too long."""
    attempted = notices.delivery.next_attempt(delivery.id)
    notices.delivery.offer([delivery])
    await asyncio.wait([attempted], timeout=ATTEMPT_WAIT_S)
    receiver = delivery.receiver
    found = await core.books.run(core.books.books.delivery, receiver.namespace, delivery.id)
    return found or delivery


async def find_delivery(core: Core, tenant: Tenant, delivery_id: str) -> Delivery:
    found = await core.books.run(core.books.books.delivery, tenant.name, delivery_id)
    if found is None:
        raise _no_delivery(delivery_id)
    return found


def _no_delivery(delivery_id: str) -> NotFound:
    return NotFound("not_found", f"There is no delivery {delivery_id!r}.")


def _require_enabled(notices: NoticeService, tenant: Tenant, webhook_id: str) -> None:
    webhook = notices.board.webhook(tenant.name, webhook_id)
    if not webhook.is_enabled:
        raise Refused(
            "webhook_disabled",
            f"Webhook {webhook_id!r} is disabled ({webhook.disabled_reason}); "
            "PUT it again to enable it.",
            reason=webhook.disabled_reason,
        )


# --- as JSON ------------------------------------------------------------------------------------


def alert_json(alert: Alert) -> dict[str, Any]:
    return {"id": alert.id, **alert.to_json(), "created_at": format_instant(alert.created_at)}


def webhook_json(webhook: Webhook, clock: Clock) -> dict[str, Any]:
    """Without its secrets; how long older ones still sign."""
    now = clock.now()
    untils = [s.until for s in webhook.secrets if s.until is not None and s.until > now]
    return {
        "id": webhook.id,
        "url": webhook.url,
        "types": list(webhook.types),
        "description": webhook.description,
        "email": list(webhook.email),
        "status": "enabled" if webhook.is_enabled else "disabled",
        "disabled_at": _instant(webhook.disabled_at),
        "disabled_reason": webhook.disabled_reason,
        "failing_since": _instant(webhook.failing_since),
        "previous_secret_until": _instant(max(untils, default=None)),
        "created_at": format_instant(webhook.created_at),
    }


def notice_json(notice: Notice) -> dict[str, Any]:
    content = msgspec.json.decode(notice.payload)
    return {
        "id": notice.id,
        "type": notice.type,
        "timestamp": content["timestamp"],
        "customer": notice.customer,
        "data": content["data"],
    }


def delivery_json(delivery: Delivery, attempts: list[Attempt]) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "notice": delivery.notice.id,
        "type": delivery.notice.type,
        "channel": delivery.receiver.channel.value,
        "target": delivery.receiver.target,
        "status": delivery.status.value,
        "created_at": format_instant(delivery.created_at),
        "next_attempt_at": _instant(delivery.next_at),
        "resolved_at": _instant(delivery.resolved_at),
        "attempts": [
            {
                "at": format_instant(attempt.at),
                "duration_ms": attempt.duration_ms,
                "status": attempt.status,
                "error": attempt.error,
                "response": attempt.response,
            }
            for attempt in attempts
        ],
    }


def _instant(at: int | None) -> str | None:
    return None if at is None else format_instant(at)
