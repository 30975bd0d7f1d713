"""The MCP servers that the operator configured: the only ones that may be a command of this machine."""

import json
from collections.abc import Mapping
from pathlib import Path

import yaml  # type: ignore[import-untyped]  # PyYAML ships no annotations
from pydantic import BaseModel, ConfigDict, Field, HttpUrl, ValidationError, model_validator

from cadre_kit.errors import InvalidInput

__all__ = ["OperatorServer", "read_mcp_servers"]

_MAX_BYTES = 1_048_576


class OperatorServer(BaseModel):
    """One server: by `command`, or by `url`, whose address is not checked, because the operator named it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: str = ""
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = Field(default_factory=dict, repr=False)
    cwd: str | None = None
    url: HttpUrl | None = None
    headers: Mapping[str, str] = Field(default_factory=dict, repr=False)

    @model_validator(mode="after")
    def _is_one_of_both(self) -> "OperatorServer":
        if bool(self.command) == (self.url is not None):
            raise ValueError("a server has either a command or a url")
        return self


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    servers: dict[str, OperatorServer]


class McpServersRefused(InvalidInput):
    """The file of MCP servers cannot be read."""

    code = "MCP_SERVERS_REFUSED"


def read_mcp_servers(path: Path | None) -> Mapping[str, OperatorServer]:
    """The servers by name in a JSON or YAML file; none without a file. Raises McpServersRefused."""
    if path is None:
        return {}
    try:
        text = path.read_text()[:_MAX_BYTES]
        document = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
        return _File.model_validate(document).servers
    except ValidationError as exc:
        first = exc.errors(include_input=False)[0]
        at = ".".join(str(part) for part in first["loc"])
        raise _refused(path, f"{at}: {first['msg']}") from exc
    except (OSError, ValueError, yaml.YAMLError) as exc:
        raise _refused(path, type(exc).__name__) from exc


def _refused(path: Path, reason: str) -> McpServersRefused:
    return McpServersRefused(
        f"the MCP servers in {str(path)!r} cannot be used: {reason}",
        resolution="CADRE_MCP_SERVERS_FILE names a file as docs/tools.md shows.",
        metadata={"path": str(path)},
    )
