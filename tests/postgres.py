"""A PostgreSQL server of the tests' own, in a folder that goes with it."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

_START_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class PostgresServer:
    """A running server that is reached by a socket in its folder."""

    folder: Path

    @property
    def url(self) -> str:
        """Its one database, which tests take turns with."""
        return f"postgresql://postgres@/postgres?host={self.folder}"

    def empty(self) -> None:
        """Removes every row of every table, but not what says which migrations ran."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            names = connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
                " AND tablename <> 'alembic_version'"
            ).fetchall()
            for (name,) in names:
                connection.execute(f"TRUNCATE {name}".encode())


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Starts a server as a user without privileges, as it insists on, and stops it."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    user = "postgres" if os.geteuid() == 0 else None
    # Not pytest's folder, which only its own user may enter; and short, as the names of sockets have to be.
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    if user:
        shutil.chown(folder, user)
    data = folder / "data"

    def run(*command: object) -> None:
        subprocess.run(
            [str(part) for part in command],
            check=True,
            user=user,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            timeout=_START_SECONDS,
        )

    try:
        run(programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8")
        options = f"-k {folder} -c listen_addresses='' -c fsync=off -c full_page_writes=off"
        run(programs / "pg_ctl", "-D", data, "-l", folder / "log", "-w", "-o", options, "start")
        try:
            yield PostgresServer(folder=folder)
        finally:
            run(programs / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder)
