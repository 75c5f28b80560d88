"""
Commands of the gate: decided, recorded in the log and applied in one step, answered when durable.

A command is written as an event of the node's own: its identity (K11) makes a retry find the first
answer, its seq is its place in the total order, and what it did stands beside it as effects.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from typing import Any, NamedTuple

import msgspec

from taximeter.errors import Refused, Rejected, TaximeterError
from taximeter.events.decode import decode
from taximeter.events.entry import KIND_COMMAND, KIND_CONSUME, Entry
from taximeter.events.envelope import Event, Format, Verdict
from taximeter.events.identity import identities
from taximeter.gate.effects import Advance, Effect, Keyed, encode_effects
from taximeter.instants import SECOND
from taximeter.services.core import Core
from taximeter.services.tenant import Tenant

MAX_REMEMBERED_ANSWERS = 100_000
encode = msgspec.json.Encoder(decimal_format="number").encode
encode_answer = msgspec.json.Encoder(decimal_format="string").encode

_SHORT = 256  # characters: below every bound of the envelope
_SMALL = 10**18
_MEMBERS = ("id", "type", "subject", "source", "time", "data")

Identity = tuple[Any, Any]


class Recorded(msgspec.Struct):
    """The body of an entry that the gate wrote."""

    event: dict[str, Any]
    answer: msgspec.Raw


class Answered(NamedTuple):
    """
    Attributes:
        answer: As documented.
        durable: Resolves when it is on disk, raises if it cannot be; None if nothing was recorded.
        encoded: The answer as it was recorded, byte for byte; None if nothing was.
    """

    answer: dict[str, Any]
    durable: Awaitable[Any] | None = None
    encoded: bytes | None = None


class Earlier(NamedTuple):
    """The command was given before, and its answer has to be read from the log at this seq."""

    seq: int


class Answers:
    """The last answers, so that a retry finds its own before it is on disk."""

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[str, int], bytes] = OrderedDict()

    def put(self, namespace: str, seq: int, answer: bytes) -> None:
        self._answers[namespace, seq] = answer
        if len(self._answers) > MAX_REMEMBERED_ANSWERS:
            self._answers.popitem(last=False)

    def get(self, namespace: str, seq: int) -> bytes | None:
        return self._answers.get((namespace, seq))


class Commands:
    """
    The way into the log for everything the gate does.

    Args:
        core: With its sequencer and committer.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._answers = Answers()
        self._key: str | None = None
        self._request = ""

    def under(self, key: str, request: str) -> Commands:
        """The same, for one command that came with an `Idempotency-Key`."""
        keyed = copy(self)
        keyed._key, keyed._request = key, request
        return keyed

    def under_key(self, tenant: Tenant) -> Earlier | None:
        """
        The command that came under this key before, if its answer was lost in a crash: others are
        answered before they get here (K17).

        Raises:
            Rejected: `idempotency_key_reused`: it was another request.
        """
        if self._key is None or self._key not in tenant.live.gate.keyed:
            return None
        request, seq = tenant.live.gate.keyed[self._key]
        if request != self._request:
            raise Rejected(
                "idempotency_key_reused", "This Idempotency-Key was used for a different request."
            )
        return Earlier(seq)

    def earlier(self, tenant: Tenant, event: Event) -> tuple[Identity, Answered | Earlier | None]:
        """
        Whether this very command was given before.

        Returns:
            Its identity, and what it was answered; None if it is new.

        Raises:
            Refused: `event_conflict`: its id was used for something else.
            Unavailable: Nothing can be recorded now.
        """
        self._core.committer.admit()
        identity = identities(tenant.seed, [event])
        verdict, seq = self._core.sequencer.peek(*identity)
        if verdict is Verdict.CONFLICT:
            raise Refused("event_conflict", f"The id {event.id!r} was used for something else.")
        if verdict is Verdict.ACCEPTED:
            return identity, None
        known = self._answers.get(tenant.name, seq)
        if known is None:
            return identity, Earlier(seq)
        return identity, Answered(msgspec.json.decode(known), self._on_disk(seq), known)

    def record(
        self,
        tenant: Tenant,
        event: Event,
        identity: Identity,
        now: int,
        effects: Sequence[Effect],
        answer: Callable[[int], dict[str, Any]],
        *,
        is_usage: bool = False,
        is_paid: bool = False,
    ) -> Answered:
        """
        Apply effects, and record them with the event they come from.

        Args:
            answer: From the command's seq to what is answered, asked after everything was applied.
            is_usage: Whether the event is counted by the meters.
            is_paid: Whether it burns no credit, because something else has paid for it.

        Raises:
            Rejected: `invalid_quantity`: the event has no value a meter can count; nothing changed.
        """
        core = self._core
        if self._key is not None:
            effects = [*effects, Keyed(event.subject, key=self._key, request=self._request)]
        seq, applied = core.sequencer.accept_one(
            tenant, event, identity, now, effects, is_usage=is_usage, is_paid=is_paid
        )
        if is_usage:
            tenant.rate.add(now // SECOND, 1)
        told = answer(seq)
        if core.feed.watched(tenant.name):
            for customer in {effect.customer for effect in applied}:
                core.feed.changed(tenant, customer)
        encoded = encode_answer(told)
        self._answers.put(tenant.name, seq, encoded)
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(error: TaximeterError | None) -> None:
            if not durable.done():
                durable.set_result(None) if error is None else durable.set_exception(error)

        entry = Entry(
            tenant.name,
            now,
            Format.OBJECT,
            b"\x00",
            encode(Recorded(_members(event), msgspec.Raw(encoded))),
            KIND_CONSUME if is_usage else KIND_COMMAND,
            encode_effects(applied) if applied else b"",
        )
        core.committer.submit(entry, done)
        return Answered(told, durable, encoded)

    def record_own(
        self, tenant: Tenant, what: str, customer: str, effects: Sequence[Effect], now: int
    ) -> bool:
        """
        Record what the node does by itself. Nobody waits for it: after a crash it is done again.

        Returns:
            Whether it was done; nothing can be recorded while the log takes nothing.
        """
        if self._core.committer.failure is not None or self._core.committer.full is not None:
            return False
        event = command_event(what, f"{now}:{self._core.sequencer.position}", customer, {})
        identity = identities(tenant.seed, [event])
        answered = self.record(tenant, event, identity, now, effects, lambda _seq: {})
        assert answered.durable is not None, "it was recorded"
        # What goes wrong is told to everybody by the committer.
        asyncio.ensure_future(answered.durable).add_done_callback(lambda done: done.exception())
        return True

    def let_time_pass(self, tenant: Tenant, customers: Sequence[str], now: int) -> None:
        """Record what time alone has done to customers (an expiry, a lapse), so that an answer
        about them is exact."""
        due = [key for key in customers if tenant.live.gate.is_due(key, now)]
        if due:
            self.record_own(tenant, "time", due[0], [Advance(key) for key in due], now)

    def so_far(self) -> Awaitable[None] | None:
        """
        Resolves when everything decided so far is on disk, None if it is: a crash must not undo
        what a refusal was given for.
        """
        position = self._core.sequencer.position
        return None if self._core.committer.position >= position else self._on_disk(position)

    async def _on_disk(self, seq: int) -> None:
        """Raises what keeps it from getting there."""
        if not await self._core.committer.settled(seq):
            self._core.committer.ready()


def command_event(what: str, command_id: str, customer: str, data: dict[str, Any]) -> Event:
    """A command in the form of an event; its source is `taximeter/{what}`, its data the request."""
    event = Event(
        id=command_id,
        type=f"taximeter.{what}",
        subject=customer,
        source=f"taximeter/{what}",
        data=data,
    )
    return canonical(event)


def canonical(event: Event) -> Event:
    """
    As it would be read back: within bounds, each number in its one form.

    Nearly every event is that already, which is quickly seen; the others go through the same door
    as those of senders.

    Raises:
        Rejected: It is not within bounds.
    """
    if _is_canonical(event):
        return event
    return decode(encode(_members(event)), Format.OBJECT).events[0]


def _is_canonical(event: Event) -> bool:
    """Whether it certainly is: short printable ASCII names, flat and short data, small integers."""
    names = f"{event.id}{event.type}{event.subject}{event.source}"
    if not (event.id and event.type and event.subject) or len(names) > _SHORT:
        return False
    if not (names.isascii() and names.isprintable()):
        return False
    length = 0
    for name, value in () if event.data is None else event.data.items():
        kind = value.__class__
        length += len(name)
        if kind is str:
            length += len(value)
        elif kind is int:
            if not -_SMALL < value < _SMALL:
                return False
        elif kind is not bool and (kind is not dict or value):
            return False
    return length <= _SHORT


def _members(event: Event) -> dict[str, Any]:
    """Those it has: one that is null would make the reader look twice."""
    return {name: value for name in _MEMBERS if (value := getattr(event, name)) is not None}
