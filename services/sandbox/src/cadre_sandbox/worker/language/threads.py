"""threading for programs: threads that take turns, and change only where one of them waits.

Each has a stack of its own within the one thread of the process, so nothing of the operating system is behind them, and
no guard is left half-way but by what it calls of the program, as it always may be. Locks, queues and pools of the
library are made of what is here.
"""

import concurrent.futures.thread as pools
import itertools
import math
import queue
import sys
import time
import types
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import _base as futures
from typing import Any
from weakref import WeakKeyDictionary

from greenlet import getcurrent, greenlet

from cadre_sandbox.worker.language.ownership import NotAllowed

__all__ = [
    "Local",
    "Thread",
    "Timer",
    "begin",
    "finish",
    "sleep",
    "take_over_the_library",
    "thread_names",
]

_MOST = 256
_STUCK = "every thread waits for another; none can go on"
_sleep = time.sleep


class _Turn:
    """What is known of a thread under way: what it waits for, and until when by the monotonic clock."""

    def __init__(self, thread: "Thread") -> None:
        self.thread = thread
        self.stack: Any = None
        self.is_ready: Callable[[], bool] = _always
        self.until = math.inf
        self.ended = False


class _Turns:
    """The threads of the one program that this process runs, the main one first; those that a session's call leaves go
    on with its next."""

    def __init__(self) -> None:
        self.report: Callable[[str, BaseException], None] = _say_nothing
        self.current = _Turn(Thread(name="MainThread", daemon=False))
        self.all = [self.current]
        self.earlier: frozenset[_Turn] = frozenset()

    def begin(self, report: Callable[[str, BaseException], None]) -> None:
        main = self.current = self.all[0]
        main.thread.__turn__, main.stack, self.report = main, getcurrent(), report
        self.earlier = frozenset(self.all)

    def following(self, turn: _Turn) -> _Turn:
        """Who goes on when that one waits, itself included; the others first. Raises RuntimeError when nobody can."""
        while True:
            place = self.all.index(turn) + 1
            for each in (*self.all[place:], *self.all[:place]):
                if each.is_ready() or each.until <= time.monotonic():
                    return each
            until = min(each.until for each in self.all)
            if until == math.inf:
                raise RuntimeError(_STUCK)
            _sleep(max(0.0, until - time.monotonic()))


def _always() -> bool:
    return True


def _never() -> bool:
    return False


def _say_nothing(_what: str, _exc: BaseException) -> None:
    """Nobody listens."""


class _Complaints:
    """What futures take for their log."""

    def exception(self, text: str, *parts: Any) -> None:
        if (exc := sys.exc_info()[1]) is not None:
            _turns.report(text % parts, exc)

    def critical(self, text: str, *parts: Any, exc_info: Any = None) -> None:
        self.exception(text, *parts)


def _wait(is_ready: Callable[[], bool], seconds: float | None = None) -> bool:
    """Lets others go on until it holds; whether it does, or the time is over."""
    me = _turns.current
    me.is_ready, me.until = is_ready, math.inf if seconds is None else time.monotonic() + seconds
    while (other := _turns.following(me)) is not me:
        _turns.current = other
        try:
            other.stack.switch()
        except BaseException:
            # What ended a thread ends the program, in its main thread.
            _turns.current = me
            raise
        if _turns.current is me:
            break
        # That thread has ended, which leads to the main one.
        _turns.current = me
    return is_ready()


def _run(turn: _Turn) -> None:
    try:
        turn.thread.run()
    except SystemExit:
        pass
    except (MemoryError, NotAllowed):
        raise
    except BaseException as exc:  # noqa: BLE001 - the outermost frame of a thread
        _turns.report(f"Exception in thread {turn.thread.name}", exc)
    finally:
        turn.ended = True
        _turns.all.remove(turn)


_numbers = itertools.count(1)


