"""
Rules: what is done, by itself, when events of a customer look a certain way.

A rule names the events it looks at, what they have to be like, and perhaps how many of them a
rolling window has to hold; then what is done. It is part of the catalogue, so it is versioned,
reviewed and compared like a price. One that does not say otherwise only tries out (`dry_run`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec

from taximeter.catalog.durations import DURATION_RULE, format_duration, parse_duration
from taximeter.catalog.entitlements import ADDITIVE, RESERVED_LEVELS
from taximeter.catalog.features import CUSTOMER, Feature, FeatureType, Rate
from taximeter.catalog.limits import dump_rate, read_rate
from taximeter.errors import Rejected
from taximeter.instants import DAY, MINUTE, SECOND
from taximeter.meters.definition import Meter
from taximeter.meters.expressions import parse_value
from taximeter.meters.filters import parse_filter
from taximeter.meters.reading import Fields, is_key, kind_of, suggestion
from taximeter.quantities import exact_pico, format_quantity

MAX_RULES: Final = 100
"""Each rule for an event's type costs time with every such event."""

MAX_TYPES: Final = 20
MIN_WINDOW_US: Final = 10 * SECOND
MAX_WINDOW_US: Final = 90 * DAY
DEFAULT_COOLDOWN_US: Final = 10 * MINUTE
MEMBERS: Final = (
    "on", "when", "over", "plans", "features", "do", "mode", "cooldown", "reason",
)  # fmt: skip
ACTIONS: Final = ("flag", "notify", "review", "block", "throttle", "change_plan")
_WORDS: Final = ("flag", "notify", "review", "block")


class Mode(StrEnum):
    """Whether a rule looks at nothing, only says when it would fire, or acts."""

    OFF = "off"
    DRY_RUN = "dry_run"
    ON = "on"


class Over(msgspec.Struct, frozen=True):
    """
    How much the window that ends with an event has to hold for a rule to fire.

    Attributes:
        value: Expression of what is summed; None: events are counted.
        more_than_pico: It fires above this, not at it.
        by: The level whose values are looked at one by one: `customer`, or a scope.
    """

    value: str | None
    window_us: int
    more_than_pico: int
    by: str = CUSTOMER


class Blocking(msgspec.Struct, frozen=True):
    """Attributes: `for_us` is for how long; None: until somebody unblocks."""

    for_us: int | None = None


class Throttling(msgspec.Struct, frozen=True):
    """A rate that holds beside those of the plan; `for_us` as of `Blocking`."""

    rate: Rate
    for_us: int | None = None


class PlanChange(msgspec.Struct, frozen=True):
    """Attributes: `at` is "now" or "period_end"."""

    to: str
    at: str = "now"


class Actions(msgspec.Struct, frozen=True):
    """What is done, each at most once."""

    flag: bool = False
    notify: bool = False
    review: bool = False
    block: Blocking | None = None
    throttle: Throttling | None = None
    change_plan: PlanChange | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name in ACTIONS if getattr(self, name))


class Rule(msgspec.Struct, frozen=True):
    """
    Attributes:
        on: Event types.
        when: Filter an event has to pass; None for every event of its types.
        over: None: one event is enough.
        plans: Only customers on one of these; () for all, also those on none.
        features: What a block or a throttle is about; () for all.
        cooldown_us: For how long it does not fire again for the same customer (and value of
            `over.by`).
        reason: What is told to who is refused, and to who reviews.
    """

    key: str
    on: tuple[str, ...]
    actions: Actions
    when: str | None = None
    over: Over | None = None
    plans: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    mode: Mode = Mode.DRY_RUN
    cooldown_us: int = DEFAULT_COOLDOWN_US
    reason: str = ""


class Known(msgspec.Struct, frozen=True):
    """
    What a rule may name.

    Attributes:
        declared: Keys of features, also of those that could not be read.
    """

    declared: Collection[str]
    features: Mapping[str, Feature]
    meters: Mapping[str, Meter]
    plans: Collection[str]


# --- reading ----------------------------------------------------------------------------------


