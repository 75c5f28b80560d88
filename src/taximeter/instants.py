"""
Instants: whole microseconds since 1970-01-01T00:00:00Z, and their RFC 3339 text (K1).

A text without an offset is refused, never assumed to be UTC or local. Digits finer than a
microsecond are cut off, never rounded up, so that no instant moves into the next period. A leap
second `:60` is read as `:59.999999`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NoReturn

from taximeter.errors import Rejected

SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

MAX_INSTANT: Final = 253_402_300_799_999_999
"""9999-12-31T23:59:59.999999Z; the earliest instant is 0."""

_EPOCH_ORDINAL: Final = datetime(1970, 1, 1, tzinfo=UTC).toordinal()
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

# Real traffic is "2026-11-20T10:00:00.123456Z", many events a second. Three look-ups read and check
# such a text at once: one that is in none of the tables is simply left to a slower branch.
_seconds: dict[str, int] = {}  # "2026-11-20T10:00:00" -> its instant in UTC
_hours: dict[str, int] = {}  # "2026-11-20T10:" -> its instant in UTC
_MAX_SECONDS: Final = 16_384  # 3 MB
_MAX_HOURS: Final = 4_096  # half a year, longer than events may be late; 500 KB
_MINUTE_SECOND: Final = {
    f"{minute:02}:{second:02}": (minute * 60 + second) * SECOND
    for minute in range(60)
    for second in range(60)
}
_MILLIS: Final = {f".{n:03}": n * 1000 for n in range(1000)}
_WHOLE: Final = {"Z": 0}
_MICROS_Z: Final = _WHOLE | {f"{n:03}Z": n for n in range(1000)}

_RFC3339: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))",
    re.ASCII,
)
_MAX_LENGTH: Final = 64


def parse_instant(text: str) -> int:
    """
    Read an RFC 3339 timestamp with a mandatory offset.

    Args:
        text: Such as "2026-11-20T10:00:00.123456Z" or "2026-11-20 11:00:00+01:00".

    Returns:
        Microseconds since the epoch, 0 to `MAX_INSTANT`.

    Raises:
        Rejected: `invalid_timestamp`.
    """
    try:
        if len(text) == 20:
            return _seconds[text[:19]] + _WHOLE[text[19:]]
        return _seconds[text[:19]] + _MILLIS[text[19:23]] + _MICROS_Z[text[23:]]
    except KeyError:
        return _parse_utc(text)


def _parse_utc(text: str) -> int:
    """The usual spellings in UTC: a second not seen before, or "+00:00" for "Z"."""
    if text[-6:] == "+00:00":
        return parse_instant(text[:-6] + "Z")
    hour, within = _hours.get(text[:14]), _MINUTE_SECOND.get(text[14:19])
    if hour is None or within is None:
        return _parse_any(text)
    second = hour + within
    _remember(_seconds, _MAX_SECONDS, text[:19], second)
    if text[19:] == "Z":
        return second
    millis, micros = _MILLIS.get(text[19:23]), _MICROS_Z.get(text[23:])
    if millis is None or micros is None:
        return _parse_any(text)
    return second + millis + micros


def _parse_any(text: str) -> int:
    match = _RFC3339.fullmatch(text) if len(text) <= _MAX_LENGTH else None
    if match is None:
        _refuse(text)
    year, month, day, hour, minute, second = map(int, match.group(1, 2, 3, 4, 5, 6))
    micros = int((match[7] or "0")[:6].ljust(6, "0"))
    if second == 60:
        second, micros = 59, 999_999
    offset = 0
    if match[8]:
        offset_hours, offset_minutes = int(match[9]), int(match[10])
        if offset_hours > 23 or offset_minutes > 59:
            _refuse(text)
        offset = offset_hours * HOUR + offset_minutes * MINUTE
        if match[8] == "-":
            offset = -offset
    try:
        ordinal = datetime(year, month, day, hour, minute, second, tzinfo=UTC).toordinal()
    except ValueError:
        _refuse(text)
    hour_start = (ordinal - _EPOCH_ORDINAL) * DAY + hour * HOUR
    at = hour_start + minute * MINUTE + second * SECOND + micros - offset
    if not 0 <= at <= MAX_INSTANT:
        _refuse(text)
    if not match[8]:  # in UTC: as `at` is within bounds, so is its hour
        _remember(_hours, _MAX_HOURS, text[:14], hour_start)
    return at


def _remember(cache: dict[str, int], limit: int, prefix: str, start: int) -> None:
    if len(cache) >= limit:
        cache.clear()  # rare, and cheap: each entry comes back with its next event
    cache[prefix] = start


def _refuse(text: str) -> NoReturn:
    raise Rejected(
        "invalid_timestamp",
        f"{text[:_MAX_LENGTH]!r} is not an RFC 3339 instant with an offset between 1970 and 9999, "
        "such as 2026-11-20T10:00:00Z",
    )


def format_instant(us: int) -> str:
    """
    "2026-11-20T10:00:00Z", with six fractional digits only when it is no whole second.

    Args:
        us: Microseconds since the epoch, 0 to `MAX_INSTANT`.
    """
    whole, micros = divmod(us, SECOND)
    text = _format_second(whole)
    return f"{text}.{micros:06}Z" if micros else f"{text}Z"


@lru_cache(maxsize=4096)
def _format_second(seconds: int) -> str:
    """Answers of one second share it, and periods end at the same instants again and again."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def to_datetime(us: int) -> datetime:
    """The same instant as an aware UTC `datetime`, exact."""
    return _EPOCH + us * _MICROSECOND


def from_datetime(moment: datetime) -> int:
    """Inverse of `to_datetime`; `moment` is aware, in any zone."""
    assert moment.tzinfo is not None, moment
    return (moment - _EPOCH) // _MICROSECOND
