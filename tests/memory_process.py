"""The memory service as a process that starts and ends within moments: forked from one that imported it all."""

import os
from pathlib import Path

from tests.platform import credentials_in
from tests.ports import free_port
from tests.preloaded import Forked, fork

from cadre_kit.credentials import Credentials


class MemoryProcess:
    """The service on a database, an SQLite file unless one is named; what it logs is in `memory.log` of a folder."""

    def __init__(self, home: Path, *, url: str = "") -> None:
        self._home = home
        self._url = url
        self._port = 0
        self._process: Forked | None = None

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
        environment = {
            **os.environ,
            "CADRE_HOME": str(self._home),
            "CADRE_MEMORY_PORT": str(self._port),
            "CADRE_MEMORY_DATABASE_URL": self._url,
            "CADRE_TRACES_ENDPOINT": "",
        }
        with (self._home / "memory.log").open("ab") as log:
            self._process = fork("cadre_memory", env=environment, cwd=self._home, log=log)

    def kill(self) -> None:
        """Ends it at once, as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
