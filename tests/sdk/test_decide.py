"""
Asking the gate: an answer always, and the fail policy when there is nobody to give one.
"""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from typing import Any

import pytest
from tests.sdk.fake import Fake, dropped, late, lost, status

from taximeter_sdk import AsyncTaximeter, OverLimit, Rejected, Taximeter, Unavailable
from taximeter_sdk.decision import from_answer

AWAY = "http://127.0.0.1:9"


def test_a_decision_says_yes_or_no_and_why(fake: Fake) -> None:
    with Taximeter(fake.url) as meter:
        yes, no = meter.check("acme", "chat", 1000), meter.check("acme", "chat", 1001)
    assert yes
    assert (yes.reason, yes.left, yes.decided_by) == ("within_limit", Decimal(1000), "server")
    assert not no
    assert (no.reason, no.limit, no.used, no.level) == ("limit_reached", 1000, 0, "customer")
    assert yes.overshoot_bound == 0
    assert yes.staleness_s == 0


def test_retry_after_is_the_time_until_the_reset_by_the_servers_clock() -> None:
    refused = {
        "allowed": False,
        "reason": "limit_reached",
        "resets_at": "2026-12-01T00:00:00Z",
        "as_of": {"position": "0:1", "time": "2026-11-30T23:59:30Z"},
    }
    assert from_answer("chat", refused).retry_after == 30
    assert from_answer("chat", refused | {"retry_after_s": 2}).retry_after == 2
    assert from_answer("chat", refused | {"allowed": True}).retry_after is None


def test_a_consume_counts_once_however_often_it_is_repeated(fake: Fake) -> None:
    with Taximeter(fake.url) as meter:
        first = meter.consume("acme", "chat", 5, id="r1")
        again = meter.consume("acme", "chat", 5, id="r1")
    assert (first.seq, first.balance_after) == (again.seq, again.balance_after) == (1, 995)
    assert fake.used == 5


def test_a_consume_whose_answer_got_lost_is_asked_again_and_counts_once(fake: Fake) -> None:
    fake.next(lost)
    with Taximeter(fake.url) as meter:
        assert meter.consume("acme", "chat", 5).decided_by == "server"
    assert fake.used == 5


@pytest.mark.parametrize("fault", [dropped, status(503), status(500), late(1)])
@pytest.mark.parametrize("fail", ["closed", "open", "lease"])
def test_without_an_answer_the_fail_policy_decides(fake: Fake, fault: Any, fail: Any) -> None:
    fake.next(fault, fault)
    with Taximeter(fake.url, fail=fail, timeout=0.3) as meter:
        decision = meter.check("acme", "chat")
        assert bool(decision) == (fail == "open")
        by = "fail_open" if fail == "open" else "fail_closed"
        assert (decision.reason, decision.decided_by) == ("server_unavailable", by)
        assert isinstance(decision.error, Unavailable)
        assert meter.stats.failed_open + meter.stats.failed_closed == 1
        assert "did not answer" in decision.sentence()


def test_the_default_is_closed_until_the_catalogue_says_otherwise(fake: Fake) -> None:
    with Taximeter(fake.url) as meter:
        assert meter.check("acme", "free")
        deadline = time.monotonic() + 60
        while meter._engine.catalogue.fail_of("free") is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        fake.away = True
        assert meter.check("acme", "free").decided_by == "fail_open"
        assert meter.check("acme", "chat").decided_by == "fail_closed"
        fake.away = False


def test_what_was_let_through_is_counted_afterwards(fake: Fake) -> None:
    fake.away = True
    with Taximeter(fake.url, fail={"chat": "open"}) as meter:
        decision = meter.consume("acme", "chat", 5, id="r1", data={"model": "opus"})
        assert decision.decided_by == "fail_open"
        assert not meter.consume("acme", "export")
        fake.away = False
        assert meter.flush(20)
    assert fake.used == 5
    assert fake.events["taximeter/consume", "r1"]["data"] == {"model": "opus", "tokens": 5}


def test_let_through_after_a_lost_answer_still_counts_once(fake: Fake) -> None:
    fake.next(lost, lost)
    refused: list[Any] = []
    with Taximeter(fake.url, fail="open", on_reject=refused.append) as meter:
        assert meter.consume("acme", "chat", 5, id="r1").decided_by == "fail_open"
        assert meter.flush(20)
        assert meter.stats.duplicates == 1
    assert fake.used == 5
    assert not refused


