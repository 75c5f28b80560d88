"""What commands share: the server they talk to, and how they print."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
from cyclopts import Parameter

from taximeter.errors import Rejected

if TYPE_CHECKING:
    from rich.console import Console

    from taximeter.adapters.client import Client

DEFAULT_URL = "http://127.0.0.1:8080"
WIDTH_WITHOUT_TERMINAL = 140

_encoder = msgspec.json.Encoder(decimal_format="number")


def _no_option(_: object, value: Path | tuple[Path, ...] | None) -> None:
    """Hyphens are let through for the sake of "-" alone."""
    for path in (value,) if isinstance(value, Path) else value or ():
        if str(path).startswith("-") and str(path) != "-":
            raise ValueError(f"there is no option {path}")


FILE = Parameter(allow_leading_hyphen=True, validator=_no_option)
"""An argument that is a path, or - for stdin."""


@Parameter(name="*")
@dataclass(frozen=True)
class Server:
    """Which server, and how to print."""

    url: str | None = None
    """Server to talk to; else TAXIMETER_URL, else http://127.0.0.1:8080."""

    data: Path | None = None
    """A local server's data directory, to use its owner.key; else TAXIMETER_KEY."""

    json: bool = False
    """Print JSON instead of text."""

    def client(
        self, *, patience_s: float = 0.5, sleep: Callable[[float], None] = time.sleep
    ) -> Client:
        """
        A client with this server's URL and key; see `Client` for the arguments.

        Raises:
            Rejected: `invalid_file` if the data directory has no readable owner.key.
        """
        from taximeter.adapters.client import Client

        url = self.url or os.environ.get("TAXIMETER_URL") or config_file().get("url") or DEFAULT_URL
        return Client(url, self._key(), patience_s=patience_s, sleep=sleep)

    def _key(self) -> str | None:
        if self.data is None:
            return os.environ.get("TAXIMETER_KEY") or None
        try:
            return (self.data / "owner.key").read_text(encoding="utf-8").strip()
        except OSError as error:
            raise Rejected("invalid_file", f"No key in {self.data}: {error.strerror}.") from error


def config_file() -> dict[str, Any]:
    """The parsed `TAXIMETER_CONFIG`, or `taximeter.toml` of the current directory if it exists."""
    import tomllib

    named = os.environ.get("TAXIMETER_CONFIG")
    path = Path(named or "taximeter.toml")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if named:
            raise Rejected("invalid_file", f"There is no settings file {named}.") from None
        return {}
    except (OSError, ValueError) as error:
        raise Rejected("invalid_file", f"{path} cannot be read: {error}") from error


def segment(name: str) -> str:
    """A name as one segment of a URL path."""
    return quote(name, safe="")


def print_json(value: Any) -> None:
    print(msgspec.json.format(_encoder.encode(value), indent=2).decode())


def console() -> Console:
    """Where text goes: the terminal, or wide plain lines when stdout is a file or a pipe."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL
    return Console(width=width, highlight=False)


def notice(text: str) -> None:
    """One line for the person, not for the pipe."""
    print(text, file=sys.stderr)


def plain_time(instant: str | None) -> str:
    """An instant as people read it: without the parts that say nothing."""
    if not instant:
        return "-"
    text = instant.removesuffix("Z").removesuffix(".000000").replace("T", " ")
    return text.removesuffix(":00").removesuffix(" 00:00")