def read_rule(key: str, fields: Fields, known: Known) -> Rule | None:
    """Read one member of `rules`; None, with every problem noted, if it is wrong."""
    if not fields.members:
        fields.problem("", "a rule has at least 'on' and 'do'")
        return None
    before = len(fields.problems)
    fields.only(MEMBERS)
    on = _texts(fields, "on", MAX_TYPES)
    if fields.members.get("on") is None:
        fields.problem("on", "is required: an event type, or a list of them")
    features = _named(fields, "features", known.declared, "feature")
    rule = Rule(
        key=key,
        on=on,
        when=_filter(fields),
        over=_over(fields),
        plans=_named(fields, "plans", known.plans, "plan"),
        features=features,
        actions=_actions(fields, features, known),
        mode=Mode(fields.choice("mode", Mode, default=Mode.DRY_RUN) or Mode.DRY_RUN),
        cooldown_us=_duration(fields, "cooldown") or DEFAULT_COOLDOWN_US,
        reason=fields.text("reason") or "",
    )
    return None if len(fields.problems) > before else rule


def dump_rule(rule: Rule) -> dict[str, Any]:
    """The document `read_rule` reads the same rule from."""
    document: dict[str, Any] = {
        "on": rule.on[0] if len(rule.on) == 1 else list(rule.on),
        "do": _dump_actions(rule.actions),
        "mode": rule.mode.value,
        "cooldown": format_duration(rule.cooldown_us),
    }
    if rule.when is not None:
        document["when"] = rule.when
    if rule.over is not None:
        document["over"] = _dump_over(rule.over)
    for name, values in (("plans", rule.plans), ("features", rule.features)):
        if values:
            document[name] = list(values)
    if rule.reason:
        document["reason"] = rule.reason
    return document


def _texts(fields: Fields, name: str, most: int = 1000) -> tuple[str, ...]:
    """One text or a list of them; without repetition, in their own order."""
    value = fields.members.get(name)
    if value is None:
        return ()
    listed = value if isinstance(value, list | tuple) else [value]
    if not listed or len(listed) > most:
        fields.problem(name, f"expected 1 to {most} names, found {len(listed)}")
    for one in listed[:most]:
        if not isinstance(one, str) or not 1 <= len(one) <= 256:
            fields.problem(name, f"expected text of 1 to 256 characters, found {kind_of(one)}")
            return ()
    return tuple(dict.fromkeys(listed[:most]))


def _named(fields: Fields, name: str, known: Collection[str], what: str) -> tuple[str, ...]:
    found = _texts(fields, name)
    for one in found:
        if one not in known:
            fields.problem(name, f"there is no {what} {one[:40]!r}{suggestion(one, known)}")
    return found


def _filter(fields: Fields) -> str | None:
    value = fields.members.get("when")
    if value is None:
        return None
    if not isinstance(value, str):
        fields.problem("when", f"expected a filter, found {kind_of(value)}")
        return None
    try:
        parse_filter(value)
    except Rejected as error:
        fields.problem("when", error.message)
    return value


def _duration(fields: Fields, name: str) -> int | None:
    """An optional length of time."""
    value = fields.members.get(name)
    if value is None:
        return None
    length_us = parse_duration(value)
    if length_us is None:
        fields.problem(name, f"expected {DURATION_RULE}, found {kind_of(value)}")
    return length_us


def _over(rule: Fields) -> Over | None:
    if rule.members.get("over") is None:
        return None
    fields = rule.inside("over", rule.members["over"])
    fields.only(("count", "sum", "window", "more_than", "by"))
    value = _summed(fields)
    window_us = _duration(fields, "window")
    if "window" not in fields.members:
        fields.problem("window", f"is required: {DURATION_RULE}")
    elif window_us is not None and not MIN_WINDOW_US <= window_us <= MAX_WINDOW_US:
        fields.problem("window", "expected 10s to 90d")
    more_than = fields.members.get("more_than")
    pico = exact_pico(more_than)
    if more_than is None:
        fields.problem("more_than", "is required: it fires above this")
    elif pico is None or pico < 0:
        fields.problem("more_than", f"expected a quantity from 0, found {kind_of(more_than)}")
    by = fields.text("by") or CUSTOMER
    if by != CUSTOMER and (not is_key(by) or by in RESERVED_LEVELS):
        fields.problem("by", f"{by[:40]!r} is no level: customer, or a scope like user")
    return Over(value, window_us or MIN_WINDOW_US, pico or 0, by)


