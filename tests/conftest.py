from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Every process a test starts would compile the whole program again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# The same examples in every run, so that a red suite says something about the last change; the
# long programme looks for new ones.
settings.register_profile(
    "quick",
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
if os.environ.get("TAXIMETER_TEST_FULL") != "1":
    settings.load_profile("quick")
