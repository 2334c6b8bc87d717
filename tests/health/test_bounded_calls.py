"""Calls with a timeout: hanging calls are not repeated, and the program can exit."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import weakref
from concurrent.futures import Future

import pytest

from shortsdb.bounded_calls import BoundedCalls


def test_errors_of_a_bounded_call_are_raised() -> None:
    calls: BoundedCalls[int] = BoundedCalls()
    with pytest.raises(ZeroDivisionError):
        calls.call("key", lambda: 1 // 0, 60)
    with pytest.raises(SystemExit):
        calls.call("key", sys.exit, 60)
    assert calls.call("key", lambda: 1, 60) == 1
    hanging = threading.Event()

    def wait() -> int:
        hanging.wait()
        return 2

    with pytest.raises(TimeoutError):
        calls.call("key", wait, 0.01)
    assert calls.call("other", lambda: 3, 60) == 3
    hanging.set()
    assert calls.call("key", wait, 60) == 2
    assert calls.call("key", lambda: 4, 60) == 4


def test_a_program_can_exit_despite_a_hanging_call() -> None:
    program = (
        "import threading; from shortsdb.bounded_calls import BoundedCalls\n"
        "try: BoundedCalls().call('key', threading.Event().wait, 0.01)\n"
        "except TimeoutError: print('late')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "late\n", "")


def test_a_hanging_call_is_not_repeated() -> None:
    calls: BoundedCalls[int] = BoundedCalls()
    end = threading.Event()
    made: list[int] = []

    def wait() -> int:
        made.append(1)
        end.wait()
        return len(made)

    for _ in range(3):
        with pytest.raises(TimeoutError):
            calls.call("key", wait, 0.01)
    assert made == [1]
    end.set()
    assert calls.call("key", wait, 60) == 1
    # It has ended, and its result was given: the next one is made.
    assert calls.call("key", wait, 60) == 2


def test_a_late_result_is_discarded() -> None:
    calls: BoundedCalls[int] = BoundedCalls()
    end, ended = threading.Event(), Future[None]()

    def wait() -> int:
        end.wait()
        threading.Thread(target=set_when_over, args=(threading.current_thread(),)).start()
        return 1

    def set_when_over(thread: threading.Thread) -> None:
        thread.join()
        ended.set_result(None)

    with pytest.raises(TimeoutError):
        calls.call("key", wait, 0.01)
    end.set()
    ended.result(60)
    assert calls.call("key", lambda: 2, 60) == 2


def test_a_timeout_of_any_length() -> None:
    # Long enough that the caller really waits.
    assert BoundedCalls[bool]().call("key", lambda: threading.Event().wait(0.3), 1e300) is False


class Key:
    """Something that must not be kept for ever, such as an engine."""


def test_finished_calls_are_forgotten() -> None:
    calls: BoundedCalls[bool] = BoundedCalls()
    key, end = Key(), threading.Event()
    kept = weakref.ref(key)
    with pytest.raises(TimeoutError):
        calls.call(key, end.wait, 0.01)
    end.set()
    assert calls.call(key, end.wait, 60)
    del key
    gc.collect()
    assert kept() is None


def test_finished_tasks_are_forgotten() -> None:
    calls: BoundedCalls[bool] = BoundedCalls()
    key, end = Key(), asyncio.Event()
    kept = weakref.ref(key)

    async def main(key: Key) -> None:
        with pytest.raises(TimeoutError):
            await calls.call_async(key, end.wait, 0.01)
        end.set()
        assert await calls.call_async(key, end.wait, 60)

    asyncio.run(main(key))
    del key
    gc.collect()
    assert kept() is None


def test_a_forked_child_starts_a_new_call() -> None:
    program = (
        "import os, threading\n"
        "from shortsdb.bounded_calls import BoundedCalls\n"
        "calls = BoundedCalls()\n"
        "try: calls.call('key', threading.Event().wait, 0.01)\n"
        "except TimeoutError: pass\n"
        "pid = os.fork()\n"
        "if pid: raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
        "print(calls.call('key', lambda: 'answered', 5))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "answered\n", "")


def test_tasks() -> None:
    calls: BoundedCalls[int] = BoundedCalls()
    made: list[int] = []

    async def wait() -> int:
        made.append(1)
        await end.wait()
        return len(made)

    async def fail() -> int:
        raise ZeroDivisionError

    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            await calls.call_async("failing", fail, None)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await calls.call_async("key", wait, 0.01)
        assert made == [1]
        end.set()
        assert await calls.call_async("key", wait, 60) == 1
        assert await calls.call_async("key", wait, 60) == 2

    end = asyncio.Event()
    asyncio.run(main())


def test_a_late_result_of_a_task_is_discarded() -> None:
    calls: BoundedCalls[int] = BoundedCalls()

    async def wait() -> int:
        await end.wait()
        return 1

    async def answer() -> int:
        return 2

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await calls.call_async("key", wait, 0.01)
        (task,) = asyncio.all_tasks() - {asyncio.current_task()}
        end.set()
        assert await task == 1
        assert await calls.call_async("key", answer, 60) == 2

    end = asyncio.Event()
    asyncio.run(main())


def test_a_task_of_another_loop_is_not_waited_for() -> None:
    calls: BoundedCalls[int] = BoundedCalls()

    async def hang() -> int:
        await asyncio.Event().wait()
        return 1

    async def answer() -> int:
        return 2

    async def late() -> None:
        with pytest.raises(TimeoutError):
            await calls.call_async("key", hang, 0.01)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(late())
    # Another loop, while the task of the first one is not done.
    assert asyncio.run(calls.call_async("key", answer, 60)) == 2
    (task,) = asyncio.all_tasks(loop)
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()
