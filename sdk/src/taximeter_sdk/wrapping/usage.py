"""
How many tokens a call used: what the provider says, or an estimate that says so.

Cached tokens are a part of input tokens and reasoning tokens a part of output tokens, in the
events of every provider: do not add them up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

CHARACTERS_PER_TOKEN: Final = 4
"""What an estimate assumes; right within about a third for English prose."""

ESTIMATE: Final = "characters/4"


def get(value: Any, *path: str) -> Any:
    """A member of nested objects or mappings; None where there is none."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
        if value is None:
            return None
    return value


def openai_tokens(usage: Any) -> dict[str, int]:
    """Of a `usage` of chat completions, responses or embeddings."""
    found = {
        "input_tokens": _first(get(usage, "prompt_tokens"), get(usage, "input_tokens")),
        "output_tokens": _first(get(usage, "completion_tokens"), get(usage, "output_tokens")),
        "cached_tokens": _first(
            get(usage, "prompt_tokens_details", "cached_tokens"),
            get(usage, "input_tokens_details", "cached_tokens"),
        ),
        "reasoning_tokens": _first(
            get(usage, "completion_tokens_details", "reasoning_tokens"),
            get(usage, "output_tokens_details", "reasoning_tokens"),
        ),
    }
    return _complete(found)


def anthropic_tokens(usage: Any) -> dict[str, int]:
    """Of a `usage` of messages; there cached tokens stand beside the input, here inside it."""
    read = get(usage, "cache_read_input_tokens") or 0
    written = get(usage, "cache_creation_input_tokens") or 0
    found = {
        "input_tokens": (get(usage, "input_tokens") or 0) + read + written,
        "output_tokens": get(usage, "output_tokens"),
        "cached_tokens": read or None,
        "cache_write_tokens": written or None,
    }
    return _complete(found)


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _complete(found: Mapping[str, Any]) -> dict[str, int]:
    """Both sums always; details only where there are any."""
    tokens = {name: value for name, value in found.items() if isinstance(value, int) and value}
    return {"input_tokens": 0, "output_tokens": 0} | tokens


def estimated(characters: int) -> int:
    """Tokens of so many characters, rounded up."""
    return -(-characters // CHARACTERS_PER_TOKEN)


def characters_of(request: Any, depth: int = 8) -> int:
    """
    Characters of all text in a prompt, whatever its shape; of a list or mapping, all that is in
    it. Pictures and the like are not counted.
    """
    if isinstance(request, str):
        return len(request)
    if depth == 0:
        return 0
    if isinstance(request, Mapping):
        texts = (one for name, one in request.items() if name not in ("role", "type", "id"))
        return sum(characters_of(one, depth - 1) for one in texts)
    if isinstance(request, Sequence) and not isinstance(request, (bytes, bytearray)):
        return sum(characters_of(one, depth - 1) for one in request)
    return 0
