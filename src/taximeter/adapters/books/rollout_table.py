"""
Rollouts in SQLite: the part of `ports.Books` about who is on which version before all are.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from taximeter.adapters.books import rows
from taximeter.adapters.books.connection import Connection
from taximeter.ports import AuditEntry
from taximeter.pricing.rollout import Assignment, Rollout

_encoder = msgspec.json.Encoder(enc_hook=str)  # the one foreign type is Fraction
_rollout = msgspec.json.Decoder(Rollout, dec_hook=lambda kind, text: kind(text))
_assignment = msgspec.json.Decoder(Assignment)


class RolloutTable:
    """Each method is one transaction, as all of the books'."""

    _connection: Connection

    def put_rollout(
        self,
        namespace: str,
        rollout: Rollout,
        assignments: Sequence[Assignment],
        audit: AuditEntry,
    ) -> None:
        with self._connection.write() as sqlite:
            sqlite.execute(
                "INSERT INTO rollouts (namespace, id, version, document) VALUES (?, ?, ?, ?) "
                "ON CONFLICT DO UPDATE SET version = excluded.version, "
                "document = excluded.document",
                (namespace, rollout.id, rollout.version, _text(rollout)),
            )
            sqlite.executemany(
                "INSERT INTO rollout_assignments "
                "(namespace, rollout, subscription, customer, document) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT DO UPDATE SET document = excluded.document",
                [
                    (namespace, rollout.id, one.subscription, one.customer, _text(one))
                    for one in assignments
                ],
            )
            rows.add_audit(sqlite, audit)

    def rollouts(self, namespace: str) -> list[Rollout]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                "SELECT document FROM rollouts WHERE namespace = ? ORDER BY id", (namespace,)
            )
            return [_rollout.decode(document) for (document,) in found]

    def rollout(self, namespace: str, rollout_id: str) -> Rollout | None:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                "SELECT document FROM rollouts WHERE namespace = ? AND id = ?",
                (namespace, rollout_id),
            ).fetchone()
            return None if found is None else _rollout.decode(found[0])

    def assignments(self, namespace: str, rollout_id: str) -> list[Assignment]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                "SELECT document FROM rollout_assignments WHERE namespace = ? AND rollout = ? "
                "ORDER BY subscription",
                (namespace, rollout_id),
            )
            return [_assignment.decode(document) for (document,) in found]

    def assignments_of(self, namespace: str, customer: str) -> list[tuple[str, Assignment]]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                "SELECT rollout, document FROM rollout_assignments "
                "WHERE namespace = ? AND customer = ? ORDER BY rollout, subscription",
                (namespace, customer),
            )
            return [(rollout, _assignment.decode(document)) for rollout, document in found]


def _text(value: Rollout | Assignment) -> str:
    return _encoder.encode(value).decode()
