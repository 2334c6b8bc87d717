"""Call functions with a timeout, even if they hang."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from threading import TIMEOUT_MAX, Thread
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable

T = TypeVar("T")


class BoundedCalls(Generic[T]):
    """Calls with a timeout, by key.

    A call that exceeds its timeout continues in the background, because it cannot be stopped. The
    next call with the same key waits for it instead of starting another one, so that hanging calls
    do not use up connections.
    """

    def __init__(self) -> None:
        """Start without any hanging call."""
        self._threads: dict[Hashable, tuple[Thread, Future[T]]] = {}
        self._tasks: dict[Hashable, asyncio.Task[T]] = {}

    def call(self, key: Hashable, function: Callable[[], T], seconds: float) -> T:
        """Call a function in a daemon thread, and return its result or raise its error.

        Raises:
            TimeoutError: The function has not returned after `seconds`.
        """
        running = self._threads.get(key)
        # After a fork the child has the entry but not the thread.
        if running is None or not running[0].is_alive():
            running = _start(function)
        try:
            result = running[1].result(min(seconds, TIMEOUT_MAX))
        except TimeoutError:
            self._threads[key] = running
            raise
        self._threads.pop(key, None)
        return result

    async def call_async(
        self, key: Hashable, function: Callable[[], Coroutine[None, None, T]], seconds: float | None
    ) -> T:
        """Do as `call` with a task of the running event loop; None means no timeout."""
        task = self._tasks.get(key)
        if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
            task = asyncio.create_task(function())
        done, _ = await asyncio.wait({task}, timeout=seconds)
        if not done:
            self._tasks[key] = task
            raise TimeoutError
        self._tasks.pop(key, None)
        return task.result()


def _start(function: Callable[[], T]) -> tuple[Thread, Future[T]]:
    future = Future[T]()
    thread = Thread(target=_run, args=(function, future), daemon=True)
    thread.start()
    return thread, future


def _run(function: Callable[[], T], future: Future[T]) -> None:
    try:
        future.set_result(function())
    except BaseException as error:  # noqa: BLE001 - raised by future.result()
        future.set_exception(error)
