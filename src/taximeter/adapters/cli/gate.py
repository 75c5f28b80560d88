"""`check`: ask the gate from the terminal."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from taximeter.adapters.cli.common import Server, console, plain_time, print_json
from taximeter.adapters.cli.failures import DIFFERENCE, OK
from taximeter.errors import Rejected

HERE = Server()


def check(
    customer: str,
    feature: str,
    amount: str | None = None,
    *,
    scope: Annotated[tuple[str, ...], Parameter(consume_multiple=False)] = (),
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
    question: dict[str, Any] = {"customer": customer, "feature": feature}
    if amount is not None:
        question["amount"] = amount
    if scope:
        question["scope"] = dict(_pair(text) for text in scope)
    answer = server.client().post("/v1/check", question)
    if server.json:
        print_json(answer)
    else:
        _show(answer)
    return OK if answer["allowed"] else DIFFERENCE


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise Rejected("invalid_parameter", f"--scope {text!r} is not NAME=VALUE.")
    return name, value


def _show(answer: dict[str, Any]) -> None:
    out = console()
    verdict = "[green]allowed[/]" if answer["allowed"] else "[red]refused[/]"
    out.print(f"{verdict}  {answer['reason']}")
    for name in ("limit", "used", "reserved", "remaining", "overage"):
        if answer.get(name) is not None:
            out.print(f"  {name:<10}{answer[name]:>20}")
    if answer.get("resets_at"):
        out.print(f"  {'resets at':<10}{plain_time(answer['resets_at']):>20}")
