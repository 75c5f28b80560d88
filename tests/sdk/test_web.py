"""
Middleware, dependency and tasks: refused with an answer a client can act on, counted once.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Annotated, Any
from wsgiref.util import setup_testing_defaults

import httpx
import pytest
from celery import Celery
from fastapi import Depends, FastAPI, Header, Request
from tests.sdk.fake import Fake

from taximeter_sdk import AsyncTaximeter, Decision, OverLimit, Taximeter
from taximeter_sdk.celery import count_tasks
from taximeter_sdk.decision import failed, from_answer
from taximeter_sdk.errors import Unavailable
from taximeter_sdk.fastapi import gate, install
from taximeter_sdk.web import TaximeterMiddleware, TaximeterWSGI, refusal_of


def org(scope: Any) -> str | None:
    return dict(scope["headers"]).get(b"x-org", b"").decode() or None


def get(app: Any, path: str = "/", **headers: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get(path, headers={"X-Org": "acme"} | headers)

    return asyncio.run(ask())


def small_app() -> FastAPI:
    app = FastAPI()

    @app.get("/items/{number}")
    def item(number: int) -> dict[str, int]:
        return {"number": 1 // number}

    return app


# --- the answer -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({"reason": "insufficient_credit"}, 402),
        ({"reason": "no_subscription"}, 402),
        ({"reason": "not_entitled"}, 403),
        ({"reason": "unknown_customer"}, 403),
        ({"reason": "rate_limited", "retry_after_s": 3}, 429),
        ({"reason": "limit_reached", "resets_at": "2027-01-01T00:00:00Z"}, 429),
        ({"reason": "limit_reached", "resets_at": None}, 402),
        ({"reason": "something_new"}, 403),
    ],
)
def test_the_status_says_what_would_help(answer: dict[str, Any], status: int) -> None:
    refusal = refusal_of(from_answer("chat", {"allowed": False, **answer}))
    assert refusal.status == status
    assert refusal.problem["status"] == status
    assert refusal.problem["code"] == answer["reason"]
    assert ("Retry-After" in dict(refusal.headers)) == (status == 429)


def test_our_own_absence_is_a_503() -> None:
    refusal = refusal_of(failed("chat", opened=False, error=Unavailable("unreachable", "away")))
    assert refusal.status == 503
    assert dict(refusal.headers)["Retry-After"] == "1"


def test_rate_limit_fields_are_whole_and_rounded_down() -> None:
    decision = from_answer(
        "chat",
        {
            "allowed": False,
            "reason": "limit_reached",
            "limit": "10.5",
            "remaining": "0.9",
            "resets_at": "2026-12-01T00:00:00Z",
            "as_of": {"time": "2026-11-30T23:59:00.5Z"},
        },
    )
    headers = dict(refusal_of(decision).headers)
    assert headers["RateLimit"] == '"chat";r=0;t=60'
    assert headers["RateLimit-Policy"] == '"chat";q=10'
    assert headers["Retry-After"] == "60"


# --- ASGI -------------------------------------------------------------------------------------


def test_requests_are_counted_by_route_and_status(fake: Fake) -> None:
    with Taximeter(fake.url) as meter:
        app = small_app()
        app.add_middleware(TaximeterMiddleware, meter=meter, customer=org)
        assert get(app, "/items/7").status_code == 200
        assert get(app, "/items/x").status_code == 422
        assert get(app, "/items/0").status_code == 500
        assert get(app, "/items/7", **{"X-Org": ""}).status_code == 200
    data = [(event["type"], event["data"]["status"]) for event in fake.events.values()]
    assert data == [("http.request", 200), ("http.request", 422)]
    assert {event["data"]["path"] for event in fake.events.values()} == {"/items/{number}"}


@pytest.mark.parametrize("kind", [Taximeter, AsyncTaximeter])
def test_consuming_middleware_refuses_over_the_limit(fake: Fake, kind: Any) -> None:
    fake.limit = Decimal(2)
    meter = kind(fake.url)
    app = TaximeterMiddleware(
        small_app(), meter=meter, customer=org, feature="chat", mode="consume"
    )
    first, second, third = (get(app, "/items/7") for _ in range(3))
    assert (first.status_code, second.status_code, third.status_code) == (200, 200, 402)
    assert second.headers["ratelimit"] == '"chat";r=1'
    assert third.headers["content-type"] == "application/problem+json"
    assert third.json()["code"] == "limit_reached"
    assert fake.used == 2
    closed = meter.close()
    if kind is AsyncTaximeter:
        asyncio.run(closed)


def test_checking_middleware_counts_what_was_answered(fake: Fake) -> None:
    fake.limit = Decimal(1)
    with Taximeter(fake.url) as meter:
        app = TaximeterMiddleware(
            small_app(), meter=meter, customer=org, feature="chat", mode="check"
        )
        assert get(app, "/items/0").status_code == 500
        assert get(app, "/items/7").status_code == 200
        meter.flush()
        assert fake.used == 1
        assert get(app, "/items/7").status_code == 402


def test_middleware_that_cannot_work_is_refused_at_once() -> None:
    meter = Taximeter("http://127.0.0.1:9")
    with pytest.raises(ValueError, match="needs a feature"):
        TaximeterMiddleware(small_app(), meter=meter, customer=org, mode="check")
    with pytest.raises(ValueError, match="one of"):
        TaximeterMiddleware(small_app(), meter=meter, customer=org, mode="chek")  # type: ignore[arg-type]


# --- WSGI -------------------------------------------------------------------------------------


def wsgi(app: Any, org_key: str = "acme") -> tuple[int, dict[str, str], bytes]:
    environ: dict[str, Any] = {"HTTP_X_ORG": org_key}
    setup_testing_defaults(environ)
    seen: dict[str, Any] = {}

    def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> None:
        seen.update(status=int(status[:3]), headers=dict(headers))

    body: Iterable[bytes] = app(environ, start)
    content = b"".join(body)
    close: Callable[[], None] | None = getattr(body, "close", None)
    if close is not None:
        close()
    return seen["status"], seen["headers"], content


def hello(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"hello"


def by_header(environ: dict[str, Any]) -> str | None:
    return environ.get("HTTP_X_ORG") or None


def test_wsgi_requests_are_counted_when_they_were_answered(fake: Fake) -> None:
    with Taximeter(fake.url) as meter:
        app = TaximeterWSGI(hello, meter=meter, customer=by_header)
        assert wsgi(app) == (200, {"Content-Type": "text/plain"}, b"hello")
        assert wsgi(app, "")[0] == 200
    (event,) = fake.events.values()
    assert event["data"] == {"method": "GET", "path": "/", "status": 200}


def test_wsgi_requests_over_the_limit_are_refused(fake: Fake) -> None:
    fake.limit = Decimal(1)
    with Taximeter(fake.url) as meter:
        app = TaximeterWSGI(hello, meter=meter, customer=by_header, feature="chat", mode="consume")
        assert wsgi(app)[1]["RateLimit"] == '"chat";r=1'
        status, headers, body = wsgi(app)
    assert status == 402
    assert headers["Content-Type"] == "application/problem+json"
    assert json.loads(body)["left"] == "0"


# --- FastAPI ----------------------------------------------------------------------------------


def test_a_dependency_gives_the_decision_or_refuses(fake: Fake) -> None:
    fake.limit = Decimal(1)
    meter = AsyncTaximeter(fake.url)
    app = FastAPI()
    install(app)

    def caller(x_org: Annotated[str, Header()]) -> str:
        return x_org

    allowed = gate(meter, "chat", customer=caller, mode="consume")

    @app.get("/")
    def page(decision: Decision = Depends(allowed)) -> dict[str, str]:
        return {"reason": decision.reason}

    first = get(app)
    assert first.json() == {"reason": "within_limit"}
    assert first.headers["ratelimit"] == '"chat";r=1'
    second = get(app)
    assert second.status_code == 402
    assert second.headers["content-type"] == "application/problem+json"
    assert get(app, **{"X-Org": "acme"}).status_code == 402
    asyncio.run(meter.close())


def test_a_refused_hold_is_answered_with_its_problem(fake: Fake) -> None:
    fake.limit = Decimal(0)
    meter = AsyncTaximeter(fake.url)
    app = FastAPI()
    install(app)

    @app.get("/")
    async def page(request: Request) -> str:
        async with meter.reserve("acme", "chat", up_to=10):
            return "never"

    answer = get(app)
    assert answer.status_code == 402
    assert answer.json()["code"] == "limit_reached"
    asyncio.run(meter.close())


# --- Celery -----------------------------------------------------------------------------------


def test_a_task_counts_once_however_often_it_runs(fake: Fake) -> None:
    celery = Celery("test", broker="memory://", backend="cache+memory://")
    celery.conf.task_always_eager = True
    celery.conf.task_eager_propagates = False

    @celery.task(bind=True, name="report", max_retries=3, default_retry_delay=0)
    def report(task: Any, org: str | None, fail: int = 0) -> str:
        if task.request.retries < fail:
            raise task.retry(countdown=0)
        return "done"

    @celery.task(name="broken")
    def broken(org: str) -> None:
        raise KeyError

    with Taximeter(fake.url) as meter:
        stop = count_tasks(
            meter,
            customer=lambda task, args, kwargs: kwargs.get("org"),
            data=lambda task, result: {"result": result},
        )
        try:
            report.apply(kwargs={"org": "acme"}, task_id="t1")
            report.apply(kwargs={"org": "acme"}, task_id="t1")  # redelivered after a lost worker
            report.apply(kwargs={"org": "acme", "fail": 2}, task_id="t2")
            report.apply(kwargs={"org": None}, task_id="t3")
            broken.apply(kwargs={"org": "acme"}, task_id="t4")
        finally:
            stop()
        report.apply(kwargs={"org": "acme"}, task_id="t5")
        assert meter.flush()
        assert (meter.stats.accepted, meter.stats.duplicates) == (2, 1)
    assert {event_id for _, event_id in fake.events} == {"celery:t1", "celery:t2"}
    event = fake.events["", "celery:t1"]
    assert event["data"] == {"task": "report", "result": "done"}
    assert "time" not in event


def test_over_limit_reads_as_a_sentence(fake: Fake) -> None:
    decision = from_answer("chat", {"allowed": False, "reason": "limit_reached"})
    assert str(OverLimit(decision)) == "chat: limit reached. [limit_reached]"
