"""
Signed-in browsers.

A session is a random id in a cookie. The server keeps, in memory, which key it stands for, by the
key's SHA-256: neither the cookie nor the memory holds the key, a revoked key ends its sessions at
the next request, and a restart ends all of them.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable

from taximeter.instants import HOUR

LIFETIME_US = 12 * HOUR
MAX_SESSIONS = 1000


class Sessions:
    """
    At most `limit` sessions of at most `lifetime_us`; the oldest gives way to a new one.

    Args:
        now: Microseconds since the epoch.
    """

    def __init__(
        self,
        now: Callable[[], int],
        *,
        lifetime_us: int = LIFETIME_US,
        limit: int = MAX_SESSIONS,
    ) -> None:
        self._now = now
        self._lifetime_us = lifetime_us
        self._limit = limit
        self._sessions: OrderedDict[str, tuple[bytes, int]] = OrderedDict()  # in order of their end

    def __len__(self) -> int:
        return len(self._sessions)

    def begin(self, key_digest: bytes) -> str:
        """A new session for the key with this digest; its id has 256 random bits."""
        self._forget_ended()
        while len(self._sessions) >= self._limit:
            self._sessions.popitem(last=False)
        session_id = secrets.token_urlsafe(32)
        self._sessions[session_id] = key_digest, self._now() + self._lifetime_us
        return session_id

    def key_digest(self, session_id: str) -> bytes | None:
        """The key a session stands for, or None if it has ended or never was."""
        digest, ends_at = self._sessions.get(session_id, (None, 0))
        return digest if self._now() < ends_at else None

    def end(self, session_id: str) -> None:
        self._sessions.pop(session_id, None)

    def _forget_ended(self) -> None:
        now = self._now()
        while self._sessions:
            session_id, (_, ends_at) = next(iter(self._sessions.items()))
            if ends_at > now:
                return
            del self._sessions[session_id]
