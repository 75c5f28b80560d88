"""Rules in the fold: who pays for them, what is decided with the event, what a replay does."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from taximeter.catalog.document import parse_catalog
from taximeter.customers import Customer, Segment, Subscription
from taximeter.events.acceptance import AcceptanceWindow
from taximeter.events.envelope import Event
from taximeter.gate.effects import Fire, Unblock, decode_effects, encode_effects
from taximeter.instants import DAY, HOUR, MINUTE
from taximeter.live.snapshot import StateSnapshot, dump_state, load_state
from taximeter.periods import Anchor, Cadence
from taximeter.quantities import E12
from taximeter.services.gate.check import Ask, check
from taximeter.services.gate.clockwork import prune_memories
from taximeter.services.tenant import Tenant

AT = 1_795_000_000_000_000
MANY = {"on": "llm.request", "over": {"count": "events", "window": "10m", "more_than": 2}}
CATALOG: dict[str, Any] = {
    "meters": {
        "tokens": {"event_type": "llm.request", "aggregation": "sum", "value": "data.tokens"}
    },
    "features": {
        "chat": {"type": "metered", "meter": "tokens"},
        "export": {"type": "boolean"},
    },
    "plans": {
        name: {
            "currency": "USD",
            "entitlements": {"chat": {"limit": 1000}, "export": True},
        }
        for name in ("free", "pro")
    },
}


def tenant_with(*customers: str, plan: str = "free", **rules: Any) -> Tenant:
    tenant = Tenant("x", bytes(32), AcceptanceWindow())
    publish(tenant, **rules)
    for key in customers:
        tenant.customers[key] = Customer(key)
        segment = Segment(AT - HOUR, plan, 1, Cadence.MONTH)
        tenant.put_subscription(Subscription(f"sub_{key}", key, Anchor.CALENDAR, "UTC", (segment,)))
        tenant.reset_account(key)
    tenant.live.set_counters(tenant.wanted_counters())
    return tenant


def publish(tenant: Tenant, **rules: Any) -> None:
    catalog = parse_catalog(CATALOG | {"rules": {k: {"mode": "on"} | r for k, r in rules.items()}})
    tenant.add_catalog(tenant.version + 1, catalog, AT - HOUR)
    tenant.live.set_counters(tenant.wanted_counters())


class Sender:
    """Sends events and applies what they cause, as the sequencer does."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self.seq = 0
        self.log: list[tuple[Event, int, bytes]] = []

    def send(
        self, customer: str = "acme", at: int = AT, type: str = "llm.request", **data: Any
    ) -> list[Fire]:
        self.seq += 1
        event = Event(id=f"e{self.seq}", type=type, subject=customer, data={"tokens": 1} | data)
        live = self.tenant.live
        program = live.layout.programs.get(type)
        values = None if program is None else program.measure(event)
        caused = live.fold(event, at, values, at, self.seq)
        written = encode_effects(caused)
        self.log.append((event, at, written))
        live.apply(decode_effects(written), at, self.seq)
        return [one for one in caused if isinstance(one, Fire)]


def plain(tenant: Tenant, key: str) -> bool:
    return tenant.live.accounts[key].plain_until > AT


# --- who pays -----------------------------------------------------------------------------------


def test_a_rule_for_one_plan_leaves_ten_thousand_customers_of_others_plain() -> None:
    keys = [f"c{number}" for number in range(10_000)]
    tenant = tenant_with(*keys, plan="pro", r=MANY | {"plans": ["free"], "do": "block"})
    sender = Sender(tenant)
    for key in keys:
        sender.send(key)
    assert all(plain(tenant, key) for key in keys)
    assert not tenant.live.memories
    assert not tenant.live.gate.purses


def test_a_rule_that_is_off_costs_nobody_anything() -> None:
    tenant = tenant_with("acme", r=MANY | {"do": "block", "mode": "off"})
    assert Sender(tenant).send() == []
    assert plain(tenant, "acme")


def test_a_customer_a_rule_concerns_has_no_purse_before_something_is_imposed() -> None:
    tenant = tenant_with("acme", r=MANY | {"do": "block"})
    sender = Sender(tenant)
    sender.send()
    assert not plain(tenant, "acme")
    assert not tenant.live.gate.purses, "so that its checks stay plain"
    for _ in range(2):
        sender.send()
    assert "acme" in tenant.live.gate.purses


