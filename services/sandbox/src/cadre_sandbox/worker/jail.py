"""The walls that the operating system puts around a program.

The zygote prepares once what all programs share (namespaces, an empty root); each program, forked from it, enters alone
what is its own (user, limits, Landlock, seccomp). What the machine does not offer is left out and named with why.
"""

import fcntl
import os
import resource
import select
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import TypeVar

from cadre_sandbox.worker import syscalls
from cadre_sandbox.worker.seccomp import seccomp_program

__all__ = ["SESSION_PROCESSES", "Jail", "Layer", "Limits"]

_SIGKILL = 9
# The response pipe, and room for nothing else.
_DESCRIPTORS = 4
# A session's keeper, the process that holds its state, and the copy of that which runs a call; beside them, and counted
# with them, there is the parent of the keeper.
SESSION_PROCESSES = 3
_SESSION_DESCRIPTORS = 8
_MEGABYTE = 1024 * 1024
# Room for the deepest recursion that sys.setrecursionlimit allows, so that Python notices it before the kernel does.
_STACK_BYTES = 64 * _MEGABYTE

T = TypeVar("T")
_DEATH_SIGNAL = (syscalls.death_signal(_SIGKILL),)


class Layer(Enum):
    """One wall of the operating system."""

    NAMESPACES = "namespaces"
    EMPTY_ROOT = "empty root"
    PROCESS_IDS = "process ids"
    USER = "user"
    PRIVILEGES = "privileges"
    LIMITS = "limits"
    LANDLOCK = "landlock"
    SECCOMP = "seccomp"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the kernel lets one program use. The wall clock is the zygote's to watch."""

    cpu_seconds: int
    memory_mb: int
    session: bool = False
    """Whether it is a session's, whose processes copy themselves."""


@dataclass(frozen=True, kw_only=True)
class _Walls:
    """What closes some layers, made up in advance. `rights` are those that Landlock takes; empty without it."""

    user: bool
    first: tuple[syscalls.Step, ...]
    rights: bytes
    limits: bool
    last: tuple[syscalls.Step, ...]


