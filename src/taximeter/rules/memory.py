"""
What rules remember of one customer: the windows they look at, and which of them rest after firing.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from taximeter.rules.window import Windows

MAX_RESTING: Final = 10_000

WindowKey: TypeAlias = tuple[str, str]
"""A rule's key, and a digest of what its window counts: another definition begins anew."""


class Memory:
    """
    Attributes:
        windows: By rule and by what they count.
        resting: (rule, value) -> until when it does not fire again.
    """

    __slots__ = ("resting", "windows")

    def __init__(self, dumped: dict[str, Any] | None = None) -> None:
        found = dumped or {}
        self.windows: dict[WindowKey, Windows] = {
            (rule, digest): Windows(window_us, windows)
            for rule, digest, window_us, windows in found.get("windows", ())
        }
        self.resting: dict[tuple[str, str], int] = {
            (rule, value): until for rule, value, until in found.get("resting", ())
        }

    def window(self, key: WindowKey, window_us: int) -> Windows:
        """The windows of a rule, made if it is the first use."""
        found = self.windows.get(key)
        if found is None:
            found = self.windows[key] = Windows(window_us)
        return found

    def rests(self, rule: str, value: str, at: int) -> bool:
        return at < self.resting.get((rule, value), at)

    def rest(self, rule: str, value: str, until: int) -> None:
        """It has fired. Of very many values, the one that has rested longest may fire again."""
        self.resting.pop((rule, value), None)
        if len(self.resting) >= MAX_RESTING:
            del self.resting[next(iter(self.resting))]
        self.resting[rule, value] = until

    def prune(self, now: int) -> bool:
        """Forget what cannot matter any more; whether anything is left."""
        self.windows = {key: one for key, one in self.windows.items() if one.prune(now)}
        self.resting = {key: until for key, until in self.resting.items() if until > now}
        return bool(self.windows or self.resting)

    def dump(self) -> dict[str, Any]:
        """Plain JSON-able values; equal memories give equal dumps."""
        windows = sorted(self.windows.items())
        document = {
            "windows": [[*key, one.window_us, one.dump()] for key, one in windows if len(one)],
            "resting": [[*key, until] for key, until in self.resting.items()],
        }
        return {name: value for name, value in document.items() if value}
