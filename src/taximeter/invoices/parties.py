"""Who bills whom, as an invoice says it."""

from __future__ import annotations

import msgspec


class Party(msgspec.Struct, frozen=True):
    """
    The issuer of an invoice, or who it is billed to, as known when it was made.

    Attributes:
        address: Lines of the street address.
        country: ISO 3166-1 alpha-2; "" if unknown.
        tax_id: Like "DE123456789"; "" for none.
    """

    name: str
    address: tuple[str, ...] = ()
    city: str = ""
    postal_code: str = ""
    region: str = ""
    country: str = ""
    tax_id: str = ""
    email: str = ""
