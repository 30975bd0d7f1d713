"""Starts the zygote: `python -I -m cadre_sandbox.worker CONTROL_FD FIRST_UID`."""

# ruff: noqa: E402 - what is imported below must not find what is taken away first
import os
import sys

# Locks, logs and random numbers would be put right in each program's process, which costs it a fifth of its time: there
# is one thread here, there are no logs, and random numbers are seeded where a program starts.
os.register_at_fork = lambda **_: None
# asyncio does without; what is not there need not be copied.
sys.modules["ssl"] = None  # type: ignore[assignment]  # how Python says that a module is not to be found

import signal
import socket
import warnings

from cadre_sandbox.worker import syscalls
from cadre_sandbox.worker.jail import Jail
from cadre_sandbox.worker.language import modules, ownership
from cadre_sandbox.worker.zygote import Zygote


def main() -> None:
    """Serves until the service closes its end."""
    control_fd, first_uid = (int(argument) for argument in sys.argv[1:])
    # Ctrl-C in a terminal reaches the service, which ends us in its own time.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    syscalls.take([syscalls.death_signal(signal.SIGKILL)])
    os.environ.clear()
    # Those of the library and of odd texts; what else there is to say, a program may want to see.
    for kind in (DeprecationWarning, SyntaxWarning):
        warnings.simplefilter("ignore", kind)
    modules.preload()
    ownership.know_classes()
    Zygote(control=socket.socket(fileno=control_fd), jail=Jail.prepare(first_uid=first_uid)).serve()


if __name__ == "__main__":
    main()