def test_what_no_rule_can_ask_for_any_more_is_forgotten_a_few_customers_at_a_time() -> None:
    keys = [f"c{number}" for number in range(100)]
    tenant = tenant_with(*keys, r=MANY | {"do": "flag"})
    sender = Sender(tenant)
    for number, key in enumerate(keys):
        sender.send(key, at=AT + number % 2 * 7 * DAY)
    asyncio.run(prune_memories(tenant, AT + 7 * DAY))
    assert sorted(tenant.live.memories) == sorted(keys[1::2])


# --- what is decided with the event -----------------------------------------------------------


def test_what_a_rule_imposes_holds_for_the_very_next_question() -> None:
    tenant = tenant_with("acme", r=MANY | {"do": {"block": {"for": "1h"}}, "reason": "too many"})
    sender = Sender(tenant)
    assert [bool(sender.send()) for _ in range(3)] == [False, False, True]
    refused = check(tenant, Ask("acme", "chat", E12), AT)
    assert (refused.allowed, refused.reason) == (False, "paused")
    assert refused.resets_at == AT + HOUR
    assert refused.detail is not None
    assert "blocked by rule r" in refused.detail
    assert "too many" in refused.detail
    assert not check(tenant, Ask("acme", "export", E12), AT).allowed, "it names no feature: all"


def test_a_block_ends_by_itself_at_its_instant_and_not_before() -> None:
    tenant = tenant_with("acme", r=MANY | {"do": {"block": {"for": "1h"}}})
    sender = Sender(tenant)
    for _ in range(3):
        sender.send()
    assert not check(tenant, Ask("acme", "chat", E12), AT + HOUR - 1).allowed
    assert check(tenant, Ask("acme", "chat", E12), AT + HOUR).allowed
    assert tenant.live.gate.due(AT + HOUR) == ["acme"], "and is cleared away"


def test_a_block_of_one_feature_leaves_the_others() -> None:
    tenant = tenant_with("acme", r={"on": "llm.request", "do": "block", "features": ["chat"]})
    Sender(tenant).send()
    assert not check(tenant, Ask("acme", "chat", E12), AT).allowed
    assert check(tenant, Ask("acme", "export", E12), AT).allowed


def test_a_throttle_is_a_rate_beside_those_of_the_plan_until_it_ends() -> None:
    throttle = {"throttle": {"limit": 5, "per": "1m", "for": "1h"}}
    tenant = tenant_with("acme", r={"on": "signup", "do": throttle})
    sender = Sender(tenant)
    sender.send(type="signup")
    assert check(tenant, Ask("acme", "chat", 5 * E12), AT).allowed
    sender.send(tokens=4)
    refused = check(tenant, Ask("acme", "chat", 2 * E12), AT)
    assert refused.reason == "rate_limited"
    assert refused.detail is not None
    assert "imposed by rule 'r'" in refused.detail
    assert check(tenant, Ask("acme", "chat", 2 * E12), AT + MINUTE).allowed
    assert check(tenant, Ask("acme", "chat", 900 * E12), AT + HOUR).allowed


def test_who_uses_a_parents_allowance_is_throttled_alone() -> None:
    throttle = {"throttle": {"limit": 5, "per": "1m"}}
    tenant = tenant_with("parent", r={"on": "signup", "do": throttle})
    for key in ("acme", "globex"):
        tenant.put_customer(Customer(key, parent="parent", pool=True))
    sender = Sender(tenant)
    sender.send(type="signup")
    sender.send(tokens=4)
    refused = check(tenant, Ask("acme", "chat", 2 * E12), AT)
    assert refused.reason == "rate_limited"
    assert check(tenant, Ask("acme", "chat", E12), AT).allowed
    for other in ("globex", "parent"):
        assert check(tenant, Ask(other, "chat", 900 * E12), AT).allowed


def test_who_lifts_one_block_leaves_those_of_others() -> None:
    tenant = tenant_with("acme", a={"on": "signup", "do": "block"}, b=MANY | {"do": "block"})
    sender = Sender(tenant)
    sender.send(type="signup")
    for _ in range(3):
        sender.send()
    tenant.live.apply([Unblock("acme", feature="", by="rule a")], AT, 9)
    refused = check(tenant, Ask("acme", "chat", E12), AT)
    assert refused.detail is not None
    assert "rule b" in refused.detail
    tenant.live.apply([Unblock("acme", feature="", by="rule b")], AT, 10)
    assert check(tenant, Ask("acme", "chat", E12), AT).allowed


