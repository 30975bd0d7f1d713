"""A session in mode python: a process that holds its variables, copied for each call.

Three processes at most, alone in a PID namespace. The **keeper** is the first of them, runs nothing of the program's,
watches the clocks, and talks with the service. The **head** holds the variables. For a call the head forks a copy,
which runs the program. When it ends by itself the copy is the next head, and the keeper kills the old one; when it is
killed, the head still has what was there before. When the keeper ends, all end.
"""

import contextlib
import json
import os
import resource
import select
import signal
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from cadre_sandbox.worker.jail import Jail, Layer, Limits
from cadre_sandbox.worker.program import Interpreter

__all__ = ["become_keeper"]

_MESSAGE_BYTES = 4096
_READ_BYTES = 8 * 1024 * 1024
_CREDENTIALS = struct.Struct("3i")
_TICK_SECONDS = 0.005
# A head says that its copy has died no later than this, or the session is lost.
_GRACE_SECONDS = 2.0
# The keeper lives as long as the session, and has to kill. Its user it has since its fork.
_OF_THE_HEAD = frozenset((Layer.LIMITS, Layer.SECCOMP))
_OUT, _CONTROL, _TO_KEEPER, _TO_HEAD = 3, 3, 4, 5


def become_keeper(control: int, jail: Jail, limits: Limits, interpreter: Interpreter) -> NoReturn:
    """Turns this process, fresh from `Jail.fork_session`, into a session's keeper. Ends when `control` is closed."""
    try:
        keeper_end, head_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        keeper_end.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        _place({control: _CONTROL, head_end.detach(): _TO_KEEPER, keeper_end.detach(): _TO_HEAD})
        jail.enter(limits, slot=0, only=jail.layers - _OF_THE_HEAD - {Layer.USER})
        head = os.fork()
        if head == 0:
            _become_head(jail, limits, interpreter)
        os.close(_TO_KEEPER)
        _Keeper(head=head).serve()
    finally:
        # Nothing of the zygote's may run in here, whatever was raised.
        os._exit(1)


def _place(wanted: Mapping[int, int]) -> None:
    """Moves descriptors to their places, and closes all others but the first three."""
    # Above every place, so that no move hits one that is still to be moved.
    raised = {os.dup2(fd, 100 + place): place for fd, place in wanted.items()}
    for fd, place in raised.items():
        os.dup2(fd, place)
    os.closerange(max(wanted.values()) + 1, 1 << 20)
    os.dup2(0, 2)


@dataclass(kw_only=True)
class _Call:
    """A call under way; `pid` is the copy that runs it, 0 until it said so."""

    started: float
    deadline: float
    cpu_seconds: float
    pid: int = 0
    killed: str = ""
    killed_at: float = 0.0


