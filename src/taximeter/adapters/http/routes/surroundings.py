"""
What the routes are given beside a request.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from taximeter.adapters.http.auth import Authenticator
from taximeter.adapters.http.messages import Request
from taximeter.instants import parse_instant
from taximeter.services.core import Core
from taximeter.services.gate import Answers
from taximeter.services.tenant import Tenant
from taximeter.settings import Settings

if TYPE_CHECKING:
    from taximeter.adapters.identity.keeper import IdentityKeeper
    from taximeter.adapters.log import SegmentLog


class Surroundings:
    """
    Attributes:
        answers: Of `consume`, for retries.
    """

    def __init__(
        self,
        core: Core,
        authenticator: Authenticator,
        log: SegmentLog,
        keeper: IdentityKeeper,
        settings: Settings,
    ) -> None:
        self.core = core
        self.authenticator = authenticator
        self.log = log
        self.keeper = keeper
        self.settings = settings
        self.answers = Answers()

    def tenant(self, request: Request) -> Tenant:
        return self.core.tenant(request.principal.namespace)

    def actor(self, request: Request) -> str:
        """Who is named in the audit trail."""
        return request.principal.key_id

    async def books(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call the books by the name of a method."""
        return await self.core.books.run(getattr(self.core.books.books, name), *args, **kwargs)


def instant(text: str | None, default: int) -> int:
    """A query parameter as an instant."""
    return default if text is None else parse_instant(text)


def cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
