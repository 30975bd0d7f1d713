"""Stops the platform's programs when their supervisor was killed: `python -m cadre_cli.supervisor.watchdog HOME`.

The supervisor holds the other end of standard input, which closes when it ends, however it ends.
"""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cadre_cli.supervisor.processes import stop_families
from cadre_cli.supervisor.state import Home

__all__ = ["watchdog"]

_GRACE_SECONDS = 5.0


@contextmanager
def watchdog(home: Home) -> Iterator[None]:
    """Has the programs watched over while in here, and on leaving waits for the watchdog to end."""
    command = [sys.executable, "-m", "cadre_cli.supervisor.watchdog", str(home.path)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
    )
    with process:
        yield


def _watch(home: Home) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.stdin.buffer.read()
    stop_families(home.read_state().processes(), grace_seconds=_GRACE_SECONDS)


if __name__ == "__main__":
    _watch(Home(path=Path(sys.argv[1])))