class _Keeper:
    """Serves one session."""

    def __init__(self, *, head: int) -> None:
        self._head = head
        self._service = socket.socket(fileno=_CONTROL)
        self._heads = socket.socket(fileno=_TO_HEAD)

    def serve(self) -> None:
        """Until the service closes its end, or the session is lost."""
        while True:
            data, descriptors, _, _ = socket.recv_fds(self._service, _MESSAGE_BYTES, 2)
            if not data:
                return
            asked = json.loads(data)
            if asked["op"] != "run":
                # Of a call that had ended meanwhile.
                continue
            socket.send_fds(self._heads, [b"run"], descriptors)
            for fd in descriptors:
                os.close(fd)
            now = time.monotonic()
            call = _Call(
                started=now,
                deadline=now + asked["timeout_seconds"],
                cpu_seconds=asked["cpu_seconds"],
            )
            self._service.send(json.dumps(self._watched(call)).encode())

    def _watched(self, call: _Call) -> dict[str, Any]:
        """How the call ended. Raises SystemExit when the session is lost."""
        poll = select.poll()
        poll.register(self._service, select.POLLIN)
        poll.register(self._heads, select.POLLIN)
        while True:
            for fd, _ in poll.poll(self._pause_ms(call)):
                if fd == self._service.fileno():
                    self._take_kill(call)
                elif (ended := self._heard(call)) is not None:
                    return ended
            self._watch_clocks(call)

    def _pause_ms(self, call: _Call) -> float:
        left = call.deadline - time.monotonic()
        if call.pid:
            left = min(left, call.cpu_seconds - _cpu_seconds(call.pid))
        return max(0.0 if call.killed else left, _TICK_SECONDS) * 1000

    def _take_kill(self, call: _Call) -> None:
        if not self._service.recv(_MESSAGE_BYTES):
            raise SystemExit
        self._kill(call, "asked")

    def _watch_clocks(self, call: _Call) -> None:
        now = time.monotonic()
        if call.killed:
            if now > call.killed_at + _GRACE_SECONDS:
                raise SystemExit
        elif now >= call.deadline:
            self._kill(call, "time")
        elif call.pid and _cpu_seconds(call.pid) >= call.cpu_seconds:
            self._kill(call, "cpu")
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(self._head, os.WNOHANG)[0]:
                raise SystemExit

    def _kill(self, call: _Call, why: str) -> None:
        if not call.killed:
            call.killed, call.killed_at = why, time.monotonic()
        if call.pid:
            os.kill(call.pid, signal.SIGKILL)

    def _heard(self, call: _Call) -> dict[str, Any] | None:
        """Takes what the head or its copy says. Only who it is, which the kernel says, is believed."""
        data, ancillary, _, _ = self._heads.recvmsg(
            _MESSAGE_BYTES, socket.CMSG_SPACE(_CREDENTIALS.size)
        )
        if not data:
            raise SystemExit
        sender = _sender(ancillary)
        said = json.loads(data)
        if sender == self._head:
            # Its copy has died.
            return self._ended(call, _number(said.get("status")), said)
        if said["op"] == "began" and not call.pid:
            call.pid = sender
            if call.killed:
                self._kill(call, call.killed)
        elif said["op"] == "ended" and sender == call.pid and not call.killed:
            cpu = round(_cpu_seconds(sender) * 1000)
            self._promote(sender)
            return self._ended(call, 0, {**said, "cpu_ms": cpu})
        return None

    def _promote(self, pid: int) -> None:
        os.kill(self._head, signal.SIGKILL)
        os.waitpid(self._head, 0)
        self._head = pid

    def _ended(self, call: _Call, status: int, said: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "op": "ended",
            "status": status,
            "killed": call.killed,
            "wall_ms": round((time.monotonic() - call.started) * 1000),
            "cpu_ms": _number(said.get("cpu_ms")),
            "peak_memory_bytes": _number(said.get("peak_memory_bytes")),
        }


def _become_head(jail: Jail, limits: Limits, interpreter: Interpreter) -> NoReturn:
    try:
        os.close(_CONTROL)
        os.close(_TO_HEAD)
        # Python asks the kernel about a socket that it takes over, which the filter would refuse.
        keeper = socket.socket(fileno=_TO_KEEPER)
        jail.enter(limits, slot=0, only=_OF_THE_HEAD)
        _serve_calls(keeper, interpreter)
    finally:
        os._exit(1)


def _serve_calls(keeper: socket.socket, interpreter: Interpreter) -> None:
    """The head's life. In the copy that ran a call to its end it goes on, as that is the head from then on."""
    variables: dict[str, Any] = {}
    while True:
        data, (request, out), _, _ = socket.recv_fds(keeper, _MESSAGE_BYTES, 2)
        if not data:
            return
        pid = os.fork()
        if pid == 0:
            _say(keeper, op="began")
            _run(interpreter, variables, request, out)
            _say(keeper, op="ended", peak_memory_bytes=_peak(resource.RUSAGE_SELF))
            continue
        os.close(request)
        os.close(out)
        _, status, used = os.wait4(pid, 0)
        _say(
            keeper,
            op="died",
            status=os.waitstatus_to_exitcode(status),
            cpu_ms=round((used.ru_utime + used.ru_stime) * 1000),
            peak_memory_bytes=used.ru_maxrss * 1024,
        )


def _run(interpreter: Interpreter, variables: dict[str, Any], request: int, out: int) -> None:
    text = b""
    while part := os.pread(request, _READ_BYTES, len(text)):
        text += part
    os.close(request)
    if out != _OUT:
        os.dup2(out, _OUT)
        os.close(out)
    asked = json.loads(text)
    del text
    if not interpreter.serve(asked, variables):
        # What is left of the variables is not what was there before.
        os._exit(0)
    os.close(_OUT)


def _say(keeper: socket.socket, **what: object) -> None:
    # Not send(), which is another call of the kernel.
    keeper.sendmsg([json.dumps(what).encode()])


def _peak(who: int) -> int:
    return resource.getrusage(who).ru_maxrss * 1024


def _sender(ancillary: list[tuple[int, int, bytes]]) -> int:
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            return int(_CREDENTIALS.unpack(data[: _CREDENTIALS.size])[0])
    return 0


def _number(value: object) -> int:
    return value if type(value) is int and abs(value) < 1 << 62 else 0


def _cpu_seconds(pid: int) -> float:
    # The kernel's clock of another process: CPUCLOCK_SCHED of its id. It stands still once the process is dead.
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0
