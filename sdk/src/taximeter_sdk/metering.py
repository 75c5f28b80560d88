"""
A decorated function is checked before it runs and counted after it succeeded.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from taximeter_sdk.errors import OverLimit
from taximeter_sdk.quantities import Amount

if TYPE_CHECKING:
    from taximeter_sdk.base import BaseMeter
    from taximeter_sdk.client import Taximeter
    from taximeter_sdk.decision import Decision

T = TypeVar("T")
Who = str | Callable[..., str]


def metered(
    meter: BaseMeter,
    feature: str,
    *,
    customer: Who,
    amount: Amount | Callable[[Any], Amount],
    scope: Callable[..., Mapping[str, str]] | None,
) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """See `BaseMeter.metered`."""
    before = 1 if callable(amount) else amount

    def asked(*args: Any, **kwargs: Any) -> tuple[str, Mapping[str, str] | None]:
        who = customer(*args, **kwargs) if callable(customer) else customer
        return who, None if scope is None else scope(*args, **kwargs)

    def count(who: str, where: Mapping[str, str] | None, result: Any) -> None:
        used = amount(result) if callable(amount) else amount
        meter.track(who, feature=feature, amount=used, scope=where)

    def decorate(function: Callable[..., T]) -> Callable[..., T]:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def checked_async(*args: Any, **kwargs: Any) -> Any:
                who, where = asked(*args, **kwargs)
                _allow(await _check(meter, who, feature, before, where))
                result = await function(*args, **kwargs)
                count(who, where, result)
                return result

            return cast(Callable[..., T], checked_async)

        @functools.wraps(function)
        def checked(*args: Any, **kwargs: Any) -> T:
            who, where = asked(*args, **kwargs)
            decision = cast("Taximeter", meter).check(who, feature, before, scope=where)
            if inspect.isawaitable(decision):
                decision.close()  # type: ignore[attr-defined]
                raise TypeError("an AsyncTaximeter meters coroutine functions")
            _allow(decision)
            result = function(*args, **kwargs)
            count(who, where, result)
            return result

        return checked

    return decorate


async def _check(
    meter: BaseMeter, who: str, feature: str, amount: Amount, where: Mapping[str, str] | None
) -> Decision:
    """With either meter; the one for threads asks in a thread."""
    import asyncio

    from taximeter_sdk.aio import AsyncTaximeter
    from taximeter_sdk.client import Taximeter

    if isinstance(meter, AsyncTaximeter):
        return await meter.check(who, feature, amount, scope=where)
    assert isinstance(meter, Taximeter)
    return await asyncio.to_thread(meter.check, who, feature, amount, scope=where)


def _allow(decision: Decision) -> None:
    if not decision:
        raise OverLimit(decision)
