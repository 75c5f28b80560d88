"""
WSGI middleware: counts requests, and refuses what the gate refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Any

from taximeter_sdk.client import Taximeter
from taximeter_sdk.decision import Decision
from taximeter_sdk.quantities import Amount
from taximeter_sdk.web.refusals import rate_limit_fields, refusal_of
from taximeter_sdk.web.requests import Mode, Rules

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]


class TaximeterWSGI:
    """
        app.wsgi_app = TaximeterWSGI(app.wsgi_app, meter=meter, feature="api", mode="check",
                                     customer=lambda environ: environ.get("HTTP_X_ORG"))

    Args:
        customer: From the WSGI environ; None lets a request through unmetered.
        mode, feature, type, amount: See `web.requests.Rules`.
    """

    def __init__(
        self,
        app: Application,
        *,
        meter: Taximeter,
        customer: Callable[[Environ], str | None],
        mode: Mode = "count",
        feature: str | None = None,
        type: str = "http.request",
        amount: Amount = 1,
    ) -> None:
        self.app = app
        self.meter = meter
        self.rules = Rules(meter, customer, mode, feature, type, amount)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        customer = self.rules.customer(environ)
        if customer is None:
            return self.app(environ, start_response)
        decision = self._decide(customer)
        if decision is not None and not decision:
            refusal = refusal_of(decision)
            start_response(_status(refusal.status), list(refusal.headers))
            return [refusal.body]
        fields = [] if decision is None else rate_limit_fields(decision)
        counted = _Counted(self.rules, customer, environ)

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            counted.status = int(status.split(" ", 1)[0])
            return start_response(status, [*headers, *fields], *rest)

        try:
            counted.body = self.app(environ, start)
        except BaseException:
            counted.close()
            raise
        return counted

    def _decide(self, customer: str) -> Decision | None:
        rules = self.rules
        if rules.mode == "count" or rules.feature is None:
            return None
        ask = self.meter.check if rules.mode == "check" else self.meter.consume
        return ask(customer, rules.feature, rules.amount)


class _Counted:
    """The body; servers call `close` when it was sent, or when the client went away."""

    def __init__(self, rules: Rules, customer: str, environ: Environ) -> None:
        self.status = 500
        self.body: Iterable[bytes] = ()
        self._rules, self._customer, self._environ = rules, customer, environ
        self._done = False

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.body)

    def close(self) -> None:
        try:
            close = getattr(self.body, "close", None)
            if close is not None:
                close()
        finally:
            if not self._done:
                self._done = True
                environ = self._environ
                path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
                self._rules.count(self._customer, environ["REQUEST_METHOD"], path, self.status)


def _status(code: int) -> str:
    return f"{code} {HTTPStatus(code).phrase}"
