"""
Customers and the subjects they claim.
"""

from __future__ import annotations

import re

import msgspec

from taximeter.customers import Customer
from taximeter.errors import Refused, Rejected
from taximeter.money import exponent
from taximeter.periods import check_timezone
from taximeter.services.billing.correcting.late import claimed
from taximeter.services.core import Core, audit, require_customer
from taximeter.services.ids import new_id as new_id
from taximeter.services.rebuild import (
    fill,
    mark,
    recount_subjects,
)
from taximeter.services.tenant import Tenant

MAX_SUBJECTS = 10_000
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f]{1,256}")


async def put_customer(core: Core, tenant: Tenant, customer: Customer, actor: str) -> Customer:
    """
    Add a customer, or replace what is known of it.

    Events of a subject it newly claims, also earlier ones, are counted when this returns.

    Raises:
        Rejected: `unknown_timezone`, `unknown_currency`, `invalid_request`.
        Refused: `subject_taken`.
    """
    _check(tenant, customer)
    async with core.lock(tenant):
        known = tenant.customers.get(customer.key)
        _check_subjects(tenant, customer)
        now = core.clock.now()
        created_at = now if known is None else known.created_at
        customer = msgspec.structs.replace(customer, created_at=created_at)
        if customer == known:
            return customer
        await core.books.run(
            core.books.books.put_customer,
            tenant.name,
            customer,
            audit(tenant, now, actor, "customer.put", customer.key),
        )
        if known is not None and _counts_alike(tenant, known, customer):
            tenant.know_customer(customer)
        else:
            await _replace(core, tenant, known, customer)
        if known is not None:
            new = set(customer.all_subjects) - set(known.all_subjects)
            await claimed(core, tenant, customer.key, new)
        return customer


async def _replace(core: Core, tenant: Tenant, known: Customer | None, customer: Customer) -> None:
    """Put a fresh account in the place of the old one, and fill it with what it had counted."""
    had_events = known is not None and tenant.live.accounts[known.key].seen
    has_history = had_events or any(s in tenant.live.unmatched for s in customer.all_subjects)
    tenant.put_customer(customer)
    given_up = set(() if known is None else known.all_subjects) - set(customer.all_subjects)
    upto = core.sequencer.position
    missing = mark(core, tenant, customer.key, has_history)
    if given_up and had_events:
        await recount_subjects(core, tenant, [customer.key], given_up, upto)
    await fill(core, tenant, missing, f"customer {customer.key}")


def _check(tenant: Tenant, customer: Customer) -> None:
    check_timezone(customer.timezone)
    if customer.currency is not None:
        exponent(customer.currency)
    if len(customer.subjects) > MAX_SUBJECTS:
        raise Rejected("invalid_request", f"A customer claims at most {MAX_SUBJECTS} subjects.")
    for subject in (customer.key, *customer.subjects):
        if not _PRINTABLE.fullmatch(subject):
            raise Rejected(
                "invalid_request", "Keys and subjects are 1 to 256 characters without controls."
            )
    if customer.parent is not None:
        require_customer(tenant, customer.parent)
        _check_parent(tenant, customer)


def _check_parent(tenant: Tenant, customer: Customer) -> None:
    seen, parent = {customer.key}, customer.parent
    while parent is not None:
        if parent in seen:
            raise Rejected("invalid_request", f"{parent!r} would be its own ancestor.")
        seen.add(parent)
        parent = tenant.customers[parent].parent


def _check_subjects(tenant: Tenant, customer: Customer) -> None:
    for subject in customer.all_subjects:
        holder = tenant.live.by_subject.get(subject)
        if holder is not None and holder.customer != customer.key:
            raise Refused(
                "subject_taken",
                f"Subject {subject!r} belongs to customer {holder.customer!r}.",
                subject=subject,
                customer=holder.customer,
            )


def _counts_alike(tenant: Tenant, a: Customer, b: Customer) -> bool:
    """Whether the same events fall into the same periods of both."""
    same_zone = a.timezone == b.timezone or bool(tenant.lanes(a.key))
    return same_zone and set(a.all_subjects) == set(b.all_subjects)
