"""A2A 1.0 as JSON: what callers send, and cards, tasks and errors as they are answered."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, Literal

from pydantic import AliasGenerator, BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel

from cadre_gateway.entrypoint import documents as d
from cadre_gateway.entrypoint.spoken import reply_text

__all__ = [
    "A2aError",
    "Fault",
    "GetTask",
    "ListTasks",
    "Message",
    "SendMessage",
    "TaskId",
    "card",
    "context_of",
    "is_asking",
    "result",
    "state_of",
    "status",
    "task",
]

VERSION = "1.0"
TRIGGER = "a2a/"
_SCHEME = "key"


class Fault(Enum):
    """What can be wrong with a request: its code in JSON-RPC, its status in HTTP, and that in words."""

    TASK_NOT_FOUND = (-32001, 404, "NOT_FOUND")
    TASK_NOT_CANCELABLE = (-32002, 400, "FAILED_PRECONDITION")
    PUSH_NOTIFICATION_NOT_SUPPORTED = (-32003, 400, "FAILED_PRECONDITION")
    UNSUPPORTED_OPERATION = (-32004, 400, "FAILED_PRECONDITION")
    CONTENT_TYPE_NOT_SUPPORTED = (-32005, 400, "INVALID_ARGUMENT")
    VERSION_NOT_SUPPORTED = (-32009, 400, "FAILED_PRECONDITION")
    INVALID_REQUEST = (-32600, 400, "INVALID_ARGUMENT")
    METHOD_NOT_FOUND = (-32601, 404, "NOT_FOUND")
    INVALID_PARAMS = (-32602, 400, "INVALID_ARGUMENT")
    PARSE_ERROR = (-32700, 400, "INVALID_ARGUMENT")


class A2aError(Exception):
    """A request that is refused, in the protocol's own words."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault = fault
        self.message = message

    @property
    def info(self) -> dict[str, Any]:
        """The reason, for programs."""
        return {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": self.fault.name,
            "domain": "a2a-protocol.org",
        }

    @property
    def json_rpc(self) -> dict[str, Any]:
        """As JSON-RPC says it."""
        return {"code": self.fault.value[0], "message": self.message, "data": [self.info]}

    @property
    def http_json(self) -> dict[str, Any]:
        """As HTTP+JSON says it."""
        _, code, words = self.fault.value
        told = {"code": code, "status": words, "message": self.message, "details": [self.info]}
        return {"error": told}


class _Asked(BaseModel):
    """What callers send: camelCase, with whatever a later version adds."""

    model_config = ConfigDict(
        alias_generator=AliasGenerator(validation_alias=to_camel), extra="ignore"
    )


TaskId = Annotated[str, Field(min_length=1, max_length=200)]


class Part(_Asked):
    """A piece of a message: text or data; other content is refused."""

    text: d.Text | None = None
    data: d.Document = None
    raw: str | None = None
    url: str | None = None

    @property
    def has_data(self) -> bool:
        """Whether it is data, null too."""
        return "data" in self.model_fields_set


class Message(_Asked):
    """What a caller says, whose role is by name or number. With `task_id` it answers what that task asks."""

    role: Literal["ROLE_USER", 1] = "ROLE_USER"
    message_id: d.Text = Field(min_length=1, max_length=500)
    context_id: d.Text = Field("", max_length=46)
    task_id: d.Text = Field("", max_length=200)
    parts: list[Part] = Field(min_length=1, max_length=100)

    @property
    def text(self) -> str:
        """All its text."""
        return "\n".join(part.text for part in self.parts if part.text is not None)

    @property
    def data(self) -> dict[str, JsonValue]:
        """All its data, by field. Raises A2aError for data that is no object, and for files."""
        found: dict[str, JsonValue] = {}
        for part in self.parts:
            if part.raw is not None or part.url is not None:
                raise A2aError(
                    Fault.CONTENT_TYPE_NOT_SUPPORTED, "workflows take text and data, no files"
                )
            if part.has_data:
                if not isinstance(part.data, dict):
                    raise A2aError(Fault.INVALID_PARAMS, "data must be an object, by field")
                found |= part.data
        return found


class _Configuration(_Asked):
    return_immediately: bool = False
    task_push_notification_config: dict[str, JsonValue] | None = None


class SendMessage(_Asked):
    """SendMessage and SendStreamingMessage."""

    message: Message
    configuration: _Configuration = Field(default_factory=_Configuration)


class GetTask(_Asked):
    """GetTask, CancelTask and SubscribeToTask."""

    id: TaskId


class ListTasks(_Asked):
    """ListTasks."""

    context_id: str = ""
    status: str = ""
    page_size: int = Field(50, ge=1, le=100)
    page_token: str = Field("", max_length=1000)
    status_timestamp_after: datetime | None = None
    include_artifacts: bool = False


