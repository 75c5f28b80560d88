"""Reading the members of a price: one value each, refused with the path of the mistake."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from taximeter.errors import Rejected
from taximeter.money import parse_amount
from taximeter.quantities import E12, MAX_PICO, exact_pico, format_quantity

MAX_GROUP_BY: Final = 8


def invalid(path: str, what: str) -> Rejected:
    """A `catalog_invalid` about one place."""
    return Rejected("catalog_invalid", f"{path}: {what}", path=path)


def read_object(document: Any, path: str, known: Collection[str]) -> Mapping[str, Any]:
    """A mapping without any member but the known ones."""
    if not isinstance(document, Mapping):
        raise invalid(path, f"must be an object of {', '.join(known)}")
    check_members(document, known, path)
    return document


def check_members(document: Mapping[str, Any], known: Collection[str], path: str) -> None:
    unknown = [str(name) for name in document if name not in known]
    if unknown:
        exists = ", ".join(sorted(known))
        raise invalid(f"{path}.{min(unknown)}", f"is unknown; there are {exists}")


def check_texts(document: Mapping[Any, Any], path: str) -> None:
    """Names of dimensions, and their values where they are names of members, are texts."""
    for name in document:
        if not isinstance(name, str):
            raise invalid(f"{path}.{name}", "is no text; quote it")


def read_list(value: Any, path: str, at_most: int, what: str) -> list[Any]:
    """A list that is neither empty nor too long."""
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= at_most:
        raise invalid(path, f"must be a list of 1 to {at_most} {what}")
    return list(value)


def read_amount(document: Mapping[str, Any], name: str, path: str) -> Fraction:
    amount = read_optional_amount(document, name, path)
    if amount is None:
        raise invalid(f"{path}.{name}", "is missing")
    return amount


def read_optional_amount(document: Mapping[str, Any], name: str, path: str) -> Fraction | None:
    """Exact and not negative; None if absent."""
    value: int | Decimal | str | None = document.get(name)
    if value is None:
        return None
    try:
        amount = parse_amount(value)
    except Rejected as error:
        raise Rejected(error.code, f"{path}.{name}: {error.message}", path=path) from None
    if amount < 0:
        raise invalid(f"{path}.{name}", "must not be negative")
    return amount


def read_quantity(value: Any, path: str) -> int:
    """In pico, from 0."""
    pico = exact_pico(value)
    if pico is None or pico < 0:
        raise invalid(
            path, f"must be a quantity from 0 to {format_quantity(MAX_PICO // E12 * E12)}"
        )
    return pico


def read_divisor(document: Mapping[str, Any], name: str, path: str) -> int:
    """In pico, above 0; required."""
    if document.get(name) is None:
        raise invalid(f"{path}.{name}", "is missing")
    pico = read_quantity(document[name], f"{path}.{name}")
    if pico == 0:
        raise invalid(f"{path}.{name}", "must be above 0")
    return pico


def read_text(document: Mapping[str, Any], name: str, path: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise invalid(f"{path}.{name}", "is missing" if value is None else "must be a text")
    return value


def read_optional_text(document: Mapping[str, Any], name: str, path: str) -> str | None:
    return None if document.get(name) is None else read_text(document, name, path)


def read_whole(document: Mapping[str, Any], name: str, path: str) -> int:
    """A whole number from 0; 0 if absent."""
    value = document.get(name)
    pico = 0 if value is None else read_quantity(value, f"{path}.{name}")
    if pico % E12:
        raise invalid(f"{path}.{name}", "must be a whole number")
    return pico // E12


def read_choice(
    document: Mapping[str, Any], name: str, known: Collection[str], default: str, path: str
) -> str:
    value = document.get(name, default)
    if not isinstance(value, str) or value not in known:
        raise invalid(f"{path}.{name}", f"{value!r} is not one of {', '.join(known)}")
    return value


def read_consent(document: Mapping[str, Any], name: str, path: str) -> bool:
    value = document.get(name, False)
    if not isinstance(value, bool):
        raise invalid(f"{path}.{name}", "must be true or false")
    return value


def read_names(value: Any, path: str) -> tuple[str, ...]:
    """Different dimensions, as a list or a single one."""
    if value is None:
        return ()
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or len(names) > MAX_GROUP_BY:
        raise invalid(path, f"must be a list of at most {MAX_GROUP_BY} dimensions")
    if not all(isinstance(name, str) and name for name in names) or len({*names}) < len(names):
        raise invalid(path, "must name different dimensions of the meter")
    return tuple(names)
