"""
What one node runs with: flags > environment `TAXIMETER_*` > `taximeter.toml` > defaults.

Pure: the caller reads the environment and the file. Every field is a row of the table in
`docs/operating/settings.md` (a test keeps the two equal).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from taximeter.errors import Rejected

DAY_S: Final = 86_400

_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": DAY_S}
_BYTES: Final = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_TRUE: Final = {"1", "true", "yes", "on"}
_FALSE: Final = {"0", "false", "no", "off", ""}
_LEVELS: Final = ("debug", "info", "warning", "error")


class Settings(msgspec.Struct, frozen=True):
    """
    Settings of `taximeter serve`.

    Attributes:
        data: Directory of everything the node stores; made if missing.
        host: Address to listen on.
        port: TCP port; 0 for any free one.
        dev: Requests from loopback need no API key.
        sandbox: The clock can be set through the API.
        log_level: One of debug, info, warning, error.
        segment_bytes: Size at which the log begins a new file; 1 MiB to 4 GiB.
        accept_past_s: How old an event may be (K16); a backfill may be older.
        accept_future_s: How far ahead of the clock an event's time may be (K16).
        webhook_allow_private: Webhooks may lead to any address, and over plain http.
        smtp_url: The mail server notices go through, with its password; None for no mail.
        mail_from: The address they come from.
        canary_every_s: How often known usage runs through the whole chain; 0 for never.
    """

    data: Path = Path("taximeter-data")
    host: str = "127.0.0.1"
    port: int = 8080
    dev: bool = False
    sandbox: bool = False
    log_level: str = "info"
    segment_bytes: int = 256 * 2**20
    accept_past_s: int = 90 * DAY_S
    accept_future_s: int = 300
    webhook_allow_private: bool = False
    smtp_url: str | None = None
    mail_from: str = "taximeter@localhost"
    canary_every_s: int = 0


def read_settings(
    flags: Mapping[str, Any], environment: Mapping[str, str], file: Mapping[str, Any]
) -> Settings:
    """
    Merge the three sources; the first that has a field wins, None counts as absent.

    Args:
        flags: By field name, as parsed from the command line.
        environment: The whole environment; only `TAXIMETER_<FIELD>` is looked at.
        file: The parsed `taximeter.toml`.

    Raises:
        Rejected: `invalid_file` for an unknown or unreadable setting, naming it and its source.
    """
    fields = Settings.__struct_fields__
    for name in file:
        if name not in fields and name not in CLIENT_FIELDS:
            close = difflib.get_close_matches(name, fields, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise Rejected("invalid_file", f"taximeter.toml has an unknown setting {name!r}.{hint}")
    values = {}
    for name in fields:
        variable = f"TAXIMETER_{name.upper()}"
        for source, value in (
            (f"--{name.replace('_', '-')}", flags.get(name)),
            (variable, environment.get(variable)),
            (f"{name} in taximeter.toml", file.get(name)),
        ):
            if value is not None:
                values[name] = _read(name, value, source)
                break
    return Settings(**values)


# Read by the client commands from the same file.
CLIENT_FIELDS: Final = frozenset({"url"})


def _read(name: str, value: Any, source: str) -> Any:
    try:
        return _READERS[name](value)
    except ValueError as error:
        raise Rejected("invalid_file", f"{source}: {error}", setting=name) from None


def read_duration(value: Any) -> int:
    """Whole seconds from 300, "300", "300s", "5m", "12h" or "90d"."""
    match = re.fullmatch(r"([0-9]+)([smhd]?)", str(value))
    if isinstance(value, bool) or match is None:
        raise ValueError(f"{value!r} is not a duration like 300s, 12h or 90d")
    return int(match[1]) * _SECONDS[match[2] or "s"]


def read_size(value: Any) -> int:
    """Bytes from 1048576, "1048576" or "64MiB" (KiB, MiB, GiB)."""
    match = re.fullmatch(r"([0-9]+)(|KiB|MiB|GiB)", str(value))
    if isinstance(value, bool) or match is None:
        raise ValueError(f"{value!r} is not a size like 1048576 or 64MiB")
    return int(match[1]) * _BYTES[match[2]]


def _read_segment_size(value: Any) -> int:
    size = read_size(value)
    if not 2**20 <= size <= 2**32:
        raise ValueError("a segment has 1MiB to 4GiB")
    return size


def _read_flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(f"{value!r} is neither true nor false")
    return word in _TRUE


def _read_port(value: Any) -> int:
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,5}", str(value)):
        raise ValueError(f"{value!r} is not a port")
    if int(value) > 65_535:
        raise ValueError("a port is at most 65535")
    return int(value)


def _read_level(value: Any) -> str:
    if str(value).lower() not in _LEVELS:
        raise ValueError(f"{value!r} is not one of {', '.join(_LEVELS)}")
    return str(value).lower()


def _read_text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is not a name")
    return value


def _read_secret(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("that is not a text")  # which is not repeated here
    return value


def _read_path(value: Any) -> Path:
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError(f"{value!r} is not a path")
    return Path(value)


_READERS: Final = {
    "data": _read_path,
    "host": _read_text,
    "port": _read_port,
    "dev": _read_flag,
    "sandbox": _read_flag,
    "log_level": _read_level,
    "segment_bytes": _read_segment_size,
    "accept_past_s": read_duration,
    "accept_future_s": read_duration,
    "webhook_allow_private": _read_flag,
    "smtp_url": _read_secret,
    "mail_from": _read_text,
    "canary_every_s": read_duration,
}