_STATES: Mapping[d.RunStatus, str] = {
    d.RunStatus.QUEUED: "TASK_STATE_SUBMITTED",
    d.RunStatus.RUNNING: "TASK_STATE_WORKING",
    d.RunStatus.WAITING: "TASK_STATE_INPUT_REQUIRED",
    d.RunStatus.SUCCEEDED: "TASK_STATE_COMPLETED",
    d.RunStatus.FAILED: "TASK_STATE_FAILED",
    d.RunStatus.CANCELLED: "TASK_STATE_CANCELED",
}


def state_of(run: d.Run) -> str:
    """A run's state as a task's. One that asked waits for the answer, whatever else still goes on in it."""
    if is_asking(run):
        return _STATES[d.RunStatus.WAITING]
    if run.status is d.RunStatus.QUEUED and run.started_time is not None:
        return _STATES[d.RunStatus.RUNNING]
    return _STATES[run.status]


def is_asking(run: d.Run) -> bool:
    """Whether it waits for an answer."""
    return not run.status.is_final and (bool(run.questions) or run.status is d.RunStatus.WAITING)


def context_of(run: d.Run) -> str:
    """The conversation that a run belongs to: the caller's, or one of its own."""
    return run.trigger.removeprefix(TRIGGER) if run.trigger.startswith(TRIGGER) else run.id


def task(run: d.Run, *, artifacts: bool = True) -> dict[str, Any]:
    """A run as a task."""
    found: dict[str, Any] = {
        "id": run.id,
        "contextId": context_of(run),
        "status": status(run),
        "metadata": {"workflow": run.workflow, "version": run.version},
    }
    if artifacts and run.status is d.RunStatus.SUCCEEDED:
        found["artifacts"] = [result(run)]
    return found


def status(run: d.Run) -> dict[str, Any]:
    """Where a run stands, with what it asks or why it failed."""
    found: dict[str, Any] = {"state": state_of(run)}
    time = run.ended_time or run.started_time or run.created_time
    if time is not None:
        found["timestamp"] = time.isoformat().replace("+00:00", "Z")
    parts = _said(run)
    if parts:
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
        found["message"] = {
            "messageId": f"{run.id}/{digest}",
            "taskId": run.id,
            "contextId": context_of(run),
            "role": "ROLE_AGENT",
            "parts": parts,
        }
    return found


def _said(run: d.Run) -> list[dict[str, Any]]:
    if run.error is not None:
        return [{"text": f"{run.error.code}: {run.error.message}"}]
    if not is_asking(run):
        return []
    return [part for question in run.questions for part in _asked(question)]


def _asked(question: d.Question) -> list[dict[str, Any]]:
    choices = f"\n\nAnswer with one of: {', '.join(question.choices)}" if question.choices else ""
    return [
        {"text": question.message + choices},
        {"data": {"node": question.node, "choices": question.choices}},
    ]


def result(run: d.Run) -> dict[str, Any]:
    """What a run gave: as text (see `reply_text`), and all its outputs as data."""
    outputs = run.outputs or {}
    return {
        "artifactId": "outputs",
        "name": "outputs",
        "parts": [{"text": reply_text(run)}, {"data": outputs, "mediaType": "application/json"}],
    }


def card(workflow: d.Workflow, url: str) -> dict[str, Any]:
    """The agent card of a workflow that is reached at an address."""
    about = workflow.description or f"Runs the workflow {workflow.name}."
    return {
        "name": workflow.name,
        "description": about,
        "version": str(workflow.version),
        "supportedInterfaces": [
            {"url": url, "protocolBinding": binding, "protocolVersion": VERSION}
            for binding in ("JSONRPC", "HTTP+JSON")
        ],
        "capabilities": {"streaming": True, "pushNotifications": False},
        "securitySchemes": {_SCHEME: {"httpAuthSecurityScheme": {"scheme": "bearer"}}},
        "securityRequirements": [{"schemes": {_SCHEME: {"list": []}}}],
        "defaultInputModes": ["text/plain", "application/json"],
        "defaultOutputModes": ["text/plain", "application/json"],
        "skills": [
            {
                "id": workflow.name,
                "name": workflow.name,
                "description": f"{about}\n\n{_takes(workflow.inputs)}",
                "tags": list(workflow.tags) or ["workflow"],
            }
        ],
    }


def _takes(inputs: Sequence[d.Input]) -> str:
    lines = [
        f"- {one.name} ({one.type}{', required' if one.required else ''})"
        + (f": {one.description}" if one.description else "")
        for one in inputs
    ]
    return "\n".join(["Takes data with:", *lines]) if lines else "Takes no inputs."
