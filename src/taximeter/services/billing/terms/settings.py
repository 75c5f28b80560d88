"""
Billing settings: put as a whole, kept in versions with who and why.
"""

from __future__ import annotations

from taximeter.errors import NotFound, Refused, Rejected
from taximeter.invoices.settings import SettingsDocument, read_settings, settings_bytes
from taximeter.notices.addresses import check_url
from taximeter.ports import SettingsVersion
from taximeter.services.core import Core, audit
from taximeter.services.tenant import Tenant

MAX_REASON = 500


async def put_settings(
    core: Core,
    tenant: Tenant,
    document: SettingsDocument,
    actor: str,
    *,
    reason: str = "",
    expected: int | None = None,
    allow_private: bool = False,
) -> SettingsVersion | None:
    """
    Put another version in force, for every invoice that is made from now on.

    Args:
        expected: The version this was made from; None: whatever is in force is replaced.
        allow_private: The tax engine may be at any address, and over plain http.

    Returns:
        The version in force; no new one if nothing changes. None: the defaults, as ever.

    Raises:
        Rejected: `invalid_request`, naming the member; `unknown_currency`, `invalid_timestamp`.
        Refused: `settings_changed`.
    """
    if len(reason) > MAX_REASON:
        raise Rejected("invalid_request", f"reason: at most {MAX_REASON} characters.")
    settings = read_settings(document)
    if settings.tax.engine is not None:
        _check_engine(settings.tax.engine.url, allow_private=allow_private)
    async with core.lock(tenant):
        if expected not in (None, tenant.billing_version):
            raise Refused(
                "settings_changed",
                f"The billing settings are at version {tenant.billing_version}; read them again.",
                latest=tenant.billing_version,
            )
        if settings == tenant.billing:
            return await core.books.run(core.books.books.latest_billing_settings, tenant.name)
        now, following = core.clock.now(), tenant.billing_version + 1
        version = SettingsVersion(
            tenant.name, following, settings_bytes(settings), now, actor, reason
        )
        entry = audit(tenant, now, actor, "billing_settings.put", str(following), reason=reason)
        await core.books.run(core.books.books.add_billing_settings, version, entry)
        tenant.billing, tenant.billing_version = settings, following
        return version


async def find_settings(core: Core, tenant: Tenant, version: int | None) -> SettingsVersion | None:
    """
    Args:
        version: None for the one in force.

    Returns:
        None for the defaults, which are in force, as version 0, until others are put.

    Raises:
        NotFound: No such version.
    """
    if version == 0:
        return None
    if version is None:
        return await core.books.run(core.books.books.latest_billing_settings, tenant.name)
    books = core.books.books
    found = await core.books.run(books.billing_settings_version, tenant.name, version)
    if found is None:
        raise NotFound("not_found", f"There is no version {version} of the billing settings.")
    return found


def _check_engine(url: str, *, allow_private: bool) -> None:
    try:
        check_url(url, allow_private=allow_private)
    except Rejected as error:
        text = error.message.replace("A webhook's URL", "The URL")
        raise Rejected("invalid_request", f"tax.engine.url: {text}") from None