def _summed(fields: Fields) -> str | None:
    """The expression that is summed; None if events are counted."""
    count, value = fields.members.get("count"), fields.members.get("sum")
    if (count is None) == (value is None):
        fields.problem("", "expected one of {count: events} and {sum: data.tokens}")
    elif count is not None:
        if count != "events":
            fields.problem("count", f"expected 'events', found {kind_of(count)}")
    elif not isinstance(value, str):
        fields.problem("sum", f"expected a value like data.tokens, found {kind_of(value)}")
    else:
        try:
            parse_value(value)
        except Rejected as error:
            fields.problem("sum", error.message)
        return value
    return None


# --- what is done -----------------------------------------------------------------------------


def _actions(rule: Fields, features: tuple[str, ...], known: Known) -> Actions:
    value = rule.members.get("do")
    listed = value if isinstance(value, list | tuple) else [] if value is None else [value]
    if not listed:
        rule.problem("do", f"is required: one or more of {', '.join(ACTIONS)}")
    found: dict[str, Any] = {}
    for index, one in enumerate(listed[: len(ACTIONS) + 1]):
        name, settings = _action(rule, f"do[{index}]", one)
        if name in found:
            rule.problem(f"do[{index}]", f"{name} is named twice")
        elif name is not None:
            found[name] = _settings(rule, f"do[{index}].{name}", name, settings, known)
    if found.get("throttle") is not None:
        _check_countable(rule, features, known)
    return Actions(**found)


def _action(rule: Fields, path: str, document: object) -> tuple[str | None, object]:
    """The name of an action, and its settings."""
    if isinstance(document, dict) and len(document) == 1:
        ((name, settings),) = document.items()
    else:
        name, settings = document, None
    if not isinstance(name, str):
        rule.problem(
            path, f"expected an action like notify or {{block: {{for: 1h}}}}, found {kind_of(name)}"
        )
    elif name not in ACTIONS:
        rule.problem(path, f"there is no action {name[:40]!r}{suggestion(name, ACTIONS)}")
    elif settings is None and name not in _WORDS:
        rule.problem(path, f"{name} needs its settings, like {{{name}: {{...}}}}")
    else:
        return name, settings
    return None, None


def _settings(rule: Fields, path: str, name: str, settings: object, known: Known) -> Any:
    fields = rule.inside(path, {} if settings is None else settings)
    match name:
        case "block":
            fields.only(("for",))
            return Blocking(_duration(fields, "for"))
        case "throttle":
            return _throttling(rule, path, fields)
        case "change_plan":
            fields.only(("to", "at"))
            to = fields.text("to", required=True)
            if to is not None and to not in known.plans:
                fields.problem("to", f"there is no plan {to[:40]!r}{suggestion(to, known.plans)}")
            return PlanChange(to or "", fields.choice("at", ("now", "period_end"), "now") or "now")
        case _:
            fields.only(())
            return True


def _throttling(rule: Fields, path: str, fields: Fields) -> Throttling | None:
    for_us = _duration(fields, "for")
    rate = {name: value for name, value in fields.members.items() if name != "for"}
    if "level" in rate:
        fields.problem("level", "a throttle concerns the customer as a whole")
        return None
    found = read_rate(rule.inside(path, rate))
    return None if found is None else Throttling(found, for_us)


def _check_countable(rule: Fields, features: tuple[str, ...], known: Known) -> None:
    for name in features:
        feature = known.features.get(name)
        if feature is None:
            continue
        meter = known.meters.get(feature.meter or "")
        if feature.type is not FeatureType.METERED or (
            meter is not None and meter.aggregation not in ADDITIVE
        ):
            rule.problem("features", f"{name!r} cannot be throttled: its usage does not add up")


def _dump_actions(actions: Actions) -> list[Any]:
    document: list[Any] = []
    for name in actions.names:
        match getattr(actions, name):
            case Blocking(for_us=int() as for_us):
                document.append({name: {"for": format_duration(for_us)}})
            case Throttling(rate=rate, for_us=for_us):
                settings = dump_rate(rate)
                if for_us is not None:
                    settings["for"] = format_duration(for_us)
                document.append({name: settings})
            case PlanChange(to=to, at=at):
                document.append({name: {"to": to, "at": at}})
            case _:
                document.append(name)
    return document


def _dump_over(over: Over) -> dict[str, Any]:
    document = {"count": "events"} if over.value is None else {"sum": over.value}
    document |= {
        "window": format_duration(over.window_us),
        "more_than": format_quantity(over.more_than_pico),
    }
    if over.by != CUSTOMER:
        document["by"] = over.by
    return document
