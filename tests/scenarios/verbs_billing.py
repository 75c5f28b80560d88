"""
What becomes of drafts: issued, paid, credited, corrected; and what the books say of it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import yaml
from tests.scenarios.grammar import KEY, Lines, says

if TYPE_CHECKING:
    from tests.scenarios.stage import Stage

MONEY = r"(?P<amount>-?[\d.]+)"


# --- settings ---


@says(r"billing: (?P<document>.*)")
def settings(stage: Stage, document: str) -> Lines:
    """The whole billing settings, as YAML in one line."""
    _, problem = stage.ask("PUT", "/v1/billing/settings", yaml.safe_load(document))
    return problem or []


@says(rf"discount (?P<id>[\w-]+) for {KEY}: (?P<document>.*)")
def discount(stage: Stage, id: str, key: str, document: str) -> Lines:
    body = {"id": id} | yaml.safe_load(document)
    _, problem = stage.ask("POST", f"/v1/customers/{key}/discounts", body)
    return problem or []


# --- invoices ---


@says(r"issue drafts")
def issue_drafts(stage: Stage) -> Lines:
    """All of them, the oldest first."""
    answer, problem = stage.ask("GET", "/v1/invoices", status="draft", limit="1000")
    if problem is not None:
        return problem
    lines: Lines = []
    for draft in reversed(answer["items"]):
        issued, refused = stage.ask("POST", f"/v1/invoices/{draft['id']}/finalize")
        lines += refused or _issued(stage, issued)
    return lines


def _issued(stage: Stage, invoice: Any) -> Lines:
    stage.invoices[invoice["number"]] = invoice["id"]
    head = f"{invoice['number']} to {invoice['customer']}"
    sums = [f"{invoice['total']} {invoice['currency']}", *_sums(invoice)]
    due = stage.words.when(invoice.get("due_at"))
    ends = "paid" if invoice["status"] == "paid" else f"due {due}"
    return [f"{head}: {', '.join(sums)}, {invoice['amount_due']} {ends}"]


def _sums(invoice: Any) -> list[str]:
    """What stands between the lines and the total, where there is any."""
    taxes = [_tax(tax) for tax in invoice.get("taxes", ())]
    discounts = [f"less {one['amount']} ({one['name']})" for one in invoice.get("discounts", ())]
    credits = [f"{one['amount']} from {one['grant']}" for one in invoice.get("credits", ())]
    return [*discounts, *taxes, *credits]


def _tax(tax: Any) -> str:
    percent = (Decimal(tax["rate"]) * 100).normalize()
    note = f" ({tax['note']})" if tax.get("note") else ""
    return f"{tax['name']} {percent:f} % on {tax['taxable']}: {tax['amount']}{note}"


@says(r"void (?P<number>[\w-]+): (?P<reason>.*)")
def void(stage: Stage, number: str, reason: str) -> Lines:
    answer, problem = stage.ask(
        "POST", f"/v1/invoices/{stage.invoices[number]}/void", {"reason": reason}
    )
    return problem or [answer["status"]]


@says(rf"credit {MONEY} on line (?P<line>\d+) of (?P<number>[\w-]+): (?P<reason>.*)")
def credit_note(stage: Stage, amount: str, line: str, number: str, reason: str) -> Lines:
    body = {"reason": reason, "lines": [{"line": f"line_{line}", "amount": amount}]}
    path = f"/v1/invoices/{stage.invoices[number]}/credit-notes"
    note, problem = stage.ask("POST", path, body)
    if problem is not None:
        return problem
    return [f"{note['number']}: {note['subtotal']} and {note['tax']} tax, {note['total']}"]


@says(r"show (?P<number>[A-Z]+-\d+)")
def show(stage: Stage, number: str) -> Lines:
    answer, problem = stage.ask("GET", f"/v1/invoices/{stage.invoices[number]}")
    if problem is not None:
        return problem
    paid, left = answer.get("amount_paid"), answer.get("amount_remaining")
    return [", ".join([answer["status"], *([f"{paid} paid, {left} left"] if paid else [])])]


@says(r"verify invoices")
def verify(stage: Stage) -> Lines:
    """Every one that was issued, counted and rated again from its events."""
    wrong = []
    for number, invoice in sorted(stage.invoices.items()):
        answer, problem = stage.ask("GET", f"/v1/invoices/{invoice}/verify")
        wrong += problem or ([] if answer["ok"] else [f"{number} differs"])
    return wrong or [f"{len(stage.invoices)} invoices are what their events say"]


# --- events ---


@says(r"retract e(?P<event>\d+): (?P<reason>.*)")
def retract(stage: Stage, event: str, reason: str) -> Lines:
    answer, problem = stage.ask("POST", "/v1/events/retract", {"id": f"e{event}", "reason": reason})
    return problem or [answer["status"]]


@says(r"amend e(?P<event>\d+) to (?P<amount>[\d.]+): (?P<reason>.*)")
def amend(stage: Stage, event: str, amount: str, reason: str) -> Lines:
    body = {"id": f"e{event}", "data": {"n": amount}, "reason": reason}
    answer, problem = stage.ask("POST", "/v1/events/amend", body)
    return problem or [answer["status"]]


# --- money ---


@says(rf"{KEY} pays {MONEY} (?P<currency>[A-Z]{{3}})(?: for (?P<number>[\w-]+))?")
def pay(stage: Stage, key: str, amount: str, currency: str, number: str | None) -> Lines:
    stage.payments += 1
    body: dict[str, Any] = {
        "id": f"p{stage.payments}", "customer": key, "amount": amount, "currency": currency,
    }  # fmt: skip
    body |= {"invoices": [{"invoice": number}]} if number else {}
    answer, problem = stage.ask("POST", "/v1/payments", body)
    if problem is not None:
        return problem
    numbers = {invoice: number for number, invoice in stage.invoices.items()}
    lines = [
        f"{numbers.get(part['invoice'], part['invoice'])}: {part['amount']}"
        for part in answer["invoices"]
    ]
    left = answer["unallocated"]
    return [*lines, *([f"on account: {left}"] if Decimal(left) else [])]


@says(r"close the books of (?P<month>\d{4}-\d\d)")
def close_books(stage: Stage, month: str) -> Lines:
    answer, problem = stage.ask("POST", "/v1/accounting/close", {"month": month})
    return problem or [f"{answer['entries']} entries"]


@says(r"show trial balance")
def trial_balance(stage: Stage) -> Lines:
    answer, problem = stage.ask("GET", "/v1/accounting/trial-balance")
    if problem is not None:
        return problem
    rows = [*answer["items"], *({"account": "sum"} | total for total in answer["totals"])]
    width = max(len(row["account"]) for row in rows)
    return [_account(row, width) for row in sorted(rows, key=lambda row: row["currency"])]


def _account(row: dict[str, str], width: int) -> str:
    sides = f"{row['debit']:>10}  {row['credit']:>10}"
    return f"{row['currency']}  {row['account']:<{width}}  {sides}".rstrip()


@says(r"reconcile")
def reconcile(stage: Stage) -> Lines:
    answer, problem = stage.ask("POST", "/v1/reconciliation/run", {})
    if problem is not None:
        return problem
    gaps = [f"{gap['cause']}: {gap['detail']}" for gap in answer["items"]]
    return gaps or ["nothing differs"]
