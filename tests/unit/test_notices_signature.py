"""Signatures as Standard Webhooks has them, read by its own library."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from taximeter.errors import Rejected
from taximeter.instants import DAY, HOUR
from taximeter.notices.notice import is_pattern, matches, new_notice
from taximeter.notices.signature import (
    Secret,
    format_secret,
    in_force,
    read_secret,
    rotated,
    sign,
)

NOW = 1_795_000_000_000_000
OLD, MIDDLE, NEW = (format_secret(bytes([n]) * 32) for n in (1, 2, 3))


def test_the_published_example_is_signed_as_published() -> None:
    secret = Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signature = sign([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def headers(secrets: tuple[Secret, ...], body: bytes, now: int = NOW) -> dict[str, str]:
    timestamp = int(datetime.now(UTC).timestamp())  # the library compares it with its own clock
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(in_force(secrets, now), "msg_1", timestamp, body),
    }


def test_the_reference_library_accepts_it_and_nothing_that_was_changed() -> None:
    body = '{"type":"a.b","data":{"name":"Zoë 🚕"}}'.encode()
    sent = headers((Secret(NEW),), body)
    assert Webhook(NEW).verify(body, sent) == {"type": "a.b", "data": {"name": "Zoë 🚕"}}
    for changed in (body + b" ", body.replace(b"a.b", b"a.c")):
        with pytest.raises(WebhookVerificationError):
            Webhook(NEW).verify(changed, sent)
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(body, sent | {"webhook-id": "msg_2"})
    with pytest.raises(WebhookVerificationError):
        Webhook(OLD).verify(body, sent)


def test_while_secrets_change_both_receivers_can_verify() -> None:
    secrets = rotated((Secret(OLD),), NEW, NOW, HOUR)
    for now, accepted in ((NOW + HOUR - 1, {OLD, NEW}), (NOW + HOUR, {NEW})):
        sent = headers(secrets, b"{}", now)
        assert len(sent["webhook-signature"].split(" ")) == len(accepted)
        for secret in accepted:
            assert Webhook(secret).verify(b"{}", sent) == {}


def test_a_second_rotation_does_not_prolong_the_first_secret() -> None:
    once = rotated((Secret(OLD),), MIDDLE, NOW, HOUR)
    twice = rotated(once, NEW, NOW + 1, DAY)
    assert twice == (Secret(NEW), Secret(MIDDLE, NOW + 1 + DAY), Secret(OLD, NOW + HOUR))


def test_a_secret_without_overlap_is_dropped_at_once() -> None:
    assert rotated((Secret(OLD),), NEW, NOW, 0) == (Secret(NEW),)


def test_ended_secrets_and_those_beyond_the_bound_are_dropped() -> None:
    secrets: tuple[Secret, ...] = (Secret(OLD, NOW), Secret(MIDDLE))
    assert rotated(secrets, NEW, NOW, HOUR) == (Secret(NEW), Secret(MIDDLE, NOW + HOUR))
    for n in range(10, 20):
        secrets = rotated(secrets, format_secret(bytes([n]) * 32), NOW, HOUR)
    assert len(secrets) == 4


def test_rotating_to_the_same_secret_does_not_sign_twice() -> None:
    assert rotated((Secret(NEW),), NEW, NOW, HOUR) == (Secret(NEW),)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "whsec_",
        base64.b64encode(b"x" * 32).decode(),
        "whsec_" + base64.b64encode(b"x" * 23).decode(),
        "whsec_" + base64.b64encode(b"x" * 65).decode(),
        "whsec_%%%" + base64.b64encode(b"x" * 32).decode(),
        "whsec_ä",
    ],
)
def test_a_weak_or_unreadable_secret_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(Rejected) as caught:
        read_secret(text)
    assert len(text) < 7 or text not in caught.value.message


def test_a_secret_is_not_in_its_representation() -> None:
    assert NEW not in repr(Secret(NEW, NOW))


# --- messages -----------------------------------------------------------------------------------


def test_a_message_is_the_same_wherever_and_whenever_its_key_is_told() -> None:
    one = new_notice("ns", "a.b", "acme", {"x": "1"}, "key", NOW)
    again = new_notice("ns", "a.b", "acme", {"x": "2"}, "key", NOW + 5)
    other = new_notice("ns2", "a.b", "acme", {"x": "1"}, "key", NOW)
    assert one.id == again.id != other.id
    assert "." not in one.id, "it is part of what is signed, between full stops"


def test_a_payload_has_type_timestamp_and_data() -> None:
    notice = new_notice("ns", "a.b", None, {"amount": "0.1"}, "key", NOW)
    assert notice.payload == (
        b'{"type":"a.b","timestamp":"2026-11-18T11:06:40Z","data":{"amount":"0.1"}}'
    )


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("*", True),
        ("usage.*", True),
        ("usage.crossed", True),
        ("usage.cross", False),
        ("b.*", False),
    ],
)
def test_an_endpoint_chooses_types(pattern: str, fits: bool) -> None:
    assert is_pattern(pattern)
    assert matches(pattern, "usage.crossed") is fits


@pytest.mark.parametrize("text", ["", "usage", "usage*", "*.usage", "usage.", "Usage.x", "a.*.b"])
def test_what_is_no_type_and_no_beginning_of_one_is_no_pattern(text: str) -> None:
    assert not is_pattern(text)
