"""
Grants: the promise of credit to a customer.

A grant is never edited. It is used up, expires, recurs, or is voided; a correction adds another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NoReturn, TypeAlias, cast

import msgspec

from taximeter.credits.recurrence import Recurrence, parse_recurrence
from taximeter.errors import Rejected
from taximeter.instants import format_instant, parse_instant
from taximeter.periods import check_timezone
from taximeter.quantities import MAX_PICO, exact_pico, format_quantity, parse_quantity

Funding: TypeAlias = Literal["paid", "promotional"]
"""Whether money was paid for the credit: only then can it be refunded."""

MAX_TEXT: Final = 256
MAX_FEATURES: Final = 100
MAX_PRIORITY: Final = 1_000_000

# Lots are named after their grant with these between; so a grant may not have them in its id.
OCCURRENCE_MARK: Final = "#"
TRANSFER_MARK: Final = "~"

_MEMBERS: Final = (
    "id", "credit", "amount", "priority", "effective_at", "expires_at", "features", "recurrence",
    "rollover", "timezone", "kind", "cost_basis", "metadata",
)  # fmt: skip


class Rollover(msgspec.Struct, frozen=True):
    """
    Unused credit of an occurrence moves into the next one.

    Attributes:
        max_pico: At most so much of it, carried-over credit included; None for all of it.
    """

    max_pico: int | None = None


class Grant(msgspec.Struct, frozen=True):
    """
    Credit of one type for one customer, once or again and again.

    Attributes:
        id: Unique within the wallet, for ever.
        credit: The credit type, such as "usd" or "tokens".
        amount_pico: Of each occurrence, 10^-12 of the credit; above 0.
        priority: Lower is spent first (K13).
        effective_at: When it, or its first occurrence, begins; microseconds.
        expires_at: When all of it ends, exclusive; None for never.
        features: What it pays for; empty for everything.
        recurrence: ISO 8601 duration between occurrences (see `recurrence`); None for once.
        rollover: Only with a recurrence; None: what an occurrence leaves unused is breakage.
        timezone: IANA name; the wall clock that occurrences follow.
        cost_basis: Money paid for one unit, exact decimal text; None if unknown.
        cause: Who granted it and why.
    """

    id: str
    credit: str
    amount_pico: int
    effective_at: int
    priority: int = 0
    expires_at: int | None = None
    features: tuple[str, ...] = ()
    recurrence: str | None = None
    rollover: Rollover | None = None
    timezone: str = "UTC"
    kind: Funding = "paid"
    cost_basis: str | None = None
    cause: str = ""
    metadata: dict[str, Any] = {}

    def number_at(self, at: int) -> int:
        """The occurrence that runs at an instant, from 0: the first before, the last after all."""
        if self._step is None:
            return 0
        if self.expires_at is not None:
            at = min(at, self.expires_at - 1)
        return self._step.last_by(at, self.effective_at, self.timezone)

    def occurrence(self, number: int) -> int | None:
        """When occurrence n, from 0, begins; None if it never does."""
        if self._step is None:
            return self.effective_at if number == 0 else None
        start = self._step.occurrence(number, self.effective_at, self.timezone)
        if start is None or (self.expires_at is not None and start >= self.expires_at):
            return None
        return start

    def end(self, number: int) -> int | None:
        """When occurrence n ends, exclusive: at the next one or with the grant; None for never."""
        following = self.occurrence(number + 1)
        return self.expires_at if following is None else following

    @property
    def _step(self) -> Recurrence | None:
        return None if self.recurrence is None else parse_recurrence(self.recurrence)


# --- JSON ---------------------------------------------------------------------------------------


def parse_grant(
    document: object,
    *,
    at: int,
    cause: str,
    timezone: str = "UTC",
    new_id: str | None = None,
) -> Grant:
    """
    Read the body of a request.

    Args:
        at: Now; when the grant begins unless it says otherwise.
        cause: Who asks, and why.
        timezone: The customer's, for a grant that names none.
        new_id: For a grant that names none; without it, `id` is required.

    Raises:
        Rejected: `invalid_request`, `invalid_amount`, `invalid_timestamp`, `unknown_timezone`.
    """
    members = _object(document, "the body")
    _only(members, _MEMBERS)
    effective_at = _instant(members, "effective_at")
    grant = Grant(
        id=_id(members, new_id),
        credit=_text(members, "credit"),
        amount_pico=_amount(members.get("amount"), "amount", least_pico=1),
        priority=_priority(members),
        effective_at=at if effective_at is None else effective_at,
        expires_at=_instant(members, "expires_at"),
        features=_features(members),
        recurrence=_recurrence(members),
        rollover=_rollover(members),
        timezone=check_timezone(_text(members, "timezone", default=timezone)),
        kind=_kind(members),
        cost_basis=_cost_basis(members),
        cause=cause,
        metadata=dict(_object(_given(members, "metadata", {}), "metadata")),
    )
    if grant.expires_at is not None and grant.expires_at <= grant.effective_at:
        _refuse(
            "expires_at",
            f"{format_instant(grant.expires_at)} is not after effective_at, "
            f"{format_instant(grant.effective_at)}",
        )
    if grant.rollover is not None and grant.recurrence is None:
        _refuse("rollover", "only a grant with a recurrence rolls over")
    return grant


def dump_grant(grant: Grant) -> dict[str, Any]:
    """The document of the interface: amounts as text, instants RFC 3339, absent things null."""
    return {
        "id": grant.id,
        "credit": grant.credit,
        "amount": format_quantity(grant.amount_pico),
        "priority": grant.priority,
        "effective_at": format_instant(grant.effective_at),
        "expires_at": None if grant.expires_at is None else format_instant(grant.expires_at),
        "features": list(grant.features),
        "recurrence": grant.recurrence,
        "rollover": _dump_rollover(grant.rollover),
        "timezone": grant.timezone,
        "kind": grant.kind,
        "cost_basis": grant.cost_basis,
        "cause": grant.cause,
        "metadata": grant.metadata,
    }


def load_grant(document: Mapping[str, Any]) -> Grant:
    """Inverse of `dump_grant`, for what is already known to be valid."""
    members = dict(document)
    rollover = members.pop("rollover")
    if rollover is not None:
        most = rollover["max"]
        rollover = Rollover(None if most is None else parse_quantity(most))
    expires_at = members.pop("expires_at")
    return Grant(
        amount_pico=parse_quantity(members.pop("amount")),
        effective_at=parse_instant(members.pop("effective_at")),
        expires_at=None if expires_at is None else parse_instant(expires_at),
        features=tuple(members.pop("features")),
        rollover=rollover,
        **members,
    )


def _dump_rollover(rollover: Rollover | None) -> dict[str, Any] | None:
    if rollover is None:
        return None
    return {"max": None if rollover.max_pico is None else format_quantity(rollover.max_pico)}


# --- Members --------------------------------------------------------------------------------------


def _object(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        _refuse(name, "expected a JSON object")
    return value


def _only(members: Mapping[str, Any], known: tuple[str, ...], inside: str = "") -> None:
    for name in members:
        if name not in known:
            _refuse(f"{inside}{name[:40]}", f"unknown member; known are {', '.join(known)}")


def _given(members: Mapping[str, Any], name: str, default: Any) -> Any:
    """A member; null is the same as absent."""
    value = members.get(name)
    return default if value is None else value


def _text(members: Mapping[str, Any], name: str, *, default: str | None = None) -> str:
    value = _given(members, name, default)
    if value is None:
        _refuse(name, "is required")
    return _checked_text(value, name)


def _checked_text(value: object, name: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_TEXT:
        _refuse(name, f"expected text of 1 to {MAX_TEXT} characters")
    return value


def _id(members: Mapping[str, Any], new_id: str | None) -> str:
    text = _text(members, "id", default=new_id)
    if OCCURRENCE_MARK in text or TRANSFER_MARK in text:
        _refuse("id", f"may have neither {OCCURRENCE_MARK} nor {TRANSFER_MARK} in it")
    return text


def _amount(value: object, name: str, *, least_pico: int) -> int:
    pico = exact_pico(value)
    if pico is None or not least_pico <= pico <= MAX_PICO:
        bound = "not negative" if least_pico == 0 else "above 0"
        raise Rejected(
            "invalid_amount",
            f"{name}: expected a decimal number {bound}, with at most 26 integer and 12 fractional "
            "digits",
            member=name,
        )
    return pico


def _instant(members: Mapping[str, Any], name: str) -> int | None:
    value = members.get(name)
    return None if value is None else parse_instant(_checked_text(value, name))


def _priority(members: Mapping[str, Any]) -> int:
    value = _given(members, "priority", 0)
    if type(value) is not int or abs(value) > MAX_PRIORITY:
        _refuse("priority", f"expected a whole number from -{MAX_PRIORITY} to {MAX_PRIORITY}")
    return value


def _features(members: Mapping[str, Any]) -> tuple[str, ...]:
    value = _given(members, "features", [])
    if not isinstance(value, list) or len(value) > MAX_FEATURES:
        _refuse("features", f"expected a list of at most {MAX_FEATURES} feature keys")
    return tuple(sorted({_checked_text(feature, "features") for feature in value}))


def _recurrence(members: Mapping[str, Any]) -> str | None:
    value = members.get("recurrence")
    if value is not None:
        parse_recurrence(_checked_text(value, "recurrence"))
    return value


def _rollover(members: Mapping[str, Any]) -> Rollover | None:
    value = members.get("rollover")
    if value is None:
        return None
    inner = _object(value, "rollover")
    _only(inner, ("max",), inside="rollover.")
    most = inner.get("max")
    return Rollover(None if most is None else _amount(most, "rollover.max", least_pico=0))


def _kind(members: Mapping[str, Any]) -> Funding:
    value = _given(members, "kind", "paid")
    if value not in ("paid", "promotional"):
        _refuse("kind", "expected paid or promotional")
    return cast(Funding, value)


def _cost_basis(members: Mapping[str, Any]) -> str | None:
    value = members.get("cost_basis")
    return None if value is None else format_quantity(_amount(value, "cost_basis", least_pico=0))


def _refuse(name: str, text: str) -> NoReturn:
    raise Rejected("invalid_request", f"{name}: {text}", member=name)
