"""The built-in tools by name: the catalogue's entries with what does each."""

from collections.abc import Mapping

from cadre_executor.adapters.tools.files import FileTools
from cadre_executor.adapters.tools.invocations import Handler
from cadre_executor.adapters.tools.memories import MemoryTools
from cadre_executor.adapters.tools.programs import ProgramTools
from cadre_executor.adapters.tools.queries import QueryTools
from cadre_executor.adapters.tools.searches import SearchTools
from cadre_executor.adapters.tools.secrets import Secrets
from cadre_executor.adapters.tools.texts import parse_json, parse_yaml
from cadre_executor.adapters.tools.web import WebTools

__all__ = ["handlers"]


def handlers(
    *,
    files: FileTools,
    queries: QueryTools,
    web: WebTools,
    searches: SearchTools,
    programs: ProgramTools,
    memories: MemoryTools,
    secrets: Secrets,
) -> Mapping[str, Handler]:
    """What does each tool of the catalogue."""
    return {
        "web_search": searches.search,
        "serper_search": searches.search_serper,
        "web_scrape": web.scrape,
        "http_client": web.request,
        "file_read": files.read,
        "file_write": files.write,
        "file_glob": files.glob,
        "file_move": files.move,
        "sql_query": queries.query,
        "dataframe_to_csv": files.to_csv,
        "json_parse": parse_json,
        "yaml_parse": parse_yaml,
        "shell": programs.shell,
        "process": programs.process,
        "env_vars": secrets.show,
        "python": programs.python,
        "memory_search": memories.search,
        "memory_save": memories.save,
    }
