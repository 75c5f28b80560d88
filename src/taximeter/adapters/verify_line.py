"""
Check an invoice, or a line of it against its events. Offline; the standard library is enough.

    python3 verify.py invoice.json [line_1 events.jsonl | line_1 proof.json]
"""

import json
import sys
from hashlib import sha256
from pathlib import Path

BESIDE = ("digest", "status", "amount_paid", "amount_remaining", "credited", "disputed", "review")


def sha(*parts: bytes) -> bytes:  # a leaf is sha(0, event), a node sha(1, left, right): RFC 6962
    return sha256(b"".join(parts)).digest()


def root_of_all(level: list[bytes]) -> bytes:
    while len(level) > 1:  # the odd one at the end moves up as it is
        pairs = zip(level[::2], level[1::2], strict=False)
        level = [sha(b"\1", *pair) for pair in pairs] + level[len(level) & ~1 :]
    return level[0] if level else sha()


def root_of_one(event: str, index: int, last: int, path: list[bytes]) -> bytes:
    found = sha(b"\0", event.encode())
    while last > 0:
        if path and (index & 1 or index < last):
            found = sha(b"\1", path.pop(0), found) if index & 1 else sha(b"\1", found, path.pop(0))
        index, last = index >> 1, last >> 1
    return b"" if path else found


invoice = json.loads(Path(sys.argv[1]).read_bytes())
covered = {name: value for name, value in invoice.items() if name not in BESIDE}
canonical = json.dumps(covered, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
says, found = [invoice["digest"]], ["sha256:" + sha(canonical.encode()).hex()]
if len(sys.argv) > 2:
    lineage = next(one["lineage"] for one in invoice["lines"] if one["id"] == sys.argv[2])
    says += [lineage["digest"], lineage["events"]]
    if (content := Path(sys.argv[3]).read_bytes()).startswith(b"{"):
        leaf, index, size, path = map(json.loads(content).get, ("leaf", "index", "size", "path"))
        root = root_of_one(leaf, index, size - 1, [bytes.fromhex(one) for one in path])
    else:
        events = content.split(b"\n")[:-1]
        size, root = len(events), root_of_all([sha(b"\0", event) for event in events])
    found += ["sha256:" + root.hex(), size]
print("\n".join(f"says {a}\nis   {b}" for a, b in zip(says, found, strict=True)))
sys.exit(None if says == found else "They differ.")
