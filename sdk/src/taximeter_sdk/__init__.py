"""
Taximeter for applications: track usage, ask the gate, hold and lease credit.

    from taximeter_sdk import Taximeter

    meter = Taximeter()
    meter.track("acme", "llm.request", model="opus", input_tokens=812, output_tokens=193)
"""

from taximeter_sdk.aio import AsyncHold, AsyncTaximeter
from taximeter_sdk.client import Taximeter
from taximeter_sdk.decision import Decision
from taximeter_sdk.delivery import Rejection
from taximeter_sdk.encoding import stable_id
from taximeter_sdk.errors import OverLimit, Rejected, TaximeterError, Unavailable
from taximeter_sdk.holds import Hold
from taximeter_sdk.leases import Lease
from taximeter_sdk.stats import Stats
from taximeter_sdk.version import __version__
from taximeter_sdk.watching import Update

__all__ = [
    "AsyncHold",
    "AsyncTaximeter",
    "Decision",
    "Hold",
    "Lease",
    "OverLimit",
    "Rejected",
    "Rejection",
    "Stats",
    "Taximeter",
    "TaximeterError",
    "Unavailable",
    "Update",
    "__version__",
    "stable_id",
]
