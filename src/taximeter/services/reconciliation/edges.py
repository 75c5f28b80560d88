"""
The edges of the chain: what clients say they sent, what nobody claims, what was refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Final

import msgspec

from taximeter.meters.definition import Aggregation, Meter
from taximeter.ports import DeadLetter, SentCount, UsageQuery
from taximeter.reconciliation.gap import Cause, Gap, Repair, Stage
from taximeter.services.core import Core
from taximeter.services.tenant import Tenant

SUBJECTS_NAMED: Final = 50
LETTERS_READ: Final = 1000


async def gaps_of_sent(core: Core, tenant: Tenant, counts: Sequence[SentCount]) -> list[Gap]:
    """Sent = accepted: what clients counted against what the log has of them."""
    upto = await core.upto()
    letters = await pending_letters(core, tenant)
    gaps: list[Gap] = []
    for count in counts:
        query = UsageQuery(
            namespace=tenant.name,
            meter=Meter("sent", count.type, Aggregation.COUNT, filter=_is_from(count.source)),
            windows=(count.period,),
            upto=upto,
            corrected=False,  # it was sent and accepted, whatever was corrected since
        )
        rows = await core.store.usage(query)
        accepted = sum(row.events for row in rows)
        refused = sum(_is_of(letter, count) for letter in letters)
        gaps += _sent(count, accepted, refused)
    return gaps


def _is_from(source: str) -> str:
    return f"source == {msgspec.json.encode(source).decode()}"


def _sent(count: SentCount, accepted: int, refused: int) -> Iterator[Gap]:
    missing = count.events - accepted
    if not missing:
        return
    if missing < 0:
        cause, repair = Cause.DUPLICATE, Repair.LOOK
        detail = f"{-missing} events came from {count.source!r} that it does not know of."
    elif refused:
        cause, repair = Cause.QUARANTINED, Repair.REPLAY_DEAD_LETTERS
        detail = f"{refused} events from {count.source!r} were refused and are dead letters."
    else:
        cause, repair = Cause.MISSING, Repair.RESEND
        detail = f"{missing} events that {count.source!r} sent have not arrived."
    yield Gap(
        upstream=Stage.SENT,
        downstream=Stage.ACCEPTED,
        cause=cause,
        expected=Fraction(count.events),
        found=Fraction(accepted),
        unit="events",
        period=count.period,
        target=f"{count.source}/{count.type}",
        repair=repair,
        detail=detail,
    )


class ClientStats(msgspec.Struct):
    """
    The counters of a client of ours (`Meter.stats` of the SDK), or of another that keeps the same
    account: everything handed over was answered, or is still on its way, or was dropped.
    """

    tracked: int = 0
    recovered: int = 0
    accepted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    rejected: int = 0
    settled: int = 0
    dropped: int = 0
    buffered: int = 0
    spooled: int = 0

    @property
    def handed_over(self) -> int:
        return self.tracked + self.recovered

    @property
    def answered(self) -> int:
        return self.accepted + self.duplicates + self.conflicts + self.rejected + self.settled

    @property
    def waiting(self) -> int:
        return self.buffered + self.spooled


def gaps_of_stats(source: str, stats: ClientStats) -> Iterator[Gap]:
    """What a client's own account shows: what it threw away, and what it has lost sight of."""
    unexplained = stats.handed_over - stats.answered - stats.waiting - stats.dropped
    for events, cause, detail in (
        (stats.dropped, Cause.MISSING, "were dropped by the client: its buffer or disk was full."),
        (unexplained, Cause.CODE, "are in none of the client's own counts."),
    ):
        if events:
            yield Gap(
                upstream=Stage.SENT,
                downstream=Stage.ACCEPTED,
                cause=cause,
                expected=Fraction(stats.handed_over),
                found=Fraction(stats.handed_over - events),
                unit="events",
                target=source,
                repair=Repair.RESEND if cause is Cause.MISSING else Repair.LOOK,
                detail=f"{events} events from {source!r} {detail}",
            )


class _Refused(msgspec.Struct):
    source: str | None = None
    type: str | None = None
    subject: str | None = None


_refused = msgspec.json.Decoder(_Refused)


async def pending_letters(core: Core, tenant: Tenant) -> list[tuple[DeadLetter, _Refused]]:
    """The dead letters nobody has replayed yet, as far as they can be read; a bounded number."""
    letters = await core.books.run(
        core.books.books.dead_letters, tenant.name, after=0, limit=LETTERS_READ, pending=True
    )
    return [(letter, _read(letter.body)) for letter in letters]


def _read(body: bytes) -> _Refused:
    try:
        return _refused.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Refused()


def _is_of(letter: tuple[DeadLetter, _Refused], count: SentCount) -> bool:
    _, event = letter
    return (event.source or "", event.type) == (count.source, count.type)


async def gaps_of_refused(core: Core, tenant: Tenant) -> list[Gap]:
    """Dead letters, by the customer they would have counted for and why they were refused."""
    counted: dict[tuple[str | None, str], int] = {}
    for letter, event in await pending_letters(core, tenant):
        account = tenant.live.by_subject.get(event.subject or "")
        key = (None if account is None else account.customer, letter.code)
        counted[key] = counted.get(key, 0) + 1
    return [
        Gap(
            upstream=Stage.SENT,
            downstream=Stage.ACCEPTED,
            cause=Cause.QUARANTINED,
            expected=Fraction(events),
            found=Fraction(0),
            unit="events",
            customer=customer,
            target=code,
            repair=Repair.REPLAY_DEAD_LETTERS,
            detail=f"{events} items were refused as {code} and are dead letters.",
        )
        for (customer, code), events in sorted(counted.items(), key=repr)
    ]


def gaps_of_unmatched(tenant: Tenant) -> list[Gap]:
    """Accepted = counted, for subjects no customer claims; those with the most events first."""
    by_events = sorted(tenant.live.unmatched.items(), key=lambda one: (-one[1], one[0]))
    return [
        Gap(
            upstream=Stage.ACCEPTED,
            downstream=Stage.COUNTED,
            cause=Cause.UNMATCHED,
            expected=Fraction(events),
            found=Fraction(0),
            unit="events",
            target=subject,
            repair=Repair.CLAIM_SUBJECT,
            detail=f"{events} events of {subject!r} count for nobody: no customer claims it.",
        )
        for subject, events in by_events[:SUBJECTS_NAMED]
    ]
