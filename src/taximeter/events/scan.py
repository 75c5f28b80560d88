"""
Two passes over the raw bytes of a body, compiled.

`scan` is a handful of counts that the compiler turns into vector instructions (0.2 ns a byte). It
does not know what a string is, so its counts can be too high where text looks like JSON, never too
low: enough to prove a clean batch clean. `split` knows strings and finds every item exactly, at
about 1 ns a byte, when something is unusual.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from taximeter.events.compiled import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STRIDE: Final = 248  # fewer than 256 steps, so that one-byte counters cannot overflow
_PROBE: Final = 100

NEWLINE: Final = 10
COMMA: Final = 44
NOTHING: Final = 256  # a separator no byte is equal to

BROKEN: Final = -1

_SPACE: Final = 32
_QUOTE: Final = 34
_COLON: Final = 58
_BACKSLASH: Final = 92
_OPEN_LIST: Final = 91
_CLOSE_LIST: Final = 93
_OPEN_OBJECT: Final = 123
_CLOSE_OBJECT: Final = 125
_DELETE: Final = 127


class Scan(NamedTuple):
    """
    What `scan` saw.

    Attributes:
        members: Colons after a quote or white space; at least the number of object members.
        opens: Opening brackets and braces; at least the number of objects and arrays.
        gap: Longest stretch without an opening bracket, rounded up to a stride at each end.
        newlines: Exactly the newlines.
        line_ends: Newlines right after a closing brace.
        line_starts: Newlines right before an opening brace.
        escapes: Whether there is a backslash or a control character beyond U+001F.
        long_number: Whether some run of digits is longer than 100.
    """

    members: int
    opens: int
    gap: int
    newlines: int
    line_ends: int
    line_starts: int
    escapes: bool
    long_number: bool


@compiled
def _has_long_number(body: bytes) -> bool:
    """A run of more than 100 digits crosses one of the bytes 0, 100, 200, ..."""
    size = len(body)
    for probe in range(0, size, _PROBE):
        start = stop = probe
        while stop < size and 48 <= body[stop] <= 57 and stop - probe <= _PROBE:
            stop += 1
        while start > 0 and 48 <= body[start - 1] <= 57 and probe - start <= _PROBE:
            start -= 1
        if stop > probe and stop - start > _PROBE:
            return True
    return False


@compiled
def _scan(body: bytes) -> tuple[int, int, int, int, int, int, bool, bool]:
    members = opens = gap = longest_gap = newlines = line_ends = line_starts = 0
    escapes = False
    size = np.uintp(len(body))
    start = np.uintp(1)
    while start < size:
        stop = min(start + np.uintp(_STRIDE), size)
        here, before = body[start:stop], body[start - np.uintp(1) : stop - np.uintp(1)]
        colons = brackets = lines = ends = starts = odd = np.uint8(0)
        for i in range(len(here)):
            c, p = here[i], before[i]
            colons = np.uint8(colons + np.uint8((c == _COLON) & ((p == _QUOTE) | (p <= _SPACE))))
            brackets = np.uint8(brackets + np.uint8((c == _OPEN_LIST) | (c == _OPEN_OBJECT)))
            lines = np.uint8(lines + np.uint8(c == NEWLINE))
            ends = np.uint8(ends + np.uint8((c == NEWLINE) & (p == _CLOSE_OBJECT)))
            starts = np.uint8(starts + np.uint8((p == NEWLINE) & (c == _OPEN_OBJECT)))
            # U+0080 to U+009F are C2 80 to C2 9F in UTF-8.
            odd = np.uint8(
                odd | np.uint8((c == _BACKSLASH) | (c == _DELETE) | ((p == 0xC2) & (c < 0xA0)))
            )
        members += int(colons)
        opens += int(brackets)
        newlines += int(lines)
        line_ends += int(ends)
        line_starts += int(starts)
        escapes |= odd != 0
        gap = 0 if brackets else gap + _STRIDE
        longest_gap = max(longest_gap, gap)
        start = stop
    if len(body) > 0:
        opens += body[0] == _OPEN_LIST or body[0] == _OPEN_OBJECT
        newlines += body[0] == NEWLINE
    return (
        members,
        opens,
        longest_gap + 2 * _STRIDE,
        newlines,
        line_ends,
        line_starts,
        escapes,
        _has_long_number(body),
    )


def scan(body: bytes) -> Scan:
    """One pass over a whole body; see `Scan`."""
    return Scan(*_scan(body))


# Columns of the table `split` fills.
START, STOP, DEPTH, NUMBER = 0, 1, 2, 3


@compiled
def _split(body: bytes, start: int, stop: int, separator: int, items: NDArray[np.int64]) -> int:
    count = depth = deepest = run = longest = 0
    first = last = start
    blank = True
    quoted = escaped = False
    for i in range(start, stop + 1):
        at_end = i == stop
        c = separator if at_end else np.int64(body[i])
        # A newline cannot be inside a JSON string, so it ends a line whatever came before.
        if at_end or (c == separator and (c == NEWLINE or (depth == 0 and not quoted))):
            if separator == COMMA and (quoted or depth != 0):
                return BROKEN
            if not blank or separator == COMMA:
                if count == len(items):
                    return count + 1
                items[count, START], items[count, STOP] = first, last
                items[count, DEPTH], items[count, NUMBER] = deepest, longest
                count += 1
            depth = deepest = run = longest = 0
            first = last = i + 1
            blank = True
            quoted = escaped = False
            continue
        if c > _SPACE or (c != _SPACE and c not in (9, 10, 13)):  # white space of JSON only
            if blank:
                first, blank = i, False
            last = i + 1
        if quoted:
            if escaped:
                escaped = False
            elif c == _BACKSLASH:
                escaped = True
            elif c == _QUOTE:
                quoted = False
            continue
        # Digits, sign, point, exponent: only their number matters here, not their order.
        if 48 <= c <= 57 or c == 45 or c == 46 or c == 43 or c == 69 or c == 101:
            run += 1
            longest = max(longest, run)
            continue
        run = 0
        if c == _QUOTE:
            quoted = True
        elif c in (_OPEN_OBJECT, _OPEN_LIST):
            depth += 1
            deepest = max(deepest, depth)
        elif c in (_CLOSE_OBJECT, _CLOSE_LIST):
            depth -= 1
            if depth < 0 and separator == COMMA:
                return BROKEN
    return count


def split(
    body: bytes, start: int, stop: int, separator: int, limit: int
) -> NDArray[np.int64] | int:
    """
    Find the items between two offsets.

    Args:
        separator: COMMA (outside strings and brackets), NEWLINE (blank lines are no items), or
            NOTHING for a single item.
        limit: Most items to find.

    Returns:
        An (n, 4) table: start, stop (without white space around), nesting depth, characters of the
        longest number. Or BROKEN if the brackets do not match, or limit + 1 if there are more.
    """
    items = np.empty((limit, 4), dtype=np.int64)
    count = _split(body, start, stop, separator, items)
    return items[:count] if 0 <= count <= limit else count
