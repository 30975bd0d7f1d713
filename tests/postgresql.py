"""A PostgreSQL server of a test run's own: in a temporary folder, on a socket there, gone afterwards."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from uuid import uuid4

import psycopg

__all__ = ["Server", "programs", "server"]

_SECONDS = 60
# Nobody needs what a test wrote after a power cut.
_OPTIONS = "-c listen_addresses='' -c fsync=off -c max_connections=60 -c shared_buffers=16MB"


def programs() -> Path | None:
    """Where the server's programs are; Debian keeps them off the path."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return versions[-1] if versions else None


class Server:
    """A running server. Each test takes a database of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def new_database(self) -> str:
        """The address of an empty database."""
        name = f"test_{uuid4().hex}"
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self._url(name)

    def _url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self._folder}"


@contextmanager
def server() -> Iterator[Server]:
    """Starts a server; the tests' user is trusted, and nobody else can reach its socket."""
    bin_folder = programs()
    assert bin_folder is not None, "PostgreSQL is not installed"
    folder = Path(mkdtemp(prefix="cadre-pg-", dir="/tmp"))
    data = folder / "data"
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        _run(bin_folder / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--no-sync")
        options = f"{_OPTIONS} -c unix_socket_directories={folder}"
        control = (bin_folder / "pg_ctl", "-D", data, "-w")
        _run(*control, "-o", options, "-l", folder / "log", "start")
        try:
            yield Server(folder)
        finally:
            _run(*control, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(*command: object) -> None:
    # The server refuses to run as root.
    user = "postgres" if os.geteuid() == 0 else None
    subprocess.run(
        [str(part) for part in command],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=_SECONDS,
        user=user,
        cwd="/",
    )
