"""
Answers in the words of a contract: what the API says in JSON, as lines a person reads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

Answer = Mapping[str, Any]
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")


class Words:
    """Instants are said in one time zone, as short as they can be."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone

    def when(self, text: str | None) -> str:
        if text is None:
            return "never"
        at = datetime.fromisoformat(text).astimezone(self._zone)
        if at.microsecond:
            return f"{at:%Y-%m-%d %H:%M:%S.%f}".rstrip("0")
        return f"{at:%Y-%m-%d %H:%M:%S}" if at.second else f"{at:%Y-%m-%d %H:%M}"

    def span(self, period: Answer) -> str:
        return f"{self.when(period['start'])} .. {self.when(period['end'])}"

    # --- decisions ---

    def decision(self, answer: Answer) -> list[str]:
        """Allowed, with the numbers; or refused, with the reason and what would help."""
        reason = _spoken(answer["reason"])
        if answer["allowed"]:
            return [", ".join(["allowed", reason, *self._numbers(answer)])]
        return [f"refused, {reason} at {_level(answer)}", *self._why(answer)]

    def _why(self, answer: Answer) -> list[str]:
        said = [answer.get("detail"), answer.get("help")]
        return [self._localised(text) for text in said if text]

    def _localised(self, text: str) -> str:
        return _INSTANT.sub(lambda found: self.when(found[0]), text)

    def _numbers(self, answer: Answer) -> list[str]:
        numbers = []
        if answer.get("value") is not None:
            numbers.append(f"value {answer['value']}")
        if answer.get("limit") is not None:
            numbers.append(f"{answer['used']} of {answer['limit']} used")
            numbers += [f"{answer['reserved']} reserved"] * (answer["reserved"] != "0")
            numbers += [f"{answer['overage']} over"] * (answer["overage"] != "0")
            numbers.append(f"{answer['remaining']} left")
            if answer.get("resets_at"):
                numbers.append(f"resets {self.when(answer['resets_at'])}")
        elif answer.get("used") not in (None, "0"):
            numbers.append(f"{answer['used']} used")
        return numbers + self._credit(answer)

    def _credit(self, answer: Answer) -> list[str]:
        credit = answer.get("credit")
        if isinstance(credit, Mapping):
            return [f"{credit['cost']} {credit['credit']} of {credit['available']}"]
        return []

    # --- credits ---

    def balance(self, answer: Answer) -> list[str]:
        parts = [f"balance {answer['balance']}", f"available {answer['available']}"]
        parts += [f"{what} {answer[what]}" for what in ("reserved", "overage", "overdraft")
                  if answer.get(what) not in (None, "0")]  # fmt: skip
        return [", ".join(parts), *(self._grant(grant) for grant in answer["grants"])]

    def _grant(self, grant: Answer) -> str:
        terms = [f"{grant['id']}: {grant['remaining']}"]
        if grant.get("reserved") not in (None, "0"):
            terms.append(f"{grant['reserved']} of it reserved")
        if grant.get("priority"):
            terms.append(f"priority {grant['priority']}")
        if grant.get("features"):
            terms.append(f"for {' and '.join(grant['features'])}")
        if grant.get("expires_at"):
            terms.append(f"until {self.when(grant['expires_at'])}")
        return ", ".join(terms)

    def ledger(self, items: list[Answer]) -> list[str]:
        """One line an entry: when, what, how much, the balance after it, and its postings."""
        rows = [
            (
                self.when(item["at"]),
                item["kind"],
                _signed(item["amount"]),
                item["balance_after"],
                ", ".join(f"{p['account']} {_signed(p['amount'])}" for p in item["postings"]),
            )
            for item in items
        ]
        widths = [max((len(row[n]) for row in rows), default=0) for n in range(4)]
        return [
            f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:>{widths[2]}}"
            f"  = {row[3]:>{widths[3]}}   {row[4]}"
            for row in rows
        ]

    # --- problems ---

    def problem(self, status: int, answer: Answer) -> list[str]:
        return [f"refused, {_spoken(answer['code'])} ({status})", *self._why(answer)]


def _spoken(code: str) -> str:
    return code.replace("_", " ")


def _level(answer: Answer) -> str:
    scope = answer.get("scope")
    return f"{answer['level']} {scope}" if scope else str(answer["level"])


def _signed(text: str) -> str:
    return text if text.startswith("-") or not Decimal(text) else f"+{text}"