def test_rules_look_at_events_that_no_meter_counts() -> None:
    tenant = tenant_with("acme", r={"on": "signup", "when": "data.vpn == true", "do": "flag"})
    sender = Sender(tenant)
    assert sender.send(type="signup", vpn=False) == []
    (fire,) = sender.send(type="signup", vpn=True)
    assert (fire.customer, fire.rule, fire.version, fire.seq) == ("acme", "r", 1, 2)


def test_a_rule_looks_at_nobody_it_does_not_know() -> None:
    tenant = tenant_with("acme", r={"on": "signup", "do": "flag"})
    assert Sender(tenant).send("stranger", type="signup") == []


def test_a_rule_changed_in_the_catalogue_holds_for_the_very_next_event() -> None:
    tenant = tenant_with("acme", r={"on": "signup", "do": "flag", "mode": "off"})
    sender = Sender(tenant)
    assert sender.send(type="signup") == []
    publish(tenant, r={"on": "signup", "do": "flag"})
    (fire,) = sender.send(type="signup")
    assert fire.version == 2
    publish(tenant)
    assert sender.send(type="signup", at=AT + HOUR) == []


def test_a_storm_of_events_in_one_step_fires_once() -> None:
    """Effects are applied after all events of a request were folded."""
    tenant = tenant_with("acme", r={"on": "signup", "do": "block"})
    live = tenant.live
    events = [Event(id=f"e{n}", type="signup", subject="acme") for n in range(1, 100)]
    caused = [one for n, e in enumerate(events, 1) for one in live.fold(e, AT, None, AT, n)]
    assert len(caused) == 1


# --- replay -----------------------------------------------------------------------------------


def replayed(log: list[tuple[Event, int, bytes]], tenant: Tenant) -> Tenant:
    for seq, (event, at, effects) in enumerate(log, 1):
        tenant.live.fold_stored([(event, at)], at)
        tenant.live.apply(decode_effects(effects), at, seq)
    return tenant


def test_a_replay_finds_what_was_decided_and_decides_nothing_again() -> None:
    rules = {"r": MANY | {"do": {"block": {"for": "1h"}}, "cooldown": "1m"}}
    lived = tenant_with("acme", **rules)
    sender = Sender(lived)
    for minute in range(6):
        sender.send(at=AT + minute * MINUTE)
    again = replayed(sender.log, tenant_with("acme", **rules))
    assert again.live.fired == lived.live.fired
    assert len(again.live.fired) == 4
    assert again.live.gate.dump() == lived.live.gate.dump()
    assert again.live.memory("acme").dump() == lived.live.memory("acme").dump()


def test_a_rule_that_came_later_does_not_fire_on_replayed_events() -> None:
    lived = tenant_with("acme")
    sender = Sender(lived)
    for _ in range(6):
        sender.send()
    again = replayed(sender.log, tenant_with("acme", r={"on": "llm.request", "do": "block"}))
    assert again.live.fired == []
    assert check(again, Ask("acme", "chat", E12), AT).allowed
    assert Sender(again).send(), "nor does it rest for them"


@pytest.mark.parametrize("cut", range(1, 6))
def test_a_snapshot_anywhere_gives_the_state_that_one_life_has(cut: int) -> None:
    rules = {"r": MANY | {"do": ["block", {"throttle": {"limit": 5, "per": "1m", "for": "2h"}}]}}
    lived = tenant_with("acme", **rules)
    sender = Sender(lived)
    for minute in range(cut):
        sender.send(at=AT + minute * MINUTE)
    taken = dump_state(lived.live, lived.customers, {})
    saved = msgspec.json.decode(msgspec.json.encode(taken), type=StateSnapshot)
    loaded = tenant_with("acme", **rules)
    assert not load_state(loaded.live, loaded.customers, saved).customers
    again = Sender(loaded)
    again.seq = sender.seq
    for minute in range(cut, 6):
        at = AT + minute * MINUTE
        assert sender.send(at=at) == again.send(at=at)
    dumps = [dump_state(one.live, one.customers, {}) for one in (lived, loaded)]
    assert dumps[0] == dumps[1]
    assert json.loads(msgspec.json.encode(dumps[0].gate))["purses"]["acme"]["blocked"]