@dataclass(frozen=True, kw_only=True)
class Jail:
    """The layers that this machine offers, and why it lacks the others."""

    missing: Mapping[Layer, str]
    first_uid: int
    abi: int
    filters: Mapping[bool, bytes]
    """The system calls that are left, by whether it is a session's process."""
    address_space: int
    """Bytes of address space that the zygote itself takes; a program's memory comes on top."""
    process_ids: int
    """Descriptor of the zygote's own PID namespace; -1 without that layer."""
    zygote: int
    """Descriptor that is readable once the zygote has ended; -1 where the kernel has none. Above those of a program."""

    @cached_property
    def layers(self) -> frozenset[Layer]:
        """The layers that a program is put behind."""
        return frozenset(Layer) - self.missing.keys()

    @classmethod
    def prepare(cls, *, first_uid: int, without: frozenset[Layer] = frozenset()) -> "Jail":
        """Confines this process, and finds out what its children can be put behind."""
        missing = dict.fromkeys(without, "it is turned off")
        address_space = _address_space()
        process_ids = _attempt(Layer.PROCESS_IDS, missing, _own_process_ids, default=-1)
        _attempt(Layer.NAMESPACES, missing, _own_namespaces, default=None)
        if Layer.NAMESPACES in missing:
            for needs_them in (Layer.EMPTY_ROOT, Layer.PROCESS_IDS):
                missing.setdefault(needs_them, missing[Layer.NAMESPACES])
        _attempt(Layer.EMPTY_ROOT, missing, _empty_root, default=None)
        abi = _attempt(Layer.LANDLOCK, missing, syscalls.landlock_abi, default=0)
        if seccomp_program() is None:
            missing.setdefault(Layer.SECCOMP, "this processor's system calls are not known")
        _attempt(Layer.SECCOMP, missing, syscalls.check_seccomp, default=None)
        if os.geteuid() != 0 or not _may_change_user():
            missing.setdefault(
                Layer.USER, "only root can give each program a user of its own; start it as root"
            )
        return cls(
            missing=missing,
            first_uid=first_uid,
            abi=abi,
            filters={session: seccomp_program(session=session) or b"" for session in (False, True)},
            address_space=address_space,
            process_ids=process_ids,
            zygote=_own_end(),
        )

    def fork(self) -> int:
        """os.fork(), the child being the first process of a PID namespace of its own where that is possible."""
        if Layer.PROCESS_IDS not in self.layers:
            return os.fork()
        syscalls.unshare(syscalls.CLONE_NEWPID)
        pid = os.fork()
        if pid:
            syscalls.setns(self.process_ids, syscalls.CLONE_NEWPID)
        return pid

    def fork_session(self, slot: int) -> int:
        """A fork whose child has the user of `slot`, and is the first process of a PID and of a user namespace of its
        own: all that it forks can be counted, and ends with it.

        The caller gets a process that ends with the child. Raises OSError where there are no such namespaces.
        """
        if Layer.NAMESPACES not in self.layers:
            raise OSError(self.missing[Layer.NAMESPACES])
        pid = os.fork()
        if pid:
            return pid
        try:
            if Layer.USER in self.layers:
                self._become(slot)
            self._end_with_the_zygote()
            syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWPID)
            inner = os.fork()
        except OSError:
            os._exit(1)
        if inner == 0:
            return 0
        os.closerange(0, 1 << 20)
        os.waitpid(inner, 0)
        os._exit(0)

    def _become(self, slot: int) -> None:
        os.setgroups([])
        uid = self.first_uid + slot
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)

    def _end_with_the_zygote(self) -> None:
        syscalls.take(_DEATH_SIGNAL)
        # It may have ended before that was said.
        if self.zygote >= 0 and select.select([self.zygote], [], [], 0)[0]:
            raise OSError("the zygote has ended")

    def enter(self, limits: Limits, *, slot: int, only: frozenset[Layer] | None = None) -> None:
        """Puts this process, for good, behind the layers. Raises OSError when one of them does not close.

        `slot` tells programs that run at the same time apart: each gets the user `first_uid + slot`. `only` leaves the
        other layers out, to try one by itself.
        """
        self.begin(slot=slot, only=only)
        self.close(limits, only=only)

    def begin(self, *, slot: int, only: frozenset[Layer] | None = None) -> None:
        """The layers that are the same for every program; `close` must follow before a program's code runs."""
        walls = self.walls if only is None else self._walls(self.layers & only)
        if walls.user:
            self._become(slot)
        # After the change of user, which clears it.
        if only is None:
            self._end_with_the_zygote()
            os.closerange(self.zygote, self.zygote + 1)
        else:
            syscalls.take(_DEATH_SIGNAL)
        syscalls.take(walls.first)
        if walls.rights:
            syscalls.take_rights(walls.rights)

    def close(self, limits: Limits, *, only: frozenset[Layer] | None = None) -> None:
        """The rest of the layers, after which little is left that the kernel would do for this process."""
        walls = self.walls
        if only is not None or limits.session:
            walls = self._walls(self.layers if only is None else self.layers & only, limits.session)
        if walls.limits:
            self._limit(limits)
        syscalls.take(walls.last)

    @cached_property
    def walls(self) -> _Walls:
        """Those of every program without a session."""
        return self._walls(self.layers)

    def _walls(self, layers: frozenset[Layer], session: bool = False) -> _Walls:
        first: tuple[syscalls.Step, ...] = ()
        if Layer.PRIVILEGES in layers:
            first = (syscalls.NO_CAPABILITIES, syscalls.NOT_DUMPABLE)
        # Landlock and seccomp need it as well.
        if layers & {Layer.PRIVILEGES, Layer.LANDLOCK, Layer.SECCOMP}:
            first = (*first, syscalls.NO_NEW_PRIVILEGES)
        is_filtered = Layer.SECCOMP in layers
        return _Walls(
            user=Layer.USER in layers,
            first=first,
            rights=syscalls.landlock_rights(self.abi) if Layer.LANDLOCK in layers else b"",
            limits=Layer.LIMITS in layers,
            last=(syscalls.seccomp(self.filters[session]),) if is_filtered else (),
        )

    def _limit(self, limits: Limits) -> None:
        memory = self.address_space + limits.memory_mb * _MEGABYTE
        _, most = resource.getrlimit(resource.RLIMIT_STACK)
        stack = _STACK_BYTES if most == resource.RLIM_INFINITY else min(_STACK_BYTES, most)
        for kind, value in (
            (resource.RLIMIT_STACK, stack),
            (resource.RLIMIT_AS, memory),
            (resource.RLIMIT_CPU, limits.cpu_seconds),
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_FSIZE, 0),
            (resource.RLIMIT_MEMLOCK, 0),
            (resource.RLIMIT_MSGQUEUE, 0),
            (resource.RLIMIT_NOFILE, _SESSION_DESCRIPTORS if limits.session else _DESCRIPTORS),
            (resource.RLIMIT_NPROC, SESSION_PROCESSES + 1 if limits.session else 0),
        ):
            resource.setrlimit(kind, (value, value))


def _attempt(layer: Layer, missing: dict[Layer, str], build: Callable[[], T], *, default: T) -> T:
    if layer in missing:
        return default
    try:
        return build()
    except OSError as exc:
        missing[layer] = str(exc)
        return default


def _own_process_ids() -> int:
    if os.geteuid() != 0:
        raise OSError("only root can return from the namespace of each program")
    return os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)


def _own_end() -> int:
    try:
        found = os.pidfd_open(os.getpid())
    except (AttributeError, OSError):
        return -1
    try:
        return fcntl.fcntl(found, fcntl.F_DUPFD_CLOEXEC, _DESCRIPTORS)
    finally:
        os.close(found)


def _own_namespaces() -> None:
    flags = (
        syscalls.CLONE_NEWNS | syscalls.CLONE_NEWNET | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS
    )
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        syscalls.unshare(flags)
        return
    syscalls.unshare(flags | syscalls.CLONE_NEWUSER)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {uid} 1"),
        ("gid_map", f"{gid} {gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def _empty_root() -> None:
    syscalls.mount("none", "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
    # Any folder will do to build the new root on: this namespace is ours alone.
    place = next(folder for folder in ("/tmp", "/usr") if os.path.isdir(folder))
    flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
    syscalls.mount("none", place, "tmpfs", flags, "size=4k,nr_inodes=2,mode=555")
    os.chdir(place)
    syscalls.pivot_root(".", ".")
    syscalls.umount(".")
    os.chdir("/")
    remount = flags | syscalls.MS_REMOUNT | syscalls.MS_RDONLY
    syscalls.mount("none", "/", None, remount)


def _may_change_user() -> bool:
    set_uid, set_gid = 7, 6
    held = syscalls.effective_capabilities()
    return bool(held >> set_uid & 1 and held >> set_gid & 1)


def _address_space() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
