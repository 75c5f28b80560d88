"""
From what is durable back to live state: books, identities, snapshot, and the tail of the log.

State from snapshot + tail equals state from zero: the tail is folded by the code that folded it
the first time, and what a snapshot cannot vouch for is folded again from history.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec

from taximeter.catalog.document import parse_catalog
from taximeter.events.entry import KIND_COMMAND, KIND_CORRECTION, Entry
from taximeter.events.envelope import Verdict
from taximeter.events.identity import identities
from taximeter.events.replay import accepted_events, stored_times
from taximeter.gate.effects import decode_effects
from taximeter.invoices.settings import parse_settings
from taximeter.live.corrected import fold_correction
from taximeter.live.snapshot import FORMAT, Snapshot, Stale, StateSnapshot, dump_state, load_state
from taximeter.live.snapshot import decode as decode_snapshot
from taximeter.ports import Books, EventLog
from taximeter.services.tenant import Tenant

logger = logging.getLogger(__name__)


class IdentityMemory(Protocol):
    def load(self, keys: Any, fingerprints: Any, first_seq: int) -> None: ...


def load_tenants(books: Books, make: Callable[[str], Tenant]) -> dict[str, Tenant]:
    """Everything that is configured, with empty live state."""
    tenants: dict[str, Tenant] = {}
    for name in books.namespaces():
        tenant = tenants[name] = make(name)
        for version in books.catalog_versions(name):
            document = msgspec.json.decode(version.document)
            catalog = parse_catalog(document)
            tenant.add_catalog(version.version, catalog, version.created_at, staged=version.staged)
        for customer in books.customers(name):
            tenant.know_customer(customer)
        for subscription in books.subscriptions(name):
            tenant.put_subscription(subscription)
        settings = books.latest_billing_settings(name)
        if settings is not None:
            tenant.billing = parse_settings(settings.document)
            tenant.billing_version = settings.version
        for discount in books.discounts(name):
            known = tenant.discounts.get(discount.customer, ())
            tenant.discounts[discount.customer] = (*known, discount)
        tenant.live.set_counters(tenant.wanted_counters())
        for key in tenant.customers:
            tenant.reset_account(key)
    return tenants


def take_snapshot(tenants: dict[str, Tenant], position: int, idle_entries: int) -> Snapshot:
    """
    Args:
        idle_entries: How many entries without accepted events follow the last accepted one.
    """
    namespaces = {
        name: dump_state(tenant.live, tenant.customers, tenant.counts.as_dict())
        for name, tenant in sorted(tenants.items())
    }
    return Snapshot(FORMAT, position, idle_entries, namespaces)


def load_snapshot(
    contents: Iterable[bytes], tenants: dict[str, Tenant], position: int
) -> tuple[Snapshot, dict[str, Stale]]:
    """
    Fill the tenants from the newest usable snapshot, or leave them empty.

    Returns:
        The snapshot (an empty one at position 0 if none is usable), and what remains to be folded
        up to its position.
    """
    snapshot = Snapshot(FORMAT, 0, 0, {})
    for content in contents:
        found = decode_snapshot(content)
        # A snapshot ahead of the log belongs to another history: the log is the truth.
        if found is not None and found.position <= position:
            snapshot = found
            break
    stale: dict[str, Stale] = {}
    for name, tenant in tenants.items():
        saved = snapshot.namespaces.get(name) or StateSnapshot([], {}, {}, {})
        stale[name] = load_state(tenant.live, tenant.customers, saved)
        tenant.counts.load(saved.counts)
    return snapshot, stale


def replay(
    log: EventLog,
    tenants: dict[str, Tenant],
    make: Callable[[str], Tenant],
    memory: IdentityMemory,
    snapshot: Snapshot,
    identities_known: int,
) -> tuple[int, int, dict[str, set[str]]]:
    """
    Fold the log behind the snapshot, and remember identities behind those already known.

    Returns:
        How many events were read, how many entries without accepted events end the log, and by
        namespace the customers whose history is to be folded again after a correction.
    """
    start = min(snapshot.position, identities_known)
    idle_to_skip = snapshot.idle_entries
    read = idle = 0
    again: dict[str, set[str]] = {}
    for logged in log.read(start):
        entry = logged.entry
        tenant = tenants.get(entry.namespace)
        if tenant is None:
            tenant = tenants[entry.namespace] = make(entry.namespace)
        if not entry.accepted:
            idle += 1
            if logged.first_seq == snapshot.position + 1 and idle_to_skip:
                idle_to_skip -= 1
            elif logged.first_seq > snapshot.position:
                _count(tenant, entry)
            continue
        idle = 0
        read += entry.accepted
        events = accepted_events(entry)
        times = stored_times(events, entry.received_at)
        if logged.first_seq > identities_known:
            keys, fingerprints = identities(tenant.seed, events, times)
            memory.load(keys, fingerprints, logged.first_seq)
        if logged.first_seq > snapshot.position:
            effects = decode_effects(entry.effects)
            if entry.kind == KIND_CORRECTION:
                folded = fold_correction(tenant.live, events, effects, entry.received_at)
                again.setdefault(tenant.name, set()).update(folded.again)
            elif entry.kind != KIND_COMMAND:
                _count(tenant, entry)
                tenant.live.fold_stored(zip(events, times, strict=True), entry.received_at)
            tenant.live.apply(effects, entry.received_at, logged.first_seq)
    return read, idle, again


def _count(tenant: Tenant, entry: Entry) -> None:
    counts, verdicts = tenant.counts, entry.verdicts
    counts.received += len(verdicts)
    counts.accepted += verdicts.count(Verdict.ACCEPTED.value)
    counts.duplicates += verdicts.count(Verdict.DUPLICATE.value)
    counts.conflicts += verdicts.count(Verdict.CONFLICT.value)
    counts.rejected += verdicts.count(Verdict.REJECTED.value)
