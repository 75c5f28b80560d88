"""
Tax ids: what one of a country looks like.

Only the form is checked, here and at once; whether an id was ever given to anybody is known by the
country's register alone.
"""

from __future__ import annotations

import re
from typing import Final

from taximeter.errors import Rejected

# What follows the prefix, as the member states publish it for VIES.
_EU_FORMS: Final = {
    "AT": r"U\d{8}",
    "BE": r"[01]\d{9}",
    "BG": r"\d{9,10}",
    "CY": r"\d{8}[A-Z]",
    "CZ": r"\d{8,10}",
    "DE": r"[1-9]\d{8}",
    "DK": r"\d{8}",
    "EE": r"\d{9}",
    "ES": r"(?:[A-Z]\d{7}[A-Z0-9]|\d{8}[A-Z])",
    "FI": r"\d{8}",
    "FR": r"[A-HJ-NP-Z0-9]{2}\d{9}",
    "GR": r"\d{9}",
    "HR": r"\d{11}",
    "HU": r"\d{8}",
    "IE": r"(?:\d{7}[A-W][A-I]?|\d[A-Z+*]\d{5}[A-W])",
    "IT": r"\d{11}",
    "LT": r"(?:\d{9}|\d{12})",
    "LU": r"\d{8}",
    "LV": r"\d{11}",
    "MT": r"\d{8}",
    "NL": r"[A-Z0-9+*]{10}\d{2}",
    "PL": r"\d{10}",
    "PT": r"\d{9}",
    "RO": r"\d{2,10}",
    "SE": r"\d{12}",
    "SI": r"\d{8}",
    "SK": r"\d{10}",
}
_OTHER_FORMS: Final = {
    "AU": r"\d{11}",
    "CH": r"CHE\d{9}(?:MWST|TVA|IVA)?",
    "GB": r"GB(?:\d{9}|\d{12}|(?:GD|HA)\d{3})",
    "IN": r"\d{2}[A-Z]{5}\d{4}[A-Z][A-Z0-9]Z[A-Z0-9]",
    "NO": r"(?:NO)?\d{9}(?:MVA)?",
}
_ANY: Final = r"[A-Z0-9][A-Z0-9./&+* -]{0,38}"

EU: Final = frozenset(_EU_FORMS)
"""Countries whose businesses owe VAT to each other by reverse charge."""


def normal(tax_id: str) -> str:
    """As it is stored and compared: without the spaces, dots and dashes people write."""
    return re.sub(r"[\s.\-]", "", tax_id).upper()


def prefix_of(country: str) -> str:
    """What VAT ids of an EU country begin with: its code, but EL for Greece."""
    return "EL" if country == "GR" else country


def is_tax_id(country: str, tax_id: str) -> bool:
    """Whether an id has the form that those of a country have; others have a generous one."""
    if country in EU:
        form = prefix_of(country) + _EU_FORMS[country]
    else:
        form = _OTHER_FORMS.get(country, "")
    text = normal(tax_id) if form else tax_id.upper()
    return re.fullmatch(form or _ANY, text, re.ASCII) is not None


def is_vat_id(country: str, tax_id: str) -> bool:
    """Whether it is a VAT id of that EU country, prefix and all."""
    return country in EU and is_tax_id(country, tax_id)


def check_tax_id(country: str, tax_id: str, where: str) -> None:
    """
    Raises:
        Rejected: `invalid_request` for an id that cannot be one of the country.
    """
    if not is_tax_id(country, tax_id):
        of = f"of {country}" if country else "anywhere"
        hint = ""
        if country in EU:
            hint = f"; it begins with {prefix_of(country)}, see the form in your country's register"
        raise Rejected("invalid_request", f"{where}: {tax_id[:40]!r} is no tax id {of}{hint}.")
