"""
Who asks: API keys, scopes, and the keyless door of a development server.

A key is `tm_` + 30 random base62 characters (178 bits) + 6 characters of their CRC-32, so that
secret scanners recognise a leaked one without asking anybody. Only its SHA-256 is stored: the
secret has too much entropy to guess, so a slow hash would protect nothing. Keys are looked up by
digest, which leaves no timing to measure.
"""

from __future__ import annotations

import hashlib
import secrets
import string
import zlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

import msgspec

from taximeter.errors import Denied, Unauthenticated
from taximeter.ports import ApiKey

if TYPE_CHECKING:
    from taximeter.adapters.http.messages import Request

PREFIX: Final = "tm_"
RANDOM_LENGTH: Final = 30
CHECKSUM_LENGTH: Final = 6
_BASE62: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_KEY_LENGTH: Final = len(PREFIX) + RANDOM_LENGTH + CHECKSUM_LENGTH
_MAX_CACHED_HEADERS: Final = 4096
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})

# scope -> the scopes it includes. Sending and asking are apart from managing, so that a key built
# into a product can neither read the books nor change a price.
SCOPES: Final[dict[str, frozenset[str]]] = {
    "ingest": frozenset({"ingest"}),  # send, retract, amend events
    "check": frozenset({"check"}),  # check, consume, reserve, settle
    "read": frozenset({"read"}),  # read everything except keys and audit
    "write": frozenset({"write", "read"}),  # customers, catalogue, subscriptions, invoices
    "admin": frozenset({"admin", "write", "read", "ingest", "check"}),  # keys, audit, clock
}


class Principal(msgspec.Struct, frozen=True):
    """Who asks. `scopes` are already expanded: admin holds all of them."""

    namespace: str
    key_id: str
    scopes: frozenset[str]

    def require(self, scope: str) -> None:
        """Raise `Denied` (`insufficient_scope`) unless this scope is held."""
        if scope not in self.scopes:
            raise Denied(
                "insufficient_scope", f"This key lacks the scope {scope!r}.", required=scope
            )


ANONYMOUS: Final = Principal("", "", frozenset())


def expand_scopes(scopes: Iterable[str]) -> frozenset[str]:
    """All scopes a key with these scopes holds. Unknown names give nothing."""
    return frozenset().union(*(SCOPES.get(scope, frozenset()) for scope in scopes))


def new_key() -> tuple[str, bytes]:
    """A fresh (secret, digest). The secret is shown once; only the digest may be stored."""
    random = "".join(secrets.choice(_BASE62) for _ in range(RANDOM_LENGTH))
    secret = PREFIX + random + _checksum(random)
    return secret, digest_of(secret)


def digest_of(secret: str) -> bytes:
    """SHA-256 of the secret, 32 bytes: the form in which keys are stored and found."""
    return hashlib.sha256(secret.encode()).digest()


def is_well_formed(secret: str) -> bool:
    """Whether this has the form of a key, checksum included. Says nothing about it being known."""
    if len(secret) != _KEY_LENGTH or not secret.startswith(PREFIX) or not secret.isascii():
        return False
    random, checksum = secret[len(PREFIX) : -CHECKSUM_LENGTH], secret[-CHECKSUM_LENGTH:]
    return _checksum(random) == checksum


def _checksum(random: str) -> str:
    value = zlib.crc32(random.encode())
    digits = []
    for _ in range(CHECKSUM_LENGTH):
        value, digit = divmod(value, 62)
        digits.append(_BASE62[digit])
    return "".join(reversed(digits))


class Authenticator:
    """
    Maps requests to principals. Holds all keys in memory; `replace` after every change.

    Args:
        keys: All keys as stored.
        now: Microseconds since the epoch, for expiry.
        dev_namespace: On a development server, the namespace that requests from this machine
            get with full rights and without a key; None to always ask for one.
    """

    def __init__(
        self,
        keys: Iterable[ApiKey],
        now: Callable[[], int],
        *,
        dev_namespace: str | None = None,
    ) -> None:
        self._now = now
        self._dev = None
        if dev_namespace is not None:
            self._dev = Principal(dev_namespace, "dev", expand_scopes(["admin"]))
        self.replace(keys)

    def replace(self, keys: Iterable[ApiKey]) -> None:
        """Take these keys from now on; what was cached about others is forgotten."""
        self._keys = {key.digest: key for key in keys}
        # Authorization header -> (principal, when the key expires). Only good keys get in, so a
        # flood of wrong ones cannot push them out.
        self._known: dict[bytes, tuple[Principal, int | None]] = {}

    def __call__(self, request: Request) -> Principal:
        """
        Who sent this request.

        Raises:
            Unauthenticated: `unauthenticated`; why is deliberately not told.
        """
        header = request.raw_headers.get(b"authorization")
        if header is None:
            if self._dev is not None and _is_local(request):
                return self._dev
            raise _nobody()
        found = self._known.get(header) or self._look_up(header)
        if found is None:
            raise _nobody()
        principal, expires_at = found
        if expires_at is not None and expires_at <= self._now():
            raise _nobody()
        return principal

    def of_digest(self, digest: bytes) -> Principal:
        """
        Who holds the key with this SHA-256, as of now: for sessions, which do not keep the key.

        Raises:
            Unauthenticated: `unauthenticated`.
        """
        key = self.key_of(digest)
        return Principal(key.namespace, key.id, expand_scopes(key.scopes))

    def key_of(self, digest: bytes) -> ApiKey:
        """
        The key with this SHA-256, if it still opens anything.

        Raises:
            Unauthenticated: `unauthenticated`.
        """
        key = self._keys.get(digest)
        if key is None or key.revoked_at is not None:
            raise _nobody()
        if key.expires_at is not None and key.expires_at <= self._now():
            raise _nobody()
        return key

    def _look_up(self, header: bytes) -> tuple[Principal, int | None] | None:
        scheme, _, secret = header.partition(b" ")
        secret = secret.strip()
        # An owner may bring keys of another form; their digest decides, not their looks.
        key = self._keys.get(hashlib.sha256(secret).digest())
        if scheme.lower() != b"bearer" or key is None or key.revoked_at is not None:
            return None
        found = (Principal(key.namespace, key.id, expand_scopes(key.scopes)), key.expires_at)
        if len(self._known) >= _MAX_CACHED_HEADERS:
            self._known.clear()
        self._known[header] = found
        return found


def _nobody() -> Unauthenticated:
    return Unauthenticated("unauthenticated", "Send a valid API key: Authorization: Bearer KEY.")


def _is_local(request: Request) -> bool:
    """
    Whether a request without a key really is this machine's own, asked for on purpose.

    A loopback address is not enough. A web page may have the browser send for it (cross-origin
    write), may have rebound its own name to 127.0.0.1 (foreign Host), and a proxy in front makes
    the whole world look local (forwarding headers).
    """
    headers = request.raw_headers
    if not request.client.is_loopback or b"x-forwarded-for" in headers or b"forwarded" in headers:
        return False
    host = request.header("host") or ""
    if _without_port(host).lower() not in _LOCAL_HOSTS:
        return False
    if request.method in _SAFE_METHODS:
        return True
    origin = request.header("origin")
    if origin is not None and origin.lower() not in (f"http://{host}".lower(),):
        return False
    return headers.get(b"sec-fetch-site", b"none") in (b"none", b"same-origin")


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host
