"""
A stand-in for a language model: it says a few sentences, one word at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

_TEXT = """
A taximeter is a sealed, trusted device. It measures the ride while it happens, shows the fare as it
grows, applies the tariff that is in force, and prints a receipt nobody argues with. You asked about
"{prompt}". Each word of this answer is one token; before a word is shown it is claimed from a
reservation, so the credit above can never go below nothing. When the reservation runs low, the next
block is reserved in the background, and the words keep coming without a pause. When there is no
more credit to reserve, the answer stops in the middle of a sentence, and exactly what you have read
is what you pay for. Close this page while I am talking and the same happens: what was used is
settled, and the rest of the reservation is free again.
"""


async def answer(prompt: str, pause_s: float) -> AsyncIterator[str]:
    """Three times the same, each word with the space before it."""
    text = _TEXT.format(prompt=prompt.strip()[:80] or "nothing")
    for word in text.split() * 3:
        await asyncio.sleep(pause_s)
        yield " " + word
