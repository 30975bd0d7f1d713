"""Proves each wall by a process that stands behind that wall alone and tries to get past it."""

import os
import select
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from cadre_sandbox.worker import syscalls
from cadre_sandbox.worker.jail import SESSION_PROCESSES, Jail, Layer, Limits

__all__ = ["prove", "session_problem"]

_LIMITS = Limits(cpu_seconds=5, memory_mb=32)
_PATIENCE_SECONDS = 5.0
_SLOT = 0
_SIGSYS = -31


@dataclass(frozen=True, kw_only=True)
class _Wall:
    name: str
    layers: frozenset[Layer]
    keeps_out: str
    attempts: tuple[Callable[[], str], ...]
    """Each gives "" when the wall stopped it, else what it could do."""
    without: str = ""
    instead: frozenset[Layer] = frozenset()
    """Where these are there, `without` is true."""


def prove(jail: Jail) -> list[dict[str, object]]:
    """Each wall of the operating system: whether it holds, and what it keeps out or why it does not hold."""
    walls = [_proved(jail, wall) for wall in _WALLS]
    return [_own_process(jail), *walls]


def session_problem(jail: Jail) -> str:
    """Why there can be no sessions, tried by a process that forks as often as it may; "" when there can."""
    if Layer.SECCOMP not in jail.layers:
        return jail.missing[Layer.SECCOMP]
    read_end, write_end = os.pipe()
    try:
        pid = jail.fork_session(_SLOT)
    except OSError as exc:
        os.close(read_end)
        os.close(write_end)
        return str(exc)
    if pid == 0:
        _try_session(jail, write_end)
    os.close(write_end)
    said = _read_in_time(read_end, pid)
    os.close(read_end)
    os.waitpid(pid, 0)
    if said == str(SESSION_PROCESSES):
        return ""
    return f"a session's processes cannot be counted ({said or 'it did not start'})"


def _try_session(jail: Jail, out: int) -> NoReturn:
    """Says how many processes there can be, itself included; all end with it."""
    try:
        limits = Limits(cpu_seconds=5, memory_mb=32, session=True)
        jail.enter(limits, slot=_SLOT, only=jail.layers - {Layer.USER})
        count = 1
        while count <= SESSION_PROCESSES:
            try:
                if os.fork() == 0:
                    time.sleep(2 * _PATIENCE_SECONDS)
                    os._exit(0)
            except OSError:
                break
            count += 1
        os.write(out, str(count).encode())
    except OSError as exc:
        os.write(out, str(exc).encode())
    finally:
        os._exit(0)


def _proved(jail: Jail, wall: _Wall) -> dict[str, object]:
    lacking = [jail.missing[layer] for layer in sorted(wall.layers & jail.missing.keys(), key=str)]
    if lacking:
        without = wall.without if wall.instead <= jail.layers else ""
        return _said(wall.name, "; ".join(filter(None, [lacking[0], without])))
    for attempt in wall.attempts:
        if could := _tried(jail, wall.layers, attempt):
            return _said(wall.name, f"tried, and {could}")
    return {"name": wall.name, "holds": True, "detail": wall.keeps_out}


def _said(name: str, detail: str) -> dict[str, object]:
    return {"name": name, "holds": False, "detail": detail}


def _tried(jail: Jail, layers: frozenset[Layer], attempt: Callable[[], str]) -> str:
    """What `attempt` could do behind `layers`; a process that the kernel ends for it could do nothing."""
    read_end, write_end = os.pipe()
    pid = jail.fork() if Layer.PROCESS_IDS in layers else os.fork()
    if pid == 0:
        try:
            jail.enter(_LIMITS, slot=_SLOT, only=layers)
            os.write(write_end, (attempt() or "held").encode())
        except OSError as exc:
            os.write(write_end, f"the wall did not close: {exc}".encode())
        finally:
            os._exit(0)
    os.close(write_end)
    said = _read_in_time(read_end, pid)
    os.close(read_end)
    _, status = os.waitpid(pid, 0)
    if os.waitstatus_to_exitcode(status) == _SIGSYS or said == "held":
        return ""
    return said or f"the process ended with {os.waitstatus_to_exitcode(status)}"


def _read_in_time(fd: int, pid: int) -> str:
    ready, _, _ = select.select([fd], [], [], _PATIENCE_SECONDS)
    if not ready:
        os.kill(pid, signal.SIGKILL)
        return "the attempt did not end"
    return os.read(fd, 1024).decode(errors="replace")


def _own_process(jail: Jail) -> dict[str, object]:
    """A program that ignores every signal is killed from outside, and its clock is read from outside."""
    pid = jail.fork()
    if pid == 0:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        while True:
            pass
    time.clock_gettime((~pid << 3) | 2)
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        if time.monotonic() > deadline:
            return _said("process", "a process could not be killed")
        time.sleep(0.001)
    return {
        "name": "process",
        "holds": True,
        "detail": "each program is a process of its own, killed from outside when its time is up",
    }


