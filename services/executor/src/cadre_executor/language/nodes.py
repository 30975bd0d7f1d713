"""Compiles nodes: what they read, what they do, where their results go, and what becomes of a failure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from keyword import iskeyword

from cadre_executor.domain.catalogue import CATALOGUE
from cadre_executor.domain.workflows import (
    END,
    START,
    Action,
    ApprovalAction,
    Condition,
    Goto,
    LlmAction,
    McpServer,
    MemoryAction,
    MemoryVerb,
    Node,
    OnError,
    Retry,
    Template,
    ToolAction,
    ToolUse,
)
from cadre_executor.language.actions import ActionCompiler
from cadre_executor.language.conditions import compile_condition
from cadre_executor.language.file_shapes import ConfigShape
from cadre_executor.language.iterations import (
    Iteration,
    WrittenIteration,
    compile_iteration,
    with_items,
    written_at_node,
)
from cadre_executor.language.memories import MemoryCompiler
from cadre_executor.language.models import ModelCompiler
from cadre_executor.language.node_shapes import NodeShape, RetryShape
from cadre_executor.language.positions import Path
from cadre_executor.language.references import LOOP_COUNTER, Names
from cadre_executor.language.reports import Report, shown
from cadre_executor.language.results import ResultCompiler
from cadre_executor.language.states import DeclaredField
from cadre_executor.language.templates import Compiler
from cadre_executor.language.tools import ToolCompiler
from cadre_executor.language.types import OrDefault, Type

_OF_FILES = frozenset({"file_read", "file_write", "file_glob", "file_move", "dataframe_to_csv"})
_REMEMBERS = "changes what is remembered"


@dataclass(frozen=True, kw_only=True)
class NodeCompiler:
    """Compiles the nodes of one file. `whole` says that the file's structure had no mistakes."""

    workflow: str
    declared: Mapping[str, DeclaredField]
    names: Names
    config: ConfigShape
    servers: Mapping[str, McpServer]
    secrets: Sequence[str]
    iterations: Mapping[str, WrittenIteration]
    keeps_all: bool
    report: Report
    whole: bool

    def compile(self, shape: NodeShape, path: Path) -> Node:
        """The node; what is wrong with it goes into the report, and something stands in for it."""
        names = self.names
        iteration = self._iteration(shape, names, path)
        inputs, own = self._inputs(shape, with_items(names, iteration), path)
        action = self._actions(shape.id, Compiler(names=own, report=self.report)).compile(
            shape, path
        )
        results = ResultCompiler(declared=self.declared, report=self.report, whole=self.whole)
        result = results.compile(action, shape, iteration, path)
        return Node(
            id=shape.id,
            action=action,
            label=shape.name or shape.id,
            description=shape.description or "",
            inputs=inputs,
            outputs=result.outputs,
            result_type=result.type,
            timeout_seconds=None if isinstance(action, ApprovalAction) else shape.timeout,
            retry=self._retry(shape.retry),
            on_error=self._on_error(shape.on_error, path),
            when=self._when(shape, names if iteration else own, path),
            for_each=None if iteration is None else iteration.for_each,
            cache_seconds=self._cache_seconds(shape, action, path),
        )

    def _cache_seconds(self, shape: NodeShape, action: Action, path: Path) -> float:
        if shape.cache is None or isinstance(action, ApprovalAction):
            return 0.0
        if (why := _done_each_time(action)) is None:
            return shape.cache.ttl_seconds
        self.report.note(
            "NO_EFFECT",
            (*path, "cache"),
            f"`cache` has no effect on a node that {why}: it is done each time",
            "remove it",
            at_key=True,
        )
        return 0.0

    def _actions(self, node: str, templates: Compiler) -> ActionCompiler:
        models = ModelCompiler(shared=self.config.llm, report=self.report)
        memories = MemoryCompiler(
            workflow=self.workflow,
            node=node,
            models=models,
            shared=self.config.memory,
            keeps_all=self.keeps_all,
            templates=templates,
            report=self.report,
        )
        return ActionCompiler(
            models=models,
            memories=memories,
            tools=ToolCompiler(servers=self.servers, secrets=self.secrets, report=self.report),
            templates=templates,
            report=self.report,
            whole=self.whole,
        )

    def _iteration(self, shape: NodeShape, names: Names, path: Path) -> Iteration | None:
        written = self.iterations.get(shape.id)
        if shape.for_each is not None:
            if written is not None:
                self.report.error(
                    "SAME_KEY_TWICE",
                    (*path, "for_each"),
                    f"`for_each` and an edge's `parallel` say the same of the node {shown(shape.id)}",
                    "keep `for_each`, and lead to the node with `to`",
                    at_key=True,
                )
            written = written_at_node(shape.for_each, (*path, "for_each"))
        return None if written is None else compile_iteration(written, names, self.report)

    def _inputs(
        self, shape: NodeShape, names: Names, path: Path
    ) -> tuple[dict[str, Template], Names]:
        """The templates of the node's inputs, and all that the rest of the node can name."""
        compiler = Compiler(names=names, report=self.report)
        templates: dict[str, Template] = {}
        types: dict[str, Type] = {}
        for name, value in (shape.inputs or {}).items():
            at = (*path, "inputs", name)
            self._check_input_name(name, names, at)
            templates[name], types[name] = compiler.value(value, at)
        return templates, replace(names, inputs={**names.inputs, **types})

    def _check_input_name(self, name: str, names: Names, path: Path) -> None:
        if not name.isidentifier() or iskeyword(name) or name.startswith("_"):
            self.report.error(
                "INVALID_NAME",
                path,
                f"{shown(name)} cannot name an input",
                "use letters, digits and _, beginning with a letter, and no Python keyword",
                at_key=True,
            )
        elif name in names.inputs:
            self.report.error(
                "DUPLICATE_NAME",
                path,
                f"{shown(name)} is what for_each calls an item",
                "rename the input, or the item with `as`",
                at_key=True,
            )

    def _when(self, shape: NodeShape, names: Names, path: Path) -> Condition | None:
        """The node's condition. With for_each it is asked once, before there are items and inputs."""
        if shape.when is None:
            return None
        return compile_condition(condition_text(shape.when), names, self.report, (*path, "when"))

    def _retry(self, shape: RetryShape | None) -> Retry:
        if shape is None:
            further = self.config.execution.max_retries if self.config.execution else None
            return Retry(max_attempts=1 + (further or 0))
        return Retry(
            max_attempts=3 if shape.max_attempts is None else shape.max_attempts,
            backoff_seconds=1.0 if shape.backoff_seconds is None else shape.backoff_seconds,
            on=frozenset(code.strip().upper() for code in shape.on or ()),
        )

    def _on_error(self, written: str | None, path: Path) -> OnError | Goto:
        if written is None or not written.startswith("goto:"):
            return OnError(written or "fail")
        target = written.removeprefix("goto:").strip()
        if target not in self.names.nodes:
            hint = "name a node" if target in (START, END) else ""
            self.report.error(
                "UNKNOWN_NODE",
                (*path, "on_error"),
                f"on_error goes to {shown(target)}, which is no node",
                hint or self.report.did_you_mean(target, self.names.nodes),
            )
            return OnError.FAIL
        return Goto(node=target)


