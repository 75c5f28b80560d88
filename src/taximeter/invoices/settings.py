"""
Billing settings: who issues invoices, how, and when. One versioned document for a namespace.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec

from taximeter.catalog.durations import DURATION_RULE, format_duration, parse_duration
from taximeter.errors import Rejected
from taximeter.money import exponent, format_minor, parse_amount
from taximeter.parties import Party, check_party
from taximeter.taxes.documents import Exact, TaxDocument, dump_tax_rules, read_tax_rules
from taximeter.taxes.rules import TaxRules
from taximeter.taxes.tax_ids import check_tax_id

MAX_DUE_DAYS: Final = 365
MAX_DUNNING: Final = 10
MAX_CREDITS: Final = 50
MAX_THRESHOLDS: Final = 20
_PREFIX: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9/_.-]{0,15}")
_CREDIT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class Review(StrEnum):
    """Which drafts a person has to approve before they are issued."""

    NONE = "none"
    ANOMALIES = "anomalies"
    ALL = "all"


class Consolidate(StrEnum):
    """What shares an invoice: the lines of a subscription, or all subscriptions of a customer."""

    SUBSCRIPTION = "subscription"
    CUSTOMER = "customer"


class AdvanceFees(StrEnum):
    """When a flat fee in advance is billed: with its own period, or with the one before."""

    WITH_PERIOD = "with_period"
    AHEAD = "ahead"


class LateUsage(StrEnum):
    """
    What becomes of usage that arrives when its period is billed: the draft is made again while it
    is one; it is adjusted for on the next invoice (K15); it is recorded and never billed; or it
    waits for a person.
    """

    REPRICE = "reprice"
    ADJUST = "adjust"
    WRITE_OFF = "write_off"
    HOLD = "hold"


class BillingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    Attributes:
        issuer: Who issues; None: invoices do not say.
        due_days: From the issue of an invoice until it is due.
        number_prefix: Of the series invoices are numbered in.
        grace_us: How long a draft is kept from being issued after it was made.
        auto_close: Periods are closed by themselves when they end.
        thresholds_minor: Currency -> amounts of usage at which a period is billed on account before
            its end, ascending; the last step repeats.
        auto_issue: Drafts are issued by themselves when their grace is over and nothing holds them.
        late_usage: What becomes of late usage of meters that `late_usage_by_meter` does not name.
        write_off_minor: Currency -> what may remain of an invoice that counts as paid.
        dunning_days: Days after the due date on which the customer is reminded; ascending.
        four_eyes_minor: Currency -> from which amount on a second person approves a correction.
        four_eyes_events: Beyond so many events a second person does, too; None: never.
        apply_credits: Credit -> the currency it pays invoices in, a unit for a unit.
    """

    issuer: Party | None = None
    due_days: int = 14
    number_prefix: str = "INV-"
    grace_us: int = 0
    auto_close: bool = False
    auto_issue: bool = False
    thresholds_minor: dict[str, tuple[int, ...]] = {}
    review: Review = Review.NONE
    consolidate: Consolidate = Consolidate.SUBSCRIPTION
    advance_fees: AdvanceFees = AdvanceFees.WITH_PERIOD
    late_usage: LateUsage = LateUsage.ADJUST
    late_usage_by_meter: dict[str, LateUsage] = {}
    write_off_minor: dict[str, int] = {}
    dunning_days: tuple[int, ...] = ()
    four_eyes_minor: dict[str, int] = {}
    four_eyes_events: int | None = None
    apply_credits: dict[str, str] = {}
    tax: TaxRules = TaxRules()

    def late_usage_of(self, meter: str) -> LateUsage:
        return self.late_usage_by_meter.get(meter, self.late_usage)


