"""A program for the sandbox and how it ended, as the API takes and answers them."""

import base64
import binascii
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field, JsonValue, StrictFloat, StrictInt

from cadre.sandbox.v1 import sandbox_pb2
from cadre_gateway.entrypoint.documents import Answer, Asked, JsonObject
from cadre_kit.documents import from_json, to_json

__all__ = [
    "Execution",
    "File",
    "FileContent",
    "Files",
    "NewExecution",
    "NewSession",
    "Session",
    "execution",
    "file",
    "listed",
    "request",
    "session",
    "session_request",
]


class Mode(StrEnum):
    """How a program is run."""

    PYTHON = "python"
    DOCKER = "docker"


class Preset(StrEnum):
    """What a program may use, in one word."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    MAX = "max"


class Outcome(StrEnum):
    """How a program ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    BLOCKED = "blocked"
    LIMIT = "limit"


def _base64(text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error as exc:
        raise ValueError("must be base64") from exc
    return text


class NewFile(Asked):
    """A file that a program finds in its folder."""

    name: str = Field(min_length=1, max_length=200, description="A path within the folder.")
    content: Annotated[str, AfterValidator(_base64)] = Field(description="What is in it, base64.")


class FileContent(Asked):
    """What is to be in a file."""

    content: Annotated[str, AfterValidator(_base64)] = Field(description="Base64.")


class _Means(Asked):
    """What programs may use."""

    mode: Mode = Mode.PYTHON
    preset: Preset | None = None
    timeout_seconds: StrictFloat = Field(0.0, ge=0, le=300, description="0 means the preset's.")
    memory_mb: StrictInt = Field(0, ge=0, le=65536, description="MiB; 0 means the preset's.")
    packages: list[str] = Field(
        default_factory=list, max_length=20, description="Mode docker: what they may import."
    )
    hosts: list[str] = Field(
        default_factory=list,
        max_length=100,
        description="Mode docker: hosts that they may reach, of those that the operator allows; * means all.",
    )


class NewSession(_Means):
    """A session, in which each program finds what earlier ones left."""

    idle_seconds: StrictFloat = Field(0.0, ge=0, le=3600, description="0 means 600.")
    total_seconds: StrictFloat = Field(0.0, ge=0, le=86_400, description="0 means 3600.")


class NewExecution(_Means):
    """A program to run."""

    code: str = Field(max_length=1024 * 1024, description="The program, in Python.")
    inputs: JsonObject = Field(default_factory=dict, description="Variables that it finds set.")
    session_id: str = Field(
        "",
        max_length=200,
        description="The session to run it in, which has settled mode, preset, memory_mb, packages and hosts.",
    )
    files: list[NewFile] = Field(
        default_factory=list, max_length=100, description="What it finds in its folder."
    )


class File(Answer):
    """A file that a program left."""

    name: str
    media_type: str = Field(description="By its name; what is in it may be something else.")
    content: str = Field(description="What is in it, base64.")


class FileEntry(Answer):
    """A file, without what is in it."""

    name: str
    size_bytes: int


class Files(Answer):
    """The files of a session's folder."""

    files: list[FileEntry]


class Session(Answer):
    """An open session."""

    id: str = Field(description="Cannot be guessed: whoever knows it may use the session.")
    mode: Mode
    idle_seconds: float
    total_seconds: float


class ExecutionUsage(Answer):
    """What a program used."""

    wall_ms: int
    cpu_ms: int
    peak_memory_bytes: int
    output_bytes: int = Field(description="What it printed and its result, whole.")


class ExecutionError(Answer):
    """Why a program did not succeed."""

    code: str
    message: str
    resolution: str


class Execution(Answer):
    """How a program ended, and what it left."""

    outcome: Outcome
    stdout: str
    stderr: str
    result: JsonValue = Field(description="The variable `result`; null when it was not set.")
    files: list[File]
    limits_reached: list[str]
    usage: ExecutionUsage
    walls: list[str] = Field(description="The walls that held around it.")
    session_reset: bool = Field(
        description="Whether its session's variables are gone, as their process had to be killed."
    )
    error: ExecutionError | None


_MODES: Mapping[Mode, sandbox_pb2.Mode.ValueType] = {
    Mode.PYTHON: sandbox_pb2.MODE_PYTHON,
    Mode.DOCKER: sandbox_pb2.MODE_DOCKER,
}
_PRESETS: Mapping[Preset | None, sandbox_pb2.Preset.ValueType] = {
    None: sandbox_pb2.PRESET_UNSPECIFIED,
    Preset.LOW: sandbox_pb2.PRESET_LOW,
    Preset.MEDIUM: sandbox_pb2.PRESET_MEDIUM,
    Preset.HIGH: sandbox_pb2.PRESET_HIGH,
    Preset.MAX: sandbox_pb2.PRESET_MAX,
}
_OUTCOMES: Mapping[sandbox_pb2.Outcome.ValueType, Outcome] = {
    sandbox_pb2.OUTCOME_SUCCEEDED: Outcome.SUCCEEDED,
    sandbox_pb2.OUTCOME_FAILED: Outcome.FAILED,
    sandbox_pb2.OUTCOME_BLOCKED: Outcome.BLOCKED,
    sandbox_pb2.OUTCOME_LIMIT: Outcome.LIMIT,
}


def request(asked: NewExecution) -> sandbox_pb2.ExecuteRequest:
    """What the sandbox is asked for."""
    return sandbox_pb2.ExecuteRequest(
        code=asked.code,
        mode=_MODES[asked.mode],
        inputs=to_json(asked.inputs),
        preset=_PRESETS[asked.preset],
        limits=sandbox_pb2.Limits(timeout_seconds=asked.timeout_seconds, memory_mb=asked.memory_mb),
        packages=asked.packages,
        hosts=asked.hosts,
        session_id=asked.session_id,
        files=[
            sandbox_pb2.File(name=file.name, content=base64.b64decode(file.content))
            for file in asked.files
        ],
    )


def session_request(asked: NewSession) -> sandbox_pb2.OpenSessionRequest:
    """The session that the sandbox is asked for."""
    return sandbox_pb2.OpenSessionRequest(
        mode=_MODES[asked.mode],
        preset=_PRESETS[asked.preset],
        limits=sandbox_pb2.Limits(timeout_seconds=asked.timeout_seconds, memory_mb=asked.memory_mb),
        packages=asked.packages,
        hosts=asked.hosts,
        idle_seconds=asked.idle_seconds,
        total_seconds=asked.total_seconds,
    )


def session(message: sandbox_pb2.Session) -> Session:
    """The session that was opened."""
    return Session(
        id=message.id,
        mode=next(mode for mode, number in _MODES.items() if number == message.mode),
        idle_seconds=message.idle_seconds,
        total_seconds=message.total_seconds,
    )


def file(message: sandbox_pb2.File) -> File:
    """A file with what is in it."""
    return File(
        name=message.name,
        media_type=message.media_type,
        content=base64.b64encode(message.content).decode(),
    )


def listed(message: sandbox_pb2.ListFilesResponse) -> Files:
    """The files of a folder."""
    return Files(files=[FileEntry(name=f.name, size_bytes=f.size_bytes) for f in message.files])


def execution(message: sandbox_pb2.ExecuteResponse) -> Execution:
    """How the program ended."""
    has_result = message.HasField("result")
    return Execution(
        outcome=_OUTCOMES[message.outcome],
        stdout=message.stdout,
        stderr=message.stderr,
        result=from_json(message.result, field="result") if has_result else None,
        files=[file(one) for one in message.files],
        limits_reached=[
            sandbox_pb2.Limit.Name(limit).removeprefix("LIMIT_").lower()
            for limit in message.limits_reached
        ],
        usage=ExecutionUsage(
            wall_ms=message.usage.wall_ms,
            cpu_ms=message.usage.cpu_ms,
            peak_memory_bytes=message.usage.peak_memory_bytes,
            output_bytes=message.usage.output_bytes,
        ),
        walls=list(message.walls),
        session_reset=message.session_reset,
        error=_error(message),
    )


def _error(message: sandbox_pb2.ExecuteResponse) -> ExecutionError | None:
    if not message.HasField("error"):
        return None
    error = message.error
    return ExecutionError(code=error.code, message=error.message, resolution=error.resolution)
