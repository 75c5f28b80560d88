"""
Who looks at a page, and whether a form was ours.

A browser cannot send a Bearer key by itself. It signs in once with a key and from then on has a
session cookie; a development server needs neither from this machine. What changes something is
refused unless the browser says that the form was on one of our own pages.
"""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import urlsplit

from taximeter.adapters.console.sessions import LIFETIME_US, Sessions
from taximeter.adapters.http.auth import Authenticator, Principal, digest_of
from taximeter.adapters.http.messages import Request
from taximeter.errors import Denied
from taximeter.instants import SECOND

COOKIE: Final = "taximeter_session"


class Visitors:
    """Recognises them by key, session, or as a developer at this machine."""

    def __init__(self, authenticator: Authenticator, sessions: Sessions) -> None:
        self._authenticator = authenticator
        self._sessions = sessions

    def who(self, request: Request) -> Principal:
        """
        Raises:
            Unauthenticated: Nobody we know.
            Denied: A form of another site, sent with our cookie.
        """
        session = session_of(request)
        digest = None if session is None else self._sessions.key_digest(session)
        if digest is None or "authorization" in request.headers:
            return self._authenticator(request)
        if request.method not in ("GET", "HEAD"):
            require_same_origin(request)
        return self._authenticator.of_digest(digest)

    def sign_in(self, request: Request, secret: str) -> str:
        """
        Returns:
            The Set-Cookie header's value for a new session.

        Raises:
            Unauthenticated: Not a key of ours.
            Denied: A form of another site, or a key that may not read.
        """
        require_same_origin(request)
        digest = digest_of(secret)
        self._authenticator.of_digest(digest).require("read")
        return _cookie(request, self._sessions.begin(digest), LIFETIME_US // SECOND)

    def sign_out(self, request: Request) -> str:
        """
        Returns:
            The Set-Cookie header's value that ends it in the browser too.
        """
        require_same_origin(request)
        session = session_of(request)
        if session is not None:
            self._sessions.end(session)
        return _cookie(request, "", 0)


def session_of(request: Request) -> str | None:
    """The session id in the Cookie header, or None."""
    try:
        found = SimpleCookie(request.header("cookie") or "").get(COOKIE)
    except CookieError:
        return None
    return None if found is None else found.value


def require_same_origin(request: Request) -> None:
    """
    Raises:
        Denied: `insufficient_scope`, unless the browser says where the form was, and it was here.
    """
    site, origin = request.header("sec-fetch-site"), request.header("origin")
    told = site is not None or origin is not None
    if told and site in (None, "same-origin") and origin in (None, *_own_origins(request)):
        return
    raise Denied("insufficient_scope", "This form was not sent from a page of this server.")


def _own_origins(request: Request) -> tuple[str, str]:
    """Both schemes: a proxy in front may speak TLS."""
    host = (request.header("host") or "").lower()
    return f"http://{host}", f"https://{host}"


def local_path(text: str) -> str:
    """Where to go after signing in: a path of this server, or "/" if it is anything else."""
    parts = urlsplit(text)
    is_plain = text.isascii() and text.isprintable() and "\\" not in text
    if parts.scheme or parts.netloc or not is_plain or text[:1] != "/" or text[:2] == "//":
        return "/"
    return text


def is_signed_in(principal: Principal) -> bool:
    """Whether there is a session to end."""
    return principal.key_id != "dev"


def _cookie(request: Request, value: str, max_age_s: int) -> str:
    secure = "; Secure" if request.header("x-forwarded-proto") == "https" else ""
    return f"{COOKIE}={value}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Strict{secure}"
