"""
How a meter is set up. Flags of the constructor, then the environment, then defaults.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from taximeter_sdk.catalogue import Fail
from taximeter_sdk.delivery import Rejection
from taximeter_sdk.outbox import Overflow
from taximeter_sdk.quantities import Amount, to_pico
from taximeter_sdk.transport import Target

DEFAULT_URL: Final = "http://127.0.0.1:8080"
FAILS: Final = ("closed", "open", "lease")


@dataclass(frozen=True, kw_only=True)
class Options:
    """
    Attributes:
        url, key: Environment: TAXIMETER_URL, TAXIMETER_KEY. The key needs the scopes `ingest`,
            `check` and `read`.
        source: CloudEvents source of tracked events.
        timeout: Seconds a request of the application may wait for the gate, both tries together.
        fail: Fail policy where the catalogue's is not wanted: one for all, or by feature.
        strict: Raise `Unavailable` from check and consume instead of applying the fail policy.
        lease: Feature -> size of the slice to decide on in this process.
        lease_ttl: Seconds; how long an unused slice can be missing to others after a crash.
        max_events, max_bytes: How much may wait in memory.
        overflow: What `track` does with more: `drop` (the newest, counted) or `block`.
        block_s: How long `block` waits before it drops.
        batch, linger: A request has up to `batch` events, and waits up to `linger` seconds for
            more.
        spool: Directory that keeps what is not delivered, across crashes.
        spool_bytes: Its size for this process.
        fsync: Whether `track` waits for the spool's disk; else the spool survives the death of
            the process but not of the machine.
        on_reject: Called with each event the server refuses for good.
        exit_timeout: Seconds the end of the process may wait for delivery.
    """

    url: str
    key: str | None = None
    source: str = ""
    timeout: float = 2.0
    fail: Fail | Mapping[str, Fail] | None = None
    strict: bool = False
    lease: Mapping[str, int] = field(default_factory=dict)
    lease_ttl: float = 60.0
    max_events: int = 100_000
    max_bytes: int = 64 << 20
    overflow: Overflow = "drop"
    block_s: float = 5.0
    batch: int = 500
    linger: float = 0.25
    spool: Path | None = None
    spool_bytes: int = 1 << 30
    fsync: bool = False
    on_reject: Callable[[Rejection], object] | None = None
    exit_timeout: float = 5.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"url must be like http://127.0.0.1:8080, not {self.url!r}")
        fails = [self.fail] if isinstance(self.fail, str) else list((self.fail or {}).values())
        for fail in fails:
            if fail not in FAILS:
                raise ValueError(f"fail must be one of {', '.join(FAILS)}, not {fail!r}")
        if self.overflow not in ("drop", "block"):
            raise ValueError(f"overflow must be drop or block, not {self.overflow!r}")
        for name in ("timeout", "lease_ttl", "max_events", "max_bytes", "spool_bytes"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be more than 0")
        if not 1 <= self.batch <= 10_000:
            raise ValueError("batch must be from 1 to 10000")

    @property
    def target(self) -> Target:
        return Target(self.url.rstrip("/"), self.key, self.timeout)

    def fail_of(self, feature: str) -> Fail | None:
        """The policy given here; None if none is."""
        if self.fail is None or isinstance(self.fail, str):
            return self.fail
        return self.fail.get(feature)


def url_and_key(url: str | None, key: str | None) -> tuple[str, str | None]:
    """Filled up from the environment."""
    return (
        url or os.environ.get("TAXIMETER_URL") or DEFAULT_URL,
        key or os.environ.get("TAXIMETER_KEY") or None,
    )


def lease_sizes(lease: Mapping[str, Amount] | None) -> dict[str, int]:
    """Feature -> size in pico."""
    sizes = {feature: to_pico(size) for feature, size in (lease or {}).items()}
    if not all(sizes.values()):
        raise ValueError("a lease must be more than 0")
    return sizes
