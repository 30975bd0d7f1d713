"""The operating system's walls by themselves: code in full Python, without the language guard, gets nowhere.

Runs in a process that enters the very jail of programs; there is no switch that would do this in the service.
"""

import contextlib
import ctypes
import errno
import mmap
import multiprocessing
import os
import platform
import resource
import signal
import socket
import struct
import time
from multiprocessing.connection import Connection

import pytest

from cadre_sandbox.worker import seccomp, syscalls
from cadre_sandbox.worker.jail import Jail, Layer, Limits
from cadre_sandbox.worker.proofs import prove

pytestmark = pytest.mark.root

# What the attempts use.
_USED = (ctypes, mmap, resource, signal, socket, time)
LIMITS = Limits(cpu_seconds=5, memory_mb=64)
# Each does what it must not be able to do, and then sends the word.
ATTEMPTS = {
    "read a file": "open('/etc/passwd').read()",
    "read a file of the platform": "open('/proc/self/environ').read()",
    "see the mounts": "open('/proc/self/mounts').read()",
    "list the root": "os.listdir('/')",
    "write a file": "open('/tmp/found', 'w').write('x')",
    "make a folder": "os.mkdir('/x')",
    "make a link": "os.symlink('/etc', '/x')",
    "make a device": "os.mknod('/x', 0o600 | 0o020000, os.makedev(1, 1))",
    "file in memory": "os.memfd_create('x')",
    "leave by chroot": "os.chroot('..')",
    "mount": "assert libc.mount(b'none', b'/', b'proc', 0, None) == 0",
    "TCP": "socket.create_connection(('127.0.0.1', 22), 1)",
    "UDP": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))",
    "names": "socket.getaddrinfo('localhost', 80)",
    "unix socket": "socket.socket(socket.AF_UNIX).connect('/var/run/docker.sock')",
    "abstract socket": "socket.socket(socket.AF_UNIX).bind('\\0x')",
    "raw socket": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "netlink": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "pair of sockets": "socket.socketpair()",
    "fork": "os.fork()",
    "fork bomb": "while True: os.fork()",
    "thread": "import threading; threading.Thread(target=print).start()",
    "execute": "os.execv('/bin/sh', ['sh'])",
    "spawn": "os.posix_spawn('/bin/sh', ['sh'], {})",
    "kill the parent": "os.kill(os.getppid() or PARENT, signal.SIGKILL)",
    "kill the service": "os.kill(PARENT, signal.SIGKILL)",
    "kill everybody": "os.kill(-1, signal.SIGKILL)",
    "signal by descriptor": "os.pidfd_open(PARENT)",
    "trace": "assert libc.ptrace(16, PARENT, 0, 0) == 0",
    "read memory of another": "assert libc.syscall(310, PARENT, 0, 0, 0, 0, 0) == 0",
    "become root": "os.setuid(0)",
    "become another": "os.setresuid(1000, 1000, 1000)",
    "raise a limit": "resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))",
    "own namespaces": "assert libc.unshare(0x10000000) == 0",
    "enter a namespace": "assert libc.setns(3, 0) == 0",
    "executable memory": "mmap.mmap(-1, 4096, prot=7)",
    "io_uring": "assert libc.syscall(425, 1, 0) >= 0",
    "bpf": "assert libc.syscall(321, 0, 0, 0) >= 0",
    "keys": "assert libc.syscall(250, 0, -3, 1) >= 0",
    "clock": "time.clock_settime(time.CLOCK_REALTIME, 0)",
    "host name": "socket.sethostname('x')",
    "priority": "os.nice(-5)",
    "loosen the filter": "assert libc.prctl(22, 0, 0, 0, 0) == 0",
    "catch the end": "signal.signal(signal.SIGXCPU, signal.SIG_IGN)",
    "many descriptors": "[os.dup(0) for _ in range(100)]",
    "much memory": "bytearray(200 * 1024 * 1024)",
}


def _try_all(attempts: dict[str, str], weakened: frozenset[Layer], out: Connection) -> None:
    """In a process of its own: prepares a jail as the zygote does, and tries each thing behind it."""
    parent = os.getppid()
    libc = ctypes.CDLL(None)
    jail = Jail.prepare(first_uid=58_900, without=weakened)
    said = {}
    for name, attempt in attempts.items():
        names = {**globals(), "PARENT": parent, "libc": libc}
        read_end, write_end = os.pipe()
        pid = jail.fork()
        if pid == 0:
            try:
                jail.enter(LIMITS, slot=0)
                os.write(write_end, b"in")
                exec(attempt, names)
                os.write(write_end, b", and out")
            finally:
                os._exit(0)
        os.close(write_end)
        os.waitpid(pid, 0)
        said[name] = os.read(read_end, 100)
        os.close(read_end)
    out.send(said)


