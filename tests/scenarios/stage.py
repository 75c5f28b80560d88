"""
The stage: one namespace of a sandbox node, with the clock in hand.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tests.integration.scene import Scene
from tests.scenarios import verbs_billing, verbs_contract, verbs_credit, verbs_usage
from tests.scenarios.grammar import Lines, do
from tests.scenarios.script import Script, Step
from tests.scenarios.words import Words
from tests.serving import Served

VERBS = (verbs_billing, verbs_contract, verbs_credit, verbs_usage)


def perform(script: Script, server: Served) -> list[Lines]:
    """Play a scenario in a namespace of its own; the answers, step by step."""
    stage = Stage(script, server)
    return [stage.perform(step) for step in script.steps]


class Stage:
    """
    Attributes:
        subscriptions: Customer -> id of its subscription.
        events: How many the scenario has sent; numbers their ids.
        payments: How many were made; numbers theirs.
        invoices: Number -> id, of those it has issued.
    """

    def __init__(self, script: Script, server: Served) -> None:
        self._scene = Scene(server)
        self._zone = script.zone
        self._catalogue = script.catalogue
        self._now: datetime | None = None
        self.words = Words(script.zone)
        self.zone = str(script.zone)
        self.subscriptions: dict[str, str] = {}
        self.events = 0
        self.payments = 0
        self.invoices: dict[str, str] = {}

    def perform(self, step: Step) -> Lines:
        if step.at != self._now:
            self._scene.set_clock(_utc(step.at))
            self._now = step.at
        if self._catalogue:
            self._publish()
        try:
            return do(self, step.command)
        except Exception as error:
            error.add_note(f"in line {step.line}: {step.command}")
            raise

    def _publish(self) -> None:
        body = self._catalogue.encode()
        reply = self._scene.raw("PUT", "/v1/catalog", body, {"Content-Type": "application/yaml"})
        assert reply.status == 200, reply.text
        self._catalogue = ""

    def ask(
        self, method: str, path: str, body: Any = None, **query: Any
    ) -> tuple[Any, Lines | None]:
        """The answer, and if it is a refusal the lines that say so."""
        reply = self._scene.raw(method, path, body, **query)
        answer = reply.json() if reply.body else {}
        if reply.status >= 400:
            return answer, self.words.problem(reply.status, answer)
        return answer, None

    def instant(self, text: str) -> str:
        """A local date and time of the script, as the API wants it."""
        return _utc(datetime.fromisoformat(text).replace(tzinfo=self._zone))


def _utc(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
