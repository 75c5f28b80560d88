"""
Credit given, taken back and moved, and reservations of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.scenarios.grammar import KEY, QUANTITY, SCOPE, WHEN, Lines, pairs, says, seconds

if TYPE_CHECKING:
    from tests.scenarios.stage import Stage


# --- credit ---


@says(rf"grant {KEY} (?P<amount>[\d.]+) (?P<credit>\w+) as (?P<id>[\w-]+)(?P<terms>(?:, .+)?)")
def grant(stage: Stage, key: str, amount: str, credit: str, id: str, terms: str) -> Lines:
    body = {"id": id, "credit": credit, "amount": amount} | _terms(stage, terms)
    answer, problem = stage.ask("POST", f"/v1/customers/{key}/grants", body)
    return problem or [f"balance {answer['balance_after']}"]


def _terms(stage: Stage, text: str) -> dict[str, Any]:
    terms: dict[str, Any] = {}
    for term in text.split(", ")[1:]:
        name, _, value = term.partition(" ")
        match name:
            case "priority":
                terms["priority"] = int(value)
            case "from" | "until":
                member = "effective_at" if name == "from" else "expires_at"
                terms[member] = stage.instant(value)
            case "for":
                terms["features"] = value.split(" and ")
            case "every":
                terms["recurrence"] = value
            case "rollover":
                terms["rollover"] = {"max": value}
            case "paid":
                terms["kind"] = "paid"
            case _:
                raise AssertionError(f"nobody knows the term {term!r}")
    return terms


@says(r"void (?P<id>[\w-]+)")
def void(stage: Stage, id: str) -> Lines:
    answer, problem = stage.ask("POST", f"/v1/grants/{id}/void", {"reason": "scenario"})
    return problem or [f"voided {answer['voided']}, balance {answer['balance_after']}"]


@says(r"refund (?P<amount>[\d.]+) of (?P<grant>[\w-]+) as (?P<id>[\w-]+)")
def refund(stage: Stage, amount: str, grant: str, id: str) -> Lines:
    body = {"id": id, "amount": amount, "reason": "scenario"}
    answer, problem = stage.ask("POST", f"/v1/grants/{grant}/refund", body)
    return problem or [f"balance {answer['balance_after']}"]


@says(rf"{KEY} transfers {QUANTITY} (?P<credit>\w+) to (?P<to>[\w-]+) as (?P<id>[\w-]+)")
def transfer(stage: Stage, key: str, amount: str, credit: str, to: str, id: str) -> Lines:
    body = {"id": id, "to": to, "credit": credit, "amount": amount}
    answer, problem = stage.ask("POST", f"/v1/customers/{key}/transfers", body)
    return problem or [f"balance {answer['balance_after']}, {to} {answer['to_balance_after']}"]


@says(rf"top up {KEY} by (?P<amount>[\d.]+) (?P<credit>\w+) below (?P<below>[\d.]+)"
      r", cooldown (?P<cooldown>\d+[smhd]), at most (?P<most>\d+) a day")  # fmt: skip
def auto_top_up(
    stage: Stage, key: str, amount: str, credit: str, below: str, cooldown: str, most: str
) -> Lines:
    body = {
        "below": below, "amount": amount, "cooldown_s": seconds(cooldown),
        "max_per_day": int(most),
    }  # fmt: skip
    _, problem = stage.ask("PUT", f"/v1/customers/{key}/auto-top-ups/{credit}", body)
    return problem or []


@says(rf"show balance of {KEY} in (?P<credit>\w+)(?: at (?P<at>{WHEN}))?")
def balance(stage: Stage, key: str, credit: str, at: str | None) -> Lines:
    query = {"credit": credit} | ({"at": stage.instant(at)} if at else {})
    answer, problem = stage.ask("GET", f"/v1/customers/{key}/balance", **query)
    return problem or stage.words.balance(answer)


@says(rf"show ledger of {KEY} in (?P<credit>\w+)")
def ledger(stage: Stage, key: str, credit: str) -> Lines:
    answer, problem = stage.ask("GET", f"/v1/customers/{key}/ledger", credit=credit, limit=1000)
    return problem or stage.words.ledger(answer["items"])


# --- reservations ---


@says(rf"{KEY} reserves {QUANTITY} (?P<feature>\w+) as (?P<id>[\w-]+)"
      rf"(?: for (?P<ttl>\d+[smhd]))?{SCOPE}(?P<partial>, or less)?")  # fmt: skip
def reserve(
    stage: Stage, key: str, amount: str, feature: str, id: str, ttl: str | None, scope: str | None,
    partial: str | None,
) -> Lines:  # fmt: skip
    body: dict[str, Any] = {
        "customer": key, "feature": feature, "amount": amount, "id": id,
        "scope": pairs(scope), "allow_partial": partial is not None,
    }  # fmt: skip
    body |= {"ttl_s": seconds(ttl)} if ttl else {}
    answer, problem = stage.ask("POST", "/v1/reservations", body)
    if problem is not None:
        return problem
    until = stage.words.when(answer["expires_at"])
    return [f"held {answer['granted']} until {until}{_after(answer)}"]


@says(r"settle (?P<id>[\w-]+) at (?P<amount>[\d.]+)(?P<overage>, overage allowed)?")
def settle(stage: Stage, id: str, amount: str, overage: str | None) -> Lines:
    body = {"amount": amount, "allow_overage": overage is not None}
    answer, problem = stage.ask("POST", f"/v1/reservations/{id}/settle", body)
    return problem or [f"settled {answer['settled']}{_after(answer)}"]


@says(r"release (?P<id>[\w-]+)")
def release(stage: Stage, id: str) -> Lines:
    answer, problem = stage.ask("POST", f"/v1/reservations/{id}/release", {})
    return problem or [f"released{_after(answer)}"]


@says(r"extend (?P<id>[\w-]+) by (?P<amount>[\d.]+) for (?P<ttl>\d+[smhd])")
def extend(stage: Stage, id: str, amount: str, ttl: str) -> Lines:
    body = {"amount": amount, "ttl_s": seconds(ttl)}
    answer, problem = stage.ask("POST", f"/v1/reservations/{id}/extend", body)
    if problem is not None:
        return problem
    until = stage.words.when(answer["expires_at"])
    return [f"held {answer['granted']} until {until}{_after(answer)}"]


def _after(answer: Any) -> str:
    if answer.get("balance_after") is None or answer.get("available_after") is None:
        return ""
    return f", balance {answer['balance_after']}, available {answer['available_after']}"
