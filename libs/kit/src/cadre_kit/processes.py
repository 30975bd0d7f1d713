"""Names of processes that say, on the same machine, whether they still run."""

import os
import socket
from pathlib import Path

from cadre_kit.ids import new_id

__all__ = ["own_name", "process_is_dead"]

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# Where the start time is in /proc/<pid>/stat, counted after the name, which may hold spaces.
_START_FIELD = 19


def own_name() -> str:
    """A name for this process, unlike any other's: machine, boot, process id, start time, and a random part."""
    pid = os.getpid()
    return "/".join((socket.gethostname(), _boot(), str(pid), _started(pid), new_id()))


def process_is_dead(name: str) -> bool:
    """Whether the process of a name certainly ended; false when it ran on another machine, or nothing can be known."""
    parts = name.split("/")
    if len(parts) != 5:
        return False
    host, boot, pid, started, _ = parts
    if host != socket.gethostname() or not boot or not started or not pid.isdecimal():
        return False
    return boot != _boot() or started != _started(int(pid))


def _boot() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def _started(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    # A zombie has ended, though its number is not free yet.
    return "" if fields[0] == "Z" else fields[_START_FIELD]
