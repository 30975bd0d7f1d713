"""Which llm-proxies of one database are alive: each writes down, every few seconds, that it is."""

import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from cadre_kit.ids import new_id
from cadre_llm_proxy.adapters import ledger_tables as t

__all__ = ["SEEN_EVERY_SECONDS", "Self", "bury_the_dead", "leave", "say_alive"]

SEEN_EVERY_SECONDS = 5.0
_DEAD_AFTER = timedelta(seconds=20)
_NEVER = "0000"


@dataclass(frozen=True, kw_only=True)
class Self:
    """This process, as others find it."""

    id: str
    host: str
    pid: int
    began: str

    @classmethod
    def of_process(cls) -> "Self":
        """A new id; one process may open a ledger twice."""
        return cls(id=new_id(), host=_host(), pid=os.getpid(), began=_began(os.getpid()))


def say_alive(connection: sa.Connection, me: Self) -> None:
    """Writes down that this process is alive now."""
    seen = {"seen_time": t.time_text(datetime.now(UTC))}
    same = t.processes.c.id == me.id
    if not connection.execute(t.processes.update().where(same), seen).rowcount:
        row = {"id": me.id, "host": me.host, "pid": me.pid, "began": me.began, **seen}
        connection.execute(t.processes.insert(), row)


def leave(connection: sa.Connection, me: Self) -> None:
    """Takes this process off the list."""
    connection.execute(t.processes.delete().where(t.processes.c.id == me.id))


def bury_the_dead(connection: sa.Connection, me: Self) -> int:
    """Marks what dead processes left: their entries under way become uncertain, their claims end. Returns how many
    entries that were."""
    rows = list(connection.execute(sa.select(t.processes)))
    living = [me.id, *(row.id for row in rows if _is_alive(row))]
    sent = sa.and_(t.calls.c.status == "sent", t.calls.c.process_id.not_in(living))
    left = connection.execute(t.calls.update().where(sent).values(status="uncertain")).rowcount
    connection.execute(t.claims.delete().where(t.claims.c.process_id.not_in(living)))
    connection.execute(t.processes.delete().where(t.processes.c.id.not_in(living)))
    return left


def _is_alive(row: Any) -> bool:
    if row.host == _host() and _began(row.pid) != row.began:
        return False
    seen = datetime.fromisoformat(row.seen_time)
    return datetime.now(UTC) - seen < _DEAD_AFTER


def _host() -> str:
    # Containers may share a name and a number, but not a space of process numbers; nor does a machine after a restart.
    try:
        space = os.readlink("/proc/self/ns/pid")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        space = boot = ""
    return f"{socket.gethostname()} {space} {boot}"


def _began(pid: int) -> str:
    """When a process began, as the kernel counts; `0000` for one that is not there or cannot be asked about."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return _NEVER
    # After the name, which may hold anything, in parentheses: state, parent, ... and the time as the twentieth.
    state, *rest = stat.rpartition(")")[2].split()
    return _NEVER if state == "Z" else rest[18]
