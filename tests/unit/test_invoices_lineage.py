"""Lineage: the Merkle tree of RFC 6962 over a line's events."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from hashlib import sha256

import msgspec
import pytest

from taximeter.invoices.lineage import (
    inclusion_proof,
    leaf_bytes,
    merkle_digest,
    merkle_root,
    verify_inclusion,
)

# The leaves and roots that implementations of Certificate Transparency are checked with.
KNOWN_LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
KNOWN_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def naive_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """PATH of RFC 6962 section 2.1.1, word for word."""
    if len(leaves) == 1:
        return ()
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    if index < k:
        return (*naive_path(leaves[:k], index), naive_root(leaves[k:]))
    return (*naive_path(leaves[k:], index - k), naive_root(leaves[:k]))


def some_leaves(count: int) -> list[bytes]:
    return [f"event {n}".encode() for n in range(count)]


@pytest.mark.parametrize("size", range(len(KNOWN_ROOTS)))
def test_the_root_is_the_published_one(size: int) -> None:
    assert merkle_root(KNOWN_LEAVES[:size]).hex() == KNOWN_ROOTS[size]
    assert merkle_digest(KNOWN_LEAVES[:size]) == f"sha256:{KNOWN_ROOTS[size]}"


@pytest.mark.parametrize("size", [*range(70), 127, 128, 129, 1000])
def test_the_streamed_root_equals_the_recursive_definition(size: int) -> None:
    leaves = some_leaves(size)
    assert merkle_root(iter(leaves)) == naive_root(leaves)


@pytest.mark.parametrize("size", range(1, 35))
def test_a_proof_is_the_recursive_path_and_convinces(size: int) -> None:
    leaves = some_leaves(size)
    root = merkle_root(leaves)
    for index, leaf in enumerate(leaves):
        proof = inclusion_proof(leaves, index)
        assert proof == naive_path(leaves, index)
        assert verify_inclusion(leaf, index, size, proof, root)


@pytest.mark.parametrize("size", range(1, 20))
def test_nothing_but_the_right_proof_convinces(size: int) -> None:
    leaves = some_leaves(size)
    root = merkle_root(leaves)
    for index, leaf in enumerate(leaves):
        proof = inclusion_proof(leaves, index)
        assert not verify_inclusion(b"another", index, size, proof, root)
        assert not verify_inclusion(leaf, index, size, proof, merkle_root([*leaves, b"x"]))
        assert not verify_inclusion(leaf, index, size, (*proof, root), root)
        assert not verify_inclusion(leaf, index, size, proof[:-1], root) or not proof
        assert not verify_inclusion(leaf, -1, size, proof, root)
        assert not verify_inclusion(leaf, size, size, proof, root)
        for other in set(range(size)) - {index}:
            assert not verify_inclusion(leaf, other, size, proof, root)


def test_an_inner_node_cannot_be_passed_off_as_a_leaf() -> None:
    leaves = some_leaves(4)
    left, right = (sha256(b"\x00" + leaf).digest() for leaf in leaves[:2])
    forged = left + right
    proof = inclusion_proof(leaves, 0)[1:]
    assert not verify_inclusion(forged, 0, 2, proof, merkle_root(leaves))


def test_the_order_of_events_is_part_of_the_root() -> None:
    assert merkle_root([b"a", b"b"]) != merkle_root([b"b", b"a"])


def test_a_long_stream_is_hashed_in_little_memory() -> None:
    tracemalloc.start()
    merkle_root(n.to_bytes(8, "big") for n in range(50_000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * 1024


def test_a_leaf_is_the_canonical_array_of_the_event() -> None:
    leaf = leaf_bytes(7, "req_1", "api", "llm.request", "acmé", 1_000_001, b'{"a":1,"b":2.50}')
    assert leaf == '[7,"req_1","api","llm.request","acmé",1000001,{"a":1,"b":2.50}]'.encode()
    assert leaf_bytes(7, "r", "", "t", "s", 0, "null") == b'[7,"r","","t","s",0,null]'
    assert msgspec.json.decode(leaf)[1] == "req_1"


def test_no_two_events_share_a_leaf_by_shifting_text_between_members() -> None:
    assert leaf_bytes(1, 'a","b', "", "t", "s", 0, "null") != leaf_bytes(
        1, "a", 'b",""', "t", "s", 0, "null"
    )
