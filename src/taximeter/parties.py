"""
Parties: who issues an invoice, and who it is billed to.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from taximeter.errors import Rejected

MAX_ADDRESS_LINES: Final = 6
_TEXT: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]{0,200}")
_EMAIL: Final = re.compile(r"[^\s@<>]{1,64}@[^\s@<>]{1,189}")

_COUNTRIES: Final = """
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS
    BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE
    EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM
    HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC
    LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA
    NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW
    SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO
    TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
    """
COUNTRIES: Final = frozenset(_COUNTRIES.split())
"""ISO 3166-1 alpha-2, as assigned."""


class Party(msgspec.Struct, frozen=True):
    """
    The issuer of an invoice, or who it is billed to, as known when it was made.

    Attributes:
        address: Lines of the street address.
        region: Of ISO 3166-2 without its country, such as "CA"; what taxes go by.
        country: ISO 3166-1 alpha-2; "" if unknown.
        tax_id: Like "DE123456789"; "" for none.
    """

    name: str = ""
    address: tuple[str, ...] = ()
    city: str = ""
    postal_code: str = ""
    region: str = ""
    country: str = ""
    tax_id: str = ""
    email: str = ""


def check_party(party: Party, where: str) -> None:
    """
    Args:
        where: What it is called in the request, such as "issuer".

    Raises:
        Rejected: `invalid_request`, naming the member.
    """
    if len(party.address) > MAX_ADDRESS_LINES:
        raise _wrong(where, "address", f"has at most {MAX_ADDRESS_LINES} lines")
    for member in ("name", "city", "postal_code", "region", "tax_id"):
        if not _TEXT.fullmatch(getattr(party, member)):
            raise _wrong(where, member, "is one line of at most 200 characters")
    if not all(_TEXT.fullmatch(line) for line in party.address):
        raise _wrong(where, "address", "has lines of at most 200 characters")
    if party.email and not _EMAIL.fullmatch(party.email):
        raise _wrong(where, "email", "is an address such as billing@example.com")
    check_country(party.country, f"{where}.country")
    if party.region:
        check_region(party.region, party.country, f"{where}.region")


def check_country(country: str, where: str) -> None:
    """
    Raises:
        Rejected: `invalid_request` for what is neither "" nor a country.
    """
    if country and country not in COUNTRIES:
        hint = "; Greece is GR, EL only in tax ids" if country == "EL" else ""
        hint = "; the United Kingdom is GB" if country == "UK" else hint
        raise Rejected(
            "invalid_request",
            f"{where}: {country[:20]!r} is not an ISO 3166-1 country code such as DE{hint}.",
        )


def check_region(region: str, country: str, where: str) -> None:
    """
    Raises:
        Rejected: `invalid_request` for what cannot be the code of a region.
    """
    if not country:
        raise Rejected("invalid_request", f"{where}: say which country the region is in.")
    if not re.fullmatch(r"[A-Z0-9]{1,3}", region):
        raise Rejected(
            "invalid_request",
            f"{where}: {region[:20]!r} is not the code of a region as ISO 3166-2 has it behind "
            f'"{country}-", one to three capitals or digits such as CA.',
        )


def _wrong(where: str, member: str, rule: str) -> Rejected:
    return Rejected("invalid_request", f"{where}.{member} {rule}.")
