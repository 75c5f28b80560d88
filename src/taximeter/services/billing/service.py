"""What is due: names of the use cases, until their callers know where each lives."""

from taximeter.services.billing.close import Closed, close
from taximeter.services.billing.drafts import find_invoice
from taximeter.services.billing.fare import fares, preview
from taximeter.services.billing.life import finalize, void
from taximeter.services.billing.shown import invoice_json

__all__ = [
    "Closed",
    "close",
    "fares",
    "finalize",
    "find_invoice",
    "invoice_json",
    "preview",
    "void",
]
