"""
Is there any order at all? A search that does not believe `seq`.

After Wing and Gong: a history of overlapping operations on one wallet is linearisable if they can
be put in one order in which nothing comes before what was over when it began, and every answer is
what a wallet without concurrency would have given. Exponential at worst, so for small histories;
states met before are not searched again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tests.audit.amounts import pico
from tests.audit.judge import cost_of
from tests.audit.record import Record


class State(NamedTuple):
    """
    Attributes:
        holds: (id, units, cost), open ones.
        resolved: Holds that are no more.
        answers: (id, what the first operation with it showed).
    """

    balance: int
    holds: frozenset[tuple[str, int, int]] = frozenset()
    resolved: frozenset[str] = frozenset()
    answers: frozenset[tuple[str, Any]] = frozenset()

    @property
    def available(self) -> int:
        return self.balance - sum(cost for _, _, cost in self.holds)


@dataclass(frozen=True)
class Shown:
    """What an answer shows of the state: numbers, or only that it was refused."""

    balance: int
    available: int


REFUSED = None


def shown(record: Record) -> Shown | None:
    if not record.done:
        return REFUSED
    return Shown(pico(record.answer["balance_after"]), pico(record.answer["available_after"]))


def apply(state: State, record: Record) -> tuple[State, Shown | None]:
    """The next state, and what must be shown, of one operation that nothing overlaps."""
    name = record.ask.get("id")
    for known, answer in state.answers:
        if known == name:
            return state, answer
    after = _changed(state, record)
    if after is None:
        return state, REFUSED
    answer = Shown(after.balance, after.available)
    if name is not None:
        after = after._replace(answers=after.answers | {(name, answer)})
    return after, answer


def _changed(state: State, record: Record) -> State | None:
    ask = record.ask
    match record.kind:
        case "grant":
            return state._replace(balance=state.balance + pico(ask["amount"]))
        case "consume":
            cost = cost_of(ask["feature"], ask["amount"])
            return None if cost > state.available else state._replace(balance=state.balance - cost)
        case "reserve":
            cost = cost_of(ask["feature"], ask["amount"])
            hold = (ask["id"], pico(ask["amount"]), cost)
            return None if cost > state.available else state._replace(holds=state.holds | {hold})
    hold = next((one for one in state.holds if one[0] == ask["hold"]), None)
    if hold is None:
        return None
    spent = 0 if record.kind == "release" else cost_of(ask["feature"], ask["amount"])
    if spent > hold[2]:
        return None
    return state._replace(
        balance=state.balance - spent,
        holds=state.holds - {hold},
        resolved=state.resolved | {hold[0]},
    )


def linearise(history: Sequence[Record], opening: int = 0) -> list[Record] | None:
    """
    An order that explains a history, or None: there is none.

    Args:
        history: Operations without expiries; at most a few dozen.
    """
    records = sorted(history, key=lambda record: record.started)
    seen: set[tuple[int, State]] = set()
    order: list[Record] = []

    def search(left: int, state: State) -> bool:
        if not left:
            return True
        if (left, state) in seen:
            return False
        seen.add((left, state))
        open_ = [n for n in range(len(records)) if left >> n & 1]
        deadline = min(records[n].ended for n in open_)
        for n in open_:
            record = records[n]
            if record.started > deadline:
                break  # something was over before it, and before all that follow, began
            after, answer = apply(state, record)
            if answer == shown(record):
                order.append(record)
                if search(left & ~(1 << n), after):
                    return True
                order.pop()
        return False

    return order if search((1 << len(records)) - 1, State(opening)) else None
