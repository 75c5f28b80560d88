"""
The judgement: every answer replayed in the server's own order, each step worked out anew.

Each accepted operation has a `seq`, one order over all wallets; each refusal says after which seq
it was decided. In that order the auditor's wallets must come to every number the server gave. A
wallet that went wrong once is not judged further: what follows from the first finding is counted,
not told.

The instant at which the server decided is not taken on trust. It lies between the start of the
request and its answer, and, because both orders agree, not before any start of an operation
earlier in seq, nor after any end of a later one. What time does inside that span (a lot expires, a
hold lapses) may have happened already, or not yet; whatever explains the answer first is taken.
The answer to a usage event has no numbers to explain, so its instant is read in the ledger, and
only believed if it lies in the span.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tests.audit.amounts import E12, pico, plain
from tests.audit.record import Record
from tests.audit.wallet import NEVER, Hold, Lot, Wallet
from tests.audit.workload import COSTS

MILLISECOND = 1000
MAX_TOLD = 3
RESOLVED = {
    "settled": "already_resolved",
    "released": "already_resolved",
    "lapsed": "reservation_expired",
}
"""What a second resolution is told, by what the hold came to."""


REFUSALS = {
    "consume": {"insufficient_credit"},
    "event": set(),
    "grant": {"invalid_request"},
    "top_up": set(),
    "void": {"grant_ended"},
    "refund": {"grant_ended", "insufficient_credit"},
    "transfer": {"insufficient_credit"},
    "reserve": {"insufficient_credit"},
    "settle": {"already_resolved", "reservation_expired", "exceeds_reservation"},
    "release": {"already_resolved", "reservation_expired"},
    "extend": {"already_resolved", "reservation_expired", "insufficient_credit"},
    "balance": set(),
}
"""The only answers an operation may have if it is not done; whether rightly is judged later."""


@dataclass(frozen=True)
class Finding:
    """Something that must not be."""

    kind: str
    text: str


@dataclass
class Verdict:
    """
    Attributes:
        wallets: As they must be after the last operation.
        placed: Accepted operations by their seq.
        changes: Wallet -> seq -> what that operation did to the balance, without what time did.
        wrong: Wallets with a finding.
        untold: Operations on wallets that had gone wrong before, not judged.
    """

    findings: list[Finding] = field(default_factory=list)
    wallets: dict[str, Wallet] = field(default_factory=dict)
    placed: dict[int, Record] = field(default_factory=dict)
    changes: dict[str, dict[int, int]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    wrong: set[str] = field(default_factory=set)
    untold: int = 0

    def found(self, kind: str, text: str) -> None:
        self.findings.append(Finding(kind, text))

    def __str__(self) -> str:
        return render(self.findings)


def render(findings: Sequence[Finding]) -> str:
    """Each kind with its number and its first few."""
    lines: list[str] = []
    for kind, count in Counter(finding.kind for finding in findings).items():
        lines.append(f"{kind}: {count}")
        told = [finding.text for finding in findings if finding.kind == kind]
        lines += [f"  {text}" for text in told[:MAX_TOLD]]
        lines += [f"  ... and {count - MAX_TOLD} more"] if count > MAX_TOLD else []
    return "\n".join(lines)


def cost_of(feature: str, amount: str) -> int:
    """Units times price, rounded half up to 10^-12."""
    return (pico(amount) * pico(COSTS[feature]) + E12 // 2) // E12


def affordable(feature: str, credit: int) -> int:
    """The most units of a feature whose exact cost an amount of credit covers."""
    return max(0, credit) * E12 // pico(COSTS[feature])


def judge(records: Iterable[Record], booked_at: Mapping[int, int] | None = None) -> Verdict:
    """
    Everything that can be said from the answers.

    Args:
        booked_at: Seq -> instant of the usage events, by the ledger.
    """
    verdict = Verdict()
    everything = list(records)
    verdict.counts.update(f"{r.kind} {'done' if r.done else 'refused'}" for r in everything)
    _repeats(everything, verdict)
    firsts = [r for r in everything if not r.repeat and _is_expected(r, verdict)]
    placed = _in_order(firsts, verdict)
    _believe(placed, booked_at or {}, verdict)
    _replay(placed, verdict)
    _resolutions(firsts, verdict)
    for name, wallet in verdict.wallets.items():
        broken = wallet.check()
        assert broken is None, f"the auditor's own {name}: {broken}"
    return verdict


def _is_expected(record: Record, verdict: Verdict) -> bool:
    """Whether it is one of the answers there can be."""
    if record.done or (record.kind == "balance" and record.status == 200):
        return True
    said = record.answer.get("code") or record.answer.get("reason")
    if said in REFUSALS[record.kind]:
        return True
    verdict.found("unexpected answer", str(record))
    return False


# --- identities ---------------------------------------------------------------------------------


def _repeats(records: list[Record], verdict: Verdict) -> None:
    """The same again gives the same answer, other content under the same id a conflict."""
    first = {r.ask["id"]: r for r in records if not r.repeat and r.done and "id" in r.ask}
    for record in records:
        if record.repeat == "again":
            _same_answer(record, first[record.ask["id"]], verdict)
        elif record.repeat == "conflict" and not _is_conflict(record):
            verdict.found("conflict not refused", str(record))


def _same_answer(record: Record, first: Record, verdict: Verdict) -> None:
    if record.kind == "event":
        same = record.answer == first.answer | {"status": "duplicate"}
    else:
        same = record.status // 100 == 2 and record.answer == first.answer
    if not same:
        verdict.found("repeated, another answer", f"{record}; at first {first}")


def _is_conflict(record: Record) -> bool:
    if record.kind == "event":
        return bool(record.answer.get("status") == "conflict")
    return record.status == 409 and record.answer.get("code") == "event_conflict"


# --- order --------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Placed:
    """A record with its place in the order, and the span its instant lies in."""

    place: tuple[int, int, int]
    record: Record
    earliest: int = 0
    latest: int = NEVER


def _in_order(records: list[Record], verdict: Verdict) -> list[_Placed]:
    placed: list[_Placed] = []
    for record in records:
        if record.done:
            seq = record.seq
            assert seq is not None
            if seq in verdict.placed:
                verdict.found("seq given twice", f"{verdict.placed[seq]}; {record}")
                continue
            verdict.placed[seq] = record
            placed.append(_Placed((seq, 0, 0), record))
        elif (position := position_of(record)) is not None:
            placed.append(_Placed((position, 1, record.ended), record))
    placed.sort(key=lambda one: one.place)
    _real_time(placed, verdict)
    _instants(placed)
    return placed


def position_of(record: Record) -> int | None:
    """The seq after which a refusal or a read was decided."""
    as_of = record.answer.get("as_of")
    return int(as_of["position"].split(":")[1]) if as_of else None


def _real_time(placed: list[_Placed], verdict: Verdict) -> None:
    """If A had its answer before B was asked, A comes first."""
    latest: Record | None = None
    for one in placed:
        record = one.record
        if latest is not None and record.ended < latest.started:
            verdict.found("order against real time", f"{record} was over before {latest} began")
        if latest is None or record.started > latest.started:
            latest = record


def _instants(placed: list[_Placed]) -> None:
    """
    Narrow the span of each instant by those before and after it.

    Refusals after the same seq have no order among themselves, so they narrow nothing.
    """
    earliest = 0
    for one in placed:
        one.earliest = max(earliest, one.record.wall - MILLISECOND)
        if one.record.done:
            earliest = one.earliest
    latest = NEVER
    for one in reversed(placed):
        one.latest = max(min(latest, _answered_at(one.record)), one.earliest)
        if one.record.done:
            latest = one.latest


def _believe(placed: list[_Placed], booked_at: Mapping[int, int], verdict: Verdict) -> None:
    for one in placed:
        if one.record.kind == "event" and (at := booked_at.get(one.place[0])) is not None:
            if one.earliest <= at <= one.latest:
                one.earliest = one.latest = at
            else:
                verdict.found("booked at another time", f"{one.record}: at {at}")


# --- replay -------------------------------------------------------------------------------------


def _replay(placed: list[_Placed], verdict: Verdict) -> None:
    wrong = verdict.wrong
    for one in placed:
        record = one.record
        names = [record.wallet, record.ask["to"]] if record.kind == "transfer" else [record.wallet]
        if wrong.intersection(names):
            wrong.update(names)
            verdict.untold += 1
            continue
        complaint = _step(one, names, verdict)
        if complaint is not None:
            verdict.found(*complaint)
            wrong.update(names)


def _step(one: _Placed, names: list[str], verdict: Verdict) -> tuple[str, str] | None:
    """
    Do it, at the earliest instant that explains the answer.

    Returns:
        What is wrong at the earliest instant, if none does.
    """
    wallets = [verdict.wallets.setdefault(name, Wallet()) for name in names]
    if not one.record.done and min(w.next_change_at for w in wallets) <= one.latest:
        wallets = [wallet.copy() for wallet in wallets]  # what it shows was not the last word
    for wallet in wallets:
        wallet.advance(one.earliest)
    complaint: tuple[str, str] | None = None
    while True:
        due = min(wallet.next_change_at for wallet in wallets)
        last = due > one.latest
        trial = wallets if last and complaint is None else [wallet.copy() for wallet in wallets]
        before = [wallet.balance for wallet in trial]
        failure = _RULES[one.record.kind](one.record, trial)
        if failure is None:
            if one.record.done:
                _keep(one, names, trial, before, verdict)
            return None
        kind, text = failure
        complaint = complaint or (kind, f"{one.record}: {text}")
        if last:
            return complaint
        for wallet in wallets:
            wallet.advance(due)


def _keep(
    one: _Placed, names: list[str], wallets: list[Wallet], before: list[int], verdict: Verdict
) -> None:
    for name, wallet, balance in zip(names, wallets, before, strict=True):
        verdict.wallets[name] = wallet
        verdict.changes.setdefault(name, {})[one.place[0]] = wallet.balance - balance


Failure = tuple[str, str] | None
_Rule = Callable[[Record, list[Wallet]], Failure]


def _numbers(record: Record, wallet: Wallet, *names: str) -> Failure:
    """The numbers of an answer, and nothing below zero that was not asked for."""
    shown = {"balance_after": wallet.balance, "available_after": wallet.available}
    for name in names or ("balance_after", "available_after"):
        said = record.answer.get(name)
        if said is not None and pico(said) != shown[name]:
            return f"wrong {name}", f"must be {plain(shown[name])}"
    return None


def _debit(record: Record, wallets: list[Wallet]) -> Failure:
    (wallet,) = wallets
    feature = record.ask["feature"]
    cost, usable = cost_of(feature, record.ask["amount"]), wallet.usable(feature)
    if not record.done:
        if cost <= usable:
            return "refused, but there was enough", f"{plain(usable)} was usable"
        return _because(record, "insufficient_credit")
    if cost > usable:
        return "spent what was not there", f"only {plain(usable)} was usable"
    wallet.spend(cost, feature)
    return _numbers(record, wallet)


def _because(record: Record, expected: str) -> Failure:
    said = record.answer.get("code") or record.answer.get("reason")
    return None if said == expected else ("wrong reason", f"must be {expected}")


def _event(record: Record, wallets: list[Wallet]) -> Failure:
    (wallet,) = wallets
    feature = record.ask["feature"]
    wallet.use(cost_of(feature, record.ask["amount"]), feature)
    return None


def _reserve(record: Record, wallets: list[Wallet]) -> Failure:
    (wallet,) = wallets
    ask = record.ask
    feature, asked = ask["feature"], pico(ask["amount"])
    usable = wallet.usable(feature)
    enough = cost_of(feature, ask["amount"]) <= usable
    if not record.done:
        if enough:
            return "refused, but there was enough", f"{plain(usable)} was usable"
        if ask["partial"] and affordable(feature, usable):
            return "refused, but a part could be had", f"{plain(usable)} was usable"
        return _because(record, "insufficient_credit")
    granted = pico(record.answer["granted"])
    cost = cost_of(feature, plain(granted))
    if cost > usable:
        return "reserved what was not there", f"only {plain(usable)} was usable"
    most = asked if enough else affordable(feature, usable)
    if granted != most or (granted < asked and not ask["partial"]):
        return "granted another amount", f"{plain(most)} could be had"
    expires_at = _instant(record.answer["expires_at"])
    created_at = expires_at - ask["ttl"] * 1_000_000
    if not _within(record, created_at):
        return "holds for another time", f"created at {created_at}, if it lives {ask['ttl']} s"
    wallet.hold(Hold(ask["id"], feature, granted, expires_at), cost)
    return _numbers(record, wallet)


def _within(record: Record, instant: int) -> bool:
    return record.wall - MILLISECOND <= instant <= _answered_at(record)


def _answered_at(record: Record) -> int:
    """The latest instant at which it can have been decided."""
    return record.wall + record.ended - record.started + MILLISECOND


def _instant(text: str) -> int:
    at = datetime.fromisoformat(text)
    return int(at.timestamp()) * 1_000_000 + at.microsecond


def _settle(record: Record, wallets: list[Wallet]) -> Failure:
    (wallet,) = wallets
    hold = wallet.holds.get(record.ask["hold"])
    if hold is None:
        return _no_such_hold(record, wallet)
    amount = pico(record.ask["amount"])
    too_much = amount > hold.quantity and not record.ask["overage"]
    if not record.done:
        if not too_much:
            return "refused, but it was open", f"{plain(hold.quantity)} was held"
        return _because(record, "exceeds_reservation")
    if too_much:
        return "settled more than was held", f"{plain(hold.quantity)} was held"
    cost = cost_of(hold.feature, record.ask["amount"])
    if amount <= hold.quantity:
        cost = min(cost, hold.amount)  # each extension was rounded by itself
    wallet.settle(hold, cost)
    return _numbers(record, wallet)


def _release(record: Record, wallets: list[Wallet]) -> Failure:
    (wallet,) = wallets
    hold = wallet.holds.get(record.ask["hold"])
    if hold is None:
        return _no_such_hold(record, wallet)
    if not record.done:
        return "refused, but it was open", f"{plain(hold.quantity)} was held"
    wallet.release(hold)
    return _numbers(record, wallet)


def _extend(record: Record, wallets: list[Wallet]) -> Failure:
    (wallet,) = wallets
    hold = wallet.holds.get(record.ask["hold"])
    if hold is None:
        return _no_such_hold(record, wallet)
    more = pico(record.ask["amount"])
    cost = cost_of(hold.feature, record.ask["amount"])
    usable = wallet.usable(hold.feature)
    if not record.done:
        if cost <= usable:
            return "refused, but there was enough", f"{plain(usable)} was usable"
        return _because(record, "insufficient_credit")
    if cost > usable:
        return "reserved what was not there", f"only {plain(usable)} was usable"
    hold.quantity += more
    hold.expires_at = _instant(record.answer["expires_at"])
    wallet.hold(hold, cost)
    return _numbers(record, wallet)


def _no_such_hold(record: Record, wallet: Wallet) -> Failure:
    fate = wallet.resolved.get(record.ask["hold"])
    if fate is None:
        return "a hold nobody made", record.ask["hold"]
    if record.done:
        return "resolved twice", f"it was {fate} before"
    return _because(record, RESOLVED[fate])


def _grant(record: Record, wallets: list[Wallet]) -> Failure:
    (wallet,) = wallets
    ask = record.ask
    if not record.done:
        over = 0 < ask["expires_at"] <= _answered_at(record)
        return None if over else ("refused, but nothing was wrong with it", ask["id"])
    wallet.grant(
        Lot(
            id=ask["id"],
            remaining=pico(ask["amount"]),
            priority=ask.get("priority", 0),
            effective_at=ask.get("effective_at") or wallet.at,
            expires_at=ask["expires_at"] or NEVER,
            features=tuple(ask.get("features", ())),
            paid=ask.get("paid", True),
        )
    )
    return _numbers(record, wallet)


def _void(record: Record, wallets: list[Wallet]) -> Failure:
    (wallet,) = wallets
    lot = wallet.known.get(record.ask["grant"])
    if lot is None:
        return "a grant nobody made", record.ask["grant"]
    if wallet.is_over(lot):
        return ("ended twice", f"{lot.id} had ended before") if record.done else None
    if not record.done:
        # Of a lot that was spent before, no number tells on which side of its end this was.
        spent = lot.remaining == 0 and lot.expires_at <= _answered_at(record)
        return None if spent else ("refused, but it had not ended", lot.id)
    gone = wallet.void(lot)
    said = record.answer.get("voided")
    if said is not None and pico(said) != gone:
        return "voided another amount", f"must be {plain(gone)}"
    return _numbers(record, wallet)


def _refund(record: Record, wallets: list[Wallet]) -> Failure:
    (wallet,) = wallets
    lot = wallet.known.get(record.ask["grant"])
    if lot is None:
        return "a grant nobody made", record.ask["grant"]
    amount = pico(record.ask["amount"])
    free = wallet.refundable(lot)
    if not record.done:
        return ("refused, but there was enough", f"{plain(free)} free") if amount <= free else None
    if amount > free:
        return "refunded what was not there", f"only {plain(free)} of {lot.id} was free"
    wallet.refund(lot, amount)
    return _numbers(record, wallet)


def _transfer(record: Record, wallets: list[Wallet]) -> Failure:
    source, target = wallets
    amount, usable = pico(record.ask["amount"]), source.usable(None)
    if not record.done:
        if amount <= usable:
            return "refused, but there was enough", f"{plain(usable)} could be moved"
        return _because(record, "insufficient_credit")
    if amount > usable:
        return "moved what was not there", f"only {plain(usable)} could be moved"
    source.move(amount, target, record.ask["id"])
    failure = _numbers(record, source)
    said = record.answer.get("to_balance_after")
    if failure is None and said is not None and pico(said) != target.balance:
        return "wrong to_balance_after", f"must be {plain(target.balance)}"
    return failure


def _balance(record: Record, wallets: list[Wallet]) -> Failure:
    (wallet,) = wallets
    shown = {
        "balance": wallet.balance,
        "available": wallet.available,
        "reserved": wallet.reserved,
    }
    for name, amount in shown.items():
        if pico(record.answer[name]) != amount:
            return f"wrong {name} shown", f"must be {plain(amount)}"
    return None


_RULES: dict[str, _Rule] = {
    "consume": _debit,
    "event": _event,
    "reserve": _reserve,
    "settle": _settle,
    "release": _release,
    "extend": _extend,
    "grant": _grant,
    "top_up": _grant,
    "void": _void,
    "refund": _refund,
    "transfer": _transfer,
    "balance": _balance,
}


# --- refusals that give no position ---------------------------------------------------------------


def _resolutions(records: list[Record], verdict: Verdict) -> None:
    """Nothing is called resolved that nobody has tried to resolve yet."""
    started: dict[str, int] = {}
    for record in records:
        if record.kind in ("settle", "release"):
            hold = record.ask["hold"]
            started[hold] = min(started.get(hold, record.started), record.started)
    for record in records:
        if record.answer.get("code") == "already_resolved":
            first = started.get(record.ask["hold"], NEVER)
            if first > record.ended:
                verdict.found("called resolved too early", str(record))
