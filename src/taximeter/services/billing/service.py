"""What is due: names of the use cases, until their callers know where each lives."""

from taximeter.services.billing.close import Closed, close
from taximeter.services.billing.drafts import find_invoice, invoice_json
from taximeter.services.billing.fare import fares, preview
from taximeter.services.billing.life import finalize, void

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
