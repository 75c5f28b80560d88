"""Signed-in browsers: how long, how many."""

from __future__ import annotations

from taximeter.adapters.console.sessions import Sessions

DIGEST = b"d" * 32


class Time:
    now = 1_000


def sessions(limit: int = 3, lifetime_us: int = 100) -> tuple[Sessions, Time]:
    time = Time()
    return Sessions(lambda: time.now, lifetime_us=lifetime_us, limit=limit), time


def test_a_session_stands_for_its_key_until_but_not_at_its_end() -> None:
    held, time = sessions()
    session_id = held.begin(DIGEST)
    time.now += 99
    assert held.key_digest(session_id) == DIGEST
    time.now += 1
    assert held.key_digest(session_id) is None


def test_an_ended_session_stands_for_nothing_and_others_go_on() -> None:
    held, _ = sessions()
    ended, other = held.begin(DIGEST), held.begin(DIGEST)
    held.end(ended)
    held.end("never was")
    assert held.key_digest(ended) is None
    assert held.key_digest(other) == DIGEST


def test_the_oldest_session_gives_way_when_there_are_too_many() -> None:
    held, _ = sessions(limit=3)
    ids = [held.begin(DIGEST) for _ in range(5)]
    assert [held.key_digest(one) is not None for one in ids] == [False, False, True, True, True]
    assert len(held) == 3


def test_ended_sessions_are_forgotten_before_living_ones_give_way() -> None:
    held, time = sessions(limit=2)
    held.begin(DIGEST)
    time.now += 60
    living = held.begin(DIGEST)
    time.now += 60
    held.begin(DIGEST)
    assert held.key_digest(living) == DIGEST
    assert len(held) == 2


def test_ids_cannot_be_guessed() -> None:
    held, _ = sessions(limit=100)
    ids = {held.begin(DIGEST) for _ in range(100)}
    assert len(ids) == 100
    assert min(map(len, ids)) >= 43  # 256 bits
