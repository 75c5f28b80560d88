"""
Whatever happens to invoices and payments, in whatever order, the books stay true.

Beside the books runs a slow oracle of plain numbers. At each step, for each customer and currency:
invoices - credit notes - payments - write-offs is the receivable; every entry, and the whole
journal, sums to zero (K19).
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.accounts import NS, Accounts, at, audit, invoice, line

from taximeter.accounting.journal import Account
from taximeter.accounting.matching import Named
from taximeter.accounting.recognition import month_of, month_start, next_month
from taximeter.accounting.unearned import revenue_ahead
from taximeter.errors import Refused, Rejected
from taximeter.instants import DAY

Who = tuple[str, str]
WHO: tuple[Who, ...] = (("acme", "USD"), ("acme", "USD"), ("acme", "JPY"), ("beta", "USD"))
AMOUNTS = st.sampled_from((1, 50, 99, 100, 101, 250))


class Bill:
    """An issued invoice."""

    def __init__(self, who: Who, due: int, order: int) -> None:
        self.who, self.order = who, order
        self.net, self.billed = due, max(0, due)
        self.credited = self.noted = self.paid = self.lost = 0
        self.is_void = False

    @property
    def open(self) -> int:
        return 0 if self.is_void else self.billed - self.credited - self.paid - self.lost

    @property
    def status(self) -> str:
        if self.is_void:
            return "void"
        if self.open:
            return "issued"
        return "uncollectible" if self.lost else "paid"


class Money:
    """A payment, or whatever else gave the customer a balance."""

    def __init__(self, who: Who, amount: int, is_payment: bool) -> None:
        self.who, self.left, self.is_payment = who, amount, is_payment
        self.cash = amount if is_payment else 0
        self.refunded = 0
        self.is_reversed = False
        self.parts: list[tuple[Bill, str, int, int]] = []  # bill, its id, amount, recovered

    def give(self, bill: Bill, bill_id: str, amount: int) -> None:
        recovered = max(0, amount - bill.open)
        bill.lost -= recovered
        bill.paid += amount
        self.left -= amount
        self.parts.append((bill, bill_id, amount, recovered))

    def allocated(self) -> dict[str, int]:
        sums: dict[str, int] = defaultdict(int)
        for _, bill_id, amount, _ in self.parts:
            sums[bill_id] += amount
        return dict(sums)


class Books(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.accounts = Accounts(Path(self.folder.name), ("acme", "beta"))
        self.now = at("2026-10-01")
        self.bills: dict[str, Bill] = {}
        self.money: dict[str, Money] = {}
        self.count = 0

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.accounts.books.close()
            self.folder.cleanup()

    def _new(self, what: str) -> str:
        self.count += 1
        return f"{what}_{self.count}"

    def _bills(self, wanted: Callable[[Bill], object]) -> list[str]:
        return [bill_id for bill_id, bill in self.bills.items() if wanted(bill)]

    def _payments(self, wanted: Callable[[Money], object] = lambda one: True) -> list[str]:
        return [
            name for name, one in self.money.items()
            if one.is_payment and not one.is_reversed and wanted(one)
        ]  # fmt: skip

    def _oldest(self, who: Who) -> Iterable[tuple[str, Bill]]:
        found = [(name, bill) for name, bill in self.bills.items() if bill.who == who]
        return sorted(found, key=lambda item: item[1].order)

    def _match(self, money: Money) -> None:
        for bill_id, bill in self._oldest(money.who):
            part = min(money.left, bill.open)
            if part:
                money.give(bill, bill_id, part)

    # --- what happens -------------------------------------------------------------------------

    @rule(
        amounts=st.lists(st.sampled_from((-120, 0, 70, 100, 250)), min_size=1, max_size=3),
        who=st.sampled_from(WHO),
        ahead=st.booleans(),
    )
    def issue(self, amounts: list[int], who: Who, ahead: bool) -> None:
        days = ("2026-12-01", "2027-01-01") if ahead else ("2026-09-15", "2026-10-15")
        lines = [line(minor, *days, n=n) for n, minor in enumerate(amounts, 1)]
        self.now += 1  # so that no two are due at once
        made = invoice(lines, self._new("inv"), who[0], currency=who[1])
        stored = self.accounts.issue(made, self.now, self.now + 14 * DAY)
        bill = self.bills[made.id] = Bill(who, sum(amounts), self.count)
        for money in [one for one in self.money.values() if one.who == who and one.left]:
            part = min(money.left, bill.open)
            if part:
                money.give(bill, made.id, part)
        if bill.net < 0:
            self.money[made.id] = Money(who, -bill.net, is_payment=False)
        assert stored.status == bill.status

    @rule(amount=AMOUNTS, who=st.sampled_from(WHO))
    def pay(self, amount: int, who: Who) -> None:
        self._pay(amount, who, None)

    @precondition(lambda self: self._bills(lambda bill: bill.open or bill.lost))
    @rule(data=st.data(), more=st.sampled_from((0, 0, 30, -30)))
    def pay_by_name(self, data: Any, more: int) -> None:
        names = self._bills(lambda bill: bill.open or bill.lost)
        bill_id = data.draw(st.sampled_from(names))
        bill = self.bills[bill_id]
        part = max(1, bill.open + bill.lost + min(0, more))
        self._pay(part + max(0, more), bill.who, (bill_id, part))

    def _pay(self, amount: int, who: Who, named: tuple[str, int] | None) -> None:
        payment = self._new("pay")
        parts = None if named is None else [Named(*named)]
        self.accounts.pay(payment, amount, self.now, who[0], currency=who[1], named=parts)
        money = self.money[payment] = Money(who, amount, is_payment=True)
        if named is None:
            self._match(money)
        else:
            money.give(self.bills[named[0]], *named)

    @precondition(lambda self: self._payments())
    @rule(data=st.data())
    def reverse(self, data: Any) -> None:
        payment = data.draw(st.sampled_from(self._payments()))
        money = self.money[payment]
        try:
            self.accounts.books.reverse_payment(NS, payment, "bounced", self.now, audit())
        except Refused:
            assert money.refunded
            return
        for bill, _, amount, recovered in money.parts:
            bill.paid -= amount
            bill.lost += recovered
        money.parts, money.left, money.cash, money.is_reversed = [], 0, 0, True

    @precondition(lambda self: self._payments(lambda one: one.left))
    @rule(data=st.data(), most=AMOUNTS)
    def refund(self, data: Any, most: int) -> None:
        payment = data.draw(st.sampled_from(self._payments(lambda one: one.left)))
        money = self.money[payment]
        amount = min(most, money.left)
        self.accounts.books.refund_payment(NS, payment, None, amount, self.now, audit())
        money.left -= amount
        money.cash -= amount
        money.refunded += amount

    @precondition(lambda self: self._payments(lambda one: one.left))
    @rule(data=st.data())
    def allocate(self, data: Any) -> None:
        payment = data.draw(st.sampled_from(self._payments(lambda one: one.left)))
        self.accounts.books.allocate_payment(NS, payment, None, self.now, audit())
        self._match(self.money[payment])

    @precondition(lambda self: self._bills(lambda bill: bill.noted < bill.net and not bill.is_void))
    @rule(data=st.data(), most=AMOUNTS)
    def credit(self, data: Any, most: int) -> None:
        names = self._bills(lambda bill: bill.noted < bill.net and not bill.is_void)
        bill_id = data.draw(st.sampled_from(names))
        bill, note = self.bills[bill_id], self._new("cn")
        amount = min(most, bill.net - bill.noted)
        self.accounts.credit(note, bill_id, {"line_1": amount}, self.now)
        bill.noted += amount
        off = min(amount, bill.open)
        bill.credited += off
        found = min(amount - off, bill.lost)
        bill.lost -= found
        bill.credited += found
        if amount > off + found:
            self.money[note] = Money(bill.who, amount - off - found, is_payment=False)

    @precondition(lambda self: self._bills(lambda bill: bill.status == "issued" and not bill.noted))
    @rule(data=st.data())
    def void(self, data: Any) -> None:
        names = self._bills(lambda bill: bill.status == "issued" and not bill.noted)
        bill_id = data.draw(st.sampled_from(names))
        bill = self.bills[bill_id]
        self.accounts.void(bill_id, self.now)
        for money in self.money.values():
            money.left += sum(amount for one, _, amount, _ in money.parts if one is bill)
            money.parts = [part for part in money.parts if part[0] is not bill]
        bill.is_void, bill.paid, bill.lost = True, 0, 0

    @precondition(lambda self: self._bills(lambda bill: bill.open))
    @rule(data=st.data())
    def write_off(self, data: Any) -> None:
        bill_id = data.draw(st.sampled_from(self._bills(lambda bill: bill.open)))
        self.accounts.books.write_off(NS, bill_id, "gone", self.now, audit())
        self.bills[bill_id].lost += self.bills[bill_id].open

    @rule(days=st.integers(1, 40))
    def time_passes(self, days: int) -> None:
        self.now += days * DAY

    @rule()
    def close_the_last_month(self) -> None:
        month = month_of(month_start(month_of(self.now)) - 1)
        books = self.accounts.books
        books.close_month(NS, month, self.now, audit())
        before = books.trial_balance(NS, upto=month_start(next_month(month)) - 1)
        assert books.close_month(NS, month, self.now, audit()).entries == 0
        assert books.trial_balance(NS, upto=month_start(next_month(month)) - 1) == before

    @precondition(lambda self: self._payments())
    @rule(data=st.data(), amount=AMOUNTS)
    def too_much_is_refused(self, data: Any, amount: int) -> None:
        payment = data.draw(st.sampled_from(self._payments()))
        left = self.money[payment].left
        for attempt in (
            lambda: self.accounts.books.refund_payment(
                NS, payment, None, left + 1, self.now, audit()
            ),
            lambda: self.accounts.books.allocate_payment(
                NS, payment, [Named("nobody", amount)], self.now, audit()
            ),
        ):
            try:
                attempt()
            except (Refused, Rejected):
                continue
            raise AssertionError("it was done")

    # --- what must be true --------------------------------------------------------------------

    @invariant()
    def every_invoice_and_payment_is_what_the_oracle_says(self) -> None:
        books = self.accounts.books
        standings = books.invoice_standings(NS, list(self.bills))
        for bill_id, bill in self.bills.items():
            assert self.accounts.status(bill_id) == bill.status, bill_id
            found = standings[bill_id]
            assert (found.open_minor, found.lost_minor) == (bill.open, bill.lost), bill_id
            assert found.paid_minor == bill.paid, bill_id
        for name, money in self.money.items():
            if money.is_payment:
                state = books.payment(NS, name)
                assert state is not None
                assert (state.allocated, state.left_minor) == (money.allocated(), money.left)

    @invariant()
    def the_accounts_are_the_sums_of_them(self) -> None:
        for currency in ("USD", "JPY"):
            sums = self.accounts.sums(currency)
            assert sum(sums.values()) == 0
            bills = [bill for bill in self.bills.values() if bill.who[1] == currency]
            money = [one for one in self.money.values() if one.who[1] == currency]
            assert sums.get(Account.RECEIVABLE, 0) == sum(bill.open for bill in bills)
            assert sums.get(Account.WRITE_OFF, 0) == sum(bill.lost for bill in bills)
            assert sums.get(Account.CASH, 0) == sum(one.cash for one in money)
            assert sums.get(Account.BALANCE, 0) == -sum(one.left for one in money)
            earned = sums.get(Account.REVENUE, 0) + sums.get(Account.DEFERRED, 0)
            assert earned == -sum(bill.net - bill.noted for bill in bills if not bill.is_void)

    @invariant()
    def what_is_deferred_is_what_later_months_will_earn(self) -> None:
        books = self.accounts.books
        closed = max((one.month for one in books.closed_months(NS)), default=None)
        unearned = books.unearned(NS)
        ahead = revenue_ahead(unearned, closed)
        for currency in ("USD", "JPY"):
            to_come = sum(minor for (_, one), minor in ahead.items() if one == currency)
            assert to_come == -self.accounts.sums(currency).get(Account.DEFERRED, 0)

    @invariant()
    def entries_balance_and_today_is_a_past_instant_too(self) -> None:
        books = self.accounts.books
        assert all(entry.balanced for _, entry in books.journal(NS))
        now = {(one.id, one.open_minor) for one in self.accounts.open()}
        then = books.open_invoices(NS, at=self.now)
        assert {(one.id, one.open_minor) for one in then} == now


Books.TestCase.settings = settings(
    max_examples=20, stateful_step_count=30, deadline=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
TestBooks = Books.TestCase
