"""
Rates: how fast a feature may be used.

A token bucket holds `burst` and refills steadily, `limit` in each `per`; it is kept as one number,
the instant at which it would be full again (GCRA), multiplied by the limit so that it is a whole
number: nothing is rounded, however long it runs. A sliding window is the usage of the last `per`.

Usage is a fact: it takes from the bucket even what is not in it, and the bucket is then empty for
the longer.
"""

from __future__ import annotations

from typing import Any

import msgspec

from taximeter.catalog.features import Rate, RateKind
from taximeter.entitlements.readings import Kind, Reading
from taximeter.entitlements.rolling_usage import RollingUsage
from taximeter.instants import SECOND
from taximeter.quantities import E12

_MAX_FIELD = 10**15 - 1  # of an integer in a structured field


class TokenBucket:
    """
    Time is counted in microseconds x limit. In it an amount takes `amount x per`, and the bucket
    is full at `_full_at`, or was: it misses what will flow in until then.
    """

    __slots__ = ("_full_at", "_rate")

    def __init__(self, rate: Rate, dumped: Any = None) -> None:
        self._rate = rate
        self._full_at = 0
        if dumped is not None:
            full_at, limit_pico = map(int, dumped)
            self._full_at = full_at * rate.limit_pico // limit_pico

    def add(self, at: int, pico: int) -> None:
        rate = self._rate
        now = at * rate.limit_pico
        full_at = self._full_at if self._full_at > now else now
        self._full_at = full_at + pico * rate.per_us

    def used_pico(self, now: int) -> int:
        """What is missing in the bucket, rounded up: a fraction of 10^-12 is not there yet."""
        missing = self._full_at - now * self._rate.limit_pico
        return -(-missing // self._rate.per_us) if missing > 0 else 0

    def falls_to(self, now: int, used_pico: int) -> int:
        """The first instant, not before `now`, at which so much or less is missing."""
        back = self._full_at - used_pico * self._rate.per_us
        return max(now, -(-back // self._rate.limit_pico))

    def dump(self) -> Any:
        return [str(self._full_at), str(self._rate.limit_pico)]


class RateFields(msgspec.Struct, frozen=True):
    """
    Values of the HTTP fields that tell a client about a rate.

    Attributes:
        policy: `RateLimit-Policy`, like `"chat:rate:1m";q=60;w=60`.
        limit: `RateLimit`, like `"chat:rate:1m";r=12;t=3`: 12 left, and more in 3 seconds.
    """

    policy: str
    limit: str


class RateGauge:
    """
    How much of one rate one customer, user or key has used.

    Args:
        dumped: What `dump` gave, to go on from there, perhaps with another limit or burst.
    """

    __slots__ = ("_usage", "rate")

    def __init__(self, rate: Rate, dumped: Any = None) -> None:
        self.rate = rate
        self._usage: TokenBucket | RollingUsage
        if rate.kind is RateKind.TOKEN_BUCKET:
            self._usage = TokenBucket(rate, dumped)
        else:
            self._usage = RollingUsage(rate.per_us, dumped or ())

    @classmethod
    def load(cls, rate: Rate, dumped: Any) -> RateGauge:
        """Inverse of `dump`."""
        return cls(rate, dumped)

    def add(self, at: int, pico: int) -> None:
        """Take an amount, in the order of the log; a negative one gives back."""
        self._usage.add(at, pico)

    def used_pico(self, now: int) -> int:
        """What is not available of the burst; more than all of it if facts went beyond."""
        used_pico = self._usage.used_pico(now)
        return used_pico if used_pico > 0 else 0

    def available_pico(self, now: int) -> int:
        """What may be used at once."""
        return max(0, self.rate.burst_pico - self.used_pico(now))

    def retry_at(self, now: int, amount_pico: int) -> int | None:
        """The first instant at which an amount fits: `now` if it does; None if it never will."""
        if amount_pico > self.rate.burst_pico:
            return None
        return self._falls_to(now, self.rate.burst_pico - amount_pico)

    def _falls_to(self, now: int, used_pico: int) -> int:
        if isinstance(self._usage, TokenBucket):
            return self._usage.falls_to(now, used_pico)
        need_pico = self.used_pico(now) - used_pico
        if need_pico <= 0:
            return now
        falls_at = self._usage.resets_at(now, need_pico)
        assert falls_at is not None, "all of a window leaves it"
        return falls_at

    def reading(
        self,
        now: int,
        amount_pico: int = 0,
        *,
        reserved_pico: int = 0,
        scope: str | None = None,
    ) -> Reading:
        """Where the rate stands; `resets_at` is when the amount fits, None if it does already."""
        rate = self.rate
        retry_at = self.retry_at(now, amount_pico + reserved_pico)
        return Reading(
            rate.burst_pico,
            self.used_pico(now),
            reserved_pico,
            None if retry_at == now else retry_at,
            level=rate.level,
            scope=scope,
            kind=Kind.RATE,
            key=rate.key,
            pace_pico=rate.limit_pico,
        )

    def fields(self, feature: str, now: int, reserved_pico: int = 0) -> RateFields:
        """
        For an HTTP answer, in whole units and seconds: what is left rounded down, time up.

        A feature can have several rates; the policy is named after both.
        """
        rate = self.rate
        name = f"{feature}:{rate.key}"
        more_at = self._falls_to(now, max(0, self.used_pico(now) - E12))
        quota, window_s = rate.limit_pico // E12, _seconds(rate.per_us)
        left = max(0, self.available_pico(now) - reserved_pico) // E12
        return RateFields(
            f'"{name}";q={min(quota, _MAX_FIELD)};w={window_s}',
            f'"{name}";r={min(left, _MAX_FIELD)};t={_seconds(more_at - now)}',
        )

    def prune(self, now: int) -> bool:
        """Whether anything is left; if not, the gauge can be forgotten."""
        if isinstance(self._usage, RollingUsage):
            return self._usage.prune(now)
        return self._usage.used_pico(now) > 0

    def dump(self) -> Any:
        """Plain JSON-able values; equal histories give an equal dump."""
        return self._usage.dump()


def retry_after_s(now: int, retry_at: int) -> int:
    """For `Retry-After`: whole seconds, rounded up, at least 1."""
    return max(1, _seconds(retry_at - now))


def _seconds(length_us: int) -> int:
    return -(-length_us // SECOND)
