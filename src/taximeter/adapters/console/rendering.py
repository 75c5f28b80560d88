"""
Values into HTML: the template environment, its filters, the files pages refer to, and the headers
that hold a page to its own origin.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import jinja2
import msgspec

from taximeter.adapters.console.actions import address
from taximeter.instants import parse_instant
from taximeter.periods import local_day

HTML: Final = "text/html; charset=utf-8"
_HERE: Final = Path(__file__).parent

# No 'unsafe-inline' anywhere: markup that slipped through escaping could still not run.
CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
PAGE_HEADERS: Final = (
    ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
    ("X-Content-Type-Options", "nosniff"),
    # Not "no-referrer": it would turn the Origin of our own forms into "null".
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)

ASSET_TYPES: Final = {
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
ASSET_HEADERS: Final = (
    ("Cache-Control", "public, max-age=31536000, immutable"),  # their address has their digest
    ("X-Content-Type-Options", "nosniff"),
)


@lru_cache(maxsize=len(ASSET_TYPES))
def asset(name: str) -> bytes:
    """
    Args:
        name: One of `ASSET_TYPES`.
    """
    return (_HERE / "assets" / name).read_bytes()


@lru_cache(maxsize=len(ASSET_TYPES))
def asset_path(name: str) -> str:
    """Where a page finds an asset, in the version it was written for."""
    return f"/assets/{name}?v={sha256(asset(name)).hexdigest()[:12]}"


def render(template: str, **values: Any) -> bytes:
    """A template of this package, filled in."""
    return _environment().get_template(template).render(values).encode()


def warm_up() -> None:
    """Compile the templates now, so that the first visitor does not hold up others."""
    environment = _environment()
    for name in environment.list_templates():
        environment.get_template(name)


# --- how values look --------------------------------------------------------------------------


def digits(number: str | int) -> str:
    """A plain decimal with its integer part in groups of three: "1234567.5" -> "1,234,567.5"."""
    whole, point, fraction = str(number).partition(".")
    sign = "-" if whole.startswith("-") else ""
    return f"{sign}{int(whole.removeprefix('-')):,}{point}{fraction}"


def day(instant: str, timezone: str = "UTC") -> str:
    """The local day of an instant: "1 Nov 2026"."""
    at = local_day(parse_instant(instant), timezone)
    return f"{at.day} {at:%b %Y}"


def last_day(end: str, timezone: str = "UTC") -> str:
    """The last local day before an exclusive end."""
    at = local_day(parse_instant(end) - 1, timezone)
    return f"{at.day} {at:%b %Y}"


def clock(instant: str) -> str:
    """To the second, as people read it: "2026-11-20 10:00:00 UTC"."""
    return f"{instant[:10]} {instant[11:19]} UTC"


def short(text: object, length: int = 64) -> str:
    """At most `length` characters, the last one an ellipsis if any are missing."""
    whole = str(text)
    return whole if len(whole) <= length else f"{whole[: length - 1]}…"


def segment(text: str) -> str:
    """Text as one segment of a path."""
    return quote(text, safe="")


def query(values: Mapping[str, Any]) -> str:
    """What follows the "?" of an address; values that say nothing are left out."""
    return urlencode({name: str(one) for name, one in values.items() if one not in (None, "")})


def percent(rate: str) -> str:
    """A share as people read it: "0.19" -> "19%"; one whose decimals never end stays as it is."""
    return rate if "/" in rate else f"{(Decimal(rate) * 100).normalize():f}%"


def customer_path(key: str) -> str:
    return f"/customers/{segment(key)}"


def pretty(value: Any) -> str:
    """A JSON value over several lines."""
    return msgspec.json.format(_encode(value), indent=2).decode()


def compact(value: Any) -> str:
    """A JSON value in a line, without quotes where it is plain text."""
    return value if isinstance(value, str) else short(_encode(value).decode(), 160)


_encode = msgspec.json.Encoder(decimal_format="number").encode

_FILTERS: Final[Mapping[str, Any]] = {
    "digits": digits,
    "day": day,
    "last_day": last_day,
    "clock": clock,
    "short": short,
    "segment": segment,
    "query": query,
    "percent": percent,
    "customer_path": customer_path,
    "pretty": pretty,
    "compact": compact,
    "zip": zip,
    "json": lambda value: _encode(value).decode(),
}


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(_FILTERS)
    environment.globals["asset"] = asset_path
    environment.globals["address"] = address
    return environment
