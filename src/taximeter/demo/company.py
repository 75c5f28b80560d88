"""
Lumen, the sample company: an API for language and image models, sold by usage.

Everything here is a pure function of a seed, so that the printed month is the same on every
machine and a test can recompute each invoice from the same events by brute force.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec

from taximeter.instants import HOUR, format_instant

CATALOG_YAML = """\
# The catalogue of Lumen, a sample company. Apply a file like this with `taximeter apply`.
scopes: {user: data.user}
meters:
  requests:      {event_type: llm.request, aggregation: count, dimensions: {model: data.model}}
  input_tokens:  {event_type: llm.request, aggregation: sum, value: data.input_tokens,
                  dimensions: {model: data.model}, unit: token}
  output_tokens: {event_type: llm.request, aggregation: sum, value: data.output_tokens,
                  dimensions: {model: data.model}, unit: token}
  gpu_seconds:   {event_type: llm.request, aggregation: sum, value: data.gpu_seconds, unit: second}
  slowest_ms:    {event_type: llm.request, aggregation: max, value: data.latency_ms}
  users:         {event_type: llm.request, aggregation: unique, value: data.user}
  images:        {event_type: image.created, aggregation: count, dimensions: {size: data.size}}
  streamed:      {event_type: llm.stream, aggregation: sum, value: data.tokens, unit: token}
features:
  write:  {type: metered, meter: streamed}
  chat:   {type: metered, meter: output_tokens}
  image:  {type: metered, meter: images}
  export: {type: boolean}
  seats:  {type: static, value_type: integer}
plans:
  free:
    currency: USD
    cadence: month
    entitlements:
      chat:  {limit: 20000, enforcement: hard, reset: period}
      image: {limit: 10, enforcement: hard, reset: period}
      seats: 1
    prices: {}
  pro:
    currency: USD
    cadence: month
    entitlements:
      chat:   {limit: 600000, enforcement: soft, reset: period}
      image:  {limit: 500, enforcement: hard, reset: period}
      export: true
      seats:  5
    prices:
      base:   {type: flat, name: Pro plan, amount: "49.00", timing: advance}
      input:  {type: per_unit, name: Input tokens, meter: input_tokens, unit: "0.000003"}
      output:
        type: graduated
        name: Output tokens
        meter: output_tokens
        tiers:
          - {up_to: 100000, unit: "0.00002"}
          - {up_to: 400000, unit: "0.000015"}
          - {unit: "0.000012", flat: "5.00"}
      images: {type: per_unit, name: Images, meter: images, unit: "0.04", free: 20}
  scale:
    currency: EUR
    cadence: month
    entitlements:
      chat:   {enforcement: soft, reset: period}
      image:  {limit: 5000, enforcement: soft, reset: period}
      export: true
      seats:  50
    prices:
      platform: {type: flat, name: Scale platform, amount: "490.00", timing: arrears}
      input:    {type: per_unit, name: Input tokens, meter: input_tokens, unit: "0.0000025"}
      output:
        type: per_unit
        name: Output tokens
        meter: output_tokens
        unit: "0.00001"
        group_by: [model]
      gpu:      {type: per_unit, name: GPU seconds, meter: gpu_seconds, unit: "0.00125"}
      images:   {type: per_unit, name: Images, meter: images, unit: "0.03"}
  prepaid:
    currency: USD
    cadence: month
    entitlements:
      write:
        credit: usd
        cost: "0.0003"
        limit: 0
        windows: [{limit: 5000000, reset: {rolling: 5h}}]
        per: {user: {limit: 400000, reset: hour}}
      seats: 3
    prices: {}
rules:
  runaway:
    on: llm.request
    over: {count: events, window: 1m, more_than: 2000}
    do: [flag, notify, review]
    mode: dry_run
    reason: far more requests than usual
