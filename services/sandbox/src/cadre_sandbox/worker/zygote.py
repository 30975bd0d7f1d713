"""The zygote: one small process that forks a jailed process for each program, watches its clocks, and ends it.

One such process is always there in advance, behind all walls but those that depend on its program, and waits for it.
It talks with the service over a socket of JSON messages (`run` with two descriptors, `kill`, `open` with one; `ready`,
`ended`, `refused`) and never touches what a program writes. When the socket closes, it kills every program and ends.
"""

import array
import contextlib
import gc
import json
import math
import os
import random
import select
import signal
import socket
import sys
import time
import types
from dataclasses import dataclass
from typing import Any, NoReturn

from cadre_sandbox.worker.jail import Jail, Limits
from cadre_sandbox.worker.keepers import become_keeper
from cadre_sandbox.worker.program import Interpreter
from cadre_sandbox.worker.proofs import prove, session_problem

__all__ = ["Zygote"]

_MESSAGE_BYTES = 64 * 1024
_READ_BYTES = 64 * 1024
_LIMITS_BYTES = 256
_OUT = 3
# A clock is looked at no more often than this, and a kill is at most this late.
_TICK_SECONDS = 0.005
BROKEN_JAIL_STATUS = 70
# Python looks at a function closely from its eighth call on.
_PRACTICE_RUNS = 12
_PRACTICE = """
import json, math
def squares(count):
    return [number**2 for number in range(count)]
found = {"text": f"{n:>4}", "list": squares(n)}
for key, value in sorted(found.items()):
    print(key, json.dumps(value).strip())
try:
    found["none"]
except KeyError as error:
    print(math.floor(2.5), str(error))
result = found
"""


@dataclass(frozen=True, kw_only=True)
class _Spare:
    """A process that waits at the other end of `handing` for its one program."""

    pid: int
    slot: int
    handing: socket.socket


@dataclass(kw_only=True)
class _Program:
    """A program under way."""

    id: int
    slot: int
    started: float
    deadline: float
    cpu_seconds: float
    killed: str = ""