class PartyDocument(Party, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A party as it is put."""


class SettingsDocument(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True
):
    """Billing settings as they are put. An absent member has its default again."""

    issuer: PartyDocument | None = None
    due_days: int = 14
    number_prefix: str = "INV-"
    grace: str = "0s"
    auto_close: bool = False
    auto_issue: bool = False
    thresholds: dict[str, tuple[Exact, ...]] = {}
    review: Review = Review.NONE
    consolidate: Consolidate = Consolidate.SUBSCRIPTION
    advance_fees: AdvanceFees = AdvanceFees.WITH_PERIOD
    late_usage: LateUsage = LateUsage.ADJUST
    late_usage_by_meter: dict[str, LateUsage] = {}
    write_off: dict[str, Exact] = {}
    dunning_days: tuple[int, ...] = ()
    four_eyes: dict[str, Exact] = {}
    four_eyes_events: Annotated[int, msgspec.Meta(ge=0)] | None = None
    apply_credits: dict[str, str] = {}
    tax: TaxDocument = TaxDocument()


def read_settings(document: SettingsDocument) -> BillingSettings:
    """
    Raises:
        Rejected: `invalid_request`, naming the member; `unknown_currency`, `invalid_timestamp`.
    """
    if not 0 <= document.due_days <= MAX_DUE_DAYS:
        raise _wrong("due_days", f"0 to {MAX_DUE_DAYS}")
    if not _PREFIX.fullmatch(document.number_prefix):
        raise _wrong("number_prefix", "1 to 16 letters, digits and - _ . / such as INV-")
    return BillingSettings(
        issuer=None if document.issuer is None else _read_issuer(document.issuer),
        due_days=document.due_days,
        number_prefix=document.number_prefix,
        grace_us=_read_grace(document.grace),
        auto_close=document.auto_close,
        auto_issue=document.auto_issue,
        thresholds_minor=_read_thresholds(document.thresholds),
        review=document.review,
        consolidate=document.consolidate,
        advance_fees=document.advance_fees,
        late_usage=document.late_usage,
        late_usage_by_meter=dict(sorted(document.late_usage_by_meter.items())),
        write_off_minor=_read_amounts(document.write_off, "write_off"),
        dunning_days=_read_dunning(document.dunning_days),
        four_eyes_minor=_read_amounts(document.four_eyes, "four_eyes"),
        four_eyes_events=document.four_eyes_events,
        apply_credits=_read_credits(document.apply_credits),
        tax=read_tax_rules(document.tax),
    )


def dump_settings(settings: BillingSettings) -> dict[str, Any]:
    """Inverse of `read_settings`, as plain JSON values; every member is there."""
    return {
        "issuer": None
        if settings.issuer is None
        else {name: value for name, value in msgspec.to_builtins(settings.issuer).items() if value},
        "due_days": settings.due_days,
        "number_prefix": settings.number_prefix,
        "grace": format_duration(settings.grace_us) if settings.grace_us else "0s",
        "auto_close": settings.auto_close,
        "auto_issue": settings.auto_issue,
        "thresholds": {
            currency: [format_minor(minor, currency) for minor in amounts]
            for currency, amounts in sorted(settings.thresholds_minor.items())
        },
        "review": settings.review.value,
        "consolidate": settings.consolidate.value,
        "advance_fees": settings.advance_fees.value,
        "late_usage": settings.late_usage.value,
        "late_usage_by_meter": {
            meter: policy.value for meter, policy in sorted(settings.late_usage_by_meter.items())
        },
        "write_off": _dump_amounts(settings.write_off_minor),
        "dunning_days": list(settings.dunning_days),
        "four_eyes": _dump_amounts(settings.four_eyes_minor),
        "four_eyes_events": settings.four_eyes_events,
        "apply_credits": dict(sorted(settings.apply_credits.items())),
        "tax": dump_tax_rules(settings.tax),
    }


def parse_settings(document: bytes) -> BillingSettings:
    """Settings as they are stored: canonical JSON of `dump_settings`."""
    return read_settings(msgspec.json.decode(document, type=SettingsDocument))


def settings_bytes(settings: BillingSettings) -> bytes:
    """Canonical JSON; the same settings give the same bytes."""
    return msgspec.json.encode(dump_settings(settings), order="sorted")


def _read_issuer(document: PartyDocument) -> Party:
    issuer = Party(**msgspec.structs.asdict(document))
    check_party(issuer, "issuer")
    if not issuer.name:
        raise _wrong("issuer.name", "who issues the invoices")
    if issuer.tax_id:
        check_tax_id(issuer.country, issuer.tax_id, "issuer.tax_id")
    return issuer


def _read_grace(text: str) -> int:
    if text in ("0", "0s"):
        return 0
    length_us = parse_duration(text)
    if length_us is None:
        raise _wrong("grace", f"0s, or {DURATION_RULE}")
    return length_us


def _read_dunning(days: tuple[int, ...]) -> tuple[int, ...]:
    if (
        len(days) > MAX_DUNNING
        or list(days) != sorted(set(days))
        or not all(1 <= day <= MAX_DUE_DAYS for day in days)
    ):
        rule = f"at most {MAX_DUNNING} different days from 1 to {MAX_DUE_DAYS}, ascending"
        raise _wrong("dunning_days", rule)
    return days


def _read_amounts(document: Mapping[str, Any], where: str) -> dict[str, int]:
    return {
        currency: _read_amount(amount, currency, f"{where}.{currency}")
        for currency, amount in sorted(document.items())
    }


def _read_thresholds(document: Mapping[str, tuple[Any, ...]]) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for currency, amounts in sorted(document.items()):
        where = f"thresholds.{currency}"
        steps = tuple(_read_amount(amount, currency, where) for amount in amounts)
        if not 1 <= len(steps) <= MAX_THRESHOLDS or list(steps) != sorted({0, *steps})[1:]:
            raise _wrong(where, f"1 to {MAX_THRESHOLDS} different amounts above 0, ascending")
        found[currency] = steps
    return found


def _read_amount(amount: Any, currency: str, where: str) -> int:
    digits = exponent(currency)
    try:
        minor = parse_amount(amount) * 10**digits
    except Rejected:
        minor = None
    if minor is None or minor < 0 or minor.denominator != 1:
        raise _wrong(where, f"not negative, with at most {digits} fractional digits")
    return int(minor)


def _dump_amounts(amounts: Mapping[str, int]) -> dict[str, str]:
    return {currency: format_minor(minor, currency) for currency, minor in sorted(amounts.items())}


def _read_credits(document: Mapping[str, str]) -> dict[str, str]:
    if len(document) > MAX_CREDITS:
        raise _wrong("apply_credits", f"at most {MAX_CREDITS}")
    for credit, currency in document.items():
        if not _CREDIT.fullmatch(credit):
            raise _wrong("apply_credits", f"{credit[:40]!r} is not the key of a credit")
        exponent(currency)
    return dict(document)


def _wrong(where: str, rule: str) -> Rejected:
    return Rejected("invalid_request", f"{where}: {rule}.")
