"""
Celery: each task that succeeds is counted once.

    from taximeter_sdk.celery import count_tasks

    count_tasks(meter, customer=lambda task, args, kwargs: kwargs.get("org"))

The event's identity is the task's id, and it carries no time of its own, so a task that runs again
(`acks_late`, a lost worker, a retry that had already succeeded) is a duplicate and counts once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from celery import signals

from taximeter_sdk.base import BaseMeter
from taximeter_sdk.client import Taximeter

Who = Callable[[Any, tuple[Any, ...], Mapping[str, Any]], str | None]


def count_tasks(
    meter: BaseMeter,
    *,
    customer: Who,
    type: str = "celery.task",
    data: Callable[[Any, Any], Mapping[str, Any]] | None = None,
    flush_s: float = 5.0,
) -> Callable[[], None]:
    """
    Count every task of this process from now on.

    Args:
        customer: Given the task, its args and kwargs; None: not counted.
        data: Given the task and its result, more members for the event. It must give the same for
            the same task, or a second run is a conflict (which counts once, too, and is reported).
        flush_s: How long a worker process may take at its end to deliver.

    Returns:
        What stops it.
    """

    def succeeded(sender: Any = None, result: Any = None, **_: Any) -> None:
        request = sender.request
        who = customer(sender, tuple(request.args or ()), dict(request.kwargs or {}))
        if who is None:
            return
        more = {} if data is None else data(sender, result)
        meter.track(
            who, type, id=f"celery:{request.id}", at="receipt", data={"task": sender.name, **more}
        )

    def ended(**_: Any) -> None:
        # A child of the pool ends without the interpreter's own end.
        if isinstance(meter, Taximeter):
            meter.flush(flush_s)
        else:
            meter._engine.flush(flush_s)

    signals.task_success.connect(succeeded, weak=False)
    signals.worker_process_shutdown.connect(ended, weak=False)

    def stop() -> None:
        signals.task_success.disconnect(succeeded)
        signals.worker_process_shutdown.disconnect(ended)

    return stop