class Zygote:
    """Serves one control socket until it closes."""

    def __init__(self, *, control: socket.socket, jail: Jail) -> None:
        self._control = control
        self._jail = jail
        self._interpreter = Interpreter(out=_OUT)
        self._programs: dict[int, _Program] = {}
        self._sessions: dict[int, int] = {}
        """The slots of the keepers of sessions, by their process."""
        self._spare: _Spare | None = None
        self._wants_spare = True

    def serve(self) -> None:
        """Says which walls hold, then runs what it is told to."""
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_read, False)
        os.set_blocking(wake_write, False)
        walls = prove(self._jail)
        problem = session_problem(self._jail)
        self._say({"op": "ready", "walls": walls, "no_sessions": problem})
        _practise()
        # Made up now, so that it need not be in each program's process.
        _ = self._jail.walls
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # What programs inherit: one whose output nobody reads any more ends.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        gc.collect()
        gc.freeze()
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(wake_read, select.POLLIN)
        try:
            self._loop(poll, wake_read)
        finally:
            waiting = () if self._spare is None else (self._spare.pid,)
            for pid in (*self._programs, *self._sessions, *waiting):
                os.kill(pid, signal.SIGKILL)

    def _loop(self, poll: select.poll, wake_read: int) -> None:
        while True:
            if self._wants_spare and not poll.poll(0):
                # Only while nothing else is to be done.
                self._prepare()
            for fd, _ in poll.poll(self._pause_ms()):
                if fd == wake_read:
                    with contextlib.suppress(BlockingIOError):
                        os.read(wake_read, 4096)
                elif not self._listen():
                    return
            self._reap()
            self._watch_clocks()

    def _pause_ms(self) -> float | None:
        """Until the first moment at which a program can have used up one of its clocks."""
        if not self._programs:
            return None
        now = time.monotonic()
        left = min(
            min(p.deadline - now, p.cpu_seconds - _cpu_seconds(pid))
            for pid, p in self._programs.items()
        )
        return max(left, _TICK_SECONDS) * 1000

    def _watch_clocks(self) -> None:
        now = time.monotonic()
        for pid, program in self._programs.items():
            if not program.killed and now >= program.deadline:
                self._kill(pid, program, "time")
            elif not program.killed and _cpu_seconds(pid) >= program.cpu_seconds:
                self._kill(pid, program, "cpu")

    def _kill(self, pid: int, program: _Program, why: str) -> None:
        program.killed = program.killed or why
        os.kill(pid, signal.SIGKILL)

    def _listen(self) -> bool:
        data, ancillary, _flags, _address = self._control.recvmsg(
            _MESSAGE_BYTES, socket.CMSG_SPACE(2 * array.array("i").itemsize)
        )
        if not data:
            return False
        descriptors = _descriptors(ancillary)
        message = json.loads(data)
        if message["op"] == "run":
            self._run(message, *descriptors)
        elif message["op"] == "open":
            self._open(message, *descriptors)
        else:
            for pid, program in self._programs.items():
                if program.id == message["id"]:
                    self._kill(pid, program, "asked")
        return True

    def _run(self, message: dict[str, Any], request: int, out: int) -> None:
        started = time.monotonic()
        try:
            spare = self._handed_over(message, request, out)
        except OSError as exc:
            self._say({"op": "refused", "id": message["id"], "why": str(exc)})
            return
        finally:
            os.close(request)
            os.close(out)
        self._programs[spare.pid] = _Program(
            id=message["id"],
            slot=spare.slot,
            started=started,
            deadline=started + message["timeout_seconds"],
            cpu_seconds=message["cpu_seconds"],
        )

    def _handed_over(self, message: dict[str, Any], request: int, out: int) -> _Spare:
        """The process that got the program: the one that waited, or else another. Raises OSError."""
        spare, self._spare = self._spare, None
        if spare is not None:
            # Otherwise it was killed while it waited.
            with contextlib.suppress(OSError):
                _hand_over(spare, message, request, out)
                return spare
        spare = self._fork_spare()
        _hand_over(spare, message, request, out)
        return spare

    def _prepare(self) -> None:
        self._wants_spare = False
        # Without one, a program's process is made when it is there, and what is wrong is said then.
        with contextlib.suppress(OSError):
            self._spare = self._spare or self._fork_spare()

    def _fork_spare(self) -> _Spare:
        slot = self._free_slot()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                pid = self._jail.fork()
            except OSError:
                ours.close()
                raise
            if pid == 0:
                self._become_program(theirs, slot)
        return _Spare(pid=pid, slot=slot, handing=ours)

    def _free_slot(self) -> int:
        taken = {*(program.slot for program in self._programs.values()), *self._sessions.values()}
        if self._spare is not None:
            taken.add(self._spare.slot)
        return next(n for n in range(len(taken) + 1) if n not in taken)

    def _open(self, message: dict[str, Any], control: int) -> None:
        """Starts a session's keeper, with which the service then talks itself; one that fails closes its end."""
        slot = self._free_slot()
        limits = Limits(
            cpu_seconds=math.ceil(message["cpu_seconds"]) + 1,
            memory_mb=message["memory_mb"],
            session=True,
        )
        try:
            pid = self._jail.fork_session(slot)
            if pid == 0:
                # Unlike a program, it has children that end.
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _forget_ourselves()
                become_keeper(control, self._jail, limits, self._interpreter)
            self._sessions[pid] = slot
        except OSError:
            # The service sees that nobody is at the other end.
            return
        finally:
            os.close(control)

    def _become_program(self, handing: socket.socket, slot: int) -> NoReturn:
        status = BROKEN_JAIL_STATUS
        try:
            _keep_only(handing.fileno(), self._jail.zygote)
            self._jail.begin(slot=slot)
            _forget_ourselves()
            limits, text = _taken_over(handing)
            self._jail.close(limits)
            status = 1
            asked = json.loads(text)
            del text
            self._interpreter.serve(asked)
            status = 0
        finally:
            # Nothing of the zygote's may run in here, whatever was raised.
            os._exit(status)

    def _reap(self) -> None:
        while self._programs or self._sessions or self._spare:
            pid, status, used = os.wait4(-1, os.WNOHANG)
            if pid == 0:
                return
            self._sessions.pop(pid, None)
            if self._spare is not None and self._spare.pid == pid:
                self._spare.handing.close()
                self._spare = None
            program = self._programs.pop(pid, None)
            if program is None:
                continue
            self._wants_spare = True
            self._say(
                {
                    "op": "ended",
                    "id": program.id,
                    "status": os.waitstatus_to_exitcode(status),
                    "killed": program.killed,
                    "wall_ms": round((time.monotonic() - program.started) * 1000),
                    "cpu_ms": round((used.ru_utime + used.ru_stime) * 1000),
                    "peak_memory_bytes": used.ru_maxrss * 1024,
                }
            )

    def _say(self, message: dict[str, Any]) -> None:
        # The service has gone when this fails; the loop finds the socket closed.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._control.send(json.dumps(message).encode(), socket.MSG_NOSIGNAL)


