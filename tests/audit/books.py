"""
The books against the answers: every wallet's ledger, read in the end, entry by entry.

Alone, a ledger must be sound: no entry missing, each balanced, each balance following from the one
before. Then it must tell the same story as the answers did: at each operation's `seq` just what
the judge worked out, at each instant just what time did, and in each account the judge's total.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.audit.amounts import pico, plain
from tests.audit.judge import Verdict
from tests.audit.wallet import Wallet

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Books:
    """
    What a server shows when everything is over.

    Attributes:
        ledgers: By wallet, all entries in order; `balances` likewise, as answered.
        past: By wallet, (instant, balance) as answered for one instant in the middle.
        trial: (credit, account, sum over all wallets).
        at: Before any of these was read, microseconds since the epoch.
        quiet: Time did nothing while they were read.
    """

    ledgers: dict[str, list[Entry]]
    balances: dict[str, Mapping[str, Any]]
    past: dict[str, tuple[str, str]]
    trial: list[tuple[str, str, str]]
    at: int
    quiet: bool

    def instants(self) -> dict[int, int]:
        """Seq -> when usage was booked, for what no answer tells."""
        return {
            entry["seq"]: instant(entry["at"])
            for ledger in self.ledgers.values()
            for entry in ledger
            if entry["cause"].get("do") == "usage"
        }


def compare(books: Books, verdict: Verdict) -> None:
    """Add what does not agree to the verdict's findings."""
    for name, ledger in books.ledgers.items():
        sound = _sound(name, ledger, verdict)
        if name in books.past:
            _as_it_was(name, ledger, *books.past[name], verdict)
        wallet = verdict.wallets.get(name)
        if sound and wallet is not None and name not in verdict.wrong:
            wallet.advance(books.at)
            _same_story(name, _until(ledger, books.at, verdict), wallet, verdict)
            shown = books.balances[name]
            wallet.advance(instant(shown["as_of"]["time"]))
            _same_balance(name, shown, wallet, verdict)
    _trial_balance(books, verdict)


def _as_it_was(name: str, ledger: list[Entry], at: str, shown: str, verdict: Verdict) -> None:
    """A balance at a past instant is that after the last entry up to it."""
    before = [entry["balance_after"] for entry in ledger if instant(entry["at"]) <= instant(at)]
    if pico(shown) != pico(before[-1]):
        verdict.found("wrong balance in the past", f"{name} at {at}: {shown}, must be {before[-1]}")


def _until(ledger: list[Entry], at: int, verdict: Verdict) -> list[Entry]:
    """Without what time has done since."""
    return [
        entry for entry in ledger if instant(entry["at"]) <= at or not is_by_time(entry, verdict)
    ]


def _sound(name: str, ledger: list[Entry], verdict: Verdict) -> bool:
    """Whether a ledger holds together by itself."""
    balance, seq, at = 0, 0, 0
    for ordinal, entry in enumerate(ledger, 1):
        what = f"{name}, entry {entry['ordinal']} ({entry['kind']} of seq {entry['seq']})"
        postings = [(p["account"], pico(p["amount"])) for p in entry["postings"]]
        own = sum(amount for account, amount in postings if _is_balance(account))
        balance += own
        complaint = None
        if entry["ordinal"] != ordinal:
            complaint = f"must be number {ordinal}"
        elif sum(amount for _, amount in postings):
            complaint = "its postings do not sum to zero"
        elif own != pico(entry["amount"]):
            complaint = f"its postings change the balance by {plain(own)}"
        elif pico(entry["balance_after"]) != balance:
            complaint = f"the balance after it is {plain(balance)}"
        elif entry["seq"] < seq:
            complaint = f"comes after seq {seq}"
        elif instant(entry["at"]) < at:
            complaint = "is earlier than the one before"
        if complaint is not None:
            verdict.found("unsound ledger", f"{what}: {complaint}")
            return False
        seq, at = entry["seq"], instant(entry["at"])
    return True


def _is_balance(account: str) -> bool:
    return account.startswith("wallet/") or account == "overdraft"


