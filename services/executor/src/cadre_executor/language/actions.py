"""Compiles what a node does: which kind it is, and all that its kind needs."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cadre_executor.domain.catalogue import MEMORY_TOOLS
from cadre_executor.domain.workflows import (
    Action,
    AgentAction,
    ApprovalAction,
    CodeAction,
    LlmAction,
    SandboxLimits,
    SandboxMode,
    ToolAction,
    ToolUse,
    WorkflowAction,
)
from cadre_executor.language.memories import MemoryCompiler
from cadre_executor.language.models import ModelCompiler
from cadre_executor.language.node_shapes import MemoryShape, NodeShape, SubworkflowShape
from cadre_executor.language.positions import Path
from cadre_executor.language.programs import check_program
from cadre_executor.language.reports import Report, shown
from cadre_executor.language.sandboxes import SandboxCompiler
from cadre_executor.language.templates import Compiler, Constant
from cadre_executor.language.tools import ToolCompiler

DEFAULT_STEPS = 8
_DEFAULT_CHOICES = ("approve", "reject")

_OF_KIND: Mapping[str, frozenset[str]] = {
    "llm": frozenset({"prompt", "system", "llm", "tools", "max_steps", "stream", "memory"}),
    "code": frozenset({"code", "sandbox"}),
    "memory": frozenset({"memory"}),
    "tool": frozenset({"tool", "arguments"}),
    "workflow": frozenset({"workflow"}),
    "agent": frozenset({"agent", "prompt"}),
    "approval": frozenset({"message", "choices", "on_timeout"}),
}
_NOT_OF_APPROVALS = ("retry", "cache")
_NAMED_BY = {"llm": "prompt", "approval": "message"}
"""The key that a kind cannot do without, where it is not called like the kind."""


@dataclass(frozen=True, kw_only=True)
class ActionCompiler:
    """Compiles the actions of one node. `whole` says that the file's structure had no mistakes."""

    models: ModelCompiler
    memories: MemoryCompiler
    tools: ToolCompiler
    templates: Compiler
    report: Report
    whole: bool

    def compile(self, shape: NodeShape, path: Path) -> Action:
        """What the node does; what its other keys would do is noted as unused."""
        match self._kind(shape, path):
            case "code":
                sandbox = SandboxCompiler(templates=self.templates, report=self.report)
                limits = sandbox.limits(shape.sandbox, (*path, "sandbox"))
                if self.whole:
                    # Without what the structure's mistakes took out, names would seem to be unknown.
                    self._check_program(shape, limits, path)
                return CodeAction(code=shape.code or "", limits=limits)
            case "memory":
                return self.memories.action(shape.memory or MemoryShape(), (*path, "memory"))
            case "tool":
                return self._tool(shape, path)
            case "workflow":
                return self._workflow(shape, path)
            case "agent":
                return self._agent(shape, path)
            case "approval":
                return self._approval(shape, path)
        return self._llm(shape, path)

    def _kind(self, shape: NodeShape, path: Path) -> str:
        given = {
            "memory": shape.memory is not None and shape.memory.action is not None,
            "code": shape.code is not None,
            "tool": shape.tool is not None,
            "workflow": shape.workflow is not None,
            "agent": shape.agent is not None,
            "approval": shape.message is not None,
            "llm": shape.prompt is not None,
        }
        by_keys = next((name for name, there in given.items() if there), "")
        kind: str = shape.type or by_keys
        if not kind:
            self._explain_nothing(shape, path)
            return "llm"
        if not given[kind] and self.whole:
            self._explain_missing(kind, shape, path)
        for key in sorted(frozenset().union(*_OF_KIND.values()) - _OF_KIND[kind]):
            if getattr(shape, key) is not None:
                self._note_unused(key, kind, path)
        return kind

    def _explain_nothing(self, shape: NodeShape, path: Path) -> None:
        if shape.memory is not None and self.whole:
            self._explain_missing("memory", shape, path)
        elif self.whole:
            self.report.error(
                "NO_ACTION",
                path,
                f"the node {shown(shape.id)} does nothing",
                "give it a prompt, code, tool, workflow, agent, memory: {action: ...} or type: approval",
            )

    def _explain_missing(self, kind: str, shape: NodeShape, path: Path) -> None:
        key = _NAMED_BY.get(kind, kind)
        at: Path = (*path, key)
        if kind == "memory" and shape.memory is not None:
            key, at = "action", (*at, "action")
        self.report.error(
            "MISSING_FIELD", at, f"a node of type {kind} needs `{key}`", f"add `{key}:`"
        )

    def _note_unused(self, key: str, kind: str, path: Path) -> None:
        self.report.note(
            "NO_EFFECT",
            (*path, key),
            f"`{key}` has no effect on a node of type {kind}",
            "remove it, or make it a node of its own",
            at_key=True,
        )

    def _check_program(self, shape: NodeShape, limits: SandboxLimits, path: Path) -> None:
        check_program(
            shape.code or "",
            in_container=limits.mode is SandboxMode.DOCKER,
            names=self.templates.names,
            report=self.report,
            path=(*path, "code"),
        )

    def _llm(self, shape: NodeShape, path: Path) -> LlmAction:
        if shape.prompt is not None and not shape.prompt.strip():
            self.report.error(
                "EMPTY_PROMPT",
                (*path, "prompt"),
                "the prompt is empty",
                "write what the model is asked",
            )
        if shape.max_steps is not None and not shape.tools:
            self._note_unused("max_steps", "llm without tools", path)
        system = None
        if shape.system is not None:
            system = self.templates.text(shape.system, (*path, "system"))
        return LlmAction(
            prompt=self.templates.text(shape.prompt or "", (*path, "prompt")),
            system=system,
            model=self.models.choice(shape.llm, path),
            tools=self._tools(shape, (*path, "tools")),
            max_steps=shape.max_steps or DEFAULT_STEPS,
            stream=bool(shape.stream),
            recall=self.memories.recall(shape.memory, (*path, "memory")),
        )

    def _tools(self, shape: NodeShape, path: Path) -> tuple[ToolUse, ...]:
        uses = self.tools.uses(shape.tools or [], path)
        return tuple(
            self._placed(use, shape.memory, (*path, place)) for place, use in enumerate(uses)
        )

    def _placed(self, use: ToolUse, own: MemoryShape | None, path: Path) -> ToolUse:
        if use.name not in MEMORY_TOOLS:
            return use
        place = self.memories.of_tool(use.config, own, (*path, "config"))
        return replace(use, place=place)

    def _tool(self, shape: NodeShape, path: Path) -> ToolAction:
        use = ToolUse(name="")
        if shape.tool is not None:
            at = (*path, "tool")
            use = self._placed(self.tools.use(shape.tool, at), None, at)
        arguments = {
            name: self.templates.value(value, (*path, "arguments", name))
            for name, value in (shape.arguments or {}).items()
        }
        if shape.tool is not None:
            self.tools.check_arguments(use, arguments, (*path, "arguments"))
        return ToolAction(
            tool=use, arguments={name: template for name, (template, _) in arguments.items()}
        )

    def _workflow(self, shape: NodeShape, path: Path) -> WorkflowAction:
        written = shape.workflow
        if isinstance(written, SubworkflowShape):
            return WorkflowAction(workflow=written.name.strip(), version=written.version or 0)
        name = (written or "").strip()
        if written is not None and not name:
            self.report.error(
                "INVALID_VALUE",
                (*path, "workflow"),
                "the workflow's name is empty",
                "write the name of an applied workflow",
            )
        return WorkflowAction(workflow=name)

    def _agent(self, shape: NodeShape, path: Path) -> AgentAction:
        prompt = None
        if shape.prompt is not None:
            prompt = self.templates.text(shape.prompt, (*path, "prompt"))
        elif not shape.inputs and self.whole:
            self.report.error(
                "EMPTY_PROMPT",
                path,
                f"the agent {shown(shape.agent or '')} is asked nothing",
                "write a prompt, which it gets as text, or inputs, which it gets as data",
            )
        return AgentAction(agent=shape.agent or "", prompt=prompt)

    def _approval(self, shape: NodeShape, path: Path) -> ApprovalAction:
        choices = tuple(choice.strip() for choice in shape.choices or _DEFAULT_CHOICES)
        self._check_choices(choices, shape, path)
        if shape.for_each is not None:
            self.report.error(
                "INVALID_VALUE",
                (*path, "for_each"),
                "a person is asked once, not for each item",
                "name all items in the message",
                at_key=True,
            )
        for key in _NOT_OF_APPROVALS:
            if getattr(shape, key) is not None:
                self._note_unused(key, "approval", path)
        message = Constant(value="")
        return ApprovalAction(
            message=message
            if shape.message is None
            else self.templates.text(shape.message, (*path, "message")),
            choices=choices,
            timeout_seconds=shape.timeout,
            on_timeout=(shape.on_timeout or "").strip(),
        )

    def _check_choices(self, choices: tuple[str, ...], shape: NodeShape, path: Path) -> None:
        if len(set(choices)) < len(choices) or "" in choices:
            self.report.error(
                "INVALID_VALUE",
                (*path, "choices"),
                "the choices are not all different, or one is empty",
                "write for example [approve, reject]",
            )
        if shape.on_timeout is not None and shape.on_timeout.strip() not in choices:
            self.report.error(
                "UNKNOWN_CHOICE",
                (*path, "on_timeout"),
                f"{shown(shape.on_timeout)} is none of the choices",
                self.report.did_you_mean(shape.on_timeout.strip(), choices),
            )
        if shape.on_timeout is not None and shape.timeout is None:
            self.report.note(
                "NO_EFFECT",
                (*path, "on_timeout"),
                "`on_timeout` has no effect without `timeout`",
                "add timeout: with a number of seconds",
                at_key=True,
            )
