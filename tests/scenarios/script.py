"""
Scenarios as text: prose, a catalogue, dated commands, and below each what came of it.

    The anchor is the 31st, so February ends the period early (K3).

    zone Europe/Berlin

    catalogue
        plans: ...

    2026-01-31 09:00  acme subscribes to pro, anniversary
        active, period 2026-01-31 09:00 .. 2026-02-28 00:00

A line that begins with a date is a command; what is indented below it is the answer. Dates are
local to the `zone` (UTC if there is none). Everything else is prose, kept as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

INDENT = "    "
_DATED = re.compile(r"(\d{4}-\d\d-\d\d)(?: (\d\d:\d\d(?::\d\d)?))?  +(\S.*)")


@dataclass
class Step:
    """
    A command at an instant.

    Attributes:
        line: Where it stands in the file, from 1.
        answer: Expected lines, without their indent.
    """

    line: int
    at: datetime
    command: str
    answer: list[str] = field(default_factory=list)


@dataclass
class Script:
    """
    A scenario that was read.

    Attributes:
        title: Its first line.
        catalogue: YAML.
    """

    title: str
    zone: ZoneInfo
    catalogue: str
    steps: list[Step]
    _lines: list[str]

    def with_answers(self, answers: list[list[str]]) -> str:
        """The text again, with these answers below the commands."""
        found = dict(zip((step.line for step in self.steps), answers, strict=True))
        lines: list[str] = []
        skipping = False
        for number, line in enumerate(self._lines, 1):
            if number in found:
                lines += [line, *(INDENT + text for text in found[number])]
                skipping = True
            elif not (skipping and line.startswith(INDENT)):
                lines.append(line)
                skipping = False
        return "\n".join(lines) + "\n"


def read(text: str) -> Script:
    """
    Raises:
        ValueError: Indented text belongs to nothing.
    """
    lines = text.splitlines()
    zone, catalogue, steps = ZoneInfo("UTC"), [], []
    take: Callable[[str], None] | None = None
    for number, line in enumerate(lines, 1):
        if line.startswith(INDENT):
            if take is None:
                raise ValueError(f"line {number} is indented below nothing")
            take(line.removeprefix(INDENT))
        elif dated := _DATED.fullmatch(line):
            step = Step(number, _local(dated[1], dated[2], zone), dated[3])
            steps.append(step)
            take = step.answer.append
        elif line == "catalogue":
            take = catalogue.append
        elif line.startswith("zone "):
            zone, take = ZoneInfo(line.removeprefix("zone ")), None
        elif line:
            take = None
    return Script(lines[0], zone, "\n".join(catalogue), steps, lines)


def _local(day: str, time: str | None, zone: ZoneInfo) -> datetime:
    return datetime.fromisoformat(f"{day} {time or '00:00'}").replace(tzinfo=zone).astimezone(UTC)
