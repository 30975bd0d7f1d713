"""The kernel's calls that Python does not offer, by ctypes. Linux only; each raises OSError.

Those that every program's process makes come as steps, made up in advance: what such a process has to look up or put
together, it pays for with copies of memory.
"""

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterable
from typing import Any, TypeAlias

__all__ = [
    "NOT_DUMPABLE",
    "NO_CAPABILITIES",
    "NO_NEW_PRIVILEGES",
    "Step",
    "check_seccomp",
    "death_signal",
    "effective_capabilities",
    "has_no_new_privileges",
    "landlock_abi",
    "landlock_rights",
    "mount",
    "pivot_root",
    "seccomp",
    "setns",
    "take",
    "take_rights",
    "umount",
    "unshare",
]

Step: TypeAlias = "tuple[Any, tuple[Any, ...], str]"
"""A call: the function, all that it is given, and its name."""

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_REC, MS_PRIVATE = 1 << 14, 1 << 18
MNT_DETACH = 2

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_SECCOMP = 22
_PR_SET_NO_NEW_PRIVS = 38
_PR_GET_NO_NEW_PRIVS = 39
_SECCOMP_MODE_FILTER = 2
_INSTRUCTION_BYTES = 8
_CAPABILITY_VERSION = 0x20080522

_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_LANDLOCK_CREATE, _LANDLOCK_RESTRICT = 444, 446
_LANDLOCK_VERSION_FLAG = 1
# Every right of the file system that an ABI knows; the count of bits grew with it.
_LANDLOCK_FS_BITS = {1: 13, 2: 14, 3: 15, 4: 15}
_LANDLOCK_FS_BITS_NOW = 16
_LANDLOCK_TCP = 0b11
_LANDLOCK_SCOPES = 0b11

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _text(value: str | None) -> bytes | None:
    return None if value is None else value.encode()


def _function(name: str, *takes: type) -> Any:
    """Looked up once, here: what a program's process has to look up, it pays for with copies of memory."""
    found = _libc[name]
    found.argtypes = takes
    return found


class _Filter(ctypes.Structure):
    """What the kernel calls a sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("program", ctypes.c_char_p))


_TEXT, _LONG, _INT, _SIZE = ctypes.c_char_p, ctypes.c_ulong, ctypes.c_int, ctypes.c_size_t
_unshare = _function("unshare", _INT)
_setns = _function("setns", _INT, _INT)
_mount = _function("mount", _TEXT, _TEXT, _TEXT, _LONG, _TEXT)
_umount2 = _function("umount2", _TEXT, _INT)
_pivot_root = _function("syscall", _LONG, _TEXT, _TEXT)
_prctl_longs = _function("prctl", _INT, _LONG, _LONG, _LONG, _LONG)
_prctl_filter = _function("prctl", _INT, _LONG, ctypes.POINTER(_Filter), _LONG, _LONG)
_capset = _function("capset", _TEXT, _TEXT)
_capget = _function("capget", _TEXT, _TEXT)
_landlock_create = _function("syscall", _LONG, _TEXT, _SIZE, ctypes.c_uint)
_landlock_restrict = _function("syscall", _LONG, _INT, ctypes.c_uint)


def unshare(flags: int) -> None:
    """Gives this process, or with CLONE_NEWPID its next child, namespaces of its own."""
    _check(_unshare(flags), "unshare")


def setns(fd: int, kind: int) -> None:
    """Enters the namespace behind `fd`."""
    _check(_setns(fd, kind), "setns")


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """mount(2)."""
    _check(_mount(_text(source), _text(target), _text(kind), flags, _text(data)), "mount")


def umount(target: str) -> None:
    """Takes a mount out of sight at once; it goes when nobody uses it."""
    _check(_umount2(_text(target), MNT_DETACH), "umount2")


def pivot_root(new: str, old: str) -> None:
    """Makes `new` the root, and puts the old one at `old`."""
    number = _PIVOT_ROOT.get(platform.machine())
    if number is None:
        raise OSError(f"pivot_root is not known on {platform.machine()}")
    _check(_pivot_root(number, _text(new), _text(old)), "pivot_root")


def take(steps: Iterable[Step]) -> None:
    """Makes the calls, one after the other."""
    for function, given, what in steps:
        if function(*given) < 0:
            _check(-1, what)


def _prctl(option: int, value: int, what: str) -> Step:
    return _prctl_longs, (option, value, 0, 0, 0), what


NOT_DUMPABLE = _prctl(_PR_SET_DUMPABLE, 0, "PR_SET_DUMPABLE")
"""Nobody of the same user may look into this process."""
NO_NEW_PRIVILEGES = _prctl(_PR_SET_NO_NEW_PRIVS, 1, "PR_SET_NO_NEW_PRIVS")
"""No program that this process starts can gain rights."""
NO_CAPABILITIES: Step = (
    _capset,
    (struct.pack("=Ii", _CAPABILITY_VERSION, 0), bytes(24)),
    "capset",
)
"""Gives up every capability."""


def death_signal(number: int) -> Step:
    """Has the kernel send `number` when the parent dies. A change of user clears it."""
    return _prctl(_PR_SET_PDEATHSIG, number, "PR_SET_PDEATHSIG")


def has_no_new_privileges() -> bool:
    """Whether NO_NEW_PRIVILEGES holds."""
    return _check(_prctl_longs(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), "PR_GET_NO_NEW_PRIVS") == 1


def effective_capabilities() -> int:
    """The capabilities in force, as a mask."""
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION, 0))
    data = ctypes.create_string_buffer(24)
    _check(_capget(header, data), "capget")
    low, _, _, high, _, _ = struct.unpack("=6I", data.raw)
    return int(low | high << 32)


def seccomp(program: bytes) -> Step:
    """Filters all further system calls by a classic BPF program; needs no_new_privs or CAP_SYS_ADMIN."""
    header = ctypes.byref(_Filter(len(program) // _INSTRUCTION_BYTES, program))
    return _prctl_filter, (_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0), "PR_SET_SECCOMP"


def check_seccomp() -> None:
    """Raises OSError where this process may not filter system calls; takes none away."""
    try:
        _check(_prctl_filter(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, None, 0, 0), "PR_SET_SECCOMP")
    except OSError as exc:
        # It looked for a filter where there is none: with one, it would have taken it.
        if exc.errno != errno.EFAULT:
            raise


def landlock_abi() -> int:
    """The version of Landlock that the kernel offers; raises OSError where it has none."""
    return _check(_landlock_create(_LANDLOCK_CREATE, None, 0, _LANDLOCK_VERSION_FLAG), "landlock")


def landlock_rights(abi: int) -> bytes:
    """Every right on files, and as far as `abi` goes on TCP, abstract sockets and signals to others."""
    rights = (1 << _LANDLOCK_FS_BITS.get(abi, _LANDLOCK_FS_BITS_NOW)) - 1
    attributes = struct.pack("=Q", rights)
    if abi >= 4:
        attributes += struct.pack("=Q", _LANDLOCK_TCP)
    if abi >= 6:
        attributes += struct.pack("=Q", _LANDLOCK_SCOPES)
    return attributes


def take_rights(rights: bytes) -> None:
    """Takes them from this process, for good."""
    ruleset = _check(
        _landlock_create(_LANDLOCK_CREATE, rights, len(rights), 0), "landlock_create_ruleset"
    )
    try:
        _check(_landlock_restrict(_LANDLOCK_RESTRICT, ruleset, 0), "landlock_restrict_self")
    finally:
        os.close(ruleset)
