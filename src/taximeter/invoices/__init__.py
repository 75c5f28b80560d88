"""
Invoices: rated lines -> invoice, its life, its bytes, its proof.

    invoice    what an invoice and a line are; totals
    charges    the stretches of a period -> which price for which part of it
    build      charges and usage -> a draft
    document   public JSON, canonical bytes, digest
    states     draft -> issued -> paid | void
    lineage    which events a line was billed for: Merkle trees
"""

from taximeter.invoices.build import Terms, Usage, build_invoice
from taximeter.invoices.charges import Charge, Priced, Stretch, charges_of
from taximeter.invoices.document import (
    canonical_bytes,
    digest,
    digest_of,
    dump_invoice,
    parse_invoice,
)
from taximeter.invoices.invoice import Invoice, Kind, Line, Lineage, Status
from taximeter.invoices.states import issue, pay, void

__all__ = [
    "Charge",
    "Invoice",
    "Kind",
    "Line",
    "Lineage",
    "Priced",
    "Status",
    "Stretch",
    "Terms",
    "Usage",
    "build_invoice",
    "canonical_bytes",
    "charges_of",
    "digest",
    "digest_of",
    "dump_invoice",
    "issue",
    "parse_invoice",
    "pay",
    "void",
]
