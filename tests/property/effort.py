"""How many examples a property is tried on: a hundred, or many in the long programme."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

FULL = os.environ.get("TAXIMETER_TEST_FULL") == "1"

thorough = settings(
    max_examples=20_000 if FULL else 120,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""As many examples as usual, however busy the machine is."""
