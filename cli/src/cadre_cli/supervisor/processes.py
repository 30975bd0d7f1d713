"""Processes by pid and start time, and how whole families of them are stopped."""

import os
import signal
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import psutil

__all__ = ["ProcessMark", "family", "lives", "mark_of", "stop_families"]

# Start times are derived from the clock, which may be set meanwhile; a pid is not given out again this soon.
_SAME_START_SECONDS = 2.0
_GONE_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class ProcessMark:
    """A process that leads a session of its own. A pid alone may belong to another program by now."""

    pid: int
    started: float


def mark_of(pid: int) -> ProcessMark | None:
    """The mark of a living process; None when there is none."""
    try:
        return ProcessMark(pid=pid, started=psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return None


def lives(mark: ProcessMark) -> bool:
    """Whether the process itself runs still; one that only waits to be collected by its parent does not."""
    process = _process(mark.pid)
    return process is not None and not _is_reused(mark) and _is_alive(process)


def family(mark: ProcessMark) -> list[psutil.Process]:
    """The process, all of its session and all that descend from those, as far as they live."""
    if _is_reused(mark):
        return []
    in_session = [pid for pid in psutil.pids() if _session(pid) == mark.pid]
    members = [
        process
        for process in map(_process, in_session)
        if process is not None and _is_younger(process, mark)
    ]
    found = {process.pid: process for process in members}
    for member in members:
        found.update((child.pid, child) for child in _descendants(member))
    return [process for process in found.values() if _is_alive(process)]


def stop_families(marks: Sequence[ProcessMark], *, grace_seconds: float) -> int:
    """Asks all of them to end, kills what is left after the grace, and returns how many there were."""
    found = _families(marks)
    _signal(found, signal.SIGTERM)
    _wait(marks, grace_seconds)
    _signal(_families(marks), signal.SIGKILL)
    _wait(marks, _GONE_SECONDS)
    return len(found)


def _families(marks: Sequence[ProcessMark]) -> list[psutil.Process]:
    return [process for mark in marks for process in family(mark)]


def _wait(marks: Sequence[ProcessMark], seconds: float) -> None:
    give_up = time.monotonic() + seconds
    while _families(marks) and time.monotonic() < give_up:
        time.sleep(0.05)


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue


def _is_reused(mark: ProcessMark) -> bool:
    now = mark_of(mark.pid)
    return now is not None and abs(now.started - mark.started) > _SAME_START_SECONDS


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def _is_younger(process: psutil.Process, mark: ProcessMark) -> bool:
    try:
        return process.create_time() >= mark.started - _SAME_START_SECONDS
    except psutil.NoSuchProcess:
        return False


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
