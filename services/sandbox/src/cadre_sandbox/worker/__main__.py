"""Starts the zygote: `python -I -m cadre_sandbox.worker CONTROL_FD FIRST_UID`."""

import os
import signal
import socket
import sys
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
    syscalls.set_death_signal(signal.SIGKILL)
    os.environ.clear()
    warnings.simplefilter("ignore")
    modules.preload()
    ownership.know_classes()
    Zygote(control=socket.socket(fileno=control_fd), jail=Jail.prepare(first_uid=first_uid)).serve()


if __name__ == "__main__":
    main()