def condition_text(written: str | bool) -> str:
    """A condition as text; YAML reads an unquoted `true` as a value."""
    return written if isinstance(written, str) else str(written).lower()


def check_ids(shapes: list[NodeShape], report: Report) -> None:
    """Reports ids that are used twice, or that mean something else."""
    seen: dict[str, int] = {}
    for index, shape in enumerate(shapes):
        path: Path = ("nodes", index, "id")
        if shape.id in (START, END, "__start__", "__end__") or shape.id.startswith(LOOP_COUNTER):
            report.error("RESERVED_ID", path, f"{shown(shape.id)} is reserved", "rename the node")
        if shape.id in seen:
            report.error(
                "DUPLICATE_ID",
                path,
                f"the id {shown(shape.id)} is used twice, first by nodes[{seen[shape.id]}]",
                "rename one of them",
            )
        seen.setdefault(shape.id, index)


def with_memory_defaults(
    declared: Mapping[str, DeclaredField], nodes: Collection[Node]
) -> dict[str, Type]:
    """The types of the state's fields: those that take what a memory holds put their default back for nothing."""
    loaded = {
        output.field
        for node in nodes
        if isinstance(node.action, MemoryAction) and node.action.verb is MemoryVerb.LOAD
        for output in node.outputs
    }
    return {
        name: OrDefault(of=field.type, default=field.default) if name in loaded else field.type
        for name, field in declared.items()
    }


def _done_each_time(action: Action) -> str | None:
    """Why a kept result cannot stand for what a node does, if it cannot."""
    uses: Sequence[ToolUse] = ()
    match action:
        case MemoryAction(verb=MemoryVerb.SAVE | MemoryVerb.APPEND | MemoryVerb.DELETE):
            return _REMEMBERS
        case LlmAction(tools=tools):
            uses = tools
        case ToolAction(tool=tool):
            uses = (tool,)
    runs = {CATALOGUE[use.name].runs for use in uses if use.name in CATALOGUE}
    if "memory_save" in runs:
        return _REMEMBERS
    return "works with the run's own files" if runs & _OF_FILES else None