class Thread:
    """threading.Thread."""

    # A name that programs may not read, not even of their own objects.
    __turn__: _Turn | None = None

    def __init__(
        self,
        group: None = None,
        target: Callable[..., Any] | None = None,
        name: str | None = None,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        daemon: bool | None = None,
    ) -> None:
        self._target, self._args, self._kwargs = target, args, dict(kwargs or {})
        of = f" ({called})" if (called := getattr(target, "__name__", "")) else ""
        self.name = str(name) if name else f"Thread-{next(_numbers)}{of}"
        self.daemon: bool = _turns.current.thread.daemon if daemon is None else bool(daemon)
        self.__turn__ = _Turn(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}({self.name})>"

    @property
    def ident(self) -> int | None:
        return id(self) if self._started() is not None else None

    native_id = ident

    def _started(self) -> _Turn | None:
        turn = self.__turn__
        return turn if turn is not None and turn.stack is not None else None

    def start(self) -> None:
        if self.__turn__ is None:
            raise RuntimeError("thread.__init__() not called")
        if self._started() is not None:
            raise RuntimeError("threads can only be started once")
        if len(_turns.all) >= _MOST:
            raise RuntimeError("can't start new thread")
        turn = self.__turn__
        turn.stack = greenlet(lambda: _run(turn), parent=_turns.all[0].stack)
        _turns.all.insert(_turns.all.index(_turns.current) + 1, turn)
        # As under Python's own lock, it goes first.
        _wait(_always)

    def run(self) -> None:
        if self._target is not None:
            self._target(*self._args, **self._kwargs)

    def join(self, timeout: float | None = None) -> None:
        turn = self._started()
        if turn is None:
            raise RuntimeError("cannot join thread before it is started")
        if turn is _turns.current:
            raise RuntimeError("cannot join current thread")
        _wait(lambda: turn.ended, timeout)

    def is_alive(self) -> bool:
        # Whoever asks again and again waits for it.
        _wait(_always)
        turn = self._started()
        return turn is not None and not turn.ended


