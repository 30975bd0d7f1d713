"""The memory service as a process that starts and ends within moments: forked from one that imported it all."""

import multiprocessing
import os
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.platform import credentials_in, free_port

from cadre_kit.credentials import Credentials
from cadre_kit.serving import run_service
from cadre_memory.app import build
from cadre_memory.settings import MemorySettings


class MemoryProcess:
    """The service on an SQLite file in a folder; what it logs is in `memory.log` there."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._port = 0
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["cadre_memory.app"])
        self._process: BaseProcess | None = None

    @property
    def address(self) -> str:
        """Where it answers, a moment after `start`; elsewhere after the next."""
        return f"127.0.0.1:{self._port}"

    @property
    def credentials(self) -> Credentials:
        """What calls of it need."""
        return credentials_in(self._home)

    def start(self) -> None:
        """Starts it; it is not yet serving then."""
        # Another one each time: while it was not running, its port was anybody's.
        self._port = free_port()
        process = self._context.Process(target=_serve, args=(self._home, self._port), daemon=True)
        process.start()
        self._process = process

    def kill(self) -> None:
        """Ends it at once, as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.join()


def _serve(home: Path, port: int) -> None:
    log = os.open(home / "memory.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    settings = MemorySettings(home=home, traces_endpoint="")
    run_service("memory", settings, port=port, build=build)
