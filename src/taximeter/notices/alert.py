"""
Alerts: which numbers are watched, and where the lines are.

    {"on": "usage",    "feature": "chat", "thresholds": ["80%", "100%", 5000]}
    {"on": "usage",    "feature": "chat", "thresholds": ["80%"], "window": "first_use:5h"}
    {"on": "balance",  "credit": "usd",   "thresholds": [10, 0]}
    {"on": "budget",   "budget": "team",  "thresholds": ["90%"]}
    {"on": "forecast", "feature": "chat", "within": "3d"}

Usage crosses a line upwards, by reaching it; a balance downwards, by falling to it or below.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any, Final

import msgspec

from taximeter.catalog.durations import DURATION_RULE, format_duration, parse_duration
from taximeter.catalog.features import Reset
from taximeter.errors import Rejected
from taximeter.notices.readings import usage_name
from taximeter.notices.thresholds import Threshold, read_threshold

MAX_THRESHOLDS: Final = 20
MAX_RECIPIENTS: Final = 10
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f]{1,256}")
# One address, in the form every mail server takes; nothing that could end a header or begin a
# second recipient.
_MAILBOX: Final = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+"
)


class Subject(StrEnum):
    """What kind of number is watched."""

    USAGE = "usage"
    BALANCE = "balance"
    BUDGET = "budget"
    FORECAST = "forecast"


_NAMED_BY: Final = {
    Subject.USAGE: "feature",
    Subject.BALANCE: "credit",
    Subject.BUDGET: "budget",
    Subject.FORECAST: "feature",
}


class Alert(msgspec.Struct, frozen=True):
    """
    Attributes:
        name: Of the feature, credit type or budget; None for any budget the customer has.
        thresholds: In ascending order, none twice; none for a forecast.
        within: How far a forecast looks ahead, microseconds; 0 for the others.
        window: Key of the customer's limit whose window is watched, like `week`; None: the main
            one.
        customer: Only this one; None for all.
        email: Addresses told beside the webhooks.
    """

    id: str
    on: Subject
    name: str | None
    thresholds: tuple[Threshold, ...] = ()
    within: int = 0
    window: str | None = None
    customer: str | None = None
    email: tuple[str, ...] = ()
    created_at: int = 0

    def watches(self, customer: str) -> bool:
        return self.customer is None or self.customer == customer

    @property
    def number(self) -> str | None:
        """What names the number among the readings of its kind; None for every budget."""
        return self.name if self.window is None else usage_name(str(self.name), self.window)

    def to_json(self) -> dict[str, Any]:
        """The document `read_alert` reads, without id and instant."""
        document: dict[str, Any] = {"on": self.on.value, _NAMED_BY[self.on]: self.name}
        if self.on is Subject.FORECAST:
            document["within"] = format_duration(self.within)
        else:
            document["thresholds"] = [one.text for one in self.thresholds]
        if self.window is not None:
            document["window"] = self.window
        document["customer"] = self.customer
        document["email"] = list(self.email)
        return document


def read_alert(alert_id: str, document: Any, created_at: int = 0) -> Alert:
    """
    Raises:
        Rejected: `alert_invalid`, saying which member and what it may be.
    """
    if not isinstance(document, dict):
        raise _invalid("An alert is an object such as {'on': 'usage', ...}.")
    if document.get("on") not in list(Subject):
        raise _invalid(f"on: one of {', '.join(Subject)}.")
    on = Subject(document["on"])
    named_by = _NAMED_BY[on]
    own = "within" if on is Subject.FORECAST else "thresholds"
    known = {"on", named_by, own, "customer", "email"}
    if named_by == "feature":
        known.add("window")
    _only(document, known, on)
    window = _window(document.get("window"))
    name = _name(document, named_by, needed=on is not Subject.BUDGET)
    customer = _name(document, "customer", needed=False)
    email = read_recipients(document.get("email"))
    if on is Subject.FORECAST:
        within = parse_duration(document.get("within"))
        if within is None:
            raise _invalid(f"within: {DURATION_RULE}.")
        return Alert(alert_id, on, name, (), within, window, customer, email, created_at)
    lines = _thresholds(document.get("thresholds"), shares=on is not Subject.BALANCE)
    return Alert(alert_id, on, name, lines, 0, window, customer, email, created_at)


def read_recipients(value: Any, code: str = "alert_invalid") -> tuple[str, ...]:
    """
    Mail addresses, none twice; none for None.

    Raises:
        Rejected: With this code.
    """
    found = [] if value is None else value
    if not isinstance(found, list) or len(found) > MAX_RECIPIENTS:
        raise Rejected(code, f"email: a list of at most {MAX_RECIPIENTS} addresses.")
    for address in found:
        if not isinstance(address, str) or len(address) > 254 or not _MAILBOX.fullmatch(address):
            raise Rejected(
                code, f"email: {str(address)[:60]!r} is not an address like ops@example.com."
            )
    return tuple(dict.fromkeys(found))


def _only(document: dict[str, Any], known: set[str], on: Subject) -> None:
    unknown = sorted(document.keys() - known)
    if unknown:
        raise _invalid(
            f"{unknown[0]}: not a member of an alert on {on.value}, which has "
            f"{', '.join(sorted(known))}."
        )


def _window(value: Any) -> str | None:
    """The key of a limit, in its one form: `first_use:300m` is `first_use:5h`."""
    if value is None:
        return None
    lasting = (Reset.ROLLING, Reset.FIRST_USE)
    kind, _, length = value.partition(":") if isinstance(value, str) else ("", "", "")
    if kind in lasting and (length_us := parse_duration(length)) is not None:
        return f"{kind}:{format_duration(length_us)}"
    simple = [one.value for one in Reset if one not in lasting]
    if value in simple:
        return str(value)
    raise _invalid(f"window: one of {', '.join(simple)}, or like first_use:5h or rolling:24h.")


def _name(document: dict[str, Any], member: str, *, needed: bool) -> str | None:
    name = document.get(member)
    if name is None and not needed:
        return None
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _invalid(f"{member}: a name of 1 to 256 characters.")
    return name


def _thresholds(values: Any, *, shares: bool) -> tuple[Threshold, ...]:
    if not isinstance(values, list) or not 1 <= len(values) <= MAX_THRESHOLDS:
        example = '["80%", "5000"]' if shares else '["10", "0"]'
        raise _invalid(f"thresholds: a list of 1 to {MAX_THRESHOLDS}, such as {example}.")
    read = {one.text: one for one in (read_threshold(value, shares=shares) for value in values)}
    if shares and any(one.pico <= 0 for one in read.values()):
        raise _invalid("thresholds: usage begins at 0, so a threshold is above it.")
    return tuple(sorted(read.values(), key=lambda one: (one.is_share, one.pico)))


def _invalid(message: str) -> Rejected:
    return Rejected("alert_invalid", message)
