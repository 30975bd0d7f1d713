"""The kernel's calls that Python does not offer, by ctypes. Linux only; each raises OSError."""

import ctypes
import os
import platform
import struct

__all__ = [
    "drop_capabilities",
    "effective_capabilities",
    "has_no_new_privileges",
    "landlock_abi",
    "landlock_everything",
    "load_seccomp",
    "mount",
    "pivot_root",
    "set_death_signal",
    "set_no_new_privileges",
    "setns",
    "umount",
    "unshare",
]

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


def unshare(flags: int) -> None:
    """Gives this process, or with CLONE_NEWPID its next child, namespaces of its own."""
    _check(_libc.unshare(flags), "unshare")


def setns(fd: int, kind: int) -> None:
    """Enters the namespace behind `fd`."""
    _check(_libc.setns(fd, kind), "setns")


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """mount(2)."""
    answer = _libc.mount(
        _text(source), _text(target), _text(kind), ctypes.c_ulong(flags), _text(data)
    )
    _check(answer, "mount")


def umount(target: str) -> None:
    """Takes a mount out of sight at once; it goes when nobody uses it."""
    _check(_libc.umount2(_text(target), MNT_DETACH), "umount2")


def pivot_root(new: str, old: str) -> None:
    """Makes `new` the root, and puts the old one at `old`."""
    number = _PIVOT_ROOT.get(platform.machine())
    if number is None:
        raise OSError(f"pivot_root is not known on {platform.machine()}")
    _check(_libc.syscall(ctypes.c_long(number), _text(new), _text(old)), "pivot_root")


def _prctl(option: int, value: int, *, what: str) -> int:
    zero = ctypes.c_ulong(0)
    return _check(_libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero), what)


def set_death_signal(number: int) -> None:
    """Has the kernel send `number` when the parent dies. A change of user clears it."""
    _prctl(_PR_SET_PDEATHSIG, number, what="PR_SET_PDEATHSIG")


def set_not_dumpable() -> None:
    """Nobody of the same user may look into this process."""
    _prctl(_PR_SET_DUMPABLE, 0, what="PR_SET_DUMPABLE")


def set_no_new_privileges() -> None:
    """No program that this process starts can gain rights."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1, what="PR_SET_NO_NEW_PRIVS")


def has_no_new_privileges() -> bool:
    """Whether `set_no_new_privileges` holds."""
    return _prctl(_PR_GET_NO_NEW_PRIVS, 0, what="PR_GET_NO_NEW_PRIVS") == 1


def drop_capabilities() -> None:
    """Gives up every capability."""
    header = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
    _check(_libc.capset(header, bytes(24)), "capset")


def effective_capabilities() -> int:
    """The capabilities in force, as a mask."""
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION, 0))
    data = ctypes.create_string_buffer(24)
    _check(_libc.capget(header, data), "capget")
    low, _, _, high, _, _ = struct.unpack("=6I", data.raw)
    return int(low | high << 32)


def load_seccomp(program: bytes) -> None:
    """Filters all further system calls by a classic BPF program; needs no_new_privs or CAP_SYS_ADMIN."""
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("=H6xQ", len(program) // 8, ctypes.addressof(buffer))
    zero = ctypes.c_ulong(0)
    answer = _libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), header, zero, zero)
    _check(answer, "PR_SET_SECCOMP")


def landlock_abi() -> int:
    """The version of Landlock that the kernel offers; raises OSError where it has none."""
    number = ctypes.c_long(_LANDLOCK_CREATE)
    flag = ctypes.c_uint(_LANDLOCK_VERSION_FLAG)
    return _check(_libc.syscall(number, None, ctypes.c_size_t(0), flag), "landlock")


def landlock_everything(abi: int) -> None:
    """Takes every right on files, and as far as `abi` goes on TCP, abstract sockets and signals to others."""
    rights = (1 << _LANDLOCK_FS_BITS.get(abi, _LANDLOCK_FS_BITS_NOW)) - 1
    attributes = struct.pack("=Q", rights)
    if abi >= 4:
        attributes += struct.pack("=Q", _LANDLOCK_TCP)
    if abi >= 6:
        attributes += struct.pack("=Q", _LANDLOCK_SCOPES)
    none = ctypes.c_uint(0)
    size = ctypes.c_size_t(len(attributes))
    create = ctypes.c_long(_LANDLOCK_CREATE)
    ruleset = _check(_libc.syscall(create, attributes, size, none), "landlock_create_ruleset")
    try:
        restrict = ctypes.c_long(_LANDLOCK_RESTRICT)
        answer = _libc.syscall(restrict, ctypes.c_int(ruleset), none)
        _check(answer, "landlock_restrict_self")
    finally:
        os.close(ruleset)