class Timer(Thread):
    """threading.Timer."""

    def __init__(
        self,
        interval: float,
        function: Callable[..., Any],
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(target=function, args=args or (), kwargs=kwargs)
        self.interval, self.finished = interval, Event()

    def cancel(self) -> None:
        self.finished.set()

    def run(self) -> None:
        if not self.finished.wait(self.interval):
            super().run()
        self.finished.set()


class Lock:
    """threading.Lock."""

    def __init__(self) -> None:
        self._holder: _Turn | None = None
        self._times = 0

    def _is_free(self) -> bool:
        return self._holder is None

    _may_take = _is_free

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if not self._may_take():
            seconds = None if timeout < 0 else timeout
            if not blocking or not _wait(self._is_free, seconds):
                return False
        self._holder, self._times = _turns.current, self._times + 1
        return True

    def release(self) -> None:
        if self._holder is None:
            raise RuntimeError("release unlocked lock")
        self._times -= 1
        if not self._times:
            self._holder = None

    def locked(self) -> bool:
        return self._holder is not None

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def _let_go(self) -> int:
        """Releases it altogether; how often it was held."""
        times, self._times, self._holder = self._times, 0, None
        return times

    def _take_back(self, times: int) -> None:
        _wait(self._is_free)
        self._holder, self._times = _turns.current, times


class RLock(Lock):
    """threading.RLock."""

    def _may_take(self) -> bool:
        return self._holder in (None, _turns.current)

    def release(self) -> None:
        if self._holder is not _turns.current:
            raise RuntimeError("cannot release un-acquired lock")
        super().release()


class Condition:
    """threading.Condition."""

    def __init__(self, lock: Any = None) -> None:
        lock = RLock() if lock is None else lock
        if not issubclass(type(lock), Lock):
            raise TypeError("a Lock or an RLock is needed")
        self._lock: Lock = lock
        self._waiting: deque[list[bool]] = deque()
        self.acquire, self.release = lock.acquire, lock.release

    def __enter__(self) -> bool:
        return self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        if not self._lock.locked():
            raise RuntimeError("cannot wait on un-acquired lock")
        called = [False]
        self._waiting.append(called)
        times = self._lock._let_go()
        try:
            return _wait(lambda: called[0], timeout)
        finally:
            if not called[0]:
                self._waiting.remove(called)
            self._lock._take_back(times)

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        until = math.inf if timeout is None else time.monotonic() + timeout
        while not (found := predicate()) and (left := until - time.monotonic()) > 0:
            self.wait(None if left == math.inf else left)
        return found

    def notify(self, n: int = 1) -> None:
        if not self._lock.locked():
            raise RuntimeError("cannot notify on un-acquired lock")
        for _ in range(min(n, len(self._waiting))):
            self._waiting.popleft()[0] = True

    def notify_all(self) -> None:
        self.notify(len(self._waiting))


class Event:
    """threading.Event."""

    def __init__(self) -> None:
        self._is_set = False

    def is_set(self) -> bool:
        # Whoever asks again and again waits for it.
        _wait(_always)
        return self._is_set

    def set(self) -> None:
        self._is_set = True

    def clear(self) -> None:
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        return _wait(lambda: self._is_set, timeout)


class Semaphore:
    """threading.Semaphore."""

    def __init__(self, value: int = 1) -> None:
        if value < 0:
            raise ValueError("semaphore initial value must be >= 0")
        self._value = value

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        if not self._value and (not blocking or not _wait(lambda: self._value > 0, timeout)):
            return False
        self._value -= 1
        return True

    def release(self, n: int = 1) -> None:
        if n < 1:
            raise ValueError("n must be one or more")
        self._value += n

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class BoundedSemaphore(Semaphore):
    """threading.BoundedSemaphore."""

    def __init__(self, value: int = 1) -> None:
        super().__init__(value)
        self._most = value

    def release(self, n: int = 1) -> None:
        if self._value + n > self._most:
            raise ValueError("Semaphore released too many times")
        super().release(n)


class BrokenBarrierError(RuntimeError):
    """threading.BrokenBarrierError."""


class Barrier:
    """threading.Barrier."""

    def __init__(
        self, parties: int, action: Callable[[], Any] | None = None, timeout: float | None = None
    ) -> None:
        self.parties, self.n_waiting, self.broken = parties, 0, False
        self._action, self._seconds, self._round = action, timeout, 0

    def wait(self, timeout: float | None = None) -> int:
        if self.broken:
            raise BrokenBarrierError
        place, this = self.n_waiting, self._round
        self.n_waiting += 1
        if self.n_waiting == self.parties:
            if self._action is not None:
                self._action()
            self.n_waiting, self._round = 0, this + 1
            return place
        seconds = self._seconds if timeout is None else timeout
        _wait(lambda: self._round > this or self.broken, seconds)
        if self._round == this:
            self.broken = True
            raise BrokenBarrierError
        return place

    def abort(self) -> None:
        self.broken = True

    def reset(self) -> None:
        self.n_waiting, self._round, self.broken = 0, self._round + 1, False


class Local:
    """threading.local."""

    __slots__ = ("__values__", "__weakref__")
    __values__: WeakKeyDictionary[_Turn, dict[str, Any]]

    def __init__(self) -> None:
        object.__setattr__(self, "__values__", WeakKeyDictionary())

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__values__[_turns.current][name]
        except KeyError:
            raise AttributeError(f"'local' object has no attribute {name!r}", name=name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self.__values__.setdefault(_turns.current, {})[name] = value

    def __delattr__(self, name: str) -> None:
        self.__getattr__(name)
        del self.__values__[_turns.current][name]


Local.__name__ = Local.__qualname__ = "local"
_turns = _Turns()


def sleep(seconds: float, /) -> None:
    """time.sleep()."""
    if len(_turns.all) <= 1 or not seconds >= 0:
        _sleep(seconds)
    else:
        _wait(_never, seconds)


def begin(report: Callable[[str, BaseException], None]) -> None:
    """A program, or the next of a session, begins; `report` is told what nobody else will hear: what it was, and the
    exception."""
    _turns.begin(report)


def finish() -> None:
    """Waits for the threads of this call that a program's end waits for, and until pools have done their work."""
    if len(_turns.all) > 1:
        _wait(lambda: not any(map(_is_waited_for, _turns.all)))


def _is_waited_for(turn: _Turn) -> bool:
    if turn in _turns.earlier or turn.thread.daemon:
        return False
    # A thread of a pool that waits for more to do would wait for ever.
    in_pool = turn.thread in pools._threads_queues
    return not in_pool or turn.until != math.inf or turn.is_ready()


def thread_names() -> dict[str, Any]:
    """What programs get as threading."""
    return {
        "Barrier": Barrier,
        "BoundedSemaphore": BoundedSemaphore,
        "BrokenBarrierError": BrokenBarrierError,
        "Condition": Condition,
        "Event": Event,
        "Lock": Lock,
        "RLock": RLock,
        "Semaphore": Semaphore,
        "Thread": Thread,
        "ThreadError": RuntimeError,
        "Timer": Timer,
        "active_count": lambda: len(_turns.all),
        "current_thread": lambda: _turns.current.thread,
        "enumerate": lambda: [turn.thread for turn in _turns.all],
        "get_ident": lambda: id(_turns.current.thread),
        "local": Local,
        "main_thread": lambda: _turns.all[0].thread,
    }


def take_over_the_library() -> None:
    """Queues, futures and pools of the library are made of what is here."""
    ours = types.SimpleNamespace(**thread_names())
    for module in (queue, futures, pools):
        module.threading = ours  # type: ignore[attr-defined]
    futures.LOGGER = _Complaints()  # type: ignore[assignment]
    # The other simple queue waits in C.
    queue.SimpleQueue = queue._PySimpleQueue  # type: ignore[attr-defined, misc]
    pools._global_shutdown_lock = Lock()  # type: ignore[assignment]