def _refused(action: Callable[[], object], could: str) -> str:
    try:
        action()
    except (OSError, MemoryError):
        return ""
    return could


def _take_memory() -> str:
    return _refused(lambda: bytearray(2 * _LIMITS.memory_mb * 1024 * 1024), "took too much memory")


def _start_a_process() -> str:
    return _refused(_fork_and_end, "started a process")


def _fork_and_end() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def _open_descriptors() -> str:
    return _refused(lambda: [os.pipe() for _ in range(20)], "opened many descriptors")


def _become_root() -> str:
    if os.getuid() == 0:
        return "was root"
    return _refused(lambda: os.setuid(0), "became root")


def _have_privileges() -> str:
    if not syscalls.has_no_new_privileges():
        return "could gain privileges"
    return "had capabilities" if syscalls.effective_capabilities() else ""


def _reach(address: str) -> Callable[[], str]:
    def attempt() -> str:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there:
            return _refused(lambda: there.connect((address, 53)), f"reached {address}")

    return attempt


def _list_root() -> str:
    return f"saw {len(found)} entries in /" if (found := os.listdir("/")) else ""


def _read_passwd() -> str:
    return _refused(lambda: os.open("/etc/passwd", os.O_RDONLY), "opened /etc/passwd")


def _write_root() -> str:
    return _refused(lambda: os.open("/found", os.O_CREAT | os.O_WRONLY), "wrote a file")


def _open_root() -> str:
    return _refused(lambda: os.open("/", os.O_RDONLY | os.O_DIRECTORY), "opened /")


def _see_processes() -> str:
    if os.getpid() != 1:
        return "was not alone"
    return _refused(lambda: os.kill(2, 0), "saw another process")


def _make_socket() -> str:
    return _refused(lambda: socket.socket().close(), "made a socket")


def _execute() -> str:
    return _refused(lambda: os.execv("/bin/true", ["true"]), "executed a file")


def _signal_others() -> str:
    return _refused(lambda: os.kill(os.getppid() or 1, 0), "could send a signal")


def _escape_root() -> str:
    return _refused(lambda: os.chroot("/"), "changed its root")


_WALLS = (
    _Wall(
        name="limits",
        layers=frozenset((Layer.LIMITS,)),
        keeps_out="memory, CPU time, descriptors, file size; no processes, no core dumps",
        attempts=(_take_memory, _open_descriptors),
    ),
    _Wall(
        name="user",
        layers=frozenset((Layer.USER, Layer.PRIVILEGES)),
        keeps_out="the rights of root and of other users; each program under way has a user of its own",
        attempts=(_become_root,),
    ),
    _Wall(
        name="privileges",
        layers=frozenset((Layer.PRIVILEGES,)),
        keeps_out="every capability, and programs that would give some",
        attempts=(_have_privileges,),
    ),
    _Wall(
        name="network",
        layers=frozenset((Layer.NAMESPACES,)),
        keeps_out="every address, the machine's own included, by an empty network namespace",
        attempts=(_reach("192.0.2.1"), _reach("127.0.0.1")),
        without="the wall 'syscalls' keeps programs from having sockets at all",
        instead=frozenset((Layer.SECCOMP,)),
    ),
    _Wall(
        name="files",
        layers=frozenset((Layer.NAMESPACES, Layer.EMPTY_ROOT)),
        keeps_out="every file, by a root folder that is empty and cannot be written",
        attempts=(_list_root, _read_passwd, _write_root),
        without="the walls 'landlock' and 'syscalls' keep programs from opening any",
        instead=frozenset((Layer.LANDLOCK, Layer.SECCOMP)),
    ),
    _Wall(
        name="processes",
        layers=frozenset((Layer.PROCESS_IDS,)),
        keeps_out="the sight of other processes, by a process namespace for each program",
        attempts=(_see_processes,),
        without="the wall 'syscalls' keeps programs from sending signals",
        instead=frozenset((Layer.SECCOMP,)),
    ),
    _Wall(
        name="landlock",
        layers=frozenset((Layer.LANDLOCK,)),
        keeps_out="opening or making files, and on newer kernels TCP and signals to others",
        attempts=(_open_root,),
    ),
    _Wall(
        name="syscalls",
        layers=frozenset((Layer.SECCOMP,)),
        keeps_out="all but some thirty calls of the kernel: no files, sockets, processes, signals, mounts",
        attempts=(
            _open_root,
            _make_socket,
            _start_a_process,
            _execute,
            _signal_others,
            _escape_root,
        ),
    ),
)
