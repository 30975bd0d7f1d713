"""The built-in tools: names, what each does, its arguments and its config, as data.

The language checks files against it, the engine offers its schemas to models, the adapters in `adapters/tools/` do what
it says. `docs/tools.md` has a section for each.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

from cadre_executor.domain.tools import ToolSpec

__all__ = ["CATALOGUE", "FIRST_GENERATION", "BuiltIn"]

Schema: TypeAlias = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class BuiltIn:
    """A tool of the platform. `config` is the JSON Schema of what a node may set for it.

    An entry whose `runs` names another tool is that tool with `preset` among the arguments.
    """

    spec: ToolSpec
    config: Schema
    runs: str
    preset: Mapping[str, Any] = field(default_factory=dict)


def _object(properties: dict[str, Schema], *required: str) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _text(description: str, *, most: int = 10_000, least: int = 1) -> Schema:
    return {
        "type": "string",
        "description": description,
        "minLength": least,
        "maxLength": most,
    }


def _count(description: str, *, default: int, most: int) -> Schema:
    return {
        "type": "integer",
        "description": description,
        "minimum": 1,
        "maximum": most,
        "default": default,
    }


def _choice(description: str, *words: str) -> Schema:
    return {"type": "string", "description": description, "enum": list(words)}


def _flag(description: str) -> Schema:
    return {"type": "boolean", "description": description, "default": False}


def _tool(
    name: str,
    description: str,
    parameters: Schema,
    *,
    repeatable: bool,
    config: Schema | None = None,
) -> BuiltIn:
    spec = ToolSpec(
        name=name, description=description, parameters=parameters, repeatable=repeatable
    )
    return BuiltIn(spec=spec, config=config or _object({}), runs=name)


_ANYTHING: Schema = {"description": "Any JSON value; text is written as it is, all else as JSON."}
_PATH = _text("A path in the run's workspace, such as `reports/may.csv`.", most=1024)
_PROGRAM_SECONDS: Schema = {
    "type": "number",
    "description": "How long it may run, in seconds.",
    "exclusiveMinimum": 0,
    "maximum": 300,
    "default": 30,
}
_NAMESPACE: Schema = {
    "type": "array",
    "description": "Where in the scope, such as [lookups] or ['{state.user}']; without `scope`, below the node's"
    " memory.",
    "items": {"type": "string", "minLength": 1, "maxLength": 128},
    "minItems": 1,
    "maxItems": 16,
}
_MEMORY_SCOPE: Schema = {
    "type": "string",
    "description": "Whose memory: workflow, node and run are this one's, shared is all workflows', agent,"
    " conversation and user are of the one that `namespace` begins with. Default: the node's `memory`, else"
    " config.memory, else workflow.",
    "enum": ["agent", "workflow", "node", "conversation", "user", "run", "shared"],
}
_SEARCH = _object(
    {
        "query": _text("What is sought.", most=1000),
        "max_results": _count("At most this many results.", default=5, most=20),
    },
    "query",
)
_BODY_BYTES = _count("The largest body that is read, in bytes.", default=1_048_576, most=10_485_760)

_WEB = (
    _tool(
        "web_search",
        "Searches the web. Answers with a list of titles, addresses and snippets.",
        _SEARCH,
        repeatable=True,
        config=_object(
            {
                "provider": _choice(
                    "Which search; the first that is set up when absent.",
                    "searxng",
                    "brave",
                    "tavily",
                    "serper",
                )
            }
        ),
    ),
    _tool(
        "serper_search",
        "Searches Google through serper.dev. Answers with a list of titles, addresses and snippets.",
        _SEARCH,
        repeatable=True,
    ),
    _tool(
        "web_scrape",
        "Reads a web page and answers with its title and its readable text, without menus and advertisements.",
        _object(
            {
                "url": _text("The page's address, http or https.", most=2048),
                "format": _choice("How the text is written.", "text", "markdown")
                | {"default": "text"},
                "max_characters": _count("The text is cut here.", default=20_000, most=200_000),
            },
            "url",
        ),
        repeatable=True,
    ),
    _tool(
        "http_client",
        "Makes one HTTP request. Answers with status, headers and body; a JSON body is parsed.",
        _object(
            {
                "url": _text("The address, http or https.", most=8192),
                "method": _choice("The method.", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
                | {"default": "GET"},
                "query": {
                    "type": "object",
                    "description": "Parameters that are added to the address.",
                    "additionalProperties": {"type": ["string", "number", "boolean"]},
                },
                "headers": {
                    "type": "object",
                    "description": "Headers to send.",
                    "additionalProperties": {"type": "string", "maxLength": 8192},
                    "maxProperties": 50,
                },
                "json": {"description": "A body that is sent as JSON."},
                "body": _text("A body that is sent as it is.", most=1_048_576, least=0),
            },
            "url",
        ),
        # A request that changes something at the other side must not be made twice.
        repeatable=False,
        config=_object(
            {
                "headers_env": {
                    "type": "object",
                    "description": "Headers whose values are secrets: header to name under config.secrets.",
                    "additionalProperties": {"type": "string", "minLength": 1},
                },
                "hosts": {
                    "type": "array",
                    "description": "The only hosts that may be asked; needed with headers_env.",
                    "items": {"type": "string", "minLength": 1},
                    "minItems": 1,
                },
                "max_bytes": _BODY_BYTES,
            }
        ),
    ),
)
_FILES = (
    _tool(
        "file_read",
        "Reads a file of the run's workspace.",
        _object(
            {
                "path": _PATH,
                "format": _choice(
                    "text as UTF-8, json parsed, base64 for any bytes.", "text", "json", "base64"
                )
                | {"default": "text"},
            },
            "path",
        ),
        repeatable=True,
    ),
    _tool(
        "file_write",
        "Writes a file into the run's workspace, making the folders that it needs.",
        _object(
            {
                "path": _PATH,
                "content": _ANYTHING,
                "mode": _choice(
                    "replace an old file, append to it, or create a new one only.",
                    "replace",
                    "append",
                    "create",
                )
                | {"default": "replace"},
                "format": _choice(
                    "base64: content is text that says bytes so.", "text", "json", "base64"
                )
                | {"default": "text"},
            },
            "path",
            "content",
        ),
        # Appending twice is not appending once.
        repeatable=False,
    ),
    _tool(
        "file_glob",
        "Lists the files of the run's workspace that match a pattern, with their sizes.",
        _object(
            {
                "pattern": _text("Such as `*.csv` or `reports/**/*.md`.", most=1024)
                | {"default": "**/*"},
                "max_results": _count("At most this many files.", default=200, most=1000),
            }
        ),
        repeatable=True,
    ),
    _tool(
        "file_move",
        "Moves or renames a file or folder of the run's workspace.",
        _object(
            {
                "source": _PATH,
                "target": _PATH,
                "replace": _flag("Whether a file at the target may be replaced."),
            },
            "source",
            "target",
        ),
        repeatable=False,
    ),
)
_DATA = (
    _tool(
        "sql_query",
        "Asks a database with one SELECT statement. Nothing can be changed. Answers with columns and rows.",
        _object(
            {
                "query": _text(
                    "One SELECT statement; `?` (PostgreSQL: `$1`) for parameters.",
                    most=20_000,
                ),
                "parameters": {
                    "type": "array",
                    "description": "Values for the placeholders, in order.",
                    "items": {"type": ["string", "number", "boolean", "null"]},
                    "maxItems": 100,
                },
                "max_rows": _count("At most this many rows.", default=200, most=10_000),
            },
            "query",
        ),
        repeatable=True,
        config=_object(
            {
                "database": _text(
                    "A SQLite or DuckDB file of the run's workspace; the ending .duckdb says which.",
                    most=1024,
                ),
                "url_env": _text(
                    "The name under config.secrets of an address: sqlite:///, duckdb:/// or postgresql://.",
                    most=128,
                ),
                "timeout_seconds": {
                    "type": "number",
                    "description": "How long a query may take.",
                    "exclusiveMinimum": 0,
                    "maximum": 300,
                    "default": 30,
                },
            }
        )
        | {"oneOf": [{"required": ["database"]}, {"required": ["url_env"]}]},
    ),
    _tool(
        "dataframe_to_csv",
        "Turns rows into CSV, and writes it to a file of the run's workspace when a path is given.",
        _object(
            {
                "rows": {
                    "type": "array",
                    "description": "The rows: all objects, or all lists.",
                    "items": {"type": ["object", "array"]},
                    "maxItems": 100_000,
                },
                "columns": {
                    "type": "array",
                    "description": "The columns in order; needed for rows that are lists.",
                    "items": {"type": "string"},
                },
                "path": _PATH,
                "delimiter": _text("Between values.", most=1) | {"default": ","},
            },
            "rows",
        ),
        repeatable=True,
    ),
    _tool(
        "json_parse",
        "Parses JSON text, and answers with the value at a path in it, or the whole.",
        _object(
            {
                "text": _text("The JSON text.", most=1_048_576),
                "path": _text("Such as `items[0].name`; the whole when absent.", most=1000),
            },
            "text",
        ),
        repeatable=True,
    ),
    _tool(
        "yaml_parse",
        "Parses YAML text (plain values only), and answers with the value at a path in it, or the whole.",
        _object(
            {
                "text": _text("The YAML text.", most=262_144),
                "path": _text("Such as `items[0].name`; the whole when absent.", most=1000),
            },
            "text",
        ),
        repeatable=True,
    ),
    _tool(
        "env_vars",
        "Answers with the values of the variables that the workflow lists under config.secrets.",
        _object(
            {
                "names": {
                    "type": "array",
                    "description": "Which variables; all that the workflow lists when absent.",
                    "items": {"type": "string", "minLength": 1, "maxLength": 128},
                    "maxItems": 100,
                }
            }
        ),
        repeatable=True,
    ),
)
_PROGRAMS = (
    _tool(
        "python",
        "Runs a Python program in the sandbox. Answers with what it printed and the variable `result`. "
        "Later calls find the variables that earlier ones left.",
        _object(
            {
                "code": _text("The program.", most=262_144),
                "inputs": {"type": "object", "description": "Variables that it finds set."},
            },
            "code",
        ),
        repeatable=True,
        config=_object({"timeout_seconds": _PROGRAM_SECONDS}),
    ),
    _tool(
        "shell",
        "Runs a command line with `sh` in a container without network. Answers with exit status, stdout and stderr.",
        _object({"command": _text("The command line.", most=20_000)}, "command"),
        repeatable=True,
        config=_object({"timeout_seconds": _PROGRAM_SECONDS}),
    ),
    _tool(
        "process",
        "Runs a program with arguments, without a shell, in a container without network. Answers with exit status, "
        "stdout and stderr.",
        _object(
            {
                "program": _text("The program.", most=1024),
                "arguments": {
                    "type": "array",
                    "description": "Its arguments.",
                    "items": {"type": "string", "maxLength": 20_000},
                    "maxItems": 200,
                },
                "stdin": _text("What it reads from its input.", most=1_048_576, least=0),
            },
            "program",
        ),
        repeatable=True,
        config=_object({"timeout_seconds": _PROGRAM_SECONDS}),
    ),
)
MEMORY_TOOLS = frozenset({"memory_search", "memory_save"})
_MEMORY = (
    _tool(
        "memory_search",
        "Searches what was remembered, by words and by meaning. Answers with keys, values and scores.",
        _object(
            {
                "query": _text("What is sought, in words."),
                "top_k": _count("At most this many hits.", default=5, most=50),
            },
            "query",
        ),
        repeatable=True,
        config=_object({"scope": _MEMORY_SCOPE, "namespace": _NAMESPACE}),
    ),
    _tool(
        "memory_save",
        "Remembers a value under a key, in place of an earlier one.",
        _object(
            {
                "key": _text("Its name.", most=512),
                "value": {"description": "Any JSON value."},
                "ttl_seconds": {
                    "type": "number",
                    "description": "Forgotten after so many seconds; 0 means never.",
                    "minimum": 0,
                    "default": 0,
                },
            },
            "key",
            "value",
        ),
        repeatable=True,
        config=_object({"scope": _MEMORY_SCOPE, "namespace": _NAMESPACE}),
    ),
)


def _renamed(name: str, tool: BuiltIn, preset: Mapping[str, Any], repeatable: bool) -> BuiltIn:
    """A tool under another name, some of its arguments settled."""
    schema = tool.spec.parameters
    properties = {k: v for k, v in schema["properties"].items() if k not in preset}
    spec = ToolSpec(
        name=name,
        description=tool.spec.description,
        parameters={**schema, "properties": properties},
        repeatable=repeatable,
    )
    return BuiltIn(spec=spec, config=tool.config, runs=tool.runs, preset=preset)


_OWN = {tool.spec.name: tool for tool in (*_WEB, *_FILES, *_DATA, *_PROGRAMS, *_MEMORY)}

FIRST_GENERATION: Mapping[str, BuiltIn] = MappingProxyType(
    {
        name: _renamed(name, _OWN[runs], preset, repeatable or _OWN[runs].spec.repeatable)
        for name, runs, preset, repeatable in (
            ("read_file", "file_read", {}, False),
            ("write_file", "file_write", {}, False),
            ("list_directory", "file_glob", {}, False),
            ("json_read", "file_read", {"format": "json"}, False),
            ("json_write", "file_write", {"format": "json", "mode": "replace"}, True),
            ("http_get", "http_client", {"method": "GET"}, True),
            ("http_post", "http_client", {"method": "POST"}, False),
            ("python_repl", "python", {}, False),
        )
    }
)
"""The names that the first generation's manual used."""

CATALOGUE: Mapping[str, BuiltIn] = MappingProxyType({**_OWN, **FIRST_GENERATION})
"""Every built-in tool by each of its names."""
