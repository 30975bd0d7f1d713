"""A Redis of the tests' own, from Debian's package: private, on a free port, gone afterwards."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError
from tests.ports import free_port

_START_SECONDS = 30
_DATABASES = 64


def program() -> str | None:
    """Where the server's program is; None when it is not installed."""
    return shutil.which("redis-server")


@dataclass(kw_only=True)
class RedisServer:
    """A server that keeps what it acknowledged: killed and started again, it has it."""

    port: int
    folder: Path
    _process: subprocess.Popen[bytes] | None = None
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def fresh(self) -> str:
        """The address of a database that nothing used yet."""
        return f"redis://127.0.0.1:{self.port}/{next(self._numbers)}"

    def empty(self, url: str) -> None:
        """Removes all that is in a database."""
        with Redis.from_url(url) as redis:
            redis.flushdb()

    def start(self, *options: str) -> None:
        """Starts it, with options beside its own, on what it kept."""
        found = program()
        assert found is not None
        own = f"--port {self.port} --bind 127.0.0.1 --dir {self.folder} --databases {_DATABASES}".split()
        kept = "--appendonly yes --appendfsync always --save".split()
        command = [found, *own, *kept, "", *options]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_SECONDS
        with Redis(port=self.port) as redis:
            while not _answers(redis):
                assert time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(0.05)

    def kill(self) -> None:
        """Kills it, as a power switch would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(_START_SECONDS)


def _answers(redis: "Redis") -> bool:
    try:
        return bool(redis.ping())
    except RedisError:
        return False


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """Starts a server, and ends it."""
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(port=free_port(), folder=Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.kill()
