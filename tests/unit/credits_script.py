"""
Wallets as text: commands in, ledger out, so that a test reads like the contract it tests.

    2026-03-01 grant g1 100 until 2026-04-01 priority 1 for chat,image every P1M rolls 30
    2026-03-10 burn 30 chat
    2026-03-10 hold h1 20 chat
    2026-03-11 settle h1 5            (or: settle h1 25 beyond)
    2026-03-12 reverse 2 chat         (what the second transaction cost)
    2026-04-01

A day alone lets time pass. `T10:30` may follow a day; all in UTC.
"""

from __future__ import annotations

from typing import Any

import msgspec

from taximeter.credits.grant import Grant, parse_grant
from taximeter.credits.wallet import Burned, Wallet
from taximeter.gate.reversal import reversals
from taximeter.instants import format_instant, parse_instant
from taximeter.ledger.audit import audit
from taximeter.ledger.transaction import Transaction
from taximeter.quantities import format_quantity, parse_quantity

_TERMS = {"from": "effective_at", "until": "expires_at", "every": "recurrence"}


class Script:
    """
    A wallet that is told what to do in text, and its ledger.

    Attributes:
        answers: What hold, more and burn said, in order: "held", "refused", "overage 3".
    """

    def __init__(self, text: str = "", credit: str = "usd") -> None:
        self.wallet = Wallet(credit, "acme")
        self.transactions: list[Transaction] = []
        self.answers: list[str] = []
        self.grants: list[Grant] = []
        self.run(text)

    def run(self, text: str) -> Script:
        for line in filter(None, map(str.strip, text.splitlines())):
            day, _, rest = line.partition(" ")
            at = instant(day)
            self.transactions += self.wallet.advance(at)
            if rest:
                command, *arguments = rest.split()
                getattr(self, f"_{command}")(at, *arguments)
        assert audit(self.transactions) == []
        return self

    @property
    def ledger(self) -> list[str]:
        """A line for each transaction: `2026-03-10 spend wallet/g1 -30, spent 30 = 70`."""
        return [
            f"{_text(one.at)} {one.kind} "
            + ", ".join(f"{p.account} {format_quantity(p.amount_pico)}" for p in one.postings)
            + f" = {format_quantity(one.balance_after_pico)}"
            for one in self.transactions
        ]

    def last(self, count: int) -> list[str]:
        return self.ledger[-count:]

    @property
    def standing(self) -> str:
        """`balance 70, reserved 20, available 50`"""
        wallet = self.wallet
        return (
            f"balance {format_quantity(wallet.balance_pico)}, "
            f"reserved {format_quantity(wallet.reserved_pico)}, "
            f"available {format_quantity(wallet.available_pico(None))}"
        )

    def _grant(self, at: int, grant_id: str, amount: str, *terms: str) -> None:
        given = grant(grant_id, amount, *terms, at=at, credit=self.wallet.credit)
        self.grants.append(given)
        self.transactions += self.wallet.grant(given, at)

    def _burn(self, at: int, amount: str, feature: str | None = None) -> None:
        booked, burned = self.wallet.burn(parse_quantity(amount), feature, at, {"by": "test"})
        self.transactions += booked
        self.answers.append(f"overage {format_quantity(burned.overage_pico)}")

    def _reverse(self, at: int, ordinal: str, feature: str) -> None:
        """Give back what the transaction with this ordinal cost."""
        cost = self.transactions[int(ordinal) - 1]
        cause = {"do": "usage", "feature": feature, "seq": 7}
        booked = msgspec.structs.replace(cost, cause=cause)
        (one,) = reversals([("acme", self.wallet.credit, booked)], [7])[7]
        burned = Burned(one.parts, one.overage_pico, one.overdraft_pico)
        grants = {grant.id: grant for grant in self.grants}
        self.transactions += self.wallet.reverse(burned, feature, at, {"by": "test"}, grants)

    def _hold(self, at: int, hold: str, amount: str, feature: str | None = None) -> None:
        held = self.wallet.hold(hold, parse_quantity(amount), feature, at)
        self.answers.append("held" if held else "refused")

    def _more(self, at: int, hold: str, amount: str) -> None:
        held = self.wallet.hold_more(hold, parse_quantity(amount), at)
        self.answers.append("held" if held else "refused")

    def _settle(self, at: int, hold: str, amount: str, beyond: str = "") -> None:
        self.transactions += self.wallet.settle(
            hold, parse_quantity(amount), at, {"by": "test"}, allow_overage=beyond == "beyond"
        )

    def _spend(self, at: int, hold: str, amount: str) -> None:
        self.transactions += self.wallet.spend_held(
            hold, parse_quantity(amount), at, {"by": "test"}
        )

    def _release(self, at: int, hold: str) -> None:
        self.transactions += self.wallet.release(hold, at, {"by": "test"})

    def _void(self, at: int, grant_id: str) -> None:
        self.transactions += self.wallet.void(grant_id, at, {"by": "test"})

    def _refund(self, at: int, grant_id: str, amount: str) -> None:
        self.transactions += self.wallet.refund(
            parse_quantity(amount), grant_id, at, {"by": "test"}
        )


def grant(grant_id: str, amount: str, *terms: str, at: int, credit: str) -> Grant:
    document: dict[str, Any] = {"id": grant_id, "credit": credit, "amount": amount}
    words = iter(terms)
    for word in words:
        match word:
            case "promotional":
                document["kind"] = word
            case "for":
                document["features"] = next(words).split(",")
            case "rolls":
                most = next(words)
                document["rollover"] = {} if most == "all" else {"max": most}
            case "priority":
                document["priority"] = int(next(words))
            case "from" | "until":
                document[_TERMS[word]] = format_instant(instant(next(words)))
            case "every" | "timezone":
                document[_TERMS.get(word, word)] = next(words)
    return parse_grant(document, at=at, cause="test")


def instant(day: str) -> int:
    date, _, clock = day.partition("T")
    clock = clock or "00:00"
    return parse_instant(f"{date}T{clock}{':00' if len(clock) == 5 else ''}Z")


def _text(at: int) -> str:
    return format_instant(at).removesuffix("Z").removesuffix(":00").removesuffix("T00:00")
