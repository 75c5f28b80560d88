"""
Tax rules as JSON documents, read strictly: a misspelled member is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Annotated, Any, Final, TypeVar

import msgspec

from taximeter.errors import Rejected
from taximeter.instants import format_instant, parse_instant
from taximeter.money import format_exact, parse_amount
from taximeter.parties import check_country, check_region
from taximeter.taxes.rules import Engine, Exemption, Registration, TaxRate, TaxRules, Valid
from taximeter.taxes.tax_ids import check_tax_id

MAX_RULES: Final = 2000
MAX_TEXT: Final = 100
MAX_CERTIFICATE: Final = 500
MAX_TIMEOUT_S: Final = 30

# A number or a string of one, read exactly; a typed union would send numbers through a float.
Exact = Annotated[Any, msgspec.Meta(extra_json_schema={"type": ["number", "string"]})]


class Dated(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True
):
    """`from` and `until` are instants; it holds from the one up to, not at, the other."""

    start: str | None = msgspec.field(name="from", default=None)
    end: str | None = msgspec.field(name="until", default=None)


class RegistrationDocument(Dated, frozen=True, kw_only=True):
    country: str
    region: str = ""
    tax_id: str = ""
    inclusive: bool = False


class RateDocument(Dated, frozen=True, kw_only=True):
    name: str
    country: str
    region: str = ""
    category: str = ""
    rate: Exact


class ExemptionDocument(Dated, frozen=True, kw_only=True):
    certificate: str = ""


class EngineDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    url: str
    timeout_s: int = 10


class TaxDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    registrations: tuple[RegistrationDocument, ...] = ()
    rates: tuple[RateDocument, ...] = ()
    engine: EngineDocument | None = None


def read_tax_rules(document: TaxDocument, where: str = "tax") -> TaxRules:
    """
    Whether the engine's URL may be asked is a question for the service.

    Raises:
        Rejected: `invalid_request`, naming the member; `invalid_timestamp`.
    """
    for name, members in (("registrations", document.registrations), ("rates", document.rates)):
        if len(members) > MAX_RULES:
            raise _wrong(f"{where}.{name}", f"at most {MAX_RULES}")
    rules = TaxRules(
        tuple(
            _read_registration(one, f"{where}.registrations[{place}]")
            for place, one in enumerate(document.registrations)
        ),
        tuple(
            _read_rate(one, f"{where}.rates[{place}]") for place, one in enumerate(document.rates)
        ),
        None if document.engine is None else _read_engine(document.engine, f"{where}.engine"),
    )
    _check_overlaps(rules.registrations, _place_of, f"{where}.registrations")
    _check_overlaps(rules.rates, _kind_of, f"{where}.rates")
    return rules


def dump_tax_rules(rules: TaxRules) -> dict[str, Any]:
    """Inverse of `read_tax_rules`, as plain JSON values; what says nothing is left out."""
    document = TaxDocument(
        tuple(
            RegistrationDocument(
                country=one.country,
                region=one.region,
                tax_id=one.tax_id,
                inclusive=one.inclusive,
                start=_instant(one.start),
                end=_instant(one.end),
            )
            for one in rules.registrations
        ),
        tuple(
            RateDocument(
                name=one.name,
                country=one.country,
                region=one.region,
                category=one.category,
                rate=format_exact(one.rate),
                start=_instant(one.start),
                end=_instant(one.end),
            )
            for one in rules.rates
        ),
        None if rules.engine is None else EngineDocument(rules.engine.url, rules.engine.timeout_s),
    )
    dumped: dict[str, Any] = msgspec.to_builtins(document)
    return dumped


def read_exemption(document: ExemptionDocument, where: str) -> Exemption:
    """
    Raises:
        Rejected: `invalid_request`, `invalid_timestamp`.
    """
    if len(document.certificate) > MAX_CERTIFICATE:
        raise _wrong(f"{where}.certificate", f"at most {MAX_CERTIFICATE} characters")
    start, end = _read_dates(document, where)
    return Exemption(certificate=document.certificate, start=start, end=end)


def dump_exemption(exemption: Exemption) -> dict[str, Any]:
    dumped: dict[str, Any] = msgspec.to_builtins(
        ExemptionDocument(
            certificate=exemption.certificate,
            start=_instant(exemption.start),
            end=_instant(exemption.end),
        )
    )
    return dumped


def _read_registration(document: RegistrationDocument, where: str) -> Registration:
    _check_place(document.country, document.region, where)
    if document.tax_id:
        check_tax_id(document.country, document.tax_id, f"{where}.tax_id")
    start, end = _read_dates(document, where)
    return Registration(
        country=document.country,
        region=document.region,
        tax_id=document.tax_id,
        inclusive=document.inclusive,
        start=start,
        end=end,
    )


def _read_rate(document: RateDocument, where: str) -> TaxRate:
    _check_place(document.country, document.region, where)
    for member, text in (("name", document.name), ("category", document.category)):
        if len(text) > MAX_TEXT or not text.isprintable() or text != text.strip():
            raise _wrong(f"{where}.{member}", f"a printable text of at most {MAX_TEXT} characters")
    if not document.name:
        raise _wrong(f"{where}.name", 'what the law calls it, such as "VAT"')
    try:
        rate = parse_amount(document.rate)
    except Rejected:
        rate = None
    if rate is None or not 0 <= rate <= 1:
        raise _wrong(f"{where}.rate", "from 0 to 1: 19 % is 0.19")
    start, end = _read_dates(document, where)
    return TaxRate(
        name=document.name,
        country=document.country,
        region=document.region,
        category=document.category,
        rate=rate,
        start=start,
        end=end,
    )


def _read_engine(document: EngineDocument, where: str) -> Engine:
    if not 1 <= document.timeout_s <= MAX_TIMEOUT_S:
        raise _wrong(f"{where}.timeout_s", f"1 to {MAX_TIMEOUT_S} seconds")
    return Engine(document.url, document.timeout_s)


def _check_place(country: str, region: str, where: str) -> None:
    if not country:
        raise _wrong(f"{where}.country", "an ISO 3166-1 country code such as DE")
    check_country(country, f"{where}.country")
    if region:
        check_region(region, country, f"{where}.region")


def _read_dates(document: Dated, where: str) -> tuple[int | None, int | None]:
    start = None if document.start is None else parse_instant(document.start)
    end = None if document.end is None else parse_instant(document.end)
    if start is not None and end is not None and end <= start:
        raise _wrong(f"{where}.until", "later than from")
    return start, end


V = TypeVar("V", bound=Valid)


def _check_overlaps(members: Sequence[V], key: Any, where: str) -> None:
    """Of two that fit equally well at one instant, neither would be the one that applies."""
    alike: dict[Any, list[V]] = {}
    for one in members:
        alike.setdefault(key(one), []).append(one)
    for what, group in alike.items():
        if _any_overlap(group):
            raise _wrong(where, f"at most one at a time for {' '.join(filter(None, what))}")


def _any_overlap(group: Iterable[Valid]) -> bool:
    return any(one.overlaps(other) for one, other in combinations(group, 2))


def _place_of(one: Registration) -> tuple[str, ...]:
    return (one.country, one.region)


def _kind_of(one: TaxRate) -> tuple[str, ...]:
    return (one.name, one.country, one.region, one.category)


def _instant(at: int | None) -> str | None:
    return None if at is None else format_instant(at)


def _wrong(where: str, rule: str) -> Rejected:
    return Rejected("invalid_request", f"{where}: {rule}.")
