"""Identity (K11): what makes two events the same one, and the same content."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from xxhash import xxh3_64_digest, xxh3_128_digest

from taximeter.events.decode import decode
from taximeter.events.envelope import Event, Format
from taximeter.events.identity import identities, namespace_seed, scheme
from taximeter.instants import parse_instant

SECRET = bytes(range(32))
SEED = namespace_seed(SECRET, "default")


def parse(text: str) -> Event:
    [event] = decode(text.encode(), Format.OBJECT).events
    return event


def key(source: str, event_id: str, seed: int = SEED) -> tuple[int, int]:
    keys, _ = identities(seed, [Event(id=event_id, type="t", subject="s", source=source)])
    return int(keys[0, 0]), int(keys[0, 1])


def content(members: str) -> int:
    _, fingerprints = identities(
        SEED, [parse('{"id":"a","type":"t","subject":"s",' + members + "}")]
    )
    return int(fingerprints[0])


def test_shape_and_width():
    keys, fingerprints = identities(SEED, [parse('{"id":"a","type":"t","subject":"s"}')] * 3)
    assert (keys.shape, keys.dtype, fingerprints.shape) == ((3, 2), np.uint64, (3,))
    assert int(fingerprints.max()) < 2**48
    empty_keys, empty = identities(SEED, [])
    assert (empty_keys.shape, empty.shape) == ((0, 2), (0,))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("ab", "c"), ("a", "bc")),
        (("", "ab"), ("ab", "")),
        (("a", "b"), ("b", "a")),
        (('a","b', "c"), ("a", 'b","c')),
        (("a", "x"), ("a", "X")),
        (("a", "x"), ("a", "x ")),
        (("a", "\u00e9"), ("a", "e\u0301")),
    ],
)
def test_identities_are_byte_exact_and_never_run_into_each_other(one, other):
    assert key(*one) != key(*other)


def test_identities_of_two_namespaces_have_nothing_in_common():
    assert key("a", "b") != key("a", "b", namespace_seed(SECRET, "other"))
    assert namespace_seed(SECRET, "default") != namespace_seed(bytes(32), "default")


def test_the_identity_is_not_part_of_the_content_and_the_content_not_of_the_identity():
    one = parse('{"id":"a","source":"x","type":"t","subject":"s","data":{"n":1}}')
    other = parse('{"id":"b","source":"y","type":"t","subject":"s","data":{"n":1}}')
    changed = parse('{"id":"a","source":"x","type":"t","subject":"s","data":{"n":2}}')
    keys, fingerprints = identities(SEED, [one, other, changed])
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]
    assert (keys[0] == keys[2]).all()
    assert (keys[0] != keys[1]).any()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('"data":{"n":1}', '"data":{"n":1.0}'),
        ('"data":{"n":1}', '"data":{"n":1e0}'),
        ('"data":{"n":1000}', '"data":{"n":1.000E+3}'),
        ('"data":{"n":0.0000001}', '"data":{"n":1E-7}'),
        ('"data":{"n":0}', '"data":{"n":-0.00}'),
        ('"data":{"n":[{"m":1.50}]}', '"data":{"n":[{"m":15e-1}]}'),
        ('"data":{"a":1,"b":{"c":2,"d":3}}', '"data" : { "b":{"d":3,"c":2} , "a":1 }'),
        ('"data":{"a":"\\u00e9\\/"}', '"data":{"a":"é/"}'),
        ('"time":"2026-11-20T10:00:00Z"', '"time":"2026-11-20T11:00:00.000000+01:00"'),
        ('"time":"2026-11-20T10:00:00.5Z"', '"time":"2026-11-20t10:00:00.5000001z"'),
        ('"source":"x"', '"specversion":"1.0"'),
        ('"data":null', '"tenant":"ignored"'),
    ],
)
def test_the_same_content_however_it_is_spelled(one, other):
    assert content(one) == content(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('"data":{"n":1}', '"data":{"n":"1"}'),
        ('"data":{"n":1}', '"data":{"n":true}'),
        ('"data":{"n":null}', '"data":{}'),
        ('"data":{}', '"data":null'),
        ('"data":{"n":[1,2]}', '"data":{"n":[2,1]}'),
        ('"data":{"n":0.1}', '"data":{"n":0.10000000000000001}'),
        ('"time":"2026-11-20T10:00:00Z"', '"time":"2026-11-20T10:00:00.000001Z"'),
        ('"time":"1970-01-01T00:00:00Z"', '"time":null'),
    ],
)
def test_other_content(one, other):
    assert content(one) != content(other)


def test_type_and_subject_are_content():
    base = parse('{"id":"a","type":"t","subject":"s"}')
    moved = parse('{"id":"a","type":"t","subject":"s2"}')
    swapped = parse('{"id":"a","type":"s","subject":"t"}')
    _, fingerprints = identities(SEED, [base, moved, swapped])
    assert len(set(fingerprints.tolist())) == 3


def test_given_instants_count_only_for_events_with_a_time_of_their_own():
    sent = parse('{"id":"a","type":"t","subject":"s","time":"2026-11-20T10:00:00Z"}')
    unsent = parse('{"id":"b","type":"t","subject":"s"}')
    _, parsed = identities(SEED, [sent, unsent])
    _, given = identities(SEED, [sent, unsent], [parse_instant(sent.time), 12345])
    assert parsed.tolist() == given.tolist()


def test_the_scheme_tells_secrets_apart():
    assert len(scheme(SECRET)) == 16
    assert scheme(SECRET) == scheme(SECRET) != scheme(bytes(32))


def test_identities_at_rest_keep_their_meaning():
    """These are the bytes hashed by version 1; other bytes need another version."""
    event = parse(
        '{"id":"req_1","source":"api","type":"llm.request","subject":"acme",'
        '"time":"2026-11-20T10:00:00.123456Z","data":{"n":1.0,"model":"opus","cost":0.0150}}'
    )
    keys, fingerprints = identities(SEED, [event])
    content = b'["llm.request","acme",1795168800123456,{"cost":0.015,"model":"opus","n":1}]'
    assert keys.astype("<u8").tobytes() == xxh3_128_digest(b'["api","req_1"]', SEED)
    assert fingerprints.astype("<u8").tobytes()[:6] == xxh3_64_digest(content, SEED)[:6]
    assert scheme(SECRET).hex() == "a5ec6f174f8428d5681a80621df47ccd"
    assert SEED == 7052421866575322191


def test_importing_the_decoder_does_not_load_the_compiler():
    modules = "taximeter.events.decode, taximeter.events.identity, taximeter.events.cloudevents"
    code = f"import sys, {modules}; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