def test_a_server_that_is_away_is_not_waited_for_by_every_request(fake: Fake) -> None:
    fake.next(*[late(0.3)] * 20)
    with Taximeter(fake.url, timeout=0.1) as meter:
        for _ in range(3):
            meter.check("acme", "chat")
        started = time.monotonic()
        for _ in range(100):
            meter.check("acme", "chat")
        assert time.monotonic() - started < 3


def test_it_asks_again_soon_after(fake: Fake) -> None:
    fake.away = True
    with Taximeter(fake.url) as meter:
        for _ in range(5):
            assert not meter.check("acme", "chat")
        fake.away = False
        time.sleep(0.6)
        assert meter.check("acme", "chat").decided_by == "server"


def test_strict_raises_instead() -> None:
    with Taximeter(AWAY, strict=True) as meter, pytest.raises(Unavailable):
        meter.check("acme", "chat")


def test_a_wrong_key_is_no_answer_either(fake: Fake) -> None:
    fake.next(status(401))
    with Taximeter(fake.url) as meter:
        decision = meter.check("acme", "chat")
        assert decision.decided_by == "fail_closed"
        assert isinstance(decision.error, Rejected)


def test_a_callers_mistake_in_consume_is_raised(fake: Fake) -> None:
    fake.next(status(409), status(422))
    with Taximeter(fake.url, fail="open") as meter:
        for _ in range(2):
            with pytest.raises(Rejected):
                meter.consume("acme", "chat", id="r1")
    assert fake.used == 0


@pytest.mark.parametrize("amount", [-1, "x", Decimal("NaN"), Decimal("1e-13"), 10**26])
def test_an_amount_that_is_no_quantity_is_refused_here(amount: Any) -> None:
    with Taximeter(AWAY) as meter, pytest.raises(ValueError):
        meter.check("acme", "chat", amount)


@pytest.mark.parametrize(
    "wrong",
    [{"url": "localhost:8080"}, {"fail": "maybe"}, {"overflow": "x"}, {"batch": 0}, {"timeout": 0}],
)
def test_settings_that_cannot_work_are_refused_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Taximeter(**({"url": AWAY} | wrong))


def test_url_and_key_come_from_the_environment(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAXIMETER_URL", fake.url)
    monkeypatch.setenv("TAXIMETER_KEY", "tm_x")
    with Taximeter() as meter:
        assert meter.options.key == "tm_x"
        assert meter.check("acme", "chat")


def test_a_metered_function_is_checked_before_and_counted_after(fake: Fake) -> None:
    with Taximeter(fake.url) as meter:

        @meter.metered("chat", customer=lambda who, pages: who, amount=len)
        def report(who: str, pages: int) -> str:
            return "x" * pages

        assert report("acme", 700) == "x" * 700
        meter.flush()
        assert fake.used == 700
        fake.limit = Decimal(700)
        with pytest.raises(OverLimit) as refused:
            report("acme", 1)
        assert refused.value.decision.reason == "limit_reached"


def test_a_metered_function_that_fails_is_not_counted(fake: Fake) -> None:
    with Taximeter(fake.url) as meter:

        @meter.metered("chat", customer="acme")
        def report() -> None:
            raise KeyError

        with pytest.raises(KeyError):
            report()
        assert meter.stats.tracked == 0


def test_the_asyncio_meter_decides_the_same_way(fake: Fake) -> None:
    async def story() -> None:
        async with AsyncTaximeter(fake.url, fail={"free": "open"}, timeout=0.5) as meter:
            assert (await meter.check("acme", "chat", 10)).left == 1000
            assert (await meter.consume("acme", "chat", 10, id="r1")).balance_after == 990
            fake.next(lost)
            await meter.consume("acme", "chat", 10, id="r2")
            meter.track("acme", "llm.request", tokens=5)
            assert await meter.flush()

            @meter.metered("chat", customer="acme", amount=3)
            async def work() -> str:
                return "done"

            assert await work() == "done"
            fake.away = True
            assert (await meter.check("acme", "free")).decided_by == "fail_open"
            assert not await meter.check("acme", "chat")
            fake.away = False

    asyncio.run(story())
    assert fake.used == 28


def test_one_asyncio_meter_may_serve_several_loops(fake: Fake) -> None:
    meter = AsyncTaximeter(fake.url)
    for _ in range(2):
        assert asyncio.run(meter.check("acme", "chat"))
    asyncio.run(meter.close())
