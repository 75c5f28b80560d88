"""
A stand-in for a client that passes everything through and counts the calls that cost tokens.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, cast

from taximeter_sdk.wrapping.counting import Count, Counting
from taximeter_sdk.wrapping.streams import CountedAsyncStream, CountedHelper, CountedStream
from taximeter_sdk.wrapping.usage import get

if TYPE_CHECKING:
    from taximeter_sdk.base import BaseMeter

T = TypeVar("T")


class Operation(NamedTuple):
    """A method that is counted. `helper`: it gives a context manager with a stream helper."""

    provider: str
    name: str
    helper: bool = False


_COUNTED: Final[Mapping[tuple[str, ...], Operation]] = {
    ("chat", "completions", "create"): Operation("openai", "chat.completions"),
    ("chat", "completions", "parse"): Operation("openai", "chat.completions"),
    ("completions", "create"): Operation("openai", "completions"),
    ("responses", "create"): Operation("openai", "responses"),
    ("responses", "parse"): Operation("openai", "responses"),
    ("embeddings", "create"): Operation("openai", "embeddings"),
    ("messages", "create"): Operation("anthropic", "messages"),
    ("messages", "stream"): Operation("anthropic", "messages", helper=True),
}
_PREFIXES: Final = {path[:depth] for path in _COUNTED for depth in range(1, len(path))}
# These give another client, which is to be counted as well.
_COPIES: Final = frozenset({"with_options", "copy"})
_ASKS_USAGE: Final = frozenset({"chat.completions", "completions"})


def wrap(
    meter: BaseMeter,
    client: T,
    customer: str | Callable[[], str],
    *,
    event_type: str,
    data: Mapping[str, Any],
    ask_usage: bool,
) -> T:
    """See `BaseMeter.wrap`."""
    if get(client, "chat", "completions") is None and get(client, "messages") is None:
        name = type(client).__name__
        raise TypeError(f"{name} is no client of an OpenAI- or Anthropic-style API")

    def count(used: Mapping[str, Any]) -> None:
        who = customer() if callable(customer) else customer
        meter.track(who, event_type, data={**used, **data})

    return cast(T, _Proxy(client, (), count, ask_usage))


class _Proxy:
    """The client, or a namespace of it such as `chat.completions`."""

    def __init__(self, target: Any, path: tuple[str, ...], count: Count, ask_usage: bool) -> None:
        self._target, self._path = target, path
        self._count, self._ask_usage = count, ask_usage

    def __repr__(self) -> str:
        return f"<metered {self._target!r}>"

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        path = (*self._path, name)
        if path in _COUNTED:
            return _counted(found, _COUNTED[path], self._count, self._ask_usage)
        if path in _PREFIXES:
            return _Proxy(found, path, self._count, self._ask_usage)
        if not self._path and name in _COPIES:
            return lambda *args, **kwargs: _Proxy(
                found(*args, **kwargs), (), self._count, self._ask_usage
            )
        return found

    def __enter__(self) -> _Proxy:
        self._target.__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        return self._target.__exit__(*error)

    async def __aenter__(self) -> _Proxy:
        await self._target.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> Any:
        return await self._target.__aexit__(*error)


def _counted(
    method: Callable[..., Any], operation: Operation, count: Count, ask_usage: bool
) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        request, hide_usage = _with_usage(kwargs, operation, ask_usage)
        counting = Counting(count, operation.provider, operation.name, kwargs)
        result = method(*args, **request)
        if operation.helper:
            return CountedHelper(result, counting)
        if inspect.isawaitable(result):
            return _awaited(result, counting, hide_usage)
        return _seen(result, counting, hide_usage)

    return call


async def _awaited(result: Any, counting: Counting, hide_usage: bool) -> Any:
    return _seen(await result, counting, hide_usage)


def _seen(result: Any, counting: Counting, hide_usage: bool) -> Any:
    if hasattr(result, "__anext__"):
        return CountedAsyncStream(result, counting, hide_usage=hide_usage)
    if hasattr(result, "__next__"):
        return CountedStream(result, counting, hide_usage=hide_usage)
    counting.answer(result)
    return result


def _with_usage(
    kwargs: dict[str, Any], operation: Operation, ask_usage: bool
) -> tuple[dict[str, Any], bool]:
    """
    The call with usage asked for, where a stream would not tell it by itself; and whether the
    chunk that tells it is to be kept from a caller who did not ask.
    """
    if not (ask_usage and operation.name in _ASKS_USAGE and kwargs.get("stream") is True):
        return kwargs, False
    options = kwargs.get("stream_options")
    asked = dict(options) if isinstance(options, Mapping) else {}
    if "include_usage" in asked:
        return kwargs, False
    return {**kwargs, "stream_options": {**asked, "include_usage": True}}, True
