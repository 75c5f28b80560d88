"""
Lineage: which events a line was billed for, as the root of a Merkle tree (RFC 6962).

The leaves are the canonical bytes of the line's events in the order of their seq. Whoever holds
the events can compute the root again; whoever holds one event and a short proof can check that it
was billed, without seeing any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

import msgspec


def leaf_bytes(
    seq: int,
    id: str,
    source: str,
    type: str,
    subject: str,
    time: int,
    data_canonical: bytes | str,
) -> bytes:
    """
    One event as a leaf: the canonical JSON array of these seven, in this order.

    Args:
        time: Microseconds since the epoch.
        data_canonical: The event's data as canonical JSON (sorted keys, no spaces, UTF-8);
            "null" for none.
    """
    return msgspec.json.encode([seq, id, source, type, subject, time, msgspec.Raw(data_canonical)])


def merkle_root(leaves: Iterable[bytes]) -> bytes:
    """
    Root of a stream of leaves; 32 bytes. Keeps O(log n) hashes, whatever the number of leaves.

    The root of no leaf at all is the hash of the empty string.
    """
    perfect: list[tuple[int, bytes]] = []  # (leaves below, root) of perfect subtrees, left to right
    for leaf in leaves:
        size, root = 1, _leaf(leaf)
        while perfect and perfect[-1][0] == size:
            _, left = perfect.pop()
            size, root = 2 * size, _node(left, root)
        perfect.append((size, root))
    if not perfect:
        return sha256(b"").digest()
    _, root = perfect.pop()
    for _, left in reversed(perfect):
        root = _node(left, root)
    return root


def merkle_digest(leaves: Iterable[bytes]) -> str:
    """The root as a line's lineage shows it: "sha256:" + 64 hex digits."""
    return f"sha256:{merkle_root(leaves).hex()}"


def leaf_hash(leaf: bytes) -> bytes:
    """What stands for a leaf in the tree; 32 bytes."""
    return _leaf(leaf)


def merkle_levels(hashes: Iterable[bytes]) -> list[list[bytes]]:
    """
    The whole tree, for many proofs of one line: its hashes level by level, the root last. An odd
    one at the right end of a level stands in the next one as it is.

    Args:
        hashes: Of the leaves (`leaf_hash`), in order.
    """
    levels = [list(hashes)]
    while len(levels[-1]) > 1:
        level = levels[-1]
        pairs = zip(level[::2], level[1::2], strict=False)
        levels.append([_node(left, right) for left, right in pairs] + level[len(level) & ~1 :])
    return levels


def audit_path(levels: Sequence[Sequence[bytes]], index: int) -> tuple[bytes, ...]:
    """
    The sibling hashes of a leaf from the leaf up to the root.

    Args:
        index: Of the leaf, from 0; must exist.
    """
    assert 0 <= index < len(levels[0]), index
    path: list[bytes] = []
    for level in levels[:-1]:
        sibling = index ^ 1
        if sibling < len(level):  # the odd one at the right end moves up alone
            path.append(level[sibling])
        index >>= 1
    return tuple(path)


def inclusion_proof(leaves: Iterable[bytes], index: int) -> tuple[bytes, ...]:
    """The audit path of one leaf."""
    return audit_path(merkle_levels(map(_leaf, leaves)), index)


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> bool:
    """
    Whether a leaf is the one at `index` of a tree of `size` leaves with this root.

    Args:
        proof: As `inclusion_proof` gives it; anything else makes the answer False.
    """
    if not 0 <= index < size:
        return False
    hashed, last, siblings = _leaf(leaf), size - 1, list(reversed(proof))
    while last:
        if index & 1 or index < last:  # it has a sibling on this level
            if not siblings:
                return False
            sibling = siblings.pop()
            hashed = _node(sibling, hashed) if index & 1 else _node(hashed, sibling)
        index, last = index >> 1, last >> 1
    return not siblings and hashed == root


# Different first bytes, so that no inner node can be passed off as a leaf, nor a leaf as a node.
def _leaf(leaf: bytes) -> bytes:
    return sha256(b"\x00" + leaf).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()
