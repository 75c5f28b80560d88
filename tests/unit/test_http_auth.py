"""API keys, scopes, and who gets in without a key."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taximeter.adapters.http.auth import (
    SCOPES,
    Authenticator,
    digest_of,
    expand_scopes,
    is_well_formed,
    new_key,
)
from taximeter.adapters.http.messages import Client, Request
from taximeter.errors import Denied, Unauthenticated
from taximeter.ports import ApiKey

LOCAL = Client("127.0.0.1", True)
REMOTE = Client("192.0.2.1", False)


def stored(secret: str, **changes: object) -> ApiKey:
    key = ApiKey("k1", "default", "test", secret[:7], digest_of(secret), ("read",), created_at=0)
    return msgspec.structs.replace(key, **changes)


def request(
    headers: dict[str, str] | None = None, client: Client = REMOTE, method: str = "GET"
) -> Request:
    raw = {name.encode(): value.encode() for name, value in (headers or {}).items()}
    return Request(method, b"/v1/x?key=tm_", raw, client, "id-1")


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def test_new_keys_have_the_documented_form_and_differ() -> None:
    secrets = {new_key()[0] for _ in range(50)}
    assert len(secrets) == 50
    for secret in secrets:
        assert secret.startswith("tm_")
        assert len(secret) == 39
        assert is_well_formed(secret)


def test_the_checksum_is_stable_across_versions() -> None:
    assert is_well_formed("tm_" + "0" * 30 + "2C8GjS")


@given(st.integers(3, 38), st.sampled_from("0aZ"))
def test_any_one_wrong_character_is_noticed_by_the_checksum(index: int, letter: str) -> None:
    secret, _ = new_key()
    changed = secret[:index] + letter + secret[index + 1 :]
    assert is_well_formed(changed) == (changed == secret)


@pytest.mark.parametrize("text", ["", "tm_", "sk_" + "0" * 36, "tm_" + "ü" * 36, "tm_" + "0" * 36])
def test_other_text_is_not_a_well_formed_key(text: str) -> None:
    assert not is_well_formed(text)


def test_a_known_key_gives_its_namespace_and_expanded_scopes() -> None:
    secret, digest = new_key()
    who = Authenticator([stored(secret, scopes=("write",))], lambda: 0)
    assert digest == digest_of(secret)
    for _ in range(2):  # the second time from the cache
        principal = who(request(bearer(secret)))
        assert (principal.namespace, principal.key_id) == ("default", "k1")
        assert principal.scopes == {"write", "read"}


def test_bearer_is_read_in_any_case_and_spacing() -> None:
    secret, _ = new_key()
    who = Authenticator([stored(secret)], lambda: 0)
    assert who(request({"authorization": f"bearer   {secret} "})).key_id == "k1"


def test_all_wrong_keys_get_the_same_answer() -> None:
    secret, _ = new_key()
    other, _ = new_key()
    revoked, _ = new_key()
    who = Authenticator([stored(secret), stored(revoked, revoked_at=1)], lambda: 0)
    attempts = [
        {},
        bearer(other),
        bearer(revoked),
        bearer(""),
        {"authorization": secret},
        {"authorization": f"Basic {secret}"},
        {"authorization": f"Bearer {secret}, Bearer {secret}"},
        {"x-api-key": secret},
    ]
    messages = set()
    for headers in attempts:
        with pytest.raises(Unauthenticated) as refusal:
            who(request(headers))
        messages.add((refusal.value.code, refusal.value.message, *refusal.value.details))
    assert len(messages) == 1


def test_a_key_works_until_but_not_at_its_expiry_even_when_cached() -> None:
    now = 99
    secret, _ = new_key()
    who = Authenticator([stored(secret, expires_at=100)], lambda: now)
    who(request(bearer(secret)))
    now = 100
    with pytest.raises(Unauthenticated):
        who(request(bearer(secret)))


def test_revocation_takes_effect_at_the_next_request() -> None:
    secret, _ = new_key()
    who = Authenticator([stored(secret)], lambda: 0)
    who(request(bearer(secret)))
    who.replace([stored(secret, revoked_at=5)])
    with pytest.raises(Unauthenticated):
        who(request(bearer(secret)))


def test_wrong_keys_are_not_remembered() -> None:
    who = Authenticator([], lambda: 0)
    for number in range(100):
        with pytest.raises(Unauthenticated):
            who(request(bearer(str(number))))
    assert who._known == {}


def test_scopes_are_expanded_and_unknown_ones_give_nothing() -> None:
    assert expand_scopes(["admin"]) == set(SCOPES)
    assert expand_scopes(["write"]) == {"write", "read"}
    assert expand_scopes(["ingest", "check"]) == {"ingest", "check"}
    assert expand_scopes(["root"]) == frozenset()


def test_a_missing_scope_is_named() -> None:
    secret, _ = new_key()
    principal = Authenticator([stored(secret)], lambda: 0)(request(bearer(secret)))
    principal.require("read")
    with pytest.raises(Denied) as refusal:
        principal.require("admin")
    assert refusal.value.code == "insufficient_scope"
    assert refusal.value.details == {"required": "admin"}


# --- development without a key ----------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]:80", "[::1]"]
)
def test_on_a_development_server_this_machine_needs_no_key(host: str) -> None:
    who = Authenticator([], lambda: 0, dev_namespace="default")
    principal = who(request({"host": host}, LOCAL, "POST"))
    assert (principal.namespace, principal.scopes) == ("default", frozenset(SCOPES))


def test_a_server_not_in_development_lets_nobody_in_without_a_key() -> None:
    with pytest.raises(Unauthenticated):
        Authenticator([], lambda: 0)(request({"host": "localhost"}, LOCAL))


@pytest.mark.parametrize(
    ("headers", "client", "method"),
    [
        ({"host": "localhost"}, REMOTE, "GET"),
        ({}, LOCAL, "GET"),
        ({"host": "evil.example"}, LOCAL, "GET"),  # a name rebound to 127.0.0.1
        ({"host": "localhost.evil.example:80"}, LOCAL, "GET"),
        ({"host": "localhost", "x-forwarded-for": "192.0.2.1"}, LOCAL, "GET"),
        ({"host": "localhost", "forwarded": "for=192.0.2.1"}, LOCAL, "GET"),
        ({"host": "localhost", "origin": "http://evil.example"}, LOCAL, "POST"),
        ({"host": "localhost", "origin": "null"}, LOCAL, "POST"),
        ({"host": "localhost:80", "origin": "http://localhost:81"}, LOCAL, "PUT"),
        ({"host": "localhost", "sec-fetch-site": "cross-site"}, LOCAL, "DELETE"),
        ({"host": "localhost", "sec-fetch-site": "same-site"}, LOCAL, "POST"),
    ],
)
def test_what_only_looks_local_needs_a_key(
    headers: dict[str, str], client: Client, method: str
) -> None:
    with pytest.raises(Unauthenticated):
        Authenticator([], lambda: 0, dev_namespace="default")(request(headers, client, method))


def test_the_console_of_a_development_server_may_write() -> None:
    headers = {
        "host": "localhost:8080",
        "origin": "http://localhost:8080",
        "sec-fetch-site": "same-origin",
    }
    who = Authenticator([], lambda: 0, dev_namespace="default")
    assert who(request(headers, LOCAL, "POST")).key_id == "dev"


def test_a_wrong_key_is_wrong_in_development_too() -> None:
    headers = {"host": "localhost", **bearer("tm_wrong")}
    with pytest.raises(Unauthenticated):
        Authenticator([], lambda: 0, dev_namespace="default")(request(headers, LOCAL))
