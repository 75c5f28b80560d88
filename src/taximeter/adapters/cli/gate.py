"""`check`, `estimate`, `entitlements`, `reserve`, `settle`, `release`: the gate at the terminal."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from taximeter.adapters.cli.common import Server, console, plain_time, print_json, segment
from taximeter.adapters.cli.failures import DIFFERENCE, OK
from taximeter.errors import Rejected

HERE = Server()
Scope = Annotated[tuple[str, ...], Parameter(consume_multiple=False)]
Data = Annotated[tuple[str, ...], Parameter(consume_multiple=False)]


def check(
    customer: str,
    feature: str,
    amount: str | None = None,
    *,
    scope: Scope = (),
    server: Server = HERE,
) -> int:
    """
    May this customer use this feature now? Exits 1 if not. Changes nothing.

    Parameters
    ----------
    customer
        Key of the customer.
    feature
        Key of the feature.
    amount
        How much of it; 1 if absent.
    scope
        NAME=VALUE of a narrower budget, such as user=u7; may be repeated.
    """
    return _asked(server, "/v1/check", _question(customer, feature, amount, scope))


def estimate(
    customer: str,
    feature: str,
    amount: str | None = None,
    *,
    scope: Scope = (),
    data: Data = (),
    server: Server = HERE,
) -> int:
    """
    What would it cost, and would it be allowed? Exits 1 if not. Changes nothing.

    Parameters
    ----------
    customer
        Key of the customer.
    feature
        Key of the feature.
    amount
        How much of it; 1 if absent.
    scope
        NAME=VALUE of a narrower budget, such as user=u7; may be repeated.
    data
        NAME=VALUE of the usage, for costs that go by it, such as model=opus; may be repeated.
    """
    question = _question(customer, feature, amount, scope)
    question["data"] = _pairs("--data", data)
    return _asked(server, "/v1/estimate", question)


def entitlements(customer: str, *, server: Server = HERE) -> int:
    """
    Everything a customer may use, with how much of each limit is used.

    Parameters
    ----------
    customer
        Its key.
    """
    answer = server.client().get(f"/v1/customers/{segment(customer)}/entitlements")
    if server.json:
        print_json(answer)
        return OK
    from rich.table import Table

    table = Table("feature", "limit of", "used", "reserved", "limit", "resets", "")
    for one in answer["items"]:
        if one["reason"] in ("not_entitled", "no_subscription"):
            continue
        word = "" if one["allowed"] else one["reason"]
        for place, limit in enumerate(one.get("limits") or [one]):
            whom = " ".join(filter(None, (limit["level"], limit.get("scope"), limit.get("key"))))
            shown = one["value"] if "value" in one else limit["limit"]
            if one["type"] == "boolean":
                shown = "yes" if one["allowed"] else "no"
            table.add_row(
                "" if place else one["feature"], whom, limit["used"] or "",
                limit["reserved"] or "", "no limit" if shown is None else str(shown),
                plain_time(limit["resets_at"]), "" if place else word,
            )  # fmt: skip
    console().print(table)
    return OK


def reserve(
    customer: str,
    feature: str,
    amount: str,
    *,
    ttl: int = 120,
    id: str | None = None,
    partial: bool = False,
    scope: Scope = (),
    server: Server = HERE,
) -> int:
    """
    Hold an amount until it is settled or released. Exits 1 if refused.

    Parameters
    ----------
    customer
        Key of the customer.
    feature
        Key of the feature.
    amount
        How much of it.
    ttl
        Seconds after which it lapses by itself.
    id
        Your own id for it; reserving again with it gives the same answer.
    partial
        Take less if there is not enough.
    scope
        NAME=VALUE of who it is for, such as user=u7; may be repeated.
    """
    body = _question(customer, feature, amount, scope)
    body |= {"ttl_s": ttl, "allow_partial": partial} | ({} if id is None else {"id": id})
    answer = server.client().post("/v1/reservations", body)
    if server.json:
        print_json(answer)
        return OK
    cost = "" if answer["cost"] is None else f" for {answer['cost']} {answer['credit']}"
    console().print(
        f"{answer['id']}: {answer['granted']} {feature}{cost} held until "
        f"{plain_time(answer['expires_at'])}",
        markup=False,
    )
    return OK


def settle(
    reservation: str, amount: str, *, allow_overage: bool = False, server: Server = HERE
) -> int:
    """
    Book what was really used of a reservation; the rest is free again. Exits 1 if refused.

    Parameters
    ----------
    reservation
        Its id.
    amount
        What was used.
    allow_overage
        Book all of it, even if it is more than was held.
    """
    body = {"amount": amount, "allow_overage": allow_overage}
    return _resolve(server, reservation, "settle", body)


def release(reservation: str, *, server: Server = HERE) -> int:
    """
    Give back what a reservation holds. Exits 1 if refused.

    Parameters
    ----------
    reservation
        Its id.
    """
    return _resolve(server, reservation, "release", {})


def _resolve(server: Server, reservation: str, how: str, body: dict[str, Any]) -> int:
    answer = server.client().post(f"/v1/reservations/{segment(reservation)}/{how}", body)
    if server.json:
        print_json(answer)
        return OK
    text = f"{reservation}: {answer['status']}"
    if answer.get("settled") is not None:
        text += f" {answer['settled']}"
    if answer.get("cost") is not None:
        text += f" for {answer['cost']} {answer['credit']}"
    if answer.get("available_after") is not None:
        text += f"; {answer['available_after']} {answer['credit']} available"
    console().print(text, markup=False)
    return OK


def _question(
    customer: str, feature: str, amount: str | None, scope: tuple[str, ...]
) -> dict[str, Any]:
    question: dict[str, Any] = {"customer": customer, "feature": feature}
    if amount is not None:
        question["amount"] = amount
    if scope:
        question["scope"] = _pairs("--scope", scope)
    return question


def _pairs(option: str, texts: tuple[str, ...]) -> dict[str, str]:
    return dict(pair(option, text) for text in texts)


def pair(option: str, text: str) -> tuple[str, str]:
    """
    NAME=VALUE.

    Raises:
        Rejected: `invalid_parameter`.
    """
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise Rejected("invalid_parameter", f"{option} {text!r} is not NAME=VALUE.")
    return name, value


def _asked(server: Server, path: str, question: dict[str, Any]) -> int:
    answer = server.client().post(path, question)
    if server.json:
        print_json(answer)
    else:
        _show(answer)
    return OK if answer["allowed"] else DIFFERENCE


def _show(answer: dict[str, Any]) -> None:
    out = console()
    verdict = "[green]allowed[/]" if answer["allowed"] else "[red]refused[/]"
    out.print(f"{verdict}  {answer['reason']}")
    for name in ("limit", "used", "reserved", "remaining", "overage", "cost", "available"):
        if answer.get(name) is not None:
            out.print(f"  {name:<10}{answer[name]:>20}")
    if answer.get("resets_at"):
        out.print(f"  {'resets at':<10}{plain_time(answer['resets_at']):>20}")
    for name in ("detail", "help"):
        if answer.get(name):
            out.print(answer[name], markup=False)
