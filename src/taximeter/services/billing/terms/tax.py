"""
Tax: who bills whom, and what the taxes of an invoice are, by the rules or by an engine outside.
"""

from __future__ import annotations

import hmac

from taximeter.customers import Customer
from taximeter.invoices.invoice import Invoice
from taximeter.notices.signature import format_secret
from taximeter.parties import Party
from taximeter.services.core import Core
from taximeter.services.tenant import Tenant
from taximeter.taxes.applied import AppliedTax
from taximeter.taxes.apply import Taxable, taxes_of
from taximeter.taxes.decide import Applying, Situation, Unknown, rates_for


def parties_of(tenant: Tenant, payer: Customer) -> tuple[Party | None, Party | None]:
    """Issuer and who is billed, as an invoice made now names them."""
    return tenant.billing.issuer, payer.billed_to


async def taxes_for(
    core: Core, tenant: Tenant, invoice: Invoice
) -> tuple[AppliedTax, ...] | Unknown:
    """
    Args:
        invoice: With its lines and their discounts; taxes it has are not looked at.

    Returns:
        Its taxes; `Unknown` if they cannot be said, and the invoice is to be reviewed by a person.
    """
    situation = situation_of(tenant, tenant.customers[invoice.customer])
    if tenant.billing.tax.engine is None:
        return built_in_taxes(invoice, situation)
    if core.tax_engine is None:
        return Unknown("The tax engine cannot be asked here.")
    return await core.tax_engine.taxes(tenant.name, invoice, situation)


def situation_of(tenant: Tenant, payer: Customer) -> Situation:
    exemption = None if payer.billing is None else payer.billing.tax_exempt
    issuer, billed_to = parties_of(tenant, payer)
    return Situation(tenant.billing.tax, issuer, billed_to, exemption)


def built_in_taxes(invoice: Invoice, situation: Situation) -> tuple[AppliedTax, ...] | Unknown:
    """By the rules of the billing settings: each line at the end of what it bills."""
    return taxes_of(
        (Taxable(line.tax_category, line.period.end - 1, line.net_minor) for line in invoice.lines),
        situation,
        invoice.currency,
    )


def engine_secret(installation: bytes, namespace: str) -> str:
    """
    What an engine outside can check by that a question comes from this namespace.

    Args:
        installation: Random bytes, made once per installation.
    """
    return format_secret(hmac.digest(installation, b"tax engine\0" + namespace.encode(), "sha256"))


def rates_at(
    tenant: Tenant, payer: Customer, category: str, at: int
) -> tuple[Applying, ...] | Unknown:
    """
    Which rates an invoice of a customer has for a category at an instant, by the rules.

    Returns:
        `Unknown` also where an engine outside decides.
    """
    if tenant.billing.tax.engine is not None:
        return Unknown("The tax engine decides, when an invoice is made.")
    return rates_for(situation_of(tenant, payer), category, at)
