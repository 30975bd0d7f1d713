"""Which llm-proxies of one database are alive: each writes down, every few seconds, that it is."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from cadre_kit.ids import new_id
from cadre_kit.processes import began, this_machine
from cadre_llm_proxy.adapters import ledger_tables as t

__all__ = ["SEEN_EVERY_SECONDS", "Self", "bury_the_dead", "leave", "say_alive"]

SEEN_EVERY_SECONDS = 5.0
_DEAD_AFTER = timedelta(seconds=20)


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
        return cls(id=new_id(), host=this_machine(), pid=os.getpid(), began=began(os.getpid()))


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
    if row.host == this_machine() and began(row.pid) != row.began:
        return False
    seen = datetime.fromisoformat(row.seen_time)
    return datetime.now(UTC) - seen < _DEAD_AFTER