def _tried(attempts: dict[str, str], weakened: frozenset[Layer]) -> dict[str, bytes]:
    # Started anew, not forked: this process has threads.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_try_all, args=(attempts, weakened, theirs))
    process.start()
    theirs.close()
    said: dict[str, bytes] = ours.recv()
    process.join(10)
    process.close()
    ours.close()
    return said


UNPRIVILEGED = frozenset((Layer.NAMESPACES, Layer.EMPTY_ROOT, Layer.PROCESS_IDS, Layer.USER))


@pytest.mark.parametrize("weakened", [frozenset(), UNPRIVILEGED], ids=["root", "container"])
def test_full_python_gets_nowhere_in_the_jail(weakened: frozenset[Layer]) -> None:
    said = _tried(ATTEMPTS, weakened)

    assert {name: words for name, words in said.items() if words != b"in"} == {}


@pytest.mark.parametrize("alone", [Layer.LANDLOCK, Layer.SECCOMP])
def test_files_stay_closed_behind_one_wall_alone(alone: Layer) -> None:
    said = _tried({"list": "os.listdir('/')"}, frozenset(Layer) - {alone})

    assert said == {"list": b"in"}


def _without_filters(out: Connection) -> None:
    """In a process of its own, from which the kernel takes no filter: runs a program in what is left of the jail."""
    load, equal, give = 0x20, 0x15, 0x06
    refused = struct.pack(
        "HBBI" * 4,
        *(load, 0, 0, 0, equal, 0, 1, 157 if platform.machine() == "x86_64" else 167),
        *(give, 0, 0, 0x00050000 | errno.EPERM, give, 0, 0, 0x7FFF0000),
    )
    syscalls.take([syscalls.NO_NEW_PRIVILEGES, syscalls.seccomp(refused)])
    with contextlib.suppress(OSError):
        syscalls.check_seccomp()
        out.send("there are filters")
    jail = Jail.prepare(
        first_uid=58_900, without=frozenset({*Layer} - {Layer.SECCOMP, Layer.LIMITS})
    )
    files = next(wall for wall in prove(jail) if wall["name"] == "files")
    out.send((Layer.SECCOMP in jail.layers, jail.missing.get(Layer.SECCOMP), files["detail"]))


def test_filters_that_the_kernel_does_not_take_are_missing_and_nothing_else_relies_on_them() -> (
    None
):
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_without_filters, args=(theirs,))
    process.start()
    said = ours.recv()
    process.join(10)

    assert said == (False, "[Errno 1] PR_SET_SECCOMP: Operation not permitted", "it is turned off")


def _fork_and_stay(weakened: frozenset[Layer], go: Connection, out: Connection) -> None:
    """In a process of its own: forks a program that waits before it enters the jail, and stays."""
    jail = Jail.prepare(first_uid=58_900, without=weakened)
    if jail.fork() == 0:
        try:
            go.recv_bytes()
            jail.enter(LIMITS, slot=0)
            out.send_bytes(b"in")
        except OSError as error:
            out.send_bytes(str(error).encode())
        finally:
            os._exit(0)
    out.send_bytes(b"forked")
    signal.pause()


@pytest.mark.parametrize("weakened", [frozenset(), UNPRIVILEGED], ids=["root", "container"])
def test_a_program_whose_zygote_died_before_it_was_behind_the_walls_does_not_begin(
    weakened: frozenset[Layer],
) -> None:
    context = multiprocessing.get_context("spawn")
    go_theirs, go = context.Pipe(duplex=False)
    said, said_theirs = context.Pipe(duplex=False)
    zygote = context.Process(target=_fork_and_stay, args=(weakened, go_theirs, said_theirs))
    zygote.start()
    assert said.recv_bytes() == b"forked"
    zygote.kill()
    zygote.join()

    go.send_bytes(b"go")

    assert said.recv_bytes() == b"the zygote has ended"


def _numbers(*tables: dict[str, tuple[int | None, int | None]]) -> set[int]:
    column = 0 if platform.machine() == "x86_64" else 1
    return {n for table in tables for row in table.values() if (n := row[column]) is not None}


def test_every_call_of_the_kernel_but_the_listed_ones_is_refused() -> None:
    fatal = _numbers(seccomp._FATAL)
    others = set(range(512)) - fatal - _numbers(seccomp._ALLOWED, seccomp._MAPPING)
    call = "ctypes.CDLL(None, use_errno=True).syscall"
    refused = (
        f"[n for n in {others} if {call}(n, 0, 0, 0, 0, 0, 0) != -1 or ctypes.get_errno() != 1][0]"
    )
    attempts = {f"call {n}": f"{call}({n}, 0, 0, 0, 0, 0, 0)" for n in fatal} | {"others": refused}

    said = _tried(attempts, frozenset())

    assert {name: words for name, words in said.items() if words != b"in"} == {}


def test_what_is_allowed_is_seen_to_happen() -> None:
    assert _tried({"add": "1 + 1"}, frozenset()) == {"add": b"in, and out"}
