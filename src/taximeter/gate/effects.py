"""
What can happen to credits, holds, budgets and seats: the whole list.

An entry of the log carries the effects it had, decided and priced when it was accepted. Applying
them again in order gives the same state, whatever the catalogue says by then. Amounts are pico
(10^-12): `units_pico` of a feature's meter, `cost_pico` and `amount_pico` of a credit.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from taximeter.catalog.features import Rate
from taximeter.credits.grant import Grant
from taximeter.gate.budget import Budget
from taximeter.gate.topup import TopUp


class _Effect(msgspec.Struct, frozen=True, tag_field="do", omit_defaults=True):
    """`customer` is whose purse it concerns."""

    customer: str


class Burn(_Effect, frozen=True, tag="burn"):
    """
    A usage event was counted and costs credit, or draws on a lease.

    Attributes:
        seq: Of the event.
        credit: None if the feature costs none (then only the lease is drawn on).
        pools: Parents who share what they have, nearest first: they pay when the own is used up.
        lease: The hold it draws on, if it names an open one.
    """

    feature: str
    seq: int
    units_pico: int
    credit: str | None = None
    cost_pico: int = 0
    pools: tuple[str, ...] = ()
    lease: str | None = None


class Reverse(_Effect, frozen=True, tag="reverse"):
    """
    A usage event was taken back: what it cost returns to who paid (K19).

    Attributes:
        seq: Of the retraction.
        event: Seq of the event.
        parts: (lot of credit, pico) that paid for it.
        overage_pico: What no credit paid for.
        overdraft_pico: What was settled beyond all credit.
    """

    feature: str
    seq: int
    event: int
    credit: str
    parts: tuple[tuple[str, int], ...] = ()
    overage_pico: int = 0
    overdraft_pico: int = 0

    @property
    def cost_pico(self) -> int:
        return sum(pico for _, pico in self.parts) + self.overage_pico + self.overdraft_pico


class Reserve(_Effect, frozen=True, tag="reserve"):
    """
    Units, and their cost if they have one, are set aside until `expires_at`.

    Attributes:
        scope: Level below the customer -> its value.
        lease: A slice for decisions at the edge: usage events draw on it.
        data: For the usage event that settling records.
    """

    id: str
    feature: str
    units_pico: int
    created_at: int
    expires_at: int
    credit: str | None = None
    cost_pico: int = 0
    pools: tuple[str, ...] = ()
    scope: dict[str, str] = {}
    lease: bool = False
    data: dict[str, Any] = {}


class Extend(_Effect, frozen=True, tag="extend"):
    """More units and time for an open hold."""

    id: str
    expires_at: int
    units_pico: int = 0
    cost_pico: int = 0


class Settle(_Effect, frozen=True, tag="settle"):
    """A hold ends: this much was used. `overage` says that it may be more than was held (K14)."""

    id: str
    units_pico: int
    cost_pico: int = 0
    overage: bool = False


class Release(_Effect, frozen=True, tag="release"):
    """A hold ends unused."""

    id: str


class Issue(_Effect, frozen=True, tag="issue"):
    """A grant is given."""

    grant: Grant


class Void(_Effect, frozen=True, tag="void"):
    """A grant ends early."""

    credit: str
    grant: str
    reason: str = ""


class Refund(_Effect, frozen=True, tag="refund"):
    """Paid credit goes back out."""

    credit: str
    grant: str
    amount_pico: int
    reason: str = ""


class Transfer(_Effect, frozen=True, tag="transfer"):
    """Credit moves to another customer; its grants keep their terms."""

    to: str
    credit: str
    amount_pico: int
    id: str


class PayInvoice(_Effect, frozen=True, tag="pay_invoice"):
    """Prepaid credit that pays for anything pays a part of an invoice; it covers the amount."""

    id: str
    credit: str
    amount_pico: int


class RepayInvoice(_Effect, frozen=True, tag="repay_invoice"):
    """
    An invoice ended without being due: all that credit paid of it returns to its grants. Or a
    credit note takes a part of it back: an amount returns, what was taken last first.
    """

    id: str
    amount_pico: int | None = None
    note: str | None = None


class SetTopUp(_Effect, frozen=True, tag="set_top_up"):
    """Automatic top-ups of one credit; None ends them."""

    credit: str
    top_up: TopUp | None = None


class SetBudget(_Effect, frozen=True, tag="set_budget"):
    budget: Budget


class DropBudget(_Effect, frozen=True, tag="drop_budget"):
    id: str


class TakeSeat(_Effect, frozen=True, tag="take_seat"):
    """A holder has a seat; a concurrent one only until `until`."""

    feature: str
    holder: str
    until: int | None = None


class LeaveSeat(_Effect, frozen=True, tag="leave_seat"):
    feature: str
    holder: str


class Block(_Effect, frozen=True, tag="block"):
    """A feature, or with "" everything, may not be used until `until`; None: until unblocked."""

    feature: str
    by: str
    reason: str = ""
    until: int | None = None


class Throttle(_Effect, frozen=True, tag="throttle"):
    """A feature, or with "" each feature for itself, may not be used faster; as of `Block`."""

    feature: str
    by: str
    rate: Rate
    reason: str = ""
    until: int | None = None


class Unblock(_Effect, frozen=True, tag="unblock"):
    """What `by` has blocked or throttled is free again; with "" whoever did it."""

    feature: str
    by: str = ""


class Fire(_Effect, frozen=True, tag="fire"):
    """
    A rule fired on a usage event.

    Attributes:
        version: Of the catalogue the rule is in.
        seq: Of the event, and `event` its id, `at` its time.
        value: Of the level the rule looks at; "" for the customer.
        observed_pico: What its window held; None for a rule without one.
        dry: Nothing is done.
        resting: Until when it does not fire again for the customer and value.
        imposed: What holds from this entry on. The rest is done afterwards.
    """

    rule: str
    version: int
    seq: int
    event: str
    at: int
    resting: int
    value: str = ""
    observed_pico: int | None = None
    dry: bool = False
    imposed: tuple[Block | Throttle, ...] = ()


class Advance(_Effect, frozen=True, tag="advance"):
    """Time alone did something: an expiry, a recurrence, a lapse."""


class Keyed(_Effect, frozen=True, tag="keyed"):
    """
    The command came under an `Idempotency-Key`: a retry after a crash finds it by that.

    Attributes:
        request: Fingerprint of the request, so that the key is not taken for another one's.
    """

    key: str
    request: str


Effect: TypeAlias = (
    Burn
    | Reverse
    | Reserve
    | Extend
    | Settle
    | Release
    | Issue
    | Void
    | Refund
    | Transfer
    | PayInvoice
    | RepayInvoice
    | SetTopUp
    | SetBudget
    | DropBudget
    | TakeSeat
    | LeaveSeat
    | Block
    | Throttle
    | Unblock
    | Fire
    | Advance
    | Keyed
)

Caused: TypeAlias = Burn | Fire
"""What a counted usage event brings about by itself."""

encode_effects = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(list[Effect])


def decode_effects(data: bytes) -> list[Effect]:
    """Inverse of `encode_effects`; an entry without effects has none."""
    return _decoder.decode(data) if data else []
