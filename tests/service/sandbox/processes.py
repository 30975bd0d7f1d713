"""The processes of a sandbox, as the kernel tells of them."""

import contextlib
import os
from pathlib import Path

__all__ = ["children", "spares_of", "waits", "zygote_of"]


def children(pid: int) -> list[int]:
    """Those that a process has started; none of one that has ended."""
    try:
        return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def zygote_of(pid: int) -> int:
    """The process that starts programs for a service in process `pid`."""
    return next(
        child
        for child in children(pid)
        if b"cadre_sandbox.worker" in Path(f"/proc/{child}/cmdline").read_bytes()
    )


def waits(pid: int) -> bool:
    """Whether a program's process has not got its program yet: then it has the socket over which that comes."""
    folder = f"/proc/{pid}/fd"
    with contextlib.suppress(OSError):
        return any(_is_socket(f"{folder}/{fd}") for fd in os.listdir(folder))
    return False


def _is_socket(descriptor: str) -> bool:
    # It closes others meanwhile.
    with contextlib.suppress(OSError):
        return os.readlink(descriptor).startswith("socket:")
    return False


def spares_of(zygote: int) -> list[int]:
    """The processes that wait for their program."""
    return [pid for pid in children(zygote) if waits(pid)]
