"""Calls that return within a timeout although what they call may hang."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from threading import TIMEOUT_MAX, Thread
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable

T = TypeVar("T")


class BoundedCalls(Generic[T]):
    """Calls with a timeout, by a key.

    A call that has hung longer than its timeout goes on in the background: nothing can end it. The
    next call of the same key waits for that one instead of starting another, so that they do not
    pile up and use up connections.
    """

    def __init__(self) -> None:
        """Begin with no call that hangs."""
        self._threads: dict[Hashable, tuple[Thread, Future[T]]] = {}
        self._tasks: dict[Hashable, asyncio.Task[T]] = {}

    def call(self, key: Hashable, function: Callable[[], T], seconds: float) -> T:
        """Return what a function returns, or raise what it raises.

        It is called in a thread that does not keep the program from ending.

        Raises:
            TimeoutError: It has not ended after `seconds`.
        """
        thread, future = self._threads.get(key, (None, None))
        # After a fork the child has the entry and not the thread.
        if thread is None or future is None or not thread.is_alive():
            future = Future()
            thread = Thread(target=_run, args=(function, future), daemon=True)
            thread.start()
        try:
            result = future.result(min(seconds, TIMEOUT_MAX))
        except TimeoutError:
            self._threads[key] = thread, future
            raise
        self._threads.pop(key, None)
        return result

    async def call_async(
        self, key: Hashable, function: Callable[[], Coroutine[None, None, T]], seconds: float | None
    ) -> T:
        """Do as `call` with a task of the running event loop; None waits as long as it takes."""
        task = self._tasks.get(key)
        if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
            task = asyncio.create_task(function())
        done, _ = await asyncio.wait({task}, timeout=seconds)
        if not done:
            self._tasks[key] = task
            raise TimeoutError
        self._tasks.pop(key, None)
        return task.result()


def _run(function: Callable[[], T], future: Future[T]) -> None:
    try:
        future.set_result(function())
    except BaseException as error:  # noqa: BLE001 - it is raised where the result is waited for
        future.set_exception(error)
