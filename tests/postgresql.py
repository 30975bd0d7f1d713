"""A PostgreSQL server of the tests' own, from Debian's packages: private, in a temporary folder, gone afterwards."""

import os
import pwd
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from tests.ports import free_port

_PROGRAMS = Path("/usr/lib/postgresql")
_START_SECONDS = 30
# What a crash of the machine would lose does not matter here, and waiting for the disk does.
_OPTIONS = (
    "fsync=off",
    "full_page_writes=off",
    "max_connections=150",
    "listen_addresses=127.0.0.1",
)


def programs() -> Path | None:
    """Where the newest server's programs are; None when none is installed."""
    found = [path for path in _PROGRAMS.glob("*/bin/postgres") if path.is_file()]
    return max(found, key=_version).parent if found else None


def _version(path: Path) -> int:
    digits = re.sub(r"\D", "", path.parts[-3])
    return int(digits or 0)


@dataclass(kw_only=True)
class Postgresql:
    """A running server."""

    port: int
    _numbers: Iterator[int] = field(default_factory=count)

    def fresh(self) -> str:
        """The address of a new, empty database."""
        name = f"test_{next(self._numbers)}"
        self.run("postgres", f"CREATE DATABASE {name}")
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def empty(self, url: str) -> None:
        """Removes every row of every table of a database, but not what says which migrations ran."""
        database = url.rpartition("/")[2]
        tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
        if names := self.run(database, tables).split():
            self.run(database, f"TRUNCATE {', '.join(names)}")

    def cut(self, url: str) -> None:
        """Ends every connection to a database, whatever goes on there."""
        name = url.rpartition("/")[2]
        ends = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        self.run("postgres", ends)

    def run(self, database: str, statement: str) -> str:
        """What a statement answers, without headings."""
        found = programs()
        assert found is not None
        host = f"-h 127.0.0.1 -p {self.port} -U postgres -d {database}".split()
        said = subprocess.run(
            [str(found / "psql"), *host, "-qAtc", statement],
            check=True,
            capture_output=True,
            text=True,
        )
        return said.stdout.strip()


@contextmanager
def postgresql() -> Iterator[Postgresql]:
    """Starts a server, as another user when this one is root, and ends it."""
    found = programs()
    assert found is not None
    owner = "postgres" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "data"
        home.mkdir(mode=0o700)
        if owner is not None:
            user = pwd.getpwnam(owner)
            os.chown(folder, user.pw_uid, user.pw_gid)
            os.chown(home, user.pw_uid, user.pw_gid)
        make = [
            str(found / "initdb"),
            "-D",
            str(home),
            "-U",
            "postgres",
            "-A",
            "trust",
            "--no-sync",
        ]
        subprocess.run(make, check=True, capture_output=True, user=owner, cwd=folder)
        port = free_port()
        settings = [
            f"-c{o}" for o in (*_OPTIONS, f"port={port}", f"unix_socket_directories={folder}")
        ]
        with (Path(folder) / "log").open("wb") as log:
            server = subprocess.Popen(
                [str(found / "postgres"), "-D", str(home), *settings],
                stderr=log,
                user=owner,
                cwd=folder,
            )
        try:
            _await_ready(found, port)
            yield Postgresql(port=port)
        finally:
            # Its fast shutdown: whoever is still connected is let go.
            server.send_signal(signal.SIGINT)
            server.wait(_START_SECONDS)


def _await_ready(found: Path, port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    ready = [str(found / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    while subprocess.run(ready, check=False).returncode != 0:
        assert time.monotonic() < deadline, "PostgreSQL did not start"
        time.sleep(0.05)
