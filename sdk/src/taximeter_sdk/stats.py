"""
Counters of one meter in one process. What is tracked is never lost without being counted here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Stats:
    """
    A snapshot. Always:

        tracked + recovered = accepted + duplicates + conflicts + rejected + settled
                              + dropped + buffered + spooled

    Attributes:
        tracked: Handed over by the application: events, and settlements left for later.
        recovered: Found in the spool of a process that died.
        sent: Answered by the server, one by one: accepted, duplicates, conflicts and rejected.
        conflicts: Known under the same identity with other content: not counted again.
        rejected: Refused for good; `on_reject` got each with its reason.
        settled: Settlements of reservations that were delivered late.
        dropped: Thrown away because the buffer, or the disk of the spool, was full.
        buffered: In memory, not answered yet.
        spooled: Only on disk, not answered yet.
        retries: Requests that were asked again.
        damaged: Lines of a spool that could not be read.
        spool_errors: Items the spool had no room for, or the disk refused; they are in memory
            only.
        failed_open, failed_closed: Decisions made without the server.
        last_error: The latest thing that went wrong, for people.
    """

    tracked: int = 0
    recovered: int = 0
    sent: int = 0
    accepted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    rejected: int = 0
    settled: int = 0
    dropped: int = 0
    buffered: int = 0
    spooled: int = 0
    retries: int = 0
    damaged: int = 0
    spool_errors: int = 0
    failed_open: int = 0
    failed_closed: int = 0
    last_error: str | None = None