def _practise() -> None:
    """Runs a program of ours a few times: what Python finds out about code as it runs, it then need not find out, and
    write into memory that is shared until then, in each program's process."""
    read_end, write_end = os.pipe()
    interpreter = Interpreter(out=write_end)
    for _ in range(_PRACTICE_RUNS):
        interpreter.run(code=_PRACTICE, inputs={"n": 3})
        os.read(read_end, _READ_BYTES)
    os.close(read_end)
    os.close(write_end)


def _cpu_seconds(pid: int) -> float:
    # The kernel's clock of another process: CPUCLOCK_SCHED of its id. It stands still once the process is dead.
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data)
    return list(found)


def _hand_over(spare: _Spare, message: dict[str, Any], request: int, out: int) -> None:
    """Gives a process its program. Raises OSError when it has ended."""
    limits = [math.ceil(message["cpu_seconds"]) + 1, message["memory_mb"]]
    ends = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [request, out]))]
    with spare.handing:
        spare.handing.sendmsg([json.dumps(limits).encode()], ends, socket.MSG_NOSIGNAL)


def _taken_over(handing: socket.socket) -> tuple[Limits, bytes]:
    """In the process that waits: its program's limits and request. Leaves it with the way out, and three ends of
    nothing. Ends it when the zygote wants it no more."""
    data, ends, _, _ = socket.recv_fds(handing, _LIMITS_BYTES, 2)
    if not data:
        os._exit(0)
    request, out = ends
    cpu_seconds, memory_mb = json.loads(data)
    # A file in memory gives all of it at once, if there is room.
    text = os.pread(request, os.fstat(request).st_size, 0)
    # Above every other, as it must not be what lies in its place.
    above = os.dup(out)
    os.dup2(0, 2)
    os.dup2(above, _OUT)
    os.closerange(_OUT + 1, 1 << 20)
    handing.detach()
    return Limits(cpu_seconds=cpu_seconds, memory_mb=memory_mb), text


def _keep_only(*kept: int) -> None:
    """Closes every descriptor but these, and the first three."""
    begin = 3
    for fd in sorted(fd for fd in kept if fd >= begin):
        os.closerange(begin, fd)
        begin = fd + 1
    os.closerange(begin, 1 << 20)


def _forget_ourselves() -> None:
    """Modules look for a program's own module by this name, and must not find ours; nor may programs share chance."""
    random.seed()
    sys.modules["__main__"] = types.ModuleType("__main__")
    sys.argv = [""]
