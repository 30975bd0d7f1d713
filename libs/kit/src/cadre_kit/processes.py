"""Processes that say, to others on the same machine, whether they still run."""

import os
import socket
from pathlib import Path

from cadre_kit.ids import new_id

__all__ = ["began", "own_name", "process_is_dead", "this_machine"]

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PROCESS_NUMBERS = "/proc/self/ns/pid"
# Where the start time is in /proc/<pid>/stat, counted after the name, which may hold spaces.
_START_FIELD = 19


def own_name() -> str:
    """A name for this process, unlike any other's: machine, process id, start time, and a random part."""
    pid = os.getpid()
    return "/".join((this_machine(), str(pid), began(pid), new_id()))


def process_is_dead(name: str) -> bool:
    """Whether the process of a name certainly ended; false when it ran on another machine, or nothing can be known."""
    parts = name.split("/")
    if len(parts) != 4:
        return False
    machine, pid, start, _ = parts
    if machine != this_machine() or not start or not pid.isdecimal():
        return False
    return start != began(int(pid))


def this_machine() -> str:
    """Where a process id and its start time say which process is meant: host, boot and space of process ids.

    Containers may share a name, but not a space of process ids; nor does a machine after a restart share its boot.
    """
    try:
        boot, space = _BOOT_ID.read_text().strip(), os.readlink(_PROCESS_NUMBERS)
    except OSError:
        boot = space = ""
    return f"{socket.gethostname()} {boot} {space}"


def began(pid: int) -> str:
    """When a process of this machine began, as its kernel counts; empty for one that is not there or cannot be asked
    about."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    # A zombie has ended, though its number is not free yet.
    return "" if fields[0] == "Z" else fields[_START_FIELD]
