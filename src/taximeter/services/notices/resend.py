"""
Sending by hand: a test, or a delivery again.
"""

from __future__ import annotations

import asyncio
import secrets

from taximeter.errors import NotFound, Refused
from taximeter.instants import format_instant
from taximeter.notices.delivery import Channel, Delivery, Receiver, new_delivery
from taximeter.notices.notice import WEBHOOK_TEST, new_notice
from taximeter.services.core import Core, audit
from taximeter.services.notices.service import NoticeService, require_mail
from taximeter.services.tenant import Tenant

ATTEMPT_WAIT_S = 20.0


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
        require_mail(notices, (delivery.receiver.target,))
    now = core.clock.now()
    entry = audit(tenant, now, actor, "delivery.resend", delivery_id)
    reopened = await core.books.run(
        core.books.books.reopen_delivery, tenant.name, delivery_id, now, entry
    )
    if reopened is None:
        raise _no_delivery(delivery_id)
    return await _attempted(core, notices, reopened)


async def resend_failed(
    core: Core,
    notices: NoticeService,
    tenant: Tenant,
    webhook_id: str,
    since: int,
    actor: str,
) -> int:
    """
    Send an endpoint again all that has failed, of what was told at or after an instant.

    Returns:
        How many will be sent, in the background.

    Raises:
        NotFound: No such webhook.
        Refused: `webhook_disabled`.
    """
    _require_enabled(notices, tenant, webhook_id)
    now = core.clock.now()
    receiver = Receiver(tenant.name, Channel.WEBHOOK, webhook_id)
    entry = audit(tenant, now, actor, "webhook.resend", webhook_id, since=format_instant(since))
    count = await core.books.run(core.books.books.reopen_failed, receiver, since, now, entry)
    notices.delivery.wake(receiver)
    return count


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
