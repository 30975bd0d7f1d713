"""The list of system calls that a running program may make, as a classic BPF program.

An allow-list: Python computing in memory and writing to an open pipe needs some thirty calls. A call that only
an attack makes ends the process; any other is refused with EPERM, so that a library that merely asks goes on.
"""

import errno
import platform
import struct

__all__ = ["seccomp_program"]

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_CALLS = 0x40000000
_ALLOW, _KILL, _EPERM = 0x7FFF0000, 0x80000000, 0x00050000 | errno.EPERM
_PROT_EXEC = 4

# name: (x86_64, aarch64); None where the architecture has no such call.
_ALLOWED: dict[str, tuple[int | None, int | None]] = {
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "fstat": (5, 80),
    "poll": (7, None),
    "ppoll": (271, 73),
    "lseek": (8, 62),
    "munmap": (11, 215),
    "brk": (12, 214),
    "rt_sigreturn": (15, 139),
    "pread64": (17, 67),
    "select": (23, None),
    "pselect6": (270, 72),
    "sched_yield": (24, 124),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "nanosleep": (35, 101),
    "getpid": (39, 172),
    "exit": (60, 93),
    "gettimeofday": (96, 169),
    "getrusage": (98, 165),
    "times": (100, 153),
    "sigaltstack": (131, 132),
    "gettid": (186, 178),
    "time": (201, None),
    "futex": (202, 98),
    "restart_syscall": (219, 128),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "exit_group": (231, 94),
    "getrandom": (318, 278),
    "membarrier": (324, 283),
    "rseq": (334, 293),
}
# What a session's process needs beside: to copy itself once a call (see _answer_if_plain_fork), to take the next call's
# descriptors, and to see its copy end.
_OF_SESSIONS: dict[str, tuple[int | None, int | None]] = {
    "dup2": (33, None),
    "dup3": (292, 24),
    "sendmsg": (46, 211),
    "recvmsg": (47, 212),
    "wait4": (61, 260),
}
_CLONE: dict[str, tuple[int | None, int | None]] = {"clone": (56, 220)}
# SIGCHLD, CLONE_CHILD_SETTID, CLONE_CHILD_CLEARTID: a copy of the process, in no new namespace, sharing nothing.
_PLAIN_FORK = 0x01200011
# Allowed unless they ask for memory that can be executed.
_MAPPING: dict[str, tuple[int | None, int | None]] = {"mmap": (9, 222), "mprotect": (10, 226)}
_FATAL: dict[str, tuple[int | None, int | None]] = {
    "fork": (57, None),
    "vfork": (58, None),
    "clone": (56, 220),
    "clone3": (435, 435),
    "execve": (59, 221),
    "execveat": (322, 281),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "kill": (62, 129),
    "rt_sigqueueinfo": (129, 138),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "perf_event_open": (298, 241),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "io_uring_setup": (425, 425),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "kexec_load": (246, 104),
    "reboot": (169, 142),
}

_LD, _JEQ, _JGE, _JSET, _RET = 0x20, 0x15, 0x35, 0x45, 0x06
_OFFSET_NUMBER, _OFFSET_ARCH, _OFFSET_FIRST_ARGUMENT, _OFFSET_THIRD_ARGUMENT = 0, 4, 16, 32


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _answer(action: int) -> bytes:
    return _instruction(_RET, action)


_SIZE = len(_answer(_ALLOW))
_UNLESS_EXECUTABLE = (
    _instruction(_LD, _OFFSET_THIRD_ARGUMENT)
    + _instruction(_JSET, _PROT_EXEC, 0, 1)
    + _answer(_EPERM)
    + _answer(_ALLOW)
)
# fork() alone; what makes threads or namespaces ends the process.
_IF_PLAIN_FORK = (
    _instruction(_LD, _OFFSET_FIRST_ARGUMENT)
    + _instruction(_JEQ, _PLAIN_FORK, 1, 0)
    + _answer(_KILL)
    + _answer(_ALLOW)
)


def seccomp_program(machine: str | None = None, *, session: bool = False) -> bytes | None:
    """The filter for this machine's architecture, or None where its call numbers are not known.

    `session`: for a process that copies itself, so that its state outlives a call.
    """
    machine = machine or platform.machine()
    arch = _AUDIT_ARCH.get(machine)
    if arch is None:
        return None
    program = _instruction(_LD, _OFFSET_ARCH) + _instruction(_JEQ, arch, 1, 0)
    program += _answer(_KILL) + _instruction(_LD, _OFFSET_NUMBER)
    return program + _search(_spans(_answers(machine, session=session)))


def _answers(machine: str, *, session: bool) -> dict[int, bytes]:
    """What is answered to each call that is named; a later table has the last word."""
    tables = [(_FATAL, _answer(_KILL)), (_ALLOWED, _answer(_ALLOW)), (_MAPPING, _UNLESS_EXECUTABLE)]
    if session:
        tables += [(_OF_SESSIONS, _answer(_ALLOW)), (_CLONE, _IF_PLAIN_FORK)]
    column = 0 if machine == "x86_64" else 1
    answers = {
        number: answer
        for table, answer in tables
        for row in table.values()
        if (number := row[column]) is not None
    }
    if machine == "x86_64":
        answers[_X32_CALLS] = _answer(_KILL)
    return answers


def _spans(answers: dict[int, bytes]) -> list[tuple[int, bytes]]:
    """Every number's answer, as the first number of each span with one answer."""
    spans: list[tuple[int, bytes]] = []
    for number in sorted({0, *answers, *(n + 1 for n in answers if n < _X32_CALLS)}):
        answer = answers.get(number, _answer(_EPERM))
        if not spans or spans[-1][1] != answer:
            spans.append((number, answer))
    return spans


def _search(spans: list[tuple[int, bytes]]) -> bytes:
    """A binary search, as the kernel tries a new filter with every call that it has."""
    if len(spans) == 1:
        return spans[0][1]
    middle = len(spans) // 2
    below, above = _search(spans[:middle]), _search(spans[middle:])
    return _instruction(_JGE, spans[middle][0], len(below) // _SIZE, 0) + below + above
