from __future__ import annotations

import os

import pytest
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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: some test is always waiting for a clock or a disk."""
    return (os.cpu_count() or 1) + 1
