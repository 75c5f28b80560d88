"""
Thresholds: an amount ("5000"), or a share of a limit ("80%").
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from taximeter.errors import Rejected
from taximeter.quantities import E12, exact_pico, format_quantity

MAX_SHARE: Final = 1000
_HUNDRED: Final = 100 * E12


class Threshold(msgspec.Struct, frozen=True):
    """
    Attributes:
        text: Its one spelling: "80%" for "80.0%", "5000" for 5000.
        pico: The amount; of a share, the percentage.
    """

    text: str
    pico: int
    is_share: bool = False

    def line_pico(self, limit_pico: int | None) -> int | None:
        """
        The quantity at which it is reached: the smallest that is at least the share of the limit.

        Returns:
            None for a share of no limit.
        """
        if not self.is_share:
            return self.pico
        if limit_pico is None:
            return None
        return -(-limit_pico * self.pico // _HUNDRED)  # rounded up: reached, not nearly reached


def read_threshold(value: Any, *, shares: bool = True) -> Threshold:
    """
    Args:
        value: A number or text. A share is above 0% and at most 1000%.
        shares: Whether there is a limit that it could be a share of.

    Raises:
        Rejected: `alert_invalid`.
    """
    text = value.strip() if isinstance(value, str) else value
    is_share = isinstance(text, str) and text.endswith("%")
    pico = exact_pico(text[:-1].rstrip() if is_share else text)
    if pico is None:
        raise Rejected(
            "alert_invalid", f"{str(value)[:40]!r} is neither an amount like 5000 nor a share: 80%."
        )
    if not is_share:
        return Threshold(format_quantity(pico), pico)
    if not shares:
        raise Rejected("alert_invalid", f"{text!r}: a balance has no limit to be a share of.")
    if not 0 < pico <= MAX_SHARE * E12:
        raise Rejected("alert_invalid", f"{text!r}: a share is above 0% and at most {MAX_SHARE}%.")
    return Threshold(f"{format_quantity(pico)}%", pico, is_share=True)
