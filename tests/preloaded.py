"""Service processes that are forked from one which has their modules loaded.

A service's imports take several seconds of CPU, ten times what else its start does, and the tests that kill services
start hundreds of them. What is forked is a process as `python -m` starts it, in a session of its own, but for that.
"""

import atexit
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO, Any

__all__ = ["Forked", "fork"]

_MOST_BYTES = 1 << 20
_LOCK = threading.Lock()
# Loaded by the service itself in the background of its start.
_LATE = {"cadre_llm_proxy": "litellm"}


class Forked:
    """A process, with what `subprocess.Popen` has for one."""

    def __init__(self, pid: int, status: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._status = status

    def poll(self) -> int | None:
        """The status, or the negative number of the signal that ended it; None while it runs."""
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Waits for the end. Raises TimeoutExpired after `timeout` seconds."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            said = self._status.recv(64)
            self._status.close()
            if not said:
                raise RuntimeError("the process that forks services ended")
            self.returncode = int(said)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Sends a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Sends SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Sends SIGKILL."""
        self.send_signal(signal.SIGKILL)


def fork(module: str, *, env: Mapping[str, str], cwd: Path, log: IO[bytes]) -> Forked:
    """Starts `python -m module`, its output going to `log`."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    asked = json.dumps({"env": dict(env), "cwd": str(cwd)}).encode()
    with theirs, _LOCK:
        socket.send_fds(_server(module), [asked], [log.fileno(), theirs.fileno()])
    return Forked(int(ours.recv(64)), ours)


@cache
def _server(module: str) -> socket.socket:
    """The way to the process that forks, one for each module and process of tests."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.preloaded", module, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            # Threads do not outlive a fork.
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,
        )

    @atexit.register
    def end() -> None:
        ours.close()
        server.wait()

    return ours


def _serve(module: str, requests: socket.socket) -> None:
    """Forks for every request, and says how each child ended, until there are no more requests."""
    for name in (f"{module}.app", _LATE.get(module)):
        if name:
            import_module(name)
    wake, waker = os.pipe()
    for end in (wake, waker):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    children: dict[int, int] = {}
    sources: list[Any] = [requests, wake]
    while True:
        ready, _, _ = select.select(sources, [], [])
        if wake in ready:
            os.read(wake, 4096)
            _tell_of_ends(children)
        if requests in ready:
            asked, fds, _, _ = socket.recv_fds(requests, _MOST_BYTES, 2)
            if not asked:
                break
            log, status = fds
            pid = os.fork()
            if pid == 0:
                for other in (requests.detach(), wake, waker, status, *children.values()):
                    os.close(other)
                _run(module, json.loads(asked), log)
                return
            os.close(log)
            children[pid] = status
            os.write(status, str(pid).encode())
    for pid in children:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _tell_of_ends(children: dict[int, int]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        told = children.pop(pid)
        os.write(told, str(os.waitstatus_to_exitcode(status)).encode())
        os.close(told)


def _run(module: str, asked: Mapping[str, object], log: int) -> None:
    """Becomes what `python -m module` would be."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    for output in (1, 2):
        os.dup2(log, output)
    os.close(log)
    env, cwd = asked["env"], asked["cwd"]
    assert isinstance(env, dict)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(str(cwd))
    sys.path[0] = str(cwd)
    sys.argv[1:] = []
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _serve(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))
