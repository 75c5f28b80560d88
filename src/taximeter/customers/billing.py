"""
Billing details as a JSON document: who a customer's invoices are billed to.
"""

from __future__ import annotations

from typing import Any

import msgspec

from taximeter.customers import BillingDetails
from taximeter.parties import Party, check_party
from taximeter.taxes.documents import ExemptionDocument, dump_exemption, read_exemption
from taximeter.taxes.tax_ids import check_tax_id


class BillingDocument(Party, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """As it is put; `{}` as `tax_exempt` is an exemption without a certificate or an end."""

    tax_exempt: ExemptionDocument | None = None


def read_billing(document: BillingDocument) -> BillingDetails:
    """
    Raises:
        Rejected: `invalid_request`, naming the member; `invalid_timestamp`.
    """
    check_party(document, "billing")
    if document.tax_id:
        check_tax_id(document.country, document.tax_id, "billing.tax_id")
    exemption = document.tax_exempt
    members = msgspec.structs.asdict(document) | {
        "tax_exempt": None if exemption is None else read_exemption(exemption, "billing.tax_exempt")
    }
    return BillingDetails(**members)


def dump_billing(billing: BillingDetails) -> dict[str, Any]:
    """Inverse of `read_billing`: what is known, as plain JSON values."""
    known = {name: getattr(billing, name) for name in Party.__struct_fields__}
    dumped = {name: value for name, value in msgspec.to_builtins(known).items() if value}
    if billing.tax_exempt is not None:
        dumped["tax_exempt"] = dump_exemption(billing.tax_exempt)
    return dumped
