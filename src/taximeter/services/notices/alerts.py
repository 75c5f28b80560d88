"""
Putting and deleting alerts.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from taximeter.errors import Rejected
from taximeter.notices.alert import Alert, Subject, read_alert
from taximeter.services.core import Core, audit, require_customer
from taximeter.services.notices.service import NoticeService, check_id, require_mail
from taximeter.services.tenant import Tenant


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
    check_id(alert_id, "alert_invalid")
    now = core.clock.now()
    known = notices.board.alerts(tenant.name).get(alert_id)
    alert = read_alert(alert_id, document, now if known is None else known.created_at)
    if alert.customer is not None:
        require_customer(tenant, alert.customer)
    if alert.on in (Subject.USAGE, Subject.FORECAST) and alert.name is not None:
        _check_feature(tenant, alert.name)
    require_mail(notices, alert.email)
    if known is not None and (known.on, known.number) != (alert.on, alert.number):
        # It watches another number: what was told of the one before says nothing about it.
        await delete_alert(core, notices, tenant, alert_id, actor)
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
