"""
How long to wait before asking again: exponential, with full jitter, and never less than the
server asked for.
"""

from __future__ import annotations

import random
from typing import Final

FIRST_S: Final = 0.1
LONGEST_S: Final = 10.0
LONGEST_RETRY_AFTER_S: Final = 300.0


def pause_s(failures: int, retry_after_s: float = 0.0) -> float:
    """
    Args:
        failures: In a row so far, at least 1.
        retry_after_s: What the server asked for; more than 5 minutes counts as 5 minutes.
    """
    ceiling = min(LONGEST_S, FIRST_S * 2 ** min(failures, 16))
    # Half is kept, so that the first retry of a thousand clients is neither at once nor together.
    own: float = ceiling / 2 + random.random() * ceiling / 2
    return max(own, min(retry_after_s, LONGEST_RETRY_AFTER_S))