"""


BILLING: dict[str, Any] = {
    "issuer": {
        "name": "Lumen Models GmbH",
        "address": ["Torstraße 1"],
        "city": "Berlin",
        "postal_code": "10119",
        "country": "DE",
        "tax_id": "DE136695976",
        "email": "billing@lumen.example",
    },
    "due_days": 14,
    "tax": {
        "registrations": [{"country": "DE", "tax_id": "DE136695976"}],
        "rates": [{"name": "VAT", "country": "DE", "rate": "0.19"}],
    },
}
"""Who Lumen is on its invoices, and the tax it collects: in Germany, where Northwind is."""

SHOWN = "northwind"
"""Whose invoice is shown as PDF: it has a discount and tax, and all an e-invoice must say."""

DISCOUNT: dict[str, Any] = {
    "id": "launch",
    "name": "Launch partner 10 %",
    "percent": 10,
    "duration": "forever",
}


class Profile(msgspec.Struct, frozen=True):
    """
    How one customer of Lumen behaves.

    Attributes:
        share: Its part of the traffic, relative to the others.
        mean_tokens: Typical output tokens of a request.
        anchor: How its billing periods are aligned.
        address: Street, postal code, city, country.
    """

    key: str
    name: str
    plan: str
    share: int
    mean_tokens: int
    timezone: str = "UTC"
    currency: str = "USD"
    anchor: str = "calendar"
    subjects: tuple[str, ...] = ()
    address: tuple[str, str, str, str] = ("", "", "", "")

    @property
    def billing(self) -> dict[str, Any]:
        """Who its invoices are billed to."""
        street, postal_code, city, country = self.address
        return {
            "name": self.name,
            "address": [street],
            "postal_code": postal_code,
            "city": city,
            "country": country,
        }


PROFILES = (
    Profile(
        "acme", "Acme Robotics", "scale", 30, 420, "America/New_York", "EUR",
        address=("350 Fifth Avenue", "10118", "New York", "US"),
    ),
    Profile(
        "northwind", "Northwind Travel GmbH", "scale", 16, 300, "Europe/Berlin", "EUR",
        address=("Speicherstadt 4", "20457", "Hamburg", "DE"),
    ),
    Profile(
        "globex", "Globex Legal", "pro", 18, 520, "Europe/London", subjects=("globex-eu",),
        address=("12 Fetter Lane", "EC4A 1BR", "London", "GB"),
    ),
    Profile(
        "initech", "Initech", "pro", 12, 260, "America/Chicago",
        address=("4120 Freidrich Lane", "78744", "Austin", "US"),
    ),
    Profile(
        "umbra", "Umbra Games", "pro", 10, 340, "Asia/Tokyo", anchor="anniversary",
        address=("2-11-3 Meguro", "153-0063", "Tokyo", "JP"),
    ),
    Profile(
        "kestrel", "Kestrel Health", "pro", 6, 610, "Asia/Kolkata",
        address=("14 Residency Road", "560025", "Bengaluru", "IN"),
    ),
    Profile(
        "paperlane", "Paperlane Studio", "free", 4, 150, "Europe/Paris",
        address=("8 rue de Lappe", "75011", "Paris", "FR"),
    ),
    Profile(
        "mallory", "Mallory (never stops)", "free", 9, 380,
        address=("1 Main Street", "97201", "Portland", "US"),
    ),
)  # fmt: skip
MODELS = (("opus", 5, 3), ("sonnet", 12, 2), ("haiku", 20, 1))  # name, popularity, slowness
SIZES = ("512", "1024")


def request_event(rng: random.Random, profile: Profile, at: int, number: int) -> dict[str, Any]:
    """One usage event as the company's gateway would send it."""
    subject = rng.choice((profile.key, *profile.subjects))
    envelope = {
        "specversion": "1.0",
        "id": f"{profile.key}-{number:08d}",
        "source": "gateway",
        "subject": subject,
        "time": format_instant(at),
    }
    if rng.randrange(25) == 0:
        return {**envelope, "type": "image.created", "data": {"size": rng.choice(SIZES)}}
    model, _, slowness = rng.choices(MODELS, weights=[m[1] for m in MODELS])[0]
    output = max(1, rng.randrange(2 * profile.mean_tokens))
    data = {
        "model": model,
        "user": f"u{rng.randrange(40)}",
        "input_tokens": rng.randrange(50, 6 * profile.mean_tokens),
        "output_tokens": output,
        "latency_ms": 80 + output * slowness,
        "gpu_seconds": Decimal(output * slowness * 7 + rng.randrange(1000)) / 1000,
    }
    return {**envelope, "type": "llm.request", "data": data}


def month_of_events(
    seed: int, start: int, end: int, count: int
) -> Iterator[tuple[Profile, dict[str, Any]]]:
    """
    A month of traffic in time order, busier in office hours.

    Args:
        start, end: Microseconds; events fall into [start, end).
        count: How many events.
    """
    rng = random.Random(seed)
    weights = [profile.share for profile in PROFILES]
    instants = sorted(_office_hours(rng, start, end) for _ in range(count))
    for number, at in enumerate(instants):
        profile = rng.choices(PROFILES, weights=weights)[0]
        yield profile, request_event(rng, profile, at, number)


def _office_hours(rng: random.Random, start: int, end: int) -> int:
    """A random instant; nights are three times quieter than days."""
    while True:
        at = rng.randrange(start, end)
        hour = at // HOUR % 24
        if 7 <= hour < 20 or rng.randrange(3) == 0:
            return at
