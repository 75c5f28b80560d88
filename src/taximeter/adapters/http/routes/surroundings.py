"""
What the routes are given beside a request.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from taximeter.adapters.http.auth import Authenticator
from taximeter.adapters.http.idempotency import digest_of
from taximeter.adapters.http.messages import Request
from taximeter.instants import parse_instant
from taximeter.quantities import format_quantity
from taximeter.services.core import Core
from taximeter.services.feed import Decision
from taximeter.services.gate.check import Ask
from taximeter.services.gate.commands import Commands
from taximeter.services.gate.ledger import Ledger
from taximeter.services.tenant import Tenant
from taximeter.settings import Settings

if TYPE_CHECKING:
    from taximeter.adapters.identity.keeper import IdentityKeeper
    from taximeter.adapters.log import SegmentLog


class Surroundings:
    """
    Attributes:
        commands: The way into the log for what the gate does.
        ledger: What the wallets booked.
    """

    def __init__(
        self,
        core: Core,
        authenticator: Authenticator,
        log: SegmentLog,
        keeper: IdentityKeeper,
        settings: Settings,
        commands: Commands,
        ledger: Ledger,
    ) -> None:
        self.core = core
        self.authenticator = authenticator
        self.log = log
        self.keeper = keeper
        self.settings = settings
        self.commands = commands
        self.ledger = ledger

    def tenant(self, request: Request) -> Tenant:
        return self.core.tenant(request.principal.namespace)

    def commands_of(self, request: Request) -> Commands:
        """The way into the log for one request, which may have come under a key (K17)."""
        key = request.header("idempotency-key")
        if key is None:
            return self.commands
        return self.commands.under(key, digest_of(request).hex()[:16])

    def actor(self, request: Request) -> str:
        """Who is named in the audit trail."""
        return request.principal.key_id

    def decided(self, tenant: Tenant, ask: Ask, allowed: bool, reason: str) -> None:
        """Count an answer of the gate, and show it to who watches."""
        self.core.telemetry.decided(allowed)
        if self.core.feed.watched(tenant.name):
            account = tenant.account(ask.customer)
            customer = ask.customer if account is None else account.customer
            amount = format_quantity(ask.amount_pico)
            shown = Decision(customer, ask.feature, allowed, reason, amount)
            self.core.feed.decision(tenant, shown)

    async def books(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call the books by the name of a method."""
        return await self.core.books.run(getattr(self.core.books.books, name), *args, **kwargs)


def instant(text: str | None, default: int) -> int:
    """A query parameter as an instant."""
    return default if text is None else parse_instant(text)


def cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
