"""
One call of a model: what was asked, what came, and exactly one event at its end.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from taximeter_sdk.wrapping.usage import (
    ESTIMATE,
    anthropic_tokens,
    characters_of,
    estimated,
    get,
    openai_tokens,
)

log = logging.getLogger("taximeter_sdk")

Count = Callable[[Mapping[str, Any]], object]
"""Tracks an event with these data."""


class Counting:
    """
    Args:
        provider: `openai` or `anthropic`.
        operation: Such as `chat.completions`.
        request: The keyword arguments of the call.
    """

    def __init__(
        self, count: Count, provider: str, operation: str, request: Mapping[str, Any]
    ) -> None:
        self._count = count
        self._provider, self._operation = provider, operation
        self._request = request
        self._model = str(request.get("model") or "")
        self._tokens: dict[str, int] | None = None
        self._complete = False
        self._output_characters = 0
        self._ended = False
        self._lock = threading.Lock()

    # --- what came ----------------------------------------------------------------------------

    def answer(self, answer: Any) -> None:
        """A whole answer: count it."""
        self._quietly(self._see_answer, answer)
        self.end()

    def chunk(self, chunk: Any) -> None:
        """A piece of a stream."""
        see = self._see_anthropic if self._provider == "anthropic" else self._see_openai
        self._quietly(see, chunk)

    def _see_answer(self, answer: Any) -> None:
        usage = get(answer, "usage")
        self._model = get(answer, "model") or self._model
        if usage is not None:
            self._tokens = self._read(usage)
            self._complete = True

    def _see_openai(self, chunk: Any) -> None:
        # Responses wrap it: {"type": "response.completed", "response": {"usage": ...}}.
        whole = get(chunk, "response")
        self._model = get(whole, "model") or get(chunk, "model") or self._model
        usage = get(whole, "usage") or get(chunk, "usage")
        if usage is not None:
            self._tokens = self._read(usage)
            self._complete = True
        for choice in get(chunk, "choices") or ():
            self._output_characters += characters_of(get(choice, "delta", "content"))
        if isinstance(get(chunk, "delta"), str):
            self._output_characters += len(chunk.delta)

    def _see_anthropic(self, chunk: Any) -> None:
        kind = get(chunk, "type")
        if kind == "message_start":
            self._model = get(chunk, "message", "model") or self._model
            self._tokens = self._read(get(chunk, "message", "usage"))
        elif kind == "message_delta":
            # Cumulative: the last one counts. It may leave out what message_start has said.
            later = self._read(get(chunk, "usage"))
            self._tokens = {**(self._tokens or {}), **{k: v for k, v in later.items() if v}}
            self._complete = True
        elif kind == "content_block_delta":
            text = get(chunk, "delta", "text") or get(chunk, "delta", "partial_json") or ""
            self._output_characters += len(text)

    def snapshot(self, message: Any) -> None:
        """What a stream helper has put together so far."""
        self._quietly(self._see_snapshot, message)

    def _see_snapshot(self, message: Any) -> None:
        if message is None:
            return
        self._model = get(message, "model") or self._model
        self._tokens = self._read(get(message, "usage"))
        self._complete = get(message, "stop_reason") is not None
        blocks = get(message, "content") or ()
        self._output_characters = sum(len(get(block, "text") or "") for block in blocks)

    def _read(self, usage: Any) -> dict[str, int]:
        return anthropic_tokens(usage) if self._provider == "anthropic" else openai_tokens(usage)

    # --- counting it --------------------------------------------------------------------------

    def end(self) -> None:
        """Count, unless it was: at the end of the stream, when it is closed, or when it breaks."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
        self._quietly(lambda _: self._count(self._data()), None)

    def _data(self) -> dict[str, Any]:
        data: dict[str, Any] = {
            "provider": self._provider,
            "operation": self._operation,
            "model": self._model,
        }
        if self._complete and self._tokens is not None:
            return data | self._tokens
        return data | self._estimate()

    def _estimate(self) -> dict[str, Any]:
        """What the provider said before the stream broke off, and for the rest the characters."""
        said = self._tokens or {}
        asked = {k: v for k, v in self._request.items() if k in ("messages", "input", "system")}
        tokens = dict(said)
        tokens["input_tokens"] = said.get("input_tokens") or estimated(characters_of(asked))
        tokens["output_tokens"] = max(
            said.get("output_tokens", 0), estimated(self._output_characters)
        )
        return {**tokens, "estimated": True, "estimate": ESTIMATE}

    def _quietly(self, see: Callable[[Any], object], value: Any) -> None:
        try:
            see(value)
        except Exception:
            log.exception("a call of %s was not counted", self._operation)