def _same_story(name: str, ledger: list[Entry], wallet: Wallet, verdict: Verdict) -> None:
    by_seq: defaultdict[int, int] = defaultdict(int)
    by_time: defaultdict[int, int] = defaultdict(int)
    for entry in ledger:
        if is_by_time(entry, verdict):
            by_time[instant(entry["at"])] += pico(entry["amount"])
        else:
            by_seq[entry["seq"]] += pico(entry["amount"])
    expected = verdict.changes.get(name, {})
    for seq in sorted(expected.keys() | by_seq.keys()):
        must, is_ = expected.get(seq, 0), by_seq.get(seq, 0)
        if must != is_:
            record = verdict.placed.get(seq, "nothing that anybody asked for")
            text = f"{name} by {plain(is_)} at seq {seq}, must be {plain(must)}: {record}"
            verdict.found("ledger tells otherwise", text)
            return
    for at in sorted(wallet.by_time.keys() | by_time.keys()):
        must, is_ = wallet.by_time.get(at, 0), by_time.get(at, 0)
        if must != is_:
            text = f"{name} by {plain(is_)} at {at}, must be {plain(must)}"
            verdict.found("time did something else", text)
            return
    _same_totals(name, ledger, wallet, verdict)


def is_by_time(entry: Entry, verdict: Verdict) -> bool:
    """Whether nobody asked for it then: an expiry, a lapse, the start of a grant given before."""
    cause = entry["cause"]
    if entry["kind"] == "grant":
        record = verdict.placed.get(entry["seq"])
        return record is None or record.ask.get("id") != cause.get("grant")
    return cause.get("by") == "time" or cause.get("do") == "lapsed"


def _same_totals(name: str, ledger: list[Entry], wallet: Wallet, verdict: Verdict) -> None:
    accounts: Counter[str] = Counter()
    for entry in ledger:
        for posting in entry["postings"]:
            accounts[posting["account"].split("/")[0]] += pico(posting["amount"])
    t = wallet.totals
    must = {
        "issued": t.voided - t.granted,
        "spent": t.spent,
        "overage": -t.overage,
        "breakage": t.broken,
        "refunded": t.refunded,
        "transferred": t.moved_out - t.moved_in,
        "overdraft": -sum(wallet.debts.values()),
        "wallet": wallet.balance + sum(wallet.debts.values()),
    }
    for account, amount in must.items():
        if accounts[account] != amount:
            text = f"{name} {account}: {plain(accounts[account])}, must be {plain(amount)}"
            verdict.found("wrong account", text)


def _same_balance(name: str, shown: Mapping[str, Any], wallet: Wallet, verdict: Verdict) -> None:
    must = {
        "balance": wallet.balance,
        "reserved": wallet.reserved,
        "available": wallet.available,
    }
    for member, amount in must.items():
        if pico(shown[member]) != amount:
            text = f"{name} {member}: {shown[member]}, must be {plain(amount)}"
            verdict.found("wrong balance in the end", text)


def _trial_balance(books: Books, verdict: Verdict) -> None:
    sums: Counter[str] = Counter()
    for credit, _, amount in books.trial:
        sums[credit] += pico(amount)
    for credit, total in sums.items():
        if total:
            verdict.found("trial balance", f"{credit} sums to {plain(total)}, not to 0")
    if not books.quiet:
        return
    accounts = _accounts(books.ledgers.values())
    for credit, account, amount in books.trial:
        if accounts.pop(account, 0) != pico(amount):
            verdict.found(
                "trial balance", f"{credit} {account}: {amount}, the ledgers say otherwise"
            )
    for account in +accounts:
        verdict.found("trial balance", f"{account} is missing")


def _accounts(ledgers: Iterable[list[Entry]]) -> Counter[str]:
    """Sums by account, all lots as one."""
    accounts: Counter[str] = Counter()
    for ledger in ledgers:
        for entry in ledger:
            for posting in entry["postings"]:
                name = posting["account"]
                accounts["wallet" if name.startswith("wallet/") else name] += pico(
                    posting["amount"]
                )
    return accounts


def instant(text: str) -> int:
    at = datetime.fromisoformat(text)
    return int(at.timestamp()) * 1_000_000 + at.microsecond
