"""
Streams that are counted as they pass.

Counted once: at the end, when closed, when they break, or when they are dropped half-read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Any, Self

from taximeter_sdk.wrapping.counting import Counting
from taximeter_sdk.wrapping.usage import get


class _Counted:
    """Everything that is not counting is the stream's own."""

    def __init__(self, stream: Any, counting: Counting, *, hide_usage: bool) -> None:
        self._stream, self._counting, self._hide_usage = stream, counting, hide_usage

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __del__(self) -> None:
        # Someone broke out of the loop and let go of it.
        self._counting.end()

    def _is_ours(self, chunk: Any) -> bool:
        """The last chunk that only came because we asked for usage: callers may not expect it."""
        return self._hide_usage and get(chunk, "usage") is not None and not get(chunk, "choices")


class CountedStream(_Counted):
    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            chunk = next(self._stream)
        except BaseException:
            self._counting.end()
            raise
        self._counting.chunk(chunk)
        return self.__next__() if self._is_ours(chunk) else chunk

    def __enter__(self) -> Self:
        self._stream.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Any:
        try:
            return self._stream.__exit__(kind, error, trace)
        finally:
            self._counting.end()

    def close(self) -> None:
        try:
            self._stream.close()
        finally:
            self._counting.end()


class CountedAsyncStream(_Counted):
    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        try:
            chunk = await anext(self._stream)
        except BaseException:
            self._counting.end()
            raise
        self._counting.chunk(chunk)
        return await self.__anext__() if self._is_ours(chunk) else chunk

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Any:
        try:
            return await self._stream.__aexit__(kind, error, trace)
        finally:
            self._counting.end()

    async def close(self) -> None:
        try:
            await self._stream.close()
        finally:
            self._counting.end()


class CountedHelper:
    """
    A context manager that gives a stream helper (`messages.stream`): the helper keeps its own
    account of the message, which is read when the block ends.
    """

    def __init__(self, manager: Any, counting: Counting) -> None:
        self._manager, self._counting, self._helper = manager, counting, None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._manager, name)

    def _end(self) -> None:
        if self._helper is None:
            return  # it never began: nothing was used
        try:
            message = self._helper.current_message_snapshot
        except Exception:
            message = None  # broke before the first piece
        self._counting.snapshot(message)
        self._counting.end()

    def __enter__(self) -> Any:
        self._helper = self._manager.__enter__()
        return self._helper

    def __exit__(self, *error: Any) -> Any:
        try:
            return self._manager.__exit__(*error)
        finally:
            self._end()

    async def __aenter__(self) -> Any:
        self._helper = await self._manager.__aenter__()
        return self._helper

    async def __aexit__(self, *error: Any) -> Any:
        try:
            return await self._manager.__aexit__(*error)
        finally:
            self._end()
