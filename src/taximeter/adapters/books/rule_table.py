"""
Rules that fired, and the queue of reviews, in SQLite: the part of `ports.Books` about rules.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from taximeter.adapters.books import rows
from taximeter.adapters.books.connection import Connection
from taximeter.ports import AuditEntry, RuleFire

_COLUMNS: Final = (
    "rank, namespace, id, rule, version, seq, customer, value, event, event_at, at, mode, "
    "observed, outcomes, pending, review, reviewed_at, reviewed_by, note"
)
_outcomes = msgspec.json.Decoder(dict[str, str])


class RuleTable:
    """Each method is one transaction, as all of the books'."""

    _connection: Connection

    def add_fires(self, fires: Sequence[tuple[RuleFire, Sequence[AuditEntry]]]) -> set[str]:
        fresh = set()
        with self._connection.write() as sqlite:
            for fire, audits in fires:
                if _add_fire(sqlite, fire):
                    fresh.add(fire.id)
                    for audit in audits:
                        rows.add_audit(sqlite, audit)
        return fresh

    def conclude_fire(self, fire: RuleFire, audit: AuditEntry) -> None:
        with self._connection.write() as sqlite:
            done = sqlite.execute(
                "UPDATE rule_fires SET outcomes = ?, pending = 0 "
                "WHERE namespace = ? AND id = ? AND pending = 1",
                (rows.to_json(fire.outcomes), fire.namespace, fire.id),
            )
            if done.rowcount:
                rows.add_audit(sqlite, audit)

    def resolve_review(self, fire: RuleFire, audit: AuditEntry) -> bool:
        with self._connection.write() as sqlite:
            done = sqlite.execute(
                "UPDATE rule_fires SET review = ?, reviewed_at = ?, reviewed_by = ?, note = ? "
                "WHERE namespace = ? AND id = ? AND review = 'open'",
                (
                    fire.review,
                    fire.reviewed_at,
                    fire.reviewed_by,
                    fire.note,
                    fire.namespace,
                    fire.id,
                ),
            )
            if not done.rowcount:
                return False
            rows.add_audit(sqlite, audit)
            return True

    def fires(
        self,
        namespace: str,
        *,
        rule: str | None = None,
        customer: str | None = None,
        mode: str | None = None,
        review: str | None = None,
        before: int | None = None,
        limit: int,
    ) -> list[RuleFire]:
        clauses, values = ["namespace = ?"], [namespace]
        wanted = {"rule": rule, "customer": customer, "mode": mode, "review": review}
        for column, value in wanted.items():
            if value is not None:
                clauses.append(f"{column} = ?")
                values.append(value)
        if before is not None:
            clauses.append("rank < ?")
            values.append(str(before))
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                f"SELECT {_COLUMNS} FROM rule_fires WHERE {' AND '.join(clauses)} "
                "ORDER BY rank DESC LIMIT ?",
                (*values, limit),
            )
            return [_to_fire(row) for row in found]

    def fire(self, namespace: str, fire_id: str) -> RuleFire | None:
        with self._connection.read() as sqlite:
            row = sqlite.execute(
                f"SELECT {_COLUMNS} FROM rule_fires WHERE namespace = ? AND id = ?",
                (namespace, fire_id),
            ).fetchone()
            return None if row is None else _to_fire(row)

    def pending_fires(self) -> list[RuleFire]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                f"SELECT {_COLUMNS} FROM rule_fires WHERE pending = 1 ORDER BY rank"
            )
            return [_to_fire(row) for row in found]

    def count_fires(self, namespace: str, since: int) -> dict[tuple[str, str], int]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                "SELECT rule, mode, count(*) FROM rule_fires "
                "WHERE namespace = ? AND at >= ? GROUP BY rule, mode",
                (namespace, since),
            )
            return {(rule, mode): count for rule, mode, count in found}

    def open_reviews(self) -> dict[str, int]:
        with self._connection.read() as sqlite:
            found = sqlite.execute(
                "SELECT namespace, count(*) FROM rule_fires WHERE review = 'open' "
                "GROUP BY namespace"
            )
            return dict(found.fetchall())

    def forget_dry_fires(self, before: int) -> int:
        with self._connection.write() as sqlite:
            return sqlite.execute(
                "DELETE FROM rule_fires WHERE mode = 'dry_run' AND at < ?", (before,)
            ).rowcount


def _add_fire(sqlite: sqlite3.Connection, fire: RuleFire) -> bool:
    """Whether it is new."""
    members = msgspec.structs.asdict(fire)
    del members["rank"]
    members["outcomes"] = rows.to_json(fire.outcomes)
    members["pending"] = int(fire.pending)
    columns, marks = ", ".join(members), ", ".join("?" * len(members))
    done = sqlite.execute(
        f"INSERT INTO rule_fires ({columns}) VALUES ({marks}) ON CONFLICT DO NOTHING",
        tuple(members.values()),
    )
    return bool(done.rowcount)


def _to_fire(row: tuple[Any, ...]) -> RuleFire:
    fire = RuleFire(*row)
    return msgspec.structs.replace(
        fire, outcomes=_outcomes.decode(str(fire.outcomes)), pending=bool(fire.pending)
    )
