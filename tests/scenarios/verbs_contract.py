"""
Who is a customer, what they subscribe to, and what they are billed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.scenarios.grammar import KEY, WHEN, Lines, says

if TYPE_CHECKING:
    from tests.scenarios.stage import Stage


# --- customers and subscriptions ---


@says(
    rf"customer {KEY}(?: in (?P<zone>[\w/]+))?"
    r"(?: under (?P<parent>[\w-]+)(?P<pool>, pooled)?)?"
    r"(?:, billed (?:in (?P<currency>[A-Z]{3}) )?to (?P<country>[A-Z]{2})(?: as (?P<tax>\w+))?)?"
)
def customer(
    stage: Stage, key: str, zone: str | None, parent: str | None, pool: str | None,
    currency: str | None, country: str | None, tax: str | None,
) -> Lines:  # fmt: skip
    body: dict[str, Any] = {"timezone": zone or stage.zone}
    body |= {"parent": parent} if parent else {}
    body |= {"pool": True} if pool else {}
    body |= {"currency": currency} if currency else {}
    if country:
        body["billing"] = {"name": key.title(), "country": country}
        body["billing"] |= {"tax_id": tax} if tax else {}
    _, problem = stage.ask("PUT", f"/v1/customers/{key}", body)
    return problem or []


@says(rf"{KEY} subscribes to (?P<plan>\w+)(?:, (?P<anchor>anniversary|calendar))?"
      r"(?: with (?P<addons>\d+ \w+(?: and \d+ \w+)*))?(?P<also>, too)?")  # fmt: skip
def subscribe(
    stage: Stage, key: str, plan: str, anchor: str | None, addons: str | None, also: str | None
) -> Lines:
    body: dict[str, Any] = {"customer": key, "plan": plan}
    body |= {"anchor": anchor} if anchor else {}
    body |= {"addons": _addons(addons)} if addons else {}
    body |= {"additional": True} if also else {}
    answer, problem = stage.ask("POST", "/v1/subscriptions", body)
    if problem is None:
        stage.subscriptions[key] = answer["id"]
    return problem or _subscription(stage, answer)


@says(rf"{KEY} changes to (?P<plan>\w+) (?P<at>now|at period end)")
def change(stage: Stage, key: str, plan: str, at: str) -> Lines:
    return _act(stage, key, "change", {"plan": plan, "at": _at(at)})


@says(rf"{KEY} takes (?P<addons>\d+ \w+(?: and \d+ \w+)*) (?P<at>now|at period end)")
def take(stage: Stage, key: str, addons: str, at: str) -> Lines:
    return _act(stage, key, "change", {"addons": _addons(addons), "at": _at(at)})


@says(rf"{KEY} cancels (?P<at>now|at period end)")
def cancel(stage: Stage, key: str, at: str) -> Lines:
    return _act(stage, key, "cancel", {"at": _at(at)})


@says(rf"{KEY} (?P<what>uncancels|resumes)")
def undo(stage: Stage, key: str, what: str) -> Lines:
    return _act(stage, key, what.removesuffix("s"), {})


@says(rf"{KEY} pauses(?: until (?P<until>{WHEN}))?")
def pause(stage: Stage, key: str, until: str | None) -> Lines:
    return _act(stage, key, "pause", {"until": stage.instant(until)} if until else {})


@says(rf"show subscription of {KEY}")
def show_subscription(stage: Stage, key: str) -> Lines:
    answer, problem = stage.ask("GET", f"/v1/subscriptions/{stage.subscriptions[key]}")
    return problem or _subscription(stage, answer)


def _act(stage: Stage, key: str, what: str, body: dict[str, Any]) -> Lines:
    path = f"/v1/subscriptions/{stage.subscriptions[key]}/{what}"
    answer, problem = stage.ask("POST", path, body)
    return problem or _subscription(stage, answer)


def _subscription(stage: Stage, answer: Any) -> Lines:
    parts = [answer["status"], answer["plan"]]
    if answer.get("period"):
        parts.append(f"period {stage.words.span(answer['period'])}")
    for planned in answer["scheduled"]:
        parts.append(f"{planned['plan']} from {stage.words.when(planned['at'])}")
    if answer.get("end"):
        parts.append(f"until {stage.words.when(answer['end'])}")
    return [", ".join(parts)]


# --- invoices ---


@says(rf"show preview of {KEY}")
def preview(stage: Stage, key: str) -> Lines:
    answer, problem = stage.ask("GET", f"/v1/customers/{key}/invoices/preview")
    return problem or _invoice(stage, answer)


@says(r"close")
def close(stage: Stage) -> Lines:
    answer, problem = stage.ask("POST", "/v1/close", {})
    if problem is not None:
        return problem
    lines: Lines = []
    for invoice in answer["invoices"]:
        document, _ = stage.ask("GET", f"/v1/invoices/{invoice}")
        lines += _invoice(stage, document)
    return lines


def _invoice(stage: Stage, invoice: Any) -> Lines:
    head = f"{invoice['customer']}, {stage.words.span(invoice['period'])}"
    lines = [f"{head}: {invoice['total']} {invoice['currency']}"]
    for line in invoice["lines"]:
        quantity = "" if line.get("quantity") is None else f" ({line['quantity']})"
        span = stage.words.span(line["period"])
        lines.append(f"  {line['description']}{quantity}, {span}: {line['amount']}")
    return lines


def _addons(text: str) -> dict[str, int]:
    split = (part.split(" ") for part in text.split(" and "))
    return {name: int(quantity) for quantity, name in split}


def _at(text: str) -> str:
    return text.removeprefix("at ").replace(" ", "_")
