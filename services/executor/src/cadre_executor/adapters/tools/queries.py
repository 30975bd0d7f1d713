"""sql_query: one SELECT on a SQLite, DuckDB or PostgreSQL database."""

from functools import partial

from cadre_executor.adapters.tools.file_databases import (
    Stop,
    ask_duckdb,
    ask_sqlite_copy,
    ask_sqlite_file,
    in_thread,
)
from cadre_executor.adapters.tools.invocations import Invocation
from cadre_executor.adapters.tools.rows import Query, Rows
from cadre_executor.adapters.tools.secrets import Secrets
from cadre_executor.adapters.workspaces import Workspaces
from cadre_executor.domain.tools import ToolFailed, ToolResult

__all__ = ["QueryTools"]

_SECONDS = 30.0
_MAX_COPY_BYTES = 128 * 1024 * 1024
_DUCKDB_ENDINGS = (".duckdb", ".ddb")


class QueryTools:
    """Asks the database that a node's config names: a file of the run, or what a secret of the workflow says."""

    def __init__(self, workspaces: Workspaces, secrets: Secrets) -> None:
        self._workspaces = workspaces
        self._secrets = secrets

    async def query(self, asked: Invocation) -> ToolResult:
        """The rows of a SELECT."""
        query = Query(
            text=asked.arguments["query"],
            parameters=asked.arguments.get("parameters", ()),
            max_rows=asked.arguments.get("max_rows", 200),
            seconds=min(float(asked.config.get("timeout_seconds", _SECONDS)), asked.seconds),
        )
        file = asked.config.get("database")
        rows = await (self._ask_file(asked, file, query) if file else self._ask_url(asked, query))
        return rows.result()

    async def _ask_file(self, asked: Invocation, path: str, query: Query) -> Rows:
        work = partial(self._asked_file, asked.context.run_id, path, query)
        return await in_thread(work, seconds=query.seconds)

    def _asked_file(self, run_id: str, path: str, query: Query, stop: Stop) -> Rows:
        with self._workspaces.open(run_id) as workspace:
            if path.endswith(_DUCKDB_ENDINGS):
                with workspace.opened(path) as file:
                    # The open file itself: its name may mean another by now.
                    return ask_duckdb(f"/dev/fd/{file}", query, stop)
            content = workspace.read(path, max_bytes=_MAX_COPY_BYTES)
        return ask_sqlite_copy(content, query, stop)

    async def _ask_url(self, asked: Invocation, query: Query) -> Rows:
        name = asked.config.get("url_env")
        if name is None:
            raise ToolFailed(
                "sql_query does not know which database to ask",
                code="DATABASE_NOT_NAMED",
                resolution="Set database or url_env in the tool's config.",
            )
        scheme, _, rest = self._secrets.of(asked.context.workflow, name).partition("://")
        match scheme.partition("+")[0]:
            case "sqlite":
                work = partial(ask_sqlite_file, rest.removeprefix("/"), query)
                return await in_thread(work, seconds=query.seconds)
            case "duckdb":
                work = partial(ask_duckdb, rest.removeprefix("/"), query)
                return await in_thread(work, seconds=query.seconds)
            case "postgresql" | "postgres":
                # Imported here: the driver takes long to load, and few workflows ask PostgreSQL.
                from cadre_executor.adapters.tools.postgresql import ask_postgresql

                return await ask_postgresql(f"postgresql://{rest}", query)
            case _:
                raise ToolFailed(
                    f"the value of {name!r} is no address of a database",
                    code="DATABASE_NOT_NAMED",
                    resolution="It begins with sqlite:///, duckdb:/// or postgresql://.",
                    metadata={"name": name},
                )
