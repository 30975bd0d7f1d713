"""asyncio for programs: its own tasks, locks and queues, on a loop that has nothing but a clock."""

import asyncio
import sys
import time
from asyncio import base_events, events
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["LEADS_INSIDE", "replacements"]

LEADS_INSIDE = frozenset(("get_context", "get_coro", "get_loop", "get_stack", "print_stack"))
"""Methods of tasks that give frames, or the loop itself."""


class _Clock:
    """What the loop takes for a selector: there is nothing to wait for but the time."""

    def select(self, seconds: float | None) -> list[Any]:
        if seconds is None:
            raise RuntimeError("every coroutine waits for another; none can go on")
        if seconds > 0:
            time.sleep(seconds)
        return []


class _Loop(base_events.BaseEventLoop):
    _selector = _Clock()

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody else could wake it."""

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """What nobody asked for is said, as in Python, but without the library's own lines."""
        exc = context.get("exception")
        said = f": {type(exc).__name__}: {exc}" if exc else ""
        sys.stderr.write(context["message"] + said + "\n")


class ProgramLoop:
    """A loop as programs see it."""

    def run_until_complete(self, main: Any) -> Any:
        """As asyncio.run(); the loop is made anew each time."""
        return run(main)

    def create_task(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """asyncio.create_task()."""
        return asyncio.create_task(coroutine)

    def create_future(self) -> asyncio.Future[Any]:
        """asyncio.Future()."""
        return asyncio.Future()

    def call_soon(self, call: Callable[..., Any], *args: Any) -> asyncio.Handle:
        """Calls it when the coroutine that runs waits."""
        return events.get_running_loop().call_soon(call, *args)

    def call_later(
        self, seconds: float, call: Callable[..., Any], *args: Any
    ) -> asyncio.TimerHandle:
        """Calls it after that time."""
        return events.get_running_loop().call_later(seconds, call, *args)

    def call_at(self, when: float, call: Callable[..., Any], *args: Any) -> asyncio.TimerHandle:
        """Calls it when the loop's clock says that."""
        return events.get_running_loop().call_at(when, call, *args)

    async def run_in_executor(self, _executor: object, call: Callable[..., Any], *args: Any) -> Any:
        """Calls it at once: a program has one thread."""
        return call(*args)

    def time(self) -> float:
        """The loop's clock, in seconds."""
        return time.monotonic()

    def close(self) -> None:
        """Nothing is held."""


def run(main: Any, *, debug: bool | None = None) -> Any:
    """asyncio.run()."""
    if not asyncio.iscoroutine(main):
        raise ValueError(f"a coroutine was expected, got {type(main).__name__!r}")
    if events._get_running_loop() is not None:
        raise RuntimeError("asyncio.run() cannot be called from a running event loop")
    loop = _Loop()
    try:
        return loop.run_until_complete(main)
    finally:
        _wind_up(loop)


def _wind_up(loop: _Loop) -> None:
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


async def to_thread(call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Calls it at once: a program has one thread."""
    return call(*args, **kwargs)


def _running() -> ProgramLoop:
    events.get_running_loop()
    return _LOOP


def _any_loop() -> ProgramLoop:
    return _LOOP


def _set_loop(_loop: object) -> None:
    """There is but one."""


_LOOP = ProgramLoop()


def replacements() -> dict[str, Any]:
    """What takes the place of those names of asyncio that reach the operating system."""
    return {
        "get_event_loop": _any_loop,
        "get_running_loop": _running,
        "new_event_loop": _any_loop,
        "run": run,
        "set_event_loop": _set_loop,
        "to_thread": to_thread,
    }
