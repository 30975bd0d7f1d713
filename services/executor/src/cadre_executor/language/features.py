"""What files may say that is not run here: refused where leaving it out would change what a run does, else noted."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cadre_executor.language.positions import Path
from cadre_executor.language.reports import Report

_EVERY = "*"


@dataclass(frozen=True, kw_only=True)
class Feature:
    """A key that is not acted upon."""

    path: tuple[str, ...]
    instead: str


def _noted(path: str, instead: str) -> Feature:
    return Feature(path=tuple(path.split(".")), instead=instead)


_DEPLOYMENT = "the deployment decides this; see its settings"

FEATURES = (
    _noted("optimization", "prompts are used as they are written"),
    _noted("memory", "use memory nodes: memory: {action: load, key: ...}"),
    _noted("config.storage", _DEPLOYMENT),
    _noted("config.observability", _DEPLOYMENT),
    _noted("config.profiling", _DEPLOYMENT),
    _noted("config.sandbox", "say it on the code nodes, under sandbox"),
    _noted("config.mlflow", _DEPLOYMENT),
    _noted("config.ab_test", "make one workflow a variant and compare their runs"),
    _noted("config.gates", "test outputs with a condition on an edge"),
    _noted("config.memory.enabled", "use memory nodes"),
    _noted("config.memory.default_scope", "say it on the memory nodes, under memory.scope"),
    _noted("config.memory.backend", _DEPLOYMENT),
    _noted("config.memory.connection_string", _DEPLOYMENT),
    _noted("nodes.*.tool_config", "write it with the tool: tools: [{name: ..., config: {...}}]"),
    _noted("nodes.*.optimize", "prompts are used as they are written"),
    _noted("nodes.*.log_prompts", _DEPLOYMENT),
    _noted("nodes.*.log_artifacts", _DEPLOYMENT),
    _noted("nodes.*.mlflow", _DEPLOYMENT),
    _noted("nodes.*.memory.enabled", "use memory nodes: memory: {action: load, key: ...}"),
    _noted("nodes.*.memory.default_scope", "use memory nodes: memory: {action: load, key: ...}"),
    _noted(
        "nodes.*.sandbox.resources.disk", "files count as memory, or have 64 MiB in a container"
    ),
)


def take_out_unbuilt(document: dict[str, Any], report: Report) -> None:
    """Takes what is not built out of a document, and reports each such key."""
    for feature in FEATURES:
        for path, holder in _holders(document, feature.path):
            _take_out(holder, path, feature, report)
    _drop_empty_memory(document)
    _check_sandboxes(document, report)


def _holders(document: Any, path: tuple[str, ...]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The mappings that hold the last key of a path, with the whole path to it."""
    found: list[tuple[Path, Any]] = [((), document)]
    for part in path[:-1]:
        found = [step for at, value in found for step in _into(at, value, part)]
    for at, value in found:
        if isinstance(value, dict) and path[-1] in value:
            yield (*at, path[-1]), value


def _into(at: Path, value: Any, part: str) -> Iterator[tuple[Path, Any]]:
    if part == _EVERY and isinstance(value, list):
        for index, item in enumerate(value):
            yield (*at, index), item
    elif isinstance(value, dict) and part in value:
        yield (*at, part), value[part]


def _take_out(holder: dict[str, Any], path: Path, feature: Feature, report: Report) -> None:
    value = holder.pop(str(path[-1]))
    if value in ([], {}):
        return
    name = ".".join(part for part in feature.path if part != _EVERY and part != "nodes")
    report.note("NO_EFFECT", path, f"`{name}` has no effect", feature.instead, at_key=True)


def _nodes(document: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    nodes = document.get("nodes")
    for index, node in enumerate(nodes if isinstance(nodes, list) else []):
        if isinstance(node, dict):
            yield index, node


def _drop_empty_memory(document: dict[str, Any]) -> None:
    """What is left of a memory block that only switched memory on is no memory node."""
    for _, node in _nodes(document):
        if node.get("memory") == {} and node.get("type") != "memory":
            del node["memory"]


def _check_sandboxes(document: dict[str, Any], report: Report) -> None:
    for index, node in _nodes(document):
        sandbox = node.get("sandbox")
        if not isinstance(sandbox, dict):
            continue
        path: Path = ("nodes", index, "sandbox")
        if str(sandbox.get("enabled")).lower() in ("false", "no", "off", "0"):
            del sandbox["enabled"]
            report.error(
                "SANDBOX_REQUIRED",
                (*path, "enabled"),
                "code always runs in the sandbox; it cannot be switched off",
                "remove `enabled: false`",
            )
        for key in ("network", "network_enabled"):
            if isinstance(sandbox.get(key), dict):
                sandbox[key] = False
                report.note(
                    "NO_EFFECT",
                    (*path, key),
                    f"`{key}` is true, false or a list of hosts here",
                    "leave it out, or list the hosts that the program needs",
                )
